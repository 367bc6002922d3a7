//! Tool calls against a scripted model.

use super::scripted::{Scripted, checkpoint};
use super::server::Server;
use serde_json::{Value, json};

const RULES: &[(&str, &str)] = &[
    ("prose", "I would rather talk."),
    ("<|tool_response>", "It is sunny in Paris."),
    (
        "both",
        "<|tool_call>call:get_weather{city:<|\"|>Paris<|\"|>}<tool_call|><|tool_call>call:get_time{zone:1}<tool_call|>",
    ),
    (
        "weather",
        "<|channel>thought\nLook it up.\n<channel|>Let me see. <|tool_call>call:get_weather{city:<|\"|>Paris<|\"|>}<tool_call|>",
    ),
];

fn tools() -> Value {
    json!([
        {"type": "function", "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"]},
        }},
        {"type": "function", "function": {
            "name": "get_time",
            "parameters": {"type": "object", "properties": {"zone": {"type": "integer"}}},
        }},
    ])
}

#[test]
fn a_tool_is_called_and_its_result_answered() {
    let model = Scripted::new(RULES);
    let seen = model.seen();
    let server = Server::start(&checkpoint(), model);
    let asked = json!({"tools": tools(), "temperature": 0});
    let reply = server.chat("the weather?", asked).json();
    let choice = &reply["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let message = choice["message"].clone();
    assert_eq!(message["content"], "Let me see. ");
    assert_eq!(message["reasoning_content"], "Look it up.");
    let call = &message["tool_calls"][0];
    assert_eq!(call["function"]["name"], "get_weather");
    assert_eq!(call["function"]["arguments"], r#"{"city":"Paris"}"#);
    let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "sunny <turn|>"});
    let messages = json!([{"role": "user", "content": "the weather?"}, message, result]);
    let body = json!({"messages": messages, "tools": tools(), "temperature": 0});
    let reply = server.post("/v1/chat/completions", &body).json();
    assert_eq!(reply["choices"][0]["message"]["content"], "It is sunny in Paris.");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    let prompts = seen.prompts.lock().unwrap();
    assert!(prompts[0].contains("<|tool>declaration:get_weather{"), "{}", prompts[0]);
    let end = "<|channel>thought\nLook it up.\n<channel|>Let me see.\
        <|tool_call>call:get_weather{city:<|\"|>Paris<|\"|>}<tool_call|>\
        <|tool_response>response:get_weather{value:<|\"|>sunny <turn|><|\"|>}<tool_response|>";
    assert!(prompts[1].ends_with(end), "{}", prompts[1]);
}

#[test]
fn calls_are_streamed_whole_and_counted() {
    let server = Server::start(&checkpoint(), Scripted::new(RULES));
    let asked = |parallel: bool| json!({"tools": tools(), "temperature": 0, "stream": true, "parallel_tool_calls": parallel});
    let calls = |events: Vec<Value>| -> Vec<Value> {
        let calls = events
            .iter()
            .filter_map(|event| event["choices"][0]["delta"]["tool_calls"].as_array().cloned());
        calls.flatten().collect()
    };
    let both = calls(server.chat("both", asked(true)).events());
    let names: Vec<_> = both.iter().map(|c| (&c["index"], &c["function"]["name"])).collect();
    assert_eq!(names, [(&json!(0), &json!("get_weather")), (&json!(1), &json!("get_time"))]);
    assert_ne!(both[0]["id"], both[1]["id"]);
    let one = server.chat("both", asked(false)).events();
    assert_eq!(one.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(calls(one).len(), 1);
}

#[test]
fn the_choice_of_tools_binds_the_model() {
    let model = Scripted::new(RULES);
    let seen = model.seen();
    let server = Server::start(&checkpoint(), model);
    let ask = |choice: Value| {
        let asked = json!({
            "tools": tools(), "tool_choice": choice, "temperature": 0, "max_tokens": 400,
            "parallel_tool_calls": false,
        });
        server.chat("prose", asked).json()["choices"][0].clone()
    };
    assert_eq!(ask(json!("auto"))["message"]["content"], "I would rather talk.");
    assert_eq!(ask(json!("none"))["finish_reason"], "stop");
    assert!(!seen.prompts.lock().unwrap()[1].contains("<|tool>"));
    let required = ask(json!("required"));
    assert_eq!(required["finish_reason"], "tool_calls", "{required}");
    let named = ask(json!({"type": "function", "function": {"name": "get_weather"}}));
    let function = &named["message"]["tool_calls"][0]["function"];
    assert_eq!(function["name"], "get_weather");
    let arguments: Value = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
    assert!(["Paris", "Rome"].contains(&arguments["city"].as_str().unwrap()));
}
