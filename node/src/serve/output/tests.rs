use super::*;
use proptest::prelude::*;

/// Events of `portions`, neighbouring texts and thoughts joined.
fn events<'a>(portions: impl IntoIterator<Item = &'a str>) -> Vec<Event> {
    join(given(portions))
}

/// Events of `portions` as the parser gives them.
fn given<'a>(portions: impl IntoIterator<Item = &'a str>) -> Vec<Event> {
    let mut parser = OutputParser::default();
    let mut raw = Vec::new();
    for portion in portions {
        parser.push(portion, &mut raw);
    }
    parser.finish(&mut raw);
    raw
}

fn join(raw: Vec<Event>) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::new();
    for event in raw {
        match (joined.last_mut(), event) {
            (Some(Event::Text(before)), Event::Text(text))
            | (Some(Event::Thought(before)), Event::Thought(text)) => before.push_str(&text),
            (_, event) => joined.push(event),
        }
    }
    joined
}

fn text(text: &str) -> Event {
    Event::Text(text.into())
}

fn thought(text: &str) -> Event {
    Event::Thought(text.into())
}

fn call(name: &str, arguments: &str) -> Event {
    Event::Call(ToolCall { name: name.into(), arguments: arguments.into() })
}

#[test]
fn thoughts_are_kept_apart_from_the_answer() {
    for (output, expected) in [
        ("Hello", vec![text("Hello")]),
        (
            "<|channel>thought\nI'm\nthinking<channel|>Hi",
            vec![thought("I'm\nthinking"), text("Hi")],
        ),
        ("<|channel>thought\nI think.\n<channel|>Hi", vec![thought("I think."), text("Hi")]),
        // No line break behind the name, an empty thought, thoughts repeated, opened twice, left open.
        ("<|channel>thought<channel|>Hi", vec![text("Hi")]),
        ("<|channel>thoughtso<channel|>Hi", vec![thought("so"), text("Hi")]),
        ("<|channel>thought\n<channel|>Hi<|channel>thought\n<channel|>", vec![text("Hi")]),
        ("<|channel><|channel>thought\n<channel|>Hi", vec![text("Hi")]),
        ("<|channel>thought\nand then", vec![thought("and then")]),
        ("<|channel>tho", vec![thought("tho")]),
        ("<|channel>Straight on.<channel|>Hi", vec![thought("Straight on."), text("Hi")]),
        // Stray markers.
        ("Hi<channel|>", vec![text("Hi")]),
        ("Hi<channel|><channel|> there<tool_call|>.", vec![text("Hi there.")]),
        // Ends of a turn, those of Gemma 3 included.
        ("Hi<turn|>\n<|turn>user\nmore", vec![text("Hi")]),
        ("Hi<end_of_turn>\n<start_of_turn>user", vec![text("Hi")]),
        ("Hi<eos>x", vec![text("Hi")]),
        // What only looks like a marker.
        ("a < b <| c <|chan", vec![text("a < b <| c <|chan")]),
    ] {
        assert_eq!(events([output]), expected, "{output}");
    }
}

