//! The model that ships inside the binary: gemma4-nano and its drafter.

use std::collections::BTreeMap;

macro_rules! nano {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../data/nano/", $name)).as_slice())),*]
    };
}

/// The files of gemma4-nano, by name, as a checkpoint folder would hold them.
pub fn embedded_files() -> BTreeMap<&'static str, &'static [u8]> {
    BTreeMap::from(nano![
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "chat_template.jinja",
    ])
}

/// The files of gemma4-nano's MTP drafter, by name.
pub fn embedded_drafter_files() -> BTreeMap<&'static str, &'static [u8]> {
    let files = nano!["drafter/config.json", "drafter/model.safetensors"];
    files.into_iter().map(|(name, bytes)| (name.trim_start_matches("drafter/"), bytes)).collect()
}

/// Text that gemma4-nano was not trained on, from the same public-domain book (47,490 tokens).
pub fn heldout_text() -> &'static str {
    include_str!("../../data/nano/heldout.txt")
}
