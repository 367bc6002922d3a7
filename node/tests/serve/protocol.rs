//! Replies against a scripted model, and on the engine.

use super::scripted::{Scripted, checkpoint};
use super::server::Server;
use serde_json::{Value, json};

const RULES: &[(&str, &str)] = &[
    ("ponder", "<|channel>thought\nHm, well.\n<channel|>I pondered."),
    ("llama", "A 🦙 is a llama."),
    ("forbid", "one STOP two"),
    ("person", "No JSON, only prose."),
];

fn scripted() -> Server {
    Server::start(&checkpoint(), Scripted::new(RULES))
}

fn content(events: &[Value], field: &str) -> String {
    let delta = |event: &Value| event["choices"][0]["delta"][field].as_str().map(str::to_owned);
    events.iter().filter_map(delta).collect()
}

#[test]
fn models_are_listed() {
    let server = scripted();
    let list = server.get("/v1/models", &[]).json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("test")));
    assert_eq!(server.get("/v1/models/test", &[]).json()["object"], "model");
    assert_eq!(server.get("/v1/models/other", &[]).status, 404);
}

#[test]
fn thoughts_come_apart_whole_and_streamed() {
    let server = scripted();
    let thinking = json!({"chat_template_kwargs": {"enable_thinking": true}, "temperature": 0});
    let whole = server.chat("ponder this", thinking.clone()).json();
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "Hm, well.");
    assert_eq!(message["content"], "I pondered.");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    let mut streamed = thinking;
    streamed["stream"] = true.into();
    streamed["stream_options"] = json!({"include_usage": true});
    let events = server.chat("ponder this", streamed).events();
    assert_eq!(content(&events, "reasoning_content"), "Hm, well.");
    assert_eq!(content(&events, "content"), "I pondered.");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let [.., end, usage] = &events[..] else { panic!("{events:?}") };
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"], whole["usage"]);
}

#[test]
fn usage_is_exact_and_logprobs_cover_every_token_of_the_text() {
    let server = scripted();
    let asked = json!({"logprobs": true, "top_logprobs": 2, "temperature": 0});
    let whole = server.chat("llama", asked).json();
    let records = whole["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    let bytes: Vec<u8> = records
        .iter()
        .flat_map(|record| record["bytes"].as_array().unwrap())
        .map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap())
        .collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), "A 🦙 is a llama.");
    let usage = &whole["usage"];
    // The token that ended the text was generated too.
    assert_eq!(usage["completion_tokens"].as_u64().unwrap(), 1 + records.len() as u64);
    let total = usage["prompt_tokens"].as_u64().unwrap() + 1 + records.len() as u64;
    assert_eq!(usage["total_tokens"].as_u64().unwrap(), total);
    for record in &records {
        assert!(record["logprob"].as_f64().unwrap() <= 0.0);
        assert_eq!(record["top_logprobs"].as_array().unwrap().len(), 2);
        assert_eq!(record["top_logprobs"][0]["bytes"], record["bytes"]);
    }
    let plain = json!({"logprobs": 1, "max_tokens": 50, "temperature": 0});
    let plain = server.complete("llama", plain).json();
    let logprobs = &plain["choices"][0]["logprobs"];
    let lengths = ["tokens", "token_logprobs", "top_logprobs", "text_offset"]
        .map(|field| logprobs[field].as_array().unwrap().len());
    assert!(lengths.iter().all(|length| *length == records.len()), "{lengths:?}");
    let streamed = json!({"logprobs": 1, "max_tokens": 50, "temperature": 0, "stream": true});
    let events = server.complete("llama", streamed).events();
    let streamed: Vec<Value> = events
        .iter()
        .flat_map(|event| event["choices"][0]["logprobs"]["tokens"].as_array().unwrap().clone())
        .collect();
    assert_eq!(&Value::from(streamed), &logprobs["tokens"]);
    let text: String =
        events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "A 🦙 is a llama.");
}

