//! The OpenAI protocol: requests read and checked, replies whole or as a stream.
//!
//! - `fields` has the requests as they are written, `prepare` turns them into tasks;
//! - `chat` and `completions` write replies, `logprobs` their records;
//! - every refusal is an `ApiError`: `{"error": {message, type, param, code}}`.

mod chat;
mod completions;
mod error;
mod fields;
mod logprobs;
mod messages;
mod prepare;
mod stream;

pub(super) use chat::chat_completions;
pub(super) use completions::completions;
pub(super) use error::ApiError;

use super::worker::Outcome;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// What every object of a reply begins with.
#[derive(Debug, Clone)]
struct Envelope {
    id: String,
    created: u64,
    model: String,
}

impl Envelope {
    fn new(prefix: &str, model: &str) -> Self {
        Self { id: random_id(prefix), created: unix_seconds(), model: model.to_owned() }
    }

    /// An object of this kind with these choices.
    fn object(&self, kind: &str, choices: Value, usage: Option<Value>) -> Value {
        let mut object = json!({
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": concat!("assay-", env!("CARGO_PKG_VERSION")),
            "choices": choices,
        });
        if let Some(usage) = usage {
            object["usage"] = usage;
        }
        object
    }
}

/// `prefix` and 96 random bits.
fn random_id(prefix: &str) -> String {
    let mut bytes = [0; 12];
    // Without randomness ids repeat, which confuses at most the client's own bookkeeping.
    let _ = getrandom::fill(&mut bytes);
    format!("{prefix}{}", hex::encode(bytes))
}

/// Seconds since 1970.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn usage(outcome: &Outcome) -> Value {
    let (drafted, kept) = outcome.drafted;
    json!({
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "total_tokens": outcome.prompt_tokens + outcome.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": outcome.cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": outcome.reasoning_tokens,
            "accepted_prediction_tokens": kept,
            "rejected_prediction_tokens": drafted.saturating_sub(kept),
        },
    })
}
