//! From a request's fields to a task for the engine.

use super::ApiError;
use super::fields::{self, Chat, Common, Completion, Prompt};
use super::messages::{Choice, messages, tools};
use crate::serve::assemble::Assembler;
use crate::serve::chat::{Conversation, prompt_tokens};
use crate::serve::grammar::{Grammar, Shape, Tool};
use crate::serve::sampling::Sampling;
use crate::serve::service::Service;
use crate::serve::worker::Task;
use assay_kernels::SamplingParams;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most rivals whose logprobs can be asked for.
const TOP_LOGPROBS_MAX: usize = 20;
/// Most stop strings, and the longest, in bytes.
const STOPS_MAX: usize = 16;
const STOP_BYTES_MAX: usize = 1024;
/// More bytes than any token has.
const TOKEN_BYTES_MAX: usize = 128;
/// Most tokens with a bias.
const BIASES_MAX: usize = 1024;
/// Tokens of a plain completion that does not say how many it wants, as OpenAI has it.
const COMPLETION_TOKENS: u64 = 16;

/// A task and how its reply is to be written.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) task: Task,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// Whether the reply has logprobs.
    pub(super) logprobs: bool,
}

/// A request of `/v1/chat/completions`.
pub(super) fn chat(service: &Service, body: &Value) -> Result<Prepared, ApiError> {
    let common: Common = fields::read(body)?;
    let chat: Chat = fields::read(body)?;
    check_common(service, &common)?;
    let template = service.template.as_ref().map_err(|error| ApiError::bad(error.to_string()))?;
    let (declared, known, choice) = tools(&chat)?;
    let thinking = thinking(service, &chat);
    let conversation = Conversation {
        messages: messages(chat.messages.clone())?,
        tools: declared,
        thinking,
        variables: chat.chat_template_kwargs.clone().unwrap_or_default(),
    };
    let rendered = template
        .render(&conversation)
        .map_err(|error| ApiError::field("messages", error.to_string()))?;
    let prompt = encode(service, "messages", &rendered)?;
    let asked = chat.max_completion_tokens.or(common.max_tokens);
    let most = room(service, "messages", prompt.len(), asked)?;
    let parallel = chat.parallel_tool_calls.unwrap_or(true);
    let grammar = grammar(service, &chat, &known, &choice, parallel, thinking)?;
    let logprobs = chat.logprobs.unwrap_or(false);
    let top = chat.top_logprobs.unwrap_or(0);
    if top > 0 && !logprobs {
        return Err(ApiError::field("top_logprobs", "top_logprobs needs logprobs to be true"));
    }
    let sampling = sampling(service, &common, logprobs.then_some(top))?;
    let plain = assembler(service, &common)?;
    let assembler = plain.chat(&rendered, parallel);
    Ok(prepared(&common, Task { prompt, most, sampling, grammar, assembler }))
}

/// A request of `/v1/completions`.
pub(super) fn completion(service: &Service, body: &Value) -> Result<Prepared, ApiError> {
    let common: Common = fields::read(body)?;
    let own: Completion = fields::read(body)?;
    check_common(service, &common)?;
    if own.echo == Some(true) {
        return Err(ApiError::unsupported("echo", "echo: the prompt is not repeated here"));
    }
    if own.suffix.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(ApiError::unsupported("suffix", "suffix: text is only continued here"));
    }
    if own.best_of.is_some_and(|count| count > 1) {
        return Err(ApiError::unsupported("best_of", "best_of: one completion is made, use 1"));
    }
    let prompt = prompt(service, own.prompt)?;
    let asked = Some(common.max_tokens.unwrap_or(COMPLETION_TOKENS));
    let most = room(service, "prompt", prompt.len(), asked)?;
    let sampling = sampling(service, &common, own.logprobs)?;
    let assembler = assembler(service, &common)?;
    Ok(prepared(&common, Task { prompt, most, sampling, grammar: None, assembler }))
}

fn prepared(common: &Common, task: Task) -> Prepared {
    let options = common.stream_options.as_ref();
    Prepared {
        stream: common.stream.unwrap_or(false),
        include_usage: options.and_then(|options| options.include_usage).unwrap_or(false),
        logprobs: task.sampling.logprobs.is_some(),
        task,
    }
}

