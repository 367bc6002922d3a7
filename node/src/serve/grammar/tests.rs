use super::*;
use assay_kernels::Checkpoint;

fn grammars() -> (Grammars, Arc<Vocabulary>) {
    let checkpoint = Checkpoint::embedded().unwrap();
    let vocabulary =
        Arc::new(Vocabulary::new(checkpoint.tokenizer().unwrap(), checkpoint.config().vocab));
    (Grammars::new(Arc::clone(&vocabulary), vec![1, 6]), vocabulary)
}

fn json_schema(schema: &Value) -> Result<Grammar, String> {
    grammars().0.grammar(&Shape { schema: Some(schema), ..Shape::default() })
}

/// Whether a grammar accepts a whole text, token by token, each of them unmasked.
fn accepts(mut grammar: Grammar, text: &str) -> bool {
    let (_, vocabulary) = grammars();
    let allows = |grammar: &mut Grammar, token: u32| {
        let mut logits = vec![0.0; vocabulary.size()];
        grammar.mask(&mut logits).unwrap();
        logits[token as usize] == 0.0
    };
    for token in vocabulary.encode(text).unwrap() {
        if !allows(&mut grammar, token) {
            return false;
        }
        grammar.accept(token).unwrap();
    }
    allows(&mut grammar, 1)
}

#[test]
fn json_follows_its_schema() {
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": false,
    });
    for (text, expected) in [
        (r#"{"name": "Ruth", "age": 30}"#, true),
        (r#"{"name":"🦙","age":-1}"#, true),
        ("{\n  \"name\": \"Ruth\",\n  \"age\": 30\n}", true),
        (r#"{"name": "Ruth"}"#, false),
        (r#"{"name": "Ruth", "age": "old"}"#, false),
        (r#"{"name": "Ruth", "age": 30} more"#, false),
        ("And it came to pass", false),
    ] {
        assert_eq!(accepts(json_schema(&schema).unwrap(), text), expected, "{text}");
    }
    let compact = |text: &str| {
        let shape = Shape { schema: Some(&schema), compact: true, ..Shape::default() };
        accepts(grammars().0.grammar(&shape).unwrap(), text)
    };
    assert!(compact(r#"{"name":"Ruth","age":30}"#));
    assert!(!compact(r#"{"name": "Ruth", "age": 30}"#));
    let any = json!({"type": "object"});
    assert!(accepts(json_schema(&any).unwrap(), r#"{"a": [1, {"b": null}]}"#));
    assert!(!accepts(json_schema(&any).unwrap(), "[1]"));
}

#[test]
fn an_unusable_schema_is_refused() {
    for schema in [
        json!("string"),
        json!({"type": "no such type"}),
        json!({"type": "string", "pattern": "(unclosed"}),
        json!({"$ref": "#/nowhere"}),
    ] {
        assert!(json_schema(&schema).is_err(), "{schema}");
    }
}

#[test]
fn calls_follow_their_tools() {
    let parameters = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "unit": {"type": "string", "enum": ["C", "F"]},
            "exact": {"type": ["boolean", "null"]},
            "places": {"type": "array", "items": {"type": "object", "properties": {
                "lat": {"type": "number"}}, "required": ["lat"]}},
        },
        "required": ["city"],
    });
    let tools = [
        Tool { name: "get_weather".into(), parameters },
        Tool { name: "now".into(), parameters: json!({"type": "object", "properties": {}}) },
        Tool { name: "free".into(), parameters: json!({}) },
    ];
    let (grammars, _) = grammars();
    let grammar = |parallel_calls| {
        let shape = Shape { tools: &tools, parallel_calls, ..Shape::default() };
        grammars.grammar(&shape).unwrap()
    };
    let call = |text: &str| format!("<|tool_call>call:{text}<tool_call|>");
    for (text, expected) in [
        (r#"get_weather{city:<|"|>Paris<|"|>}"#, true),
        (r#"get_weather{city:<|"|>Paris<|"|>,unit:<|"|>C<|"|>}"#, true),
        (
            r#"get_weather{city:<|"|>a, b: {c}<|"|>,days:3,exact:null,places:[{lat:-1.5e3},{lat:2}]}"#,
            true,
        ),
        ("now{}", true),
        (r#"free{a:[true,{b:<|"|>x<|"|>}],n:1.5}"#, true),
        (r#"get_weather{}"#, false),
        (r#"get_weather{days:3}"#, false),
        (r#"get_weather{city:3}"#, false),
        (r#"get_weather{city:<|"|>Paris<|"|>,unit:<|"|>K<|"|>}"#, false),
        ("now{x:1}", false),
        ("later{}", false),
    ] {
        let text = call(text);
        assert_eq!(accepts(grammar(false), &text), expected, "{text}");
        if expected {
            let mut events = Vec::new();
            crate::serve::output::OutputParser::default().push(&text, &mut events);
            assert!(matches!(events[0], crate::serve::output::Event::Call(_)), "{events:?}");
        }
    }
    let twice = call("now{}") + &call("now{}");
    assert!(accepts(grammar(true), &twice) && !accepts(grammar(false), &twice));
    let schema = json!({"type": "object"});
    let either = Shape { schema: Some(&schema), tools: &tools, ..Shape::default() };
    assert!(accepts(grammars.grammar(&either).unwrap(), "{}"));
    assert!(accepts(grammars.grammar(&either).unwrap(), &call("now{}")));
}
