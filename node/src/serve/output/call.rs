//! A tool call as the model spells it, and as clients read it.

use super::Event;
use super::markers::CALL_OPEN;
use super::value::{Reader, Unreadable};

/// A call of a tool that the model asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments as the text of a JSON object, keys in the model's order.
    pub arguments: String,
}

impl ToolCall {
    /// Reads `call:NAME{…}`.
    pub(super) fn read(body: &str) -> Result<Self, Unreadable> {
        let body = body.trim();
        let body = body.strip_prefix("call:").unwrap_or(body);
        let open = body.find('{').ok_or(Unreadable)?;
        let name = body[..open].trim();
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(Unreadable);
        }
        let arguments = Reader::object(&body[open..])?;
        Ok(Self { name: name.to_owned(), arguments })
    }
}

/// The event of a call whose body is `body`, ended by `closing`.
pub(super) fn event(body: &str, closing: &str) -> Event {
    match ToolCall::read(body) {
        Ok(call) => Event::Call(call),
        Err(Unreadable) => Event::Text(format!("{CALL_OPEN}{body}{closing}")),
    }
}