fn check_common(service: &Service, common: &Common) -> Result<(), ApiError> {
    if let Some(asked) = common.model.as_deref().filter(|asked| *asked != service.name) {
        return Err(ApiError::no_model(asked, &service.name));
    }
    match common.n {
        None | Some(1) => Ok(()),
        Some(n) => {
            let message =
                format!("n: {n} answers cannot be made in one request; ask once for each");
            Err(ApiError::unsupported("n", message))
        }
    }
}

/// The tokens of a prompt's text. A text that is too long for any tokeniser to fit it into the context is
/// not even tried, because tokenising takes time.
fn encode(service: &Service, param: &str, text: &str) -> Result<Vec<u32>, ApiError> {
    let context = service.queue.context_tokens();
    if text.len() / TOKEN_BYTES_MAX > context {
        let message = format!(
            "the prompt has {} bytes, which is more than fits into a context of {context} tokens",
            text.len()
        );
        return Err(ApiError::too_long(param, message));
    }
    prompt_tokens(&service.vocabulary, service.bos, text)
        .map_err(|error| ApiError::field(param, error.to_string()))
}

/// The tokens of a plain prompt, with one BOS before text.
fn prompt(service: &Service, prompt: Option<Prompt>) -> Result<Vec<u32>, ApiError> {
    let one = |count: usize| match count {
        1 => Ok(()),
        _ => Err(ApiError::unsupported("prompt", "prompt: one prompt is taken per request")),
    };
    let encode = |text: &str| encode(service, "prompt", text);
    let tokens = match prompt {
        None => encode("")?,
        Some(Prompt::Text(text)) => encode(&text)?,
        Some(Prompt::Tokens(tokens)) => tokens,
        Some(Prompt::Texts(texts)) => {
            one(texts.len())?;
            encode(&texts.concat())?
        }
        Some(Prompt::TokenLists(lists)) => {
            one(lists.len())?;
            lists.concat()
        }
    };
    let size = service.vocabulary.size();
    if let Some(bad) = tokens.iter().find(|token| **token as usize >= size) {
        let message = format!("prompt: token {bad} is not below the vocabulary {size}");
        return Err(ApiError::field("prompt", message));
    }
    match tokens.is_empty() {
        true => Err(ApiError::field("prompt", "prompt: it has no tokens")),
        false => Ok(tokens),
    }
}

/// Most tokens that may be generated behind a prompt.
fn room(
    service: &Service,
    param: &str,
    prompt: usize,
    asked: Option<u64>,
) -> Result<usize, ApiError> {
    let context = service.queue.context_tokens();
    let left = context.saturating_sub(prompt);
    let asked = asked.map(|asked| usize::try_from(asked).unwrap_or(usize::MAX));
    match asked {
        Some(0) => Err(ApiError::field("max_tokens", "max_tokens: at least 1")),
        _ if left == 0 => Err(ApiError::too_long(
            param,
            format!(
                "the prompt has {prompt} tokens; this server's context holds {context}, with the answer"
            ),
        )),
        Some(asked) if asked > left => Err(ApiError::too_long(
            param,
            format!(
                "the prompt's {prompt} tokens and {asked} to generate do not fit into the context of \
                 {context}; ask for at most {left}"
            ),
        )),
        asked => Ok(asked.unwrap_or(left)),
    }
}

fn assembler(service: &Service, common: &Common) -> Result<Assembler, ApiError> {
    let stop = common.stop.clone().map(fields::OneOrMany::into_vec).unwrap_or_default();
    if stop.len() > STOPS_MAX || stop.iter().any(|text| text.len() > STOP_BYTES_MAX) {
        let message = format!("stop: at most {STOPS_MAX} strings of {STOP_BYTES_MAX} bytes");
        return Err(ApiError::field("stop", message));
    }
    let ends = Arc::clone(&service.ends);
    Ok(Assembler::plain(Arc::clone(&service.vocabulary), ends, stop))
}

