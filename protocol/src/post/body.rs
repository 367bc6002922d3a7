//! What a post says: the part that every kind has.

use super::detail::{Detail, is_word};
use super::{Kind, canonical};
use crate::error::Reject;
use crate::ids::RecordId;
use crate::wire::{bytes32, field};
use assay_proto::{decode_canonical, limits, v1};
use serde::{Deserialize, Serialize};

/// Longest name of a channel, in bytes.
pub const CHANNEL_BYTES_MAX: usize = 32;
/// Longest title, in bytes.
pub const TITLE_BYTES_MAX: usize = 120;
/// Longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Most things that a post refers to.
pub const REFS_MAX: usize = 8;

/// What a post says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostBody {
    /// Where it is said.
    pub channel: String,
    /// The thread's first post; none begins a thread.
    #[serde(default)]
    pub thread: Option<RecordId>,
    /// Records, claims or manifests that it refers to.
    #[serde(default)]
    pub refs: Vec<RecordId>,
    /// One line; only the first post of a thread needs one.
    #[serde(default)]
    pub title: String,
    /// The words.
    #[serde(default)]
    pub text: String,
    /// What is said for programs; none in a plain message.
    #[serde(default)]
    pub detail: Option<Detail>,
}

impl PostBody {
    /// What kind of post it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.detail.as_ref().map_or(Kind::Message, Detail::kind)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(&v1::PostBody {
            channel: self.channel.clone(),
            thread: self.thread.map(RecordId::to_vec).unwrap_or_default(),
            refs: self.refs.iter().map(|id| id.to_vec()).collect(),
            title: self.title.clone(),
            text: self.text.clone(),
            detail: self.detail.as_ref().map(Detail::to_proto),
        })
    }

    /// Reads a body and checks every limit.
    ///
    /// # Errors
    ///
    /// [`Reject`] naming the field at fault.
    pub fn read(bytes: &[u8]) -> Result<Self, Reject> {
        let body: v1::PostBody = decode_canonical(bytes, limits::POST_BODY_BYTES_MAX)?;
        if !is_word(&body.channel) {
            return Err(field("channel", "lower-case letters, digits, dashes; 1 to 32".to_owned()));
        }
        let thread = match body.thread.as_slice() {
            [] => None,
            bytes => Some(RecordId(bytes32("thread", bytes)?)),
        };
        if body.refs.len() > REFS_MAX {
            return Err(field("refs", format!("{}, at most {REFS_MAX}", body.refs.len())));
        }
        let mut refs = Vec::with_capacity(body.refs.len());
        for bytes in &body.refs {
            let id = RecordId(bytes32("refs", bytes)?);
            if refs.contains(&id) {
                return Err(field("refs", format!("{} twice", id.short())));
            }
            refs.push(id);
        }
        let title = line("title", body.title, TITLE_BYTES_MAX)?;
        let text = paragraphs("text", body.text, TEXT_BYTES_MAX)?;
        let detail = body.detail.map(Detail::from_proto).transpose()?;
        if title.trim().is_empty() && text.trim().is_empty() && detail.is_none() {
            return Err(field("text", "a message without words".to_owned()));
        }
        Ok(Self { channel: body.channel, thread, refs, title, text, detail })
    }

    /// Checks every limit, for whoever is about to sign it.
    ///
    /// # Errors
    ///
    /// [`Reject`] naming the field at fault, as [`Self::read`].
    pub fn check(&self) -> Result<(), Reject> {
        Self::read(&self.to_bytes()).map(|_| ())
    }
}

/// One line of at most `bytes_max` bytes without control characters.
pub(super) fn line(name: &'static str, text: String, bytes_max: usize) -> Result<String, Reject> {
    if text.len() > bytes_max || text.chars().any(char::is_control) {
        return Err(field(name, format!("at most {bytes_max} bytes without control characters")));
    }
    Ok(text)
}

/// A line that is not blank.
pub(super) fn filled(name: &'static str, text: String, bytes_max: usize) -> Result<String, Reject> {
    if text.trim().is_empty() {
        return Err(field(name, "is empty".to_owned()));
    }
    line(name, text, bytes_max)
}

/// Text of at most `bytes_max` bytes whose only control characters are line ends and tabs.
fn paragraphs(name: &'static str, text: String, bytes_max: usize) -> Result<String, Reject> {
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.len() > bytes_max || text.chars().any(control) {
        let reason =
            format!("at most {bytes_max} bytes without control characters but line ends and tabs");
        return Err(field(name, reason));
    }
    Ok(text)
}