#[test]
fn stop_strings_and_lengths_end_the_text() {
    let server = scripted();
    for (stop, expected) in [(json!("STOP"), "one "), (json!(["two", " ST"]), "one")] {
        let reply = server.chat("forbid", json!({"stop": stop, "temperature": 0})).json();
        assert_eq!(reply["choices"][0]["message"]["content"], expected);
        assert_eq!(reply["choices"][0]["finish_reason"], "stop");
        let streamed = json!({"stop": stop, "temperature": 0, "stream": true});
        assert_eq!(content(&server.chat("forbid", streamed).events(), "content"), expected);
    }
    let short = server.chat("forbid", json!({"max_completion_tokens": 2, "temperature": 0})).json();
    assert_eq!(short["choices"][0]["finish_reason"], "length");
    assert_eq!(short["usage"]["completion_tokens"], 2);
}

#[test]
fn a_schema_binds_a_model_that_would_not() {
    let server = scripted();
    let schema = json!({
        "type": "object",
        "properties": {"sure": {"type": "boolean"}, "unit": {"enum": ["C", "F"]}},
        "required": ["sure", "unit"],
        "additionalProperties": false,
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let reply = server.chat("person", json!({"response_format": format, "temperature": 0})).json();
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    assert!(value["sure"].is_boolean() && ["C", "F"].contains(&value["unit"].as_str().unwrap()));
}

#[test]
fn biases_and_seeds_are_heeded() {
    let server = scripted();
    let eos = json!({"logit_bias": {"1": 100}, "temperature": 0});
    let reply = server.chat("forbid", eos).json();
    assert_eq!(reply["choices"][0]["message"]["content"], "");
    assert_eq!(reply["usage"]["completion_tokens"], 1);
    let seeded = |seed: i64| {
        let flat = json!({"temperature": 2, "seed": seed, "max_tokens": 8, "logit_bias": {}});
        server.complete("x", flat).json()["choices"][0]["text"].clone()
    };
    assert_eq!(seeded(7), seeded(7));
}

#[test]
fn refusals_name_the_field() {
    let server = scripted();
    let user = json!([{"role": "user", "content": "x"}]);
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    for (more, status, param) in [
        (json!({"n": 2}), 400, "n"),
        (json!({"model": "other"}), 404, "model"),
        (json!({"temperature": 3}), 400, "temperature"),
        (json!({"temperature": "hot"}), 400, "temperature"),
        (json!({"top_p": 0}), 400, "top_p"),
        (json!({"max_tokens": 0}), 400, "max_tokens"),
        (json!({"max_tokens": 100_000}), 400, "messages"),
        (json!({"top_logprobs": 3}), 400, "top_logprobs"),
        (json!({"logprobs": true, "top_logprobs": 30}), 400, "top_logprobs"),
        (json!({"logit_bias": {"99999": 1}}), 400, "logit_bias"),
        (json!({"stop": 7}), 400, "stop"),
        (json!({"tool_choice": "required"}), 400, "tool_choice"),
        (json!({"tools": tool, "tool_choice": "sometimes"}), 400, "tool_choice"),
        (
            json!({"tools": tool, "tool_choice": {"type": "function", "function": {"name": "g"}}}),
            400,
            "tool_choice",
        ),
        (json!({"tools": [{"type": "web_search"}]}), 400, "tools[0]"),
        (json!({"functions": []}), 400, "functions"),
        (json!({"response_format": {"type": "xml"}}), 400, "response_format.type"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "?"}}}}),
            400,
            "response_format",
        ),
        (json!({"messages": []}), 400, "messages"),
        (json!({"messages": [{"role": "nobody", "content": "x"}]}), 400, "messages[0].role"),
        (json!({"messages": [{"role": "user"}]}), 400, "messages[0].content"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), 400, "messages[0].tool_call_id"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            400,
            "messages[0].content[0]",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "no"}}]}]}),
            400,
            "messages[0].tool_calls",
        ),
    ] {
        let mut body = json!({"messages": user});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = server.post("/v1/chat/completions", &body);
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["param"]), (status, &json!(param)), "{more}: {error}");
        assert!(!error["message"].as_str().unwrap().contains('\n'), "{error}");
    }
    for (more, param) in [
        (json!({"echo": true}), "echo"),
        (json!({"suffix": "x"}), "suffix"),
        (json!({"best_of": 2}), "best_of"),
        (json!({"prompt": ["a", "b"]}), "prompt"),
        (json!({"prompt": [999_999]}), "prompt"),
        (json!({"prompt": []}), "prompt"),
    ] {
        let reply = server.complete("x", more.clone());
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{more}");
    }
}