fn sampling(
    service: &Service,
    common: &Common,
    logprobs: Option<usize>,
) -> Result<Sampling, ApiError> {
    let defaults = &service.defaults;
    let within = |name: &str, value: Option<f32>, low: f32, high: f32, default: f32| {
        let value = value.unwrap_or(default);
        match (low..=high).contains(&value) {
            true => Ok(value),
            false => {
                let message = format!("{name}: {value} is not within {low} to {high}");
                Err(ApiError::field(name, message))
            }
        }
    };
    if logprobs.is_some_and(|top| top > TOP_LOGPROBS_MAX) {
        let message = format!("logprobs: at most {TOP_LOGPROBS_MAX} tokens at each place");
        return Err(ApiError::field("top_logprobs", message));
    }
    let temperature = defaults.temperature.unwrap_or(1.0);
    let top_k = match common.top_k {
        // Some clients write -1 for "all".
        Some(-1) => 0,
        Some(k) => usize::try_from(k).map_err(|_| ApiError::field("top_k", "top_k: 0 or more"))?,
        None => defaults.top_k,
    };
    let params = SamplingParams {
        temperature: within("temperature", common.temperature, 0.0, 2.0, temperature)?,
        top_k,
        top_p: within("top_p", common.top_p, f32::MIN_POSITIVE, 1.0, defaults.top_p)?,
        min_p: within("min_p", common.min_p, 0.0, 0.999, defaults.min_p)?,
        repetition_penalty: within(
            "repetition_penalty",
            common.repetition_penalty,
            0.01,
            10.0,
            defaults.repetition_penalty,
        )?,
        seed: common.seed.map_or_else(random_seed, i64::cast_unsigned),
    };
    Ok(Sampling {
        params,
        frequency_penalty: within("frequency_penalty", common.frequency_penalty, -2.0, 2.0, 0.0)?,
        presence_penalty: within("presence_penalty", common.presence_penalty, -2.0, 2.0, 0.0)?,
        logit_bias: biases(service, common)?,
        suppress: defaults.suppress.clone(),
        logprobs,
    })
}

fn biases(service: &Service, common: &Common) -> Result<Vec<(u32, f32)>, ApiError> {
    let refuse = |message: String| ApiError::field("logit_bias", message);
    let wire = common.logit_bias.iter().flatten();
    if common.logit_bias.as_ref().is_some_and(|biases| biases.len() > BIASES_MAX) {
        return Err(refuse(format!("logit_bias: at most {BIASES_MAX} tokens")));
    }
    wire.map(|(token, bias)| {
        let id = token.parse().ok().filter(|id: &u32| (*id as usize) < service.vocabulary.size());
        let id = id.ok_or_else(|| refuse(format!("logit_bias: `{token}` is no token id")))?;
        match (-100.0..=100.0).contains(bias) {
            true => Ok((id, *bias)),
            false => Err(refuse(format!("logit_bias: {bias} is not within -100 to 100"))),
        }
    })
    .collect()
}

/// A seed nobody chose.
fn random_seed() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// Whether the model shall think: as the request says, or else as the server was started.
fn thinking(service: &Service, chat: &Chat) -> bool {
    let variables = chat.chat_template_kwargs.as_ref();
    let said = variables.and_then(|variables| variables.get("enable_thinking"));
    let effort = chat.reasoning_effort.as_deref().map(|effort| effort != "none");
    said.and_then(Value::as_bool).or(effort).unwrap_or(service.thinking)
}

fn grammar(
    service: &Service,
    chat: &Chat,
    known: &[Tool],
    choice: &Choice,
    parallel_calls: bool,
    thinking: bool,
) -> Result<Option<Grammar>, ApiError> {
    if let Choice::Required(tools) = choice {
        let shape = Shape { tools, parallel_calls, thinking, ..Shape::default() };
        let made = service.grammars.grammar(&shape);
        return made.map(Some).map_err(|e| ApiError::field("tools", format!("tools: {e}")));
    }
    let Some(format) = &chat.response_format else { return Ok(None) };
    let any = json!({"type": "object"});
    let schema = match format.kind.as_str() {
        "text" => return Ok(None),
        "json_object" => &any,
        "json_schema" => {
            let schema = format.json_schema.as_ref().and_then(|named| named.schema.as_ref());
            schema.ok_or_else(|| {
                let param = "response_format.json_schema.schema";
                ApiError::field(param, format!("{param}: it is missing"))
            })?
        }
        other => {
            let message = format!("`{other}` is none of text, json_object and json_schema");
            return Err(ApiError::field("response_format.type", message));
        }
    };
    let shape =
        Shape { schema: Some(schema), tools: known, parallel_calls, thinking, compact: false };
    service
        .grammars
        .grammar(&shape)
        .map(Some)
        .map_err(|error| ApiError::field("response_format", format!("response_format: {error}")))
}
