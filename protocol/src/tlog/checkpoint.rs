//! Size and root of a log as the text of a note, in the format `tlog-checkpoint` of <https://c2sp.org>.

use super::{LogTree, Note, NoteError, Root, malformed};
use crate::ids::NetworkId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Longest origin that is read, in bytes.
const ORIGIN_BYTES_MAX: usize = 200;

/// The origin line of a network's checkpoints, which is also the name of its nodes' note keys.
#[must_use]
pub fn origin(network: NetworkId) -> String {
    format!("assay/{network}")
}

/// What a log says of itself: so many leaves, with this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many leaves it has.
    pub size: u64,
    /// The root of its tree, see [`LogTree`].
    pub root: Root,
    /// Lines after these three, each with its line end. This project's checkpoints have none, and other
    /// logs' mean nothing here; they are only kept, because they are signed.
    extension: String,
}

impl Checkpoint {
    /// The checkpoint of a network's whole tree.
    #[must_use]
    pub fn of(network: NetworkId, tree: &LogTree) -> Self {
        let (size, root) = (tree.size(), tree.root());
        Self { origin: origin(network), size, root, extension: String::new() }
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when it is no checkpoint.
    pub fn read(note: &Note) -> Result<Self, NoteError> {
        let bad = |reason: &str| malformed("checkpoint", reason);
        let text = note.text();
        let mut lines = text.splitn(4, '\n');
        let mut line = || lines.next().unwrap_or_default();
        let (origin, size, root, extension) = (line(), line(), line(), line());
        if !(1..=ORIGIN_BYTES_MAX).contains(&origin.len()) {
            return Err(bad("its origin is empty or too long"));
        }
        let size = read_size(size).ok_or_else(|| bad("its size is no number in shortest form"))?;
        let root = read_hash(root).ok_or_else(|| bad("its root is not 32 bytes in base64"))?;
        if extension.split_terminator('\n').any(str::is_empty) {
            return Err(bad("it has an empty line"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extension: extension.to_owned() })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, size, root, extension } = self;
        write!(f, "{origin}\n{size}\n{}\n{extension}", STANDARD.encode(root))
    }
}

/// A number without leading zeros or a sign.
pub(super) fn read_size(text: &str) -> Option<u64> {
    text.parse().ok().filter(|size: &u64| size.to_string() == text)
}

/// A hash in base64. Its last two bits before the padding must be zero, so that it has one spelling.
pub(super) fn read_hash(text: &str) -> Option<Root> {
    // A longer text cannot be a hash and is not worth decoding.
    (text.len() == 44).then(|| STANDARD.decode(text).ok()?.try_into().ok())?
}
