//! What a checkpoint's makers recommend: `generation_config.json`.

use assay_kernels::Checkpoint;
use serde_json::Value;
use std::collections::BTreeSet;

/// Sampling that a model was made for, and the tokens that end its texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Sampling temperature, where one is recommended.
    pub temperature: Option<f32>,
    /// Number of likeliest tokens to choose from; 0 for all.
    pub top_k: usize,
    /// Share of the probability to choose from.
    pub top_p: f32,
    /// Least probability, as a share of the likeliest token's.
    pub min_p: f32,
    /// Divides the logits of tokens that came before.
    pub repetition_penalty: f32,
    /// Tokens that are never generated.
    pub suppress: Vec<u32>,
    /// Tokens that end a text.
    pub ends: Vec<u32>,
}

impl Defaults {
    /// Those of a checkpoint; without the file, sampling is not restricted.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let file = checkpoint.file("generation_config.json").unwrap_or(b"{}");
        let file: Value = serde_json::from_slice(file).unwrap_or_default();
        let mut ends: BTreeSet<u32> = checkpoint.config().eos.iter().copied().collect();
        ends.extend(ids(&file["eos_token_id"]));
        #[allow(clippy::cast_possible_truncation, reason = "settings are small numbers")]
        let number = |key: &str| file[key].as_f64().map(|number| number as f32);
        let top_k = file["top_k"].as_u64().and_then(|k| usize::try_from(k).ok());
        Self {
            temperature: number("temperature"),
            top_k: top_k.unwrap_or(0),
            top_p: number("top_p").unwrap_or(1.0),
            min_p: number("min_p").unwrap_or(0.0),
            repetition_penalty: number("repetition_penalty").unwrap_or(1.0),
            suppress: ids(&file["suppress_tokens"]),
            ends: ends.into_iter().collect(),
        }
    }
}

/// One token id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(several) => several.iter().filter_map(one).collect(),
        single => one(single).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_kernels::embedded_files;

    #[test]
    fn recommendations_come_from_the_checkpoint() {
        let plain = Defaults::of(&Checkpoint::embedded().unwrap());
        assert_eq!((plain.temperature, plain.top_k, plain.ends), (None, 0, vec![1, 6]));
        let mut files: std::collections::BTreeMap<String, Vec<u8>> = embedded_files()
            .into_iter()
            .map(|(name, bytes)| (name.into(), bytes.to_vec()))
            .collect();
        let config = r#"{"temperature": 1.0, "top_k": 64, "top_p": 0.95, "eos_token_id": [1, 106, 50],
            "suppress_tokens": [7, 8]}"#;
        files.insert("generation_config.json".into(), config.into());
        let made = Defaults::of(&Checkpoint::from_files(files).unwrap());
        assert_eq!((made.temperature, made.top_k, made.top_p), (Some(1.0), 64, 0.95));
        assert_eq!((made.ends, made.suppress), (vec![1, 6, 50, 106], vec![7, 8]));
    }
}
