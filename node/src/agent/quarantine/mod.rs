//! Text by strangers, read where it can do nothing.
//!
//! ```text
//! post, playbook, model card ─► Untrusted ─► Reader: a call without tools ─► Reading ─► the agent
//!                               no way out                                  enumerations, a digit
//! ```
//!
//! An agent with tools that reads what anybody wrote does, sooner or later, what anybody wrote. So the
//! agent's own model, when it chooses a tool, never sees such text. Another call reads it, one text at a
//! time: that call has no tools, and its answer is constrained to words from fixed lists and one digit
//! ([`Reading`]). Whoever captures that call completely can say nothing but one of those readings, and
//! an honest text could have had any of them.
//!
//! [`Untrusted`] keeps the rule by its type: nothing outside of this module can look into it.
//!
//! Within the call, the text stands between two lines with a random word; it is cut to a bounded number
//! of tokens; it never passes through the chat template; and no token of it is a marker, whatever the
//! text spells ([`Vocabulary::encode_plain`]).
//!
//! [`Vocabulary::encode_plain`]: crate::serve::text::Vocabulary::encode_plain

mod reader;
mod reading;

pub use reader::{ReaderLimits, TEXT_TOKENS_MAX, read_with};
pub use reading::{LEVERS_MAX, Lever, RELEVANCE_MAX, Reading, Stance, Topic};

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Most readings that are remembered.
const REMEMBERED_MAX: usize = 4096;
/// Longest text that is kept, in bytes; what follows is never read.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Where a stranger's text stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A post on the board, other than those below.
    Message,
    /// A knowledge article.
    Playbook,
    /// A checkpoint's README.
    ModelCard,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Message, Self::Playbook, Self::ModelCard];

    /// The source as JSON spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Playbook => "playbook",
            Self::ModelCard => "model-card",
        }
    }
}

/// What a stranger wrote. There is no way to its characters but a [`Reading`].
#[derive(Clone, PartialEq, Eq)]
pub struct Untrusted {
    source: Source,
    text: String,
}

impl std::fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Untrusted({}, {} bytes)", self.source.word(), self.text.len())
    }
}

impl Untrusted {
    /// Locks a text in. Of a long one, the first [`TEXT_BYTES_MAX`] bytes are kept.
    #[must_use]
    pub fn new(source: Source, text: &str) -> Self {
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self { source, text: text.get(..end).unwrap_or_default().to_owned() }
    }

    /// Locks a post in: its title and its text. What a post says for programs is not text.
    #[must_use]
    pub fn post(body: &assay_protocol::post::PostBody) -> Self {
        use assay_protocol::post::Kind;
        let source = match body.kind() {
            Kind::Playbook => Source::Playbook,
            _ => Source::Message,
        };
        Self::new(source, &format!("{}\n{}", body.title, body.text))
    }

    /// Locks a checkpoint's README in.
    #[must_use]
    pub fn card(bytes: &[u8]) -> Self {
        let kept = bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes);
        Self::new(Source::ModelCard, &String::from_utf8_lossy(kept))
    }

    /// Where it stood.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// Names the text without telling it, for the transcript and for remembering.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("assay quarantined text v1");
        hasher.update(self.source.word().as_bytes()).update(&[0]).update(self.text.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// What a reader found in one text, for the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Where the text stood.
    pub source: Source,
    /// What is known of it.
    pub reading: Reading,
}

/// Readings by text, so that no text is read twice.
#[derive(Debug, Default)]
pub struct Readings {
    /// None where the reader had no answer.
    known: BTreeMap<[u8; 32], Option<Reading>>,
    order: VecDeque<[u8; 32]>,
}

impl Readings {
    /// Whether a text was read, with or without an answer.
    #[must_use]
    pub fn knows(&self, text: &Untrusted) -> bool {
        self.known.contains_key(&text.digest())
    }

    /// What is known of a text.
    #[must_use]
    pub fn notice(&self, text: &Untrusted) -> Option<Notice> {
        let reading = self.known.get(&text.digest())?.clone()?;
        Some(Notice { source: text.source, reading })
    }

    /// Keeps what a reader found, and forgets the oldest where there is too much.
    pub fn remember(&mut self, text: &Untrusted, reading: Option<Reading>) {
        let digest = text.digest();
        if self.known.insert(digest, reading).is_none() {
            self.order.push_back(digest);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
