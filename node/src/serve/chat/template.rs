//! The checkpoint's chat template.

use super::Message;
use assay_kernels::Checkpoint;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};
use serde_json::{Map, json};

/// Steps that a template may take; a conversation of a thousand messages takes some millions.
const FUEL: u64 = 20_000_000;
const NAME: &str = "chat_template";
/// Where a checkpoint keeps its template.
const FILE: &str = "chat_template.jinja";

/// Why there is no prompt.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The checkpoint has none.
    #[error(
        "CK044 no-chat-template: this checkpoint cannot chat; put the model's chat_template.jinja beside \
         config.json or name it with --chat-template, or ask for plain completions"
    )]
    Absent,
    /// The template is not one.
    #[error("the checkpoint's chat template does not parse: {0}; fetch chat_template.jinja again")]
    Broken(String),
    /// The template refused the conversation.
    #[error("the chat template refuses this conversation: {0}")]
    Refused(String),
}

/// What a prompt is made of.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// The messages so far.
    pub messages: Vec<Message>,
    /// Tools as clients declare them: `{type: "function", function: {name, description, parameters}}`.
    pub tools: Vec<serde_json::Value>,
    /// Whether the model shall think before it answers.
    pub thinking: bool,
    /// Further variables of the template.
    pub variables: Map<String, serde_json::Value>,
}

/// A chat template, ready to render.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// A template from its source, with the special tokens of a checkpoint; without a source the
    /// template that came with it: `chat_template.jinja`, or the key of that name in
    /// `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Absent`] and [`TemplateError::Broken`].
    pub fn of(checkpoint: &Checkpoint, source: Option<String>) -> Result<Self, TemplateError> {
        let config = checkpoint.file("tokenizer_config.json").unwrap_or(b"{}");
        let config: serde_json::Value = serde_json::from_slice(config).unwrap_or_default();
        let own = || Some(String::from_utf8_lossy(checkpoint.file(FILE)?).into_owned());
        let source = source.or_else(own).or_else(|| configured(&config));
        let source = source.ok_or(TemplateError::Absent)?;
        let token = |key: &str, default: &str| {
            let token = &config[key];
            let text = token.as_str().or_else(|| token["content"].as_str());
            text.unwrap_or(default).to_owned()
        };
        Self::new(source, token("bos_token", "<bos>"), token("eos_token", "<eos>"))
    }

    /// A template from its source.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Broken`].
    pub fn new(source: String, bos: String, eos: String) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        // As `transformers` sets its own engine up.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| TemplateError::Broken(describe(&error)))?);
        environment.set_fuel(Some(FUEL));
        environment.add_function("raise_exception", raise);
        environment.add_filter("tojson", to_json);
        environment
            .add_template_owned(NAME, source)
            .map_err(|error| TemplateError::Broken(describe(&error)))?;
        Ok(Self { environment, bos, eos })
    }

    /// The prompt for the model's next turn.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Refused`] with the template's own words.
    pub fn render(&self, conversation: &Conversation) -> Result<String, TemplateError> {
        let messages: Vec<_> = conversation.messages.iter().map(Message::value).collect();
        let mut variables = conversation.variables.clone();
        variables.insert("messages".into(), messages.into());
        variables.insert("add_generation_prompt".into(), true.into());
        variables.insert("enable_thinking".into(), conversation.thinking.into());
        variables.insert("bos_token".into(), self.bos.clone().into());
        variables.insert("eos_token".into(), self.eos.clone().into());
        if !conversation.tools.is_empty() {
            variables.insert("tools".into(), json!(conversation.tools));
        }
        let rendered = self
            .environment
            .get_template(NAME)
            .and_then(|template| template.render(Value::from(Serde(&variables))));
        rendered.map_err(|error| TemplateError::Refused(describe(&error)))
    }
}

/// The template in a tokenizer's configuration: a text, or a list of named ones.
fn configured(config: &serde_json::Value) -> Option<String> {
    let entry = &config["chat_template"];
    let named = || {
        let list = entry.as_array()?;
        let default = list.iter().find(|item| item["name"] == "default").or(list.first());
        default?["template"].as_str()
    };
    entry.as_str().or_else(named).map(str::to_owned)
}

/// `raise_exception` of the templates' usual surroundings.
fn raise(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// `tojson` as templates use it: nothing is escaped for HTML.
fn to_json(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent").unwrap_or_default();
    let bad = |error: serde_json::Error| {
        Error::new(ErrorKind::BadSerialization, "cannot write as JSON").with_source(error)
    };
    let text = match indent {
        None => spaced_json(&serde_json::to_value(&value).map_err(bad)?),
        Some(width) => {
            let indent = " ".repeat(width.min(16));
            let mut out = Vec::new();
            let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            let mut writer = serde_json::Serializer::with_formatter(&mut out, formatter);
            serde::Serialize::serialize(&value, &mut writer).map_err(bad)?;
            String::from_utf8_lossy(&out).into_owned()
        }
    };
    Ok(Value::from_safe_string(text))
}

/// JSON with a space behind commas and colons, as Python writes it.
fn spaced_json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(spaced_json).collect();
            format!("[{}]", items.join(", "))
        }
        serde_json::Value::Object(fields) => {
            let field = |(key, value): (&String, &serde_json::Value)| {
                format!("{}: {}", serde_json::Value::from(key.as_str()), spaced_json(value))
            };
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// An error with its place, in one line.
fn describe(error: &Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) if error.detail().is_none() || error.kind() != ErrorKind::InvalidOperation => {
            format!("{what} (line {line})")
        }
        _ => what,
    }
}
