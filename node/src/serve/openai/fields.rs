//! Requests as they are written. Fields that are not named here are ignored.

use super::ApiError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Reads the fields of `T` from a request; an error names the field.
pub(super) fn read<T: DeserializeOwned>(body: &Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(body).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        match path.as_str() {
            "." => ApiError::bad(reason),
            path => ApiError::field(path, format!("{path}: {reason}")),
        }
    })
}

/// One text or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// What both kinds of completion have. `top_k`, `min_p` and `repetition_penalty` are no part of
/// OpenAI's protocol, but usual.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Common {
    pub(super) model: Option<String>,
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<f32>,
    pub(super) top_p: Option<f32>,
    pub(super) top_k: Option<i64>,
    pub(super) min_p: Option<f32>,
    pub(super) repetition_penalty: Option<f32>,
    pub(super) frequency_penalty: Option<f32>,
    pub(super) presence_penalty: Option<f32>,
    pub(super) logit_bias: Option<BTreeMap<String, f32>>,
    pub(super) seed: Option<i64>,
    pub(super) stop: Option<OneOrMany>,
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    pub(super) n: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamOptions {
    pub(super) include_usage: Option<bool>,
}

/// What only `/v1/completions` has.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Completion {
    pub(super) prompt: Option<Prompt>,
    pub(super) logprobs: Option<usize>,
    pub(super) echo: Option<bool>,
    pub(super) suffix: Option<String>,
    pub(super) best_of: Option<u64>,
}

/// A prompt as text or token ids, alone or in a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u32>>),
}

/// What only `/v1/chat/completions` has.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Chat {
    pub(super) messages: Vec<WireMessage>,
    pub(super) max_completion_tokens: Option<u64>,
    pub(super) tools: Option<Vec<WireTool>>,
    pub(super) tool_choice: Option<ToolChoice>,
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) response_format: Option<ResponseFormat>,
    pub(super) logprobs: Option<bool>,
    pub(super) top_logprobs: Option<usize>,
    pub(super) reasoning_effort: Option<String>,
    pub(super) chat_template_kwargs: Option<Map<String, Value>>,
    pub(super) functions: Option<Value>,
    pub(super) function_call: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WireMessage {
    pub(super) role: String,
    pub(super) content: Option<Content>,
    pub(super) name: Option<String>,
    pub(super) tool_calls: Option<Vec<WireCall>>,
    pub(super) tool_call_id: Option<String>,
    #[serde(alias = "reasoning")]
    pub(super) reasoning_content: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Part {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) text: Option<String>,
    pub(super) refusal: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WireCall {
    pub(super) id: String,
    pub(super) function: CalledFunction,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct CalledFunction {
    pub(super) name: String,
    pub(super) arguments: Value,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WireTool {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) function: Option<DeclaredFunction>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct DeclaredFunction {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) parameters: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum ToolChoice {
    Mode(String),
    Named { function: NamedFunction },
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct NamedFunction {
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ResponseFormat {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) json_schema: Option<NamedSchema>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct NamedSchema {
    pub(super) schema: Option<Value>,
}
