//! The grammar of tool calls: the model's own spelling, with each tool's parameters.

use serde_json::{Map, Value};
use std::fmt::Write;

/// Schemas nested deeper than this accept any value.
const DEPTH_MAX: usize = 12;

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// JSON schema of its arguments.
    pub parameters: Value,
}

/// The markers of a vocabulary as the grammar spells them.
pub(super) struct Markers {
    pub(super) open: String,
    pub(super) close: String,
    pub(super) quote: String,
    /// What may stand between two quotes.
    pub(super) text: &'static str,
}

/// Rules for `call`, a call of any of `tools`.
pub(super) fn rules(tools: &[Tool], markers: &Markers) -> String {
    let Markers { open, close, quote, text } = markers;
    let mut rules = Rules { text: String::new(), count: 0, quote };
    let calls: Vec<String> = tools
        .iter()
        .map(|tool| {
            let arguments = match tool.parameters.get("properties") {
                Some(Value::Object(_)) => rules.value(&tool.parameters, 0),
                _ => "object".to_owned(),
            };
            format!("{} {arguments}", quoted(&tool.name))
        })
        .collect();
    let calls = calls.join(" | ");
    let _ = write!(
        rules.text,
        r#"call: {open} "call:" ({calls}) {close}
string: {quote} TEXT {quote}
value: string | NUMBER | "true" | "false" | "null" | array | object
array: "[" [value ("," value)*] "]"
object: "{{" [pair ("," pair)*] "}}"
pair: KEY ":" value
TEXT: {text}
KEY: /[A-Za-z_][A-Za-z0-9_]{{0,63}}/
INTEGER: /-?(0|[1-9][0-9]{{0,17}})/
NUMBER: /-?(0|[1-9][0-9]{{0,17}})(\.[0-9]{{1,17}})?([eE][+-]?[0-9]{{1,3}})?/
"#
    );
    rules.text
}

/// Rules written so far.
struct Rules<'a> {
    text: String,
    count: usize,
    quote: &'a str,
}

impl Rules<'_> {
    /// The name of a new rule with this body.
    fn rule(&mut self, body: &str) -> String {
        let name = format!("r{}", self.count);
        self.count += 1;
        let _ = writeln!(self.text, "{name}: {body}");
        name
    }

    /// What matches the values of a schema.
    fn value(&mut self, schema: &Value, depth: usize) -> String {
        let Some(schema) = schema.as_object().filter(|_| depth < DEPTH_MAX) else {
            return "value".to_owned();
        };
        let choices = |key: &str| schema.get(key).and_then(Value::as_array);
        if let Some(values) = choices("enum") {
            return alternatives(values.iter().map(|value| self.literal(value)));
        }
        if let Some(value) = schema.get("const") {
            return self.literal(value);
        }
        if let Some(schemas) = choices("anyOf").or_else(|| choices("oneOf")) {
            let schemas: Vec<String> = schemas.iter().map(|s| self.value(s, depth + 1)).collect();
            return alternatives(schemas);
        }
        let mut types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if types.is_empty() && schema.contains_key("properties") {
            types.push("object");
        }
        if schema.get("nullable") == Some(&Value::Bool(true)) && !types.is_empty() {
            types.push("null");
        }
        let types: Vec<String> =
            types.into_iter().map(|kind| self.typed(kind, schema, depth)).collect();
        if types.is_empty() { "value".to_owned() } else { alternatives(types) }
    }

    /// A value that must come exactly so.
    fn literal(&self, value: &Value) -> String {
        match value {
            Value::String(text) => format!("({0} {1} {0})", self.quote, quoted(text)),
            other => quoted(&other.to_string()),
        }
    }

    fn typed(&mut self, kind: &str, schema: &Map<String, Value>, depth: usize) -> String {
        match kind.to_ascii_lowercase().as_str() {
            "string" => "string".to_owned(),
            "integer" => "INTEGER".to_owned(),
            "number" => "NUMBER".to_owned(),
            "boolean" => r#"("true" | "false")"#.to_owned(),
            "null" => r#""null""#.to_owned(),
            "array" => match schema.get("items") {
                Some(items) => {
                    let item = self.value(items, depth + 1);
                    self.rule(&format!(r#""[" [{item} ("," {item})*] "]""#))
                }
                None => "array".to_owned(),
            },
            "object" => match schema.get("properties").and_then(Value::as_object) {
                Some(properties) => self.object(properties, schema.get("required"), depth),
                None => "object".to_owned(),
            },
            _ => "value".to_owned(),
        }
    }

    /// An object with the given keys in alphabetical order, as the declarations have them. Rule
    /// `first` stands where no key came before, rule `rest` where a comma must come first.
    fn object(
        &mut self,
        properties: &Map<String, Value>,
        required: Option<&Value>,
        depth: usize,
    ) -> String {
        let required = required.and_then(Value::as_array).cloned().unwrap_or_default();
        let mut keys: Vec<&String> = properties.keys().collect();
        keys.sort_unstable_by_key(|key| std::cmp::Reverse(*key));
        let (mut first, mut rest) = (r#""""#.to_owned(), r#""""#.to_owned());
        for key in keys {
            let value = self.value(&properties[key], depth + 1);
            let pair = self.rule(&format!("{} {value}", quoted(&format!("{key}:"))));
            let needed = required.iter().any(|name| name == key);
            let (before, after) = (first, rest.clone());
            first = match needed {
                true => self.rule(&format!("{pair} {after}")),
                false => self.rule(&format!("{pair} {after} | {before}")),
            };
            rest = match needed {
                true => self.rule(&format!(r#""," {pair} {after}"#)),
                false => self.rule(&format!(r#""," {pair} {after} | {after}"#)),
            };
        }
        self.rule(&format!(r#""{{" {first} "}}""#))
    }
}

fn alternatives(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("({})", items.join(" | "))
}

/// A text as the grammar's notation has it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
