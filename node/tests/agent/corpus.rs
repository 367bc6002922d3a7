//! Attempts to make an agent obey what it reads: `injections.json`, labelled by technique and language.

use serde::Deserialize;

/// One attempt.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) technique: String,
    pub(crate) language: String,
    text: String,
    /// What it is buried behind, and how often that comes.
    #[serde(default)]
    before: String,
    #[serde(default)]
    times: usize,
}

impl Attempt {
    /// The whole text.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.before.repeat(self.times), self.text)
    }
}

/// All attempts.
pub(crate) fn attempts() -> Vec<Attempt> {
    serde_json::from_str(include_str!("injections.json")).unwrap()
}
