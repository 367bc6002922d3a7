//! A conversation's messages as a template sees them.

use super::guarded;
use crate::serve::output::ToolCall;
use serde_json::{Map, Value, json};

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Rules for the whole conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
}

impl Role {
    /// The name that templates and clients use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// What the model thought before it, where that is known.
    pub reasoning: Option<String>,
    /// Tools that the model called, each with the id that the result refers to.
    pub calls: Vec<(String, ToolCall)>,
    /// The call that a tool's message answers.
    pub call_id: Option<String>,
    /// The tool's name, or the speaker's.
    pub name: Option<String>,
}

impl Message {
    /// A message that only has text.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        let content = content.into();
        Self { role, content, reasoning: None, calls: Vec::new(), call_id: None, name: None }
    }

    /// The message as templates expect it, with the arguments of calls as mappings. Markers in what
    /// people and tools wrote stay text.
    pub(super) fn value(&self) -> Value {
        let mut fields = Map::new();
        let content = match self.role {
            Role::Assistant => self.content.clone(),
            _ => guarded(&self.content),
        };
        fields.insert("role".into(), self.role.name().into());
        fields.insert("content".into(), content.into());
        if let Some(reasoning) = &self.reasoning {
            fields.insert("reasoning_content".into(), reasoning.clone().into());
        }
        if let Some(id) = &self.call_id {
            fields.insert("tool_call_id".into(), id.clone().into());
        }
        if let Some(name) = &self.name {
            fields.insert("name".into(), guarded(name).into());
        }
        if !self.calls.is_empty() {
            let calls = self.calls.iter().map(|(id, call)| {
                let arguments: Value =
                    serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
                json!({
                    "id": id, "type": "function",
                    "function": {"name": call.name, "arguments": arguments},
                })
            });
            fields.insert("tool_calls".into(), calls.collect());
        }
        Value::Object(fields)
    }
}
