//! `POST /v1/completions`.

use super::prepare::{self, Prepared};
use super::stream::{self, Chunks};
use super::{ApiError, Envelope, logprobs, usage};
use crate::serve::output::Event;
use crate::serve::sampling::TokenLogprobs;
use crate::serve::service::Service;
use crate::serve::text::Vocabulary;
use crate::serve::worker::{Outcome, Update};
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

const KIND: &str = "text_completion";

/// Answers a request.
pub(in crate::serve) async fn completions(
    service: Arc<Service>,
    body: Value,
) -> Result<Response, ApiError> {
    let prepared = service.prepare(body, prepare::completion).await?;
    let Prepared { task, stream, include_usage, logprobs } = prepared;
    let updates = service.submit(task)?;
    let envelope = Envelope::new("cmpl-", &service.name);
    let vocabulary = Arc::clone(&service.vocabulary);
    let mut writer =
        Writer { envelope, vocabulary, logprobs, include_usage, offset: 0, held: Vec::new() };
    if stream {
        return Ok(stream::reply(updates, writer));
    }
    let (mut text, mut records) = (String::new(), Vec::new());
    let outcome = stream::collect(updates, |update| {
        let (piece, more) = texts(update);
        text.push_str(&piece);
        records.extend(more);
    })
    .await?;
    let choice = writer.choice(&text, &records, Some(&outcome));
    let object = writer.envelope.object(KIND, json!([choice]), Some(usage(&outcome)));
    Ok(Json(object).into_response())
}

/// The text and the records of a piece.
fn texts(update: Update) -> (String, Vec<TokenLogprobs>) {
    let Update::Piece { events, logprobs } = update else { return Default::default() };
    let texts = events.into_iter().filter_map(|event| match event {
        Event::Text(text) => Some(text),
        Event::Thought(_) | Event::Call(_) => None,
    });
    (texts.collect(), logprobs)
}

struct Writer {
    envelope: Envelope,
    vocabulary: Arc<Vocabulary>,
    logprobs: bool,
    include_usage: bool,
    offset: usize,
    /// Records of tokens whose text has not come yet.
    held: Vec<TokenLogprobs>,
}

impl Writer {
    fn choice(
        &mut self,
        text: &str,
        records: &[TokenLogprobs],
        outcome: Option<&Outcome>,
    ) -> Value {
        let logprobs = self
            .logprobs
            .then(|| logprobs::completion(&self.vocabulary, records, &mut self.offset));
        let finish = outcome.map(|outcome| outcome.finish);
        json!({"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish})
    }
}

impl Chunks for Writer {
    fn first(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn piece(&mut self, update: Update) -> Vec<Value> {
        let (text, more) = texts(update);
        self.held.extend(more);
        if text.is_empty() {
            return Vec::new();
        }
        let records = std::mem::take(&mut self.held);
        let choice = self.choice(&text, &records, None);
        vec![self.envelope.object(KIND, json!([choice]), None)]
    }

    fn last(&mut self, outcome: &Outcome) -> Vec<Value> {
        let records = std::mem::take(&mut self.held);
        let choice = self.choice("", &records, Some(outcome));
        let mut chunks = vec![self.envelope.object(KIND, json!([choice]), None)];
        if self.include_usage {
            chunks.push(self.envelope.object(KIND, json!([]), Some(usage(outcome))));
        }
        chunks
    }
}
