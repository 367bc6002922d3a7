//! `POST /v1/chat/completions`.

use super::prepare::{self, Prepared};
use super::stream::{self, Chunks};
use super::{ApiError, Envelope, logprobs, random_id, usage};
use crate::serve::output::{Event, ToolCall};
use crate::serve::sampling::TokenLogprobs;
use crate::serve::service::Service;
use crate::serve::text::Vocabulary;
use crate::serve::worker::{Outcome, Update};
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

const WHOLE: &str = "chat.completion";
const CHUNK: &str = "chat.completion.chunk";

/// Answers a request.
pub(in crate::serve) async fn chat_completions(
    service: Arc<Service>,
    body: Value,
) -> Result<Response, ApiError> {
    let prepared = service.prepare(body, prepare::chat).await?;
    let Prepared { task, stream, include_usage, logprobs } = prepared;
    let updates = service.submit(task)?;
    let envelope = Envelope::new("chatcmpl-", &service.name);
    let vocabulary = Arc::clone(&service.vocabulary);
    if stream {
        let held = Vec::new();
        let writer = Writer { envelope, vocabulary, logprobs, include_usage, calls: 0, held };
        return Ok(stream::reply(updates, writer));
    }
    let mut answer = Answer::default();
    let outcome = stream::collect(updates, |update| answer.add(update)).await?;
    let records = logprobs.then(|| logprobs::chat(&vocabulary, &answer.records));
    let choice = json!({
        "index": 0,
        "message": answer.message(),
        "logprobs": records,
        "finish_reason": outcome.finish,
    });
    let object = envelope.object(WHOLE, json!([choice]), Some(usage(&outcome)));
    Ok(Json(object).into_response())
}

/// A whole answer.
#[derive(Default)]
struct Answer {
    text: String,
    thought: String,
    calls: Vec<Value>,
    records: Vec<TokenLogprobs>,
}

impl Answer {
    fn add(&mut self, update: Update) {
        let Update::Piece { events, logprobs } = update else { return };
        self.records.extend(logprobs);
        for event in events {
            match event {
                Event::Text(text) => self.text.push_str(&text),
                Event::Thought(text) => self.thought.push_str(&text),
                Event::Call(call) => self.calls.push(tool_call(call)),
            }
        }
    }

    fn message(self) -> Value {
        let nothing = self.text.is_empty() && !self.calls.is_empty();
        let content = (!nothing).then_some(self.text);
        let mut message = json!({"role": "assistant", "content": content, "refusal": null});
        if !self.thought.is_empty() {
            message["reasoning_content"] = self.thought.into();
        }
        if !self.calls.is_empty() {
            message["tool_calls"] = self.calls.into();
        }
        message
    }
}

/// A call with a fresh id.
fn tool_call(call: ToolCall) -> Value {
    json!({
        "id": random_id("call_"),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    })
}

struct Writer {
    envelope: Envelope,
    vocabulary: Arc<Vocabulary>,
    logprobs: bool,
    include_usage: bool,
    calls: usize,
    /// Records of tokens whose text has not come yet.
    held: Vec<TokenLogprobs>,
}

impl Writer {
    fn chunk(&mut self, delta: Value, outcome: Option<&Outcome>) -> Value {
        let records = std::mem::take(&mut self.held);
        let logprobs = (self.logprobs && !records.is_empty())
            .then(|| logprobs::chat(&self.vocabulary, &records));
        let finish = outcome.map(|outcome| outcome.finish);
        let choice =
            json!({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish});
        self.envelope.object(CHUNK, json!([choice]), None)
    }
}

impl Chunks for Writer {
    fn first(&mut self) -> Vec<Value> {
        vec![self.chunk(json!({"role": "assistant", "content": ""}), None)]
    }

    fn piece(&mut self, update: Update) -> Vec<Value> {
        let Update::Piece { events, logprobs } = update else { return Vec::new() };
        self.held.extend(logprobs);
        let mut chunks = Vec::with_capacity(events.len());
        for event in events {
            let delta = match event {
                Event::Text(text) => json!({"content": text}),
                Event::Thought(text) => json!({"reasoning_content": text}),
                Event::Call(call) => {
                    let mut call = tool_call(call);
                    call["index"] = self.calls.into();
                    self.calls += 1;
                    json!({"tool_calls": [call]})
                }
            };
            chunks.push(self.chunk(delta, None));
        }
        chunks
    }

    fn last(&mut self, outcome: &Outcome) -> Vec<Value> {
        let mut chunks = vec![self.chunk(json!({}), Some(outcome))];
        if self.include_usage {
            chunks.push(self.envelope.object(CHUNK, json!([]), Some(usage(outcome))));
        }
        chunks
    }
}
