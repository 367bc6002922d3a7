//! How likely tokens were, in the notation of each endpoint.

use crate::serve::sampling::TokenLogprobs;
use crate::serve::text::Vocabulary;
use serde_json::{Map, Value, json};

/// Stands for the logarithm of zero, which JSON cannot write.
const IMPOSSIBLE: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { IMPOSSIBLE }
}

/// As `/v1/chat/completions` has them: an object for each token.
pub(super) fn chat(vocabulary: &Vocabulary, records: &[TokenLogprobs]) -> Value {
    let token = |id: u32, logprob: f32| {
        let bytes = vocabulary.token_bytes(id);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        json!({"token": text, "logprob": finite(logprob), "bytes": bytes})
    };
    let content: Vec<Value> = records
        .iter()
        .map(|record| {
            let mut entry = token(record.token, record.logprob);
            entry["top_logprobs"] = record.top.iter().map(|(id, lp)| token(*id, *lp)).collect();
            entry
        })
        .collect();
    json!({"content": content, "refusal": null})
}

/// As `/v1/completions` has them: a list for each figure. `offset` is the length of the text before, in
/// characters, and grows.
pub(super) fn completion(
    vocabulary: &Vocabulary,
    records: &[TokenLogprobs],
    offset: &mut usize,
) -> Value {
    let text = |id: u32| String::from_utf8_lossy(&vocabulary.token_bytes(id)).into_owned();
    let (mut tokens, mut offsets) = (Vec::new(), Vec::new());
    for record in records {
        let token = text(record.token);
        offsets.push(*offset);
        *offset += token.chars().count();
        tokens.push(token);
    }
    let top: Vec<Value> = records
        .iter()
        .map(|record| {
            let mut rivals = Map::new();
            for (id, logprob) in &record.top {
                rivals.entry(text(*id)).or_insert_with(|| finite(*logprob).into());
            }
            // The chosen token is listed even where it is not among the likeliest.
            rivals.entry(text(record.token)).or_insert_with(|| finite(record.logprob).into());
            Value::Object(rivals)
        })
        .collect();
    let logprobs: Vec<f32> = records.iter().map(|record| finite(record.logprob)).collect();
    json!({
        "tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets,
    })
}
