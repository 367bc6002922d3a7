//! From a drafter's `config.json` to [`DrafterConfig`].

use super::parse::{WIDTH_MAX, json, parse_text, text_of, unsupported};
use super::{DrafterConfig, Family, Keys};
use crate::error::Result;

const FILE: &str = "config.json";

impl DrafterConfig {
    /// Reads the `config.json` of a drafter.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = json(FILE, bytes)?;
        let top = Keys::new(FILE, "", &value)?;
        let kind = top.string("model_type")?.unwrap_or("");
        if !matches!(kind, "gemma4_assistant" | "gemma4_unified_assistant") {
            return Err(unsupported(format!("drafter model_type `{kind}`")));
        }
        let text = text_of(&top, &value)?;
        let mut config = parse_text(Family::Gemma4, &text)?;
        if config.ple_width != 0 {
            return Err(unsupported("a drafter with per-layer embeddings"));
        }
        if config.moe.is_some() {
            return Err(unsupported("a drafter with experts"));
        }
        for (i, layer) in config.layers.iter_mut().enumerate() {
            layer.kv_source = i;
        }
        let backbone_hidden = top.required("backbone_hidden_size", 32..=WIDTH_MAX)?;
        let ordered = top.boolean("use_ordered_embeddings", false)?;
        let (centroids, centroids_searched) = if ordered {
            let count = top.required("num_centroids", 1..=config.vocab)?;
            let searched = top.required("centroid_intermediate_top_k", 1..=count.min(64))?;
            if config.vocab % count != 0 {
                return Err(top.error(
                    "num_centroids",
                    format!("is {count}, which does not divide vocab_size {}", config.vocab),
                ));
            }
            (count, searched)
        } else {
            (0, 0)
        };
        Ok(DrafterConfig { text: config, backbone_hidden, centroids, centroids_searched })
    }
}