#[test]
fn measure_nano_behind_the_protocol() {
    let server = Server::nano();
    let greedy = json!({"max_tokens": 12, "temperature": 0});
    let first = server.complete("In the beginning", greedy.clone()).json();
    let again = server.complete("In the beginning", greedy.clone()).json();
    assert_eq!(first["choices"], again["choices"]);
    assert_eq!(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    // All but the last token of the prompt came from the cache.
    let held = again["usage"]["prompt_tokens"].as_u64().unwrap() - 1;
    assert_eq!(again["usage"]["prompt_tokens_details"]["cached_tokens"], held);
    let sampled = |prompt: &str, seed: u32| {
        let asked = json!({"max_tokens": 12, "temperature": 0.9, "top_p": 0.9, "seed": seed});
        server.complete(prompt, asked).json()["choices"][0]["text"].clone()
    };
    let before = sampled("And it came to pass", 5);
    assert_ne!(before, sampled("And it came to pass", 6));
    // Whatever the cache held, the same request has the same answer.
    assert_eq!(before, sampled("And it came to pass", 5));
    sampled("Something else", 1);
    assert_eq!(before, sampled("And it came to pass", 5));
    let mut streamed = greedy;
    streamed["stream"] = true.into();
    let events = server.complete("In the beginning", streamed).events();
    let text: String =
        events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!(first["choices"][0]["text"], text);
    let metrics = server.get("/metrics", &[]).text;
    assert!(metrics.contains("assay_generations_total{reason=\"length\"}"), "{metrics}");
    let drafted = metrics.lines().find_map(|l| l.strip_prefix("assay_draft_tokens_total "));
    assert!(drafted.unwrap().parse::<u64>().unwrap() > 0);
}

#[test]
fn measure_nano_bound_by_grammars() {
    let server = Server::nano();
    let schema = json!({
        "type": "object",
        "properties": {"kind": {"enum": ["ox", "ass"]}, "count": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["kind", "count"],
        "additionalProperties": false,
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    for seed in 0..3 {
        let asked = json!({"response_format": format, "max_tokens": 200, "seed": seed});
        let reply = server.chat("Hi", asked).json();
        let text = reply["choices"][0]["message"]["content"].as_str().unwrap();
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {reply}"));
        assert!(["ox", "ass"].contains(&value["kind"].as_str().unwrap()), "{value}");
        assert!((1..=9).contains(&value["count"].as_u64().unwrap()), "{value}");
    }
    let parameters = json!({
        "type": "object",
        "properties": {"count": {"type": "integer"}, "kind": {"type": "string", "enum": ["ox", "ass"]}},
        "required": ["kind"],
    });
    let tool = json!({"type": "function", "function": {"name": "herd", "parameters": parameters}});
    let named = json!({"type": "function", "function": {"name": "herd"}});
    let asked = json!({
        "tools": [tool], "tool_choice": named, "parallel_tool_calls": false, "max_tokens": 200, "seed": 1,
    });
    let reply = server.chat("Hi", asked).json();
    assert_eq!(reply["choices"][0]["finish_reason"], "tool_calls");
    let function = &reply["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(function["name"], "herd");
    let arguments: Value = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
    assert!(["ox", "ass"].contains(&arguments["kind"].as_str().unwrap()), "{arguments}");
}
