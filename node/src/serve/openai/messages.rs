//! Messages and tools as clients write them, checked.

use super::ApiError;
use super::fields::{Chat, Content, Part, ToolChoice, WireCall, WireMessage, WireTool};
use crate::serve::chat::{Message, Role};
use crate::serve::grammar::Tool;
use crate::serve::output::ToolCall;
use serde_json::{Map, Value, json};

/// Most tools in one request, and most characters of a tool's name, as OpenAI has them.
const TOOLS_MAX: usize = 128;
const TOOL_NAME_MAX: usize = 64;

/// What a model may do with the tools of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Choice {
    /// Nothing.
    None,
    /// Call them if it wants.
    Auto,
    /// Call one or more of these.
    Required(Vec<Tool>),
}

/// The conversation of a request.
pub(super) fn messages(wire: Vec<WireMessage>) -> Result<Vec<Message>, ApiError> {
    if wire.is_empty() {
        return Err(ApiError::field("messages", "messages: at least one is needed"));
    }
    wire.into_iter().enumerate().map(|(i, one)| message(&format!("messages[{i}]"), one)).collect()
}

fn message(at: &str, wire: WireMessage) -> Result<Message, ApiError> {
    let role = match wire.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let param = format!("{at}.role");
            let roles = "system, developer, user, assistant and tool";
            return Err(ApiError::field(&param, format!("{param}: `{other}` is none of {roles}")));
        }
    };
    let calls = wire.tool_calls.unwrap_or_default();
    let nothing = wire.content.is_none();
    if nothing && (role != Role::Assistant || calls.is_empty()) {
        let param = format!("{at}.content");
        return Err(ApiError::field(&param, format!("{param}: it is missing")));
    }
    if role == Role::Tool && wire.tool_call_id.is_none() {
        let param = format!("{at}.tool_call_id");
        return Err(ApiError::field(&param, format!("{param}: a tool's message needs it")));
    }
    Ok(Message {
        role,
        content: content(at, wire.content)?,
        reasoning: wire.reasoning_content,
        calls: calls.into_iter().map(|one| call(at, one)).collect::<Result<_, _>>()?,
        call_id: wire.tool_call_id,
        name: wire.name,
    })
}

fn content(at: &str, content: Option<Content>) -> Result<String, ApiError> {
    let text = |(i, part): (usize, Part)| {
        let param = format!("{at}.content[{i}]");
        match part.kind.as_str() {
            "text" => part.text,
            "refusal" => part.refusal,
            other => {
                let message = format!("{param}: `{other}` is not text, and this model reads text");
                return Err(ApiError::unsupported(&param, message));
            }
        }
        .ok_or_else(|| ApiError::field(&param, format!("{param}: it has no text")))
    };
    match content {
        None => Ok(String::new()),
        Some(Content::Text(whole)) => Ok(whole),
        Some(Content::Parts(parts)) => {
            let parts: Vec<String> =
                parts.into_iter().enumerate().map(text).collect::<Result<_, _>>()?;
            Ok(parts.concat())
        }
    }
}

fn call(at: &str, wire: WireCall) -> Result<(String, ToolCall), ApiError> {
    let arguments = match wire.function.arguments {
        Value::String(text) if text.trim().is_empty() => "{}".to_owned(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    if serde_json::from_str::<Map<String, Value>>(&arguments).is_err() {
        let param = format!("{at}.tool_calls");
        let message =
            format!("{param}: the arguments of {} are no JSON object", wire.function.name);
        return Err(ApiError::field(&param, message));
    }
    Ok((wire.id, ToolCall { name: wire.function.name, arguments }))
}

/// The tools of a request, as the template and as the grammar want them, and what may be done with
/// them.
pub(super) fn tools(chat: &Chat) -> Result<(Vec<Value>, Vec<Tool>, Choice), ApiError> {
    if chat.functions.is_some() || chat.function_call.is_some() {
        let message =
            "functions and function_call are not there any more; use tools and tool_choice";
        return Err(ApiError::unsupported("functions", message));
    }
    let wire = chat.tools.as_deref().unwrap_or_default();
    if wire.len() > TOOLS_MAX {
        let message = format!("tools: {} are more than {TOOLS_MAX}", wire.len());
        return Err(ApiError::field("tools", message));
    }
    let (mut declared, mut tools) = (Vec::new(), Vec::new());
    for (i, one) in wire.iter().enumerate() {
        let (declaration, tool) = tool(&format!("tools[{i}]"), one)?;
        declared.push(declaration);
        tools.push(tool);
    }
    let choice = choice(chat.tool_choice.as_ref(), &tools)?;
    match choice {
        Choice::None => Ok((Vec::new(), Vec::new(), choice)),
        _ => Ok((declared, tools, choice)),
    }
}

fn tool(at: &str, wire: &WireTool) -> Result<(Value, Tool), ApiError> {
    let function = wire.function.as_ref().filter(|_| wire.kind == "function");
    let Some(function) = function else {
        let message = format!("{at}: only tools of type function are there");
        return Err(ApiError::unsupported(at, message));
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    let name = &function.name;
    if name.is_empty() || name.len() > TOOL_NAME_MAX || !name.chars().all(plain) {
        let param = format!("{at}.function.name");
        let message = format!("{param}: up to {TOOL_NAME_MAX} letters, digits, `_`, `-` and `.`");
        return Err(ApiError::field(&param, message));
    }
    let parameters = function.parameters.clone().unwrap_or_else(|| {
        Map::from_iter([("type".into(), "object".into()), ("properties".into(), json!({}))])
    });
    let parameters = Value::Object(parameters);
    let declaration = json!({"type": "function", "function": {
        "name": name,
        "description": function.description.clone().unwrap_or_default(),
        "parameters": parameters,
    }});
    Ok((declaration, Tool { name: name.clone(), parameters }))
}

fn choice(wire: Option<&ToolChoice>, tools: &[Tool]) -> Result<Choice, ApiError> {
    let refuse = |message: String| ApiError::field("tool_choice", message);
    match wire {
        Some(ToolChoice::Mode(mode)) if mode == "none" => Ok(Choice::None),
        None if tools.is_empty() => Ok(Choice::None),
        Some(ToolChoice::Mode(mode)) if mode == "auto" && tools.is_empty() => Ok(Choice::None),
        None => Ok(Choice::Auto),
        Some(_) if tools.is_empty() => Err(refuse("tool_choice: there are no tools".into())),
        Some(ToolChoice::Mode(mode)) => match mode.as_str() {
            "auto" => Ok(Choice::Auto),
            "required" => Ok(Choice::Required(tools.to_vec())),
            other => Err(refuse(format!(
                "tool_choice: `{other}` is none of none, auto, required and a named function"
            ))),
        },
        Some(ToolChoice::Named { function }) => {
            let found = tools.iter().find(|tool| tool.name == function.name);
            let tool = found.ok_or_else(|| {
                refuse(format!("tool_choice: no tool is called `{}`", function.name))
            })?;
            Ok(Choice::Required(vec![tool.clone()]))
        }
    }
}