#[test]
fn tool_calls_become_json() {
    for (body, name, json) in [
        (r#"get_time{city:<|"|>San Francisco<|"|>}"#, "get_time", r#"{"city":"San Francisco"}"#),
        ("empty_args{}", "empty_args", "{}"),
        ("special{arg1:42}", "special", r#"{"arg1":42}"#),
        ("special{arg1:-7,b:3.14,c:1.5e10}", "special", r#"{"arg1":-7,"b":3.14,"c":1.5e10}"#),
        ("t{a:true,b:false,c:null}", "t", r#"{"a":true,"b":false,"c":null}"#),
        (
            r#"todo{todos:[<|"|>buy milk<|"|>,<|"|>walk dog<|"|>],n:[]}"#,
            "todo",
            r#"{"todos":["buy milk","walk dog"],"n":[]}"#,
        ),
        (
            r#"set{config:{theme:<|"|>dark<|"|>,count:3,more:{}}}"#,
            "set",
            r#"{"config":{"theme":"dark","count":3,"more":{}}}"#,
        ),
        (
            "say{text:<|\"|>a \"quoted\"\nline, {with} [all] <tool_call|> of it: <|\"|>}",
            "say",
            r#"{"text":"a \"quoted\"\nline, {with} [all] <tool_call|> of it: "}"#,
        ),
        (
            r#"loose{ a : .5 , "b" : "c" , <|"|>d e<|"|>: True }"#,
            "loose",
            r#"{"a":0.5,"b":"c","d e":true}"#,
        ),
    ] {
        let output = format!("<|tool_call>call:{body}<tool_call|>");
        assert_eq!(events([output.as_str()]), [call(name, json)], "{body}");
        serde_json::from_str::<serde_json::Value>(json).unwrap();
    }
}

#[test]
fn calls_stand_beside_text_thoughts_and_each_other() {
    let first = r#"<|tool_call>call:time{city:<|"|>London<|"|>}<tool_call|>"#;
    let second = "<|tool_call>call:weather{n:1}<tool_call|>";
    let calls = [call("time", r#"{"city":"London"}"#), call("weather", r#"{"n":1}"#)];
    assert_eq!(events([first, second, "<|tool_response>"]), calls);
    let with_thought = ["<|channel>thought\nhm\n<channel|>Let me see.", first];
    let expected = [thought("hm"), text("Let me see."), calls[0].clone()];
    assert_eq!(events(with_thought), expected);
    // The model stops thinking by calling, and leaves the closing marker out.
    let unclosed =
        ["<|channel>thought\nhm", "<|tool_call>call:weather{n:1}<|tool_response>ignored"];
    assert_eq!(events(unclosed), [thought("hm"), calls[1].clone()]);
    assert_eq!(events(["<|tool_call>call:weather{n:1}"]), [calls[1].clone()]);
}

#[test]
fn unreadable_calls_are_text() {
    let deep = format!("call:f{{a:{}", "[".repeat(100_000));
    for body in [
        "call:f{a:<|\"|>open",
        "call:f{a:}",
        "call:f{a:1,}",
        "call:f{a:1}}",
        "call:f[1]",
        "call:{}",
        "call:f{a b}",
        "call:f{a:word}",
        "call:f{a:inf}",
        "nonsense",
        deep.as_str(),
    ] {
        let output = format!("<|tool_call>{body}");
        assert_eq!(events([output.as_str()]), [text(&output)]);
    }
    let closed = "<|tool_call>call:f{a:1,}<tool_call|>";
    assert_eq!(events([closed, " so"]), [text(&format!("{closed} so"))]);
}

#[test]
fn a_prompt_may_have_opened_the_thoughts() {
    let mut parser = OutputParser::after("<|turn>model\n<|channel>thought\n");
    let mut raw = Vec::new();
    parser.push("so<channel|>Hi", &mut raw);
    assert_eq!(join(raw), [thought("so"), text("Hi")]);
    for closed in ["<|channel>thought\n<channel|>", "<|turn>model\n", "a thought\n"] {
        let mut raw = Vec::new();
        OutputParser::after(closed).push("Hi", &mut raw);
        assert_eq!(raw, [text("Hi")], "{closed}");
    }
}

#[test]
fn nothing_is_held_back_without_need() {
    let mut parser = OutputParser::default();
    let mut raw = Vec::new();
    parser.push("Hello <b", &mut raw);
    assert_eq!(raw, [text("Hello ")]);
    parser.push("r>", &mut raw);
    assert_eq!(join(raw), [text("Hello <br>")]);
}

#[test]
fn a_stray_marker_leaves_no_marker_in_any_event() {
    assert_eq!(given(["<eo<channel|>s>"]), [text("<eo"), text("s>")]);
}

proptest! {
    #[test]
    fn where_the_stream_is_cut_changes_nothing(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<|channel>", "thought", "\n", "<channel|>", "<|tool_call>", "<tool_call|>", "call:f{",
            "a:1", "}", "<|\"|>", ",", "b:", "Hello", " wörld", "<", "|", "<|", "🦙", "<turn|>",
            "<|tool_response>", "<eo", "s>", "[", "]", "true",
        ]), 0..24),
        cuts in prop::collection::vec(0_usize..400, 0..12),
    ) {
        let whole = pieces.concat();
        let mut places: Vec<usize> =
            cuts.into_iter().filter(|at| whole.is_char_boundary(*at)).collect();
        places.extend([0, whole.len()]);
        places.sort_unstable();
        let portions = places.windows(2).map(|pair| &whole[pair[0]..pair[1]]);
        let at_once = events([whole.as_str()]);
        prop_assert_eq!(&events(portions), &at_once);
        let letters: Vec<String> = whole.chars().map(String::from).collect();
        prop_assert_eq!(&events(letters.iter().map(String::as_str)), &at_once);
        // A stray closing marker is dropped, and what was on its sides may spell another one when joined.
        for event in given([whole.as_str()]) {
            if let Event::Text(text) | Event::Thought(text) = event {
                let marker = markers::OUTSIDE.iter().find(|m| text.contains(**m));
                prop_assert!(marker.is_none() || text.contains(CALL_OPEN), "{} in {}", marker.unwrap(), text);
            }
        }
    }
}
