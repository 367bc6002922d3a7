//! What a witness keeps on disk.
//!
//! ```text
//! HOME/witness/key           Ed25519 secret, of the witness alone
//! HOME/witness/name          its name, which is a part of its verifier key
//! HOME/witness/network.json  the network whose ledger it cosigns, if any
//! HOME/witness/lock          held while it runs
//! HOME/witness/logs/         the checkpoint of each log cosigned last, as a signed note
//! HOME/witness/evidence/     what shows that a log told two stories, as JSON
//! ```

use super::LogRow;
use crate::home::{HomeError, write_whole};
use assay_protocol::tlog::{NOTE_BYTES_MAX, Note, NoteKey, Refusal};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The folder of a witness in its home.
pub const WITNESS_FOLDER: &str = "witness";
/// Most split views that are kept. Only a log can make one, so that strangers do not fill the disk.
const SPLIT_VIEWS_MAX: usize = 1_024;
/// Most checkpoints without proof that are kept: anybody can make them from a signed one.
const UNPROVEN_MAX: usize = 16;
/// Largest evidence file that is read, in bytes: two notes and a proof.
const EVIDENCE_BYTES_MAX: u64 = 4 * NOTE_BYTES_MAX as u64;

/// What a piece of evidence shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// The log signed two roots for one size. The two checkpoints prove it to anybody.
    SplitView,
    /// A signed checkpoint came with a proof that does not show that it continues the one cosigned. The log
    /// forked, or somebody sent a false proof: the checkpoints alone do not tell.
    Unproven,
}

impl EvidenceKind {
    /// What a refusal shows about the log, if anything.
    #[must_use]
    pub fn of(refusal: &Refusal) -> Option<Self> {
        match refusal {
            Refusal::SplitView { .. } => Some(Self::SplitView),
            Refusal::Unproven { .. } => Some(Self::Unproven),
            Refusal::Backwards { .. } | Refusal::NotSigned | Refusal::OtherSize { .. } => None,
        }
    }

    /// The beginning of its file's name.
    fn prefix(self) -> &'static str {
        match self {
            Self::SplitView => "split-view",
            Self::Unproven => "unproven",
        }
    }

    /// The kind for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::SplitView => "split view",
            Self::Unproven => "no proof",
        }
    }
}

/// Two checkpoints of one log that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it shows.
    pub kind: EvidenceKind,
    /// The log's origin.
    pub origin: String,
    /// When the second one came, in milliseconds since 1970.
    pub found_at_ms: u64,
    /// The checkpoint that was cosigned, with the log's signatures and the witness's.
    pub kept: String,
    /// The other one, with the log's signatures.
    pub received: String,
    /// The size from which the other one was to be shown to go on.
    pub old_size: u64,
    /// The proof that came with it, in hexadecimal.
    pub proof: Vec<String>,
}

impl Evidence {
    /// Names the two checkpoints, whoever signed them and whenever they came.
    fn file_name(&self) -> String {
        let text = |note: &str| note.split("\n\n").next().unwrap_or_default().to_owned();
        let both = format!("{}\n\n{}", text(&self.kept), text(&self.received));
        let hash = blake3::hash(both.as_bytes()).to_hex();
        format!("{}-{}.json", self.kind.prefix(), &hash[..32])
    }
}

/// The folder of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessFiles(PathBuf);

impl WitnessFiles {
    /// Makes the folders.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`].
    pub fn make(folder: &Path) -> Result<Self, HomeError> {
        let files = Self(folder.to_owned());
        for folder in [files.logs_folder(), files.evidence_folder()] {
            std::fs::create_dir_all(&folder).map_err(|source| HomeError::Io {
                action: "create",
                path: folder,
                source,
            })?;
        }
        Ok(files)
    }

    /// A folder that is only read.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    fn logs_folder(&self) -> PathBuf {
        self.0.join("logs")
    }

    fn evidence_folder(&self) -> PathBuf {
        self.0.join("evidence")
    }

    fn checkpoint_file(&self, origin: &str) -> PathBuf {
        // An origin is a stranger's text, and its hash is a file name on every system.
        self.logs_folder().join(format!("{}.note", blake3::hash(origin.as_bytes()).to_hex()))
    }

    /// The checkpoint of a log that the key cosigned last.
    ///
    /// # Errors
    ///
    /// [`HomeError`] when the file cannot be read or is not what this witness wrote.
    pub fn checkpoint(&self, origin: &str, key: &NoteKey) -> Result<Option<Note>, HomeError> {
        let path = self.checkpoint_file(origin);
        let Some(bytes) = read_bounded(&path, NOTE_BYTES_MAX as u64)? else { return Ok(None) };
        let damaged = |reason: String| HomeError::BadCheckpoint { path: path.clone(), reason };
        let note = Note::read(&bytes).map_err(|error| damaged(error.to_string()))?;
        let own = note.signed_by(key).is_some() && note.text().lines().next() == Some(origin);
        match own {
            true => Ok(Some(note)),
            false => Err(damaged("this witness did not cosign it for this log".to_owned())),
        }
    }

    /// The logs that the key cosigned, by origin.
    ///
    /// # Errors
    ///
    /// As [`WitnessFiles::checkpoint`].
    pub fn logs(&self, key: &NoteKey) -> Result<Vec<LogRow>, HomeError> {
        let mut rows = Vec::new();
        for path in files_in(&self.logs_folder(), "note")? {
            let bytes = read_bounded(&path, NOTE_BYTES_MAX as u64)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let origin = text.lines().next().unwrap_or_default();
            let note = self.checkpoint(origin, key)?;
            rows.push(LogRow::new(origin, &[], note.as_ref(), key));
        }
        rows.sort_by(|a, b| a.origin.cmp(&b.origin));
        Ok(rows)
    }

    /// Puts a checkpoint in the place of the one before; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`].
    pub(super) fn keep(&self, origin: &str, note: &Note) -> Result<(), HomeError> {
        write_whole(&self.checkpoint_file(origin), note.to_string().as_bytes())
    }

    /// Keeps a piece of evidence and returns its file; `None` when it was kept before or there is enough.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`].
    pub(super) fn keep_evidence(&self, evidence: &Evidence) -> Result<Option<PathBuf>, HomeError> {
        let most = match evidence.kind {
            EvidenceKind::SplitView => SPLIT_VIEWS_MAX,
            EvidenceKind::Unproven => UNPROVEN_MAX,
        };
        let path = self.evidence_folder().join(evidence.file_name());
        let alike = |name: &PathBuf| {
            let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(evidence.kind.prefix())
        };
        let names = files_in(&self.evidence_folder(), "json")?;
        if names.contains(&path) || names.iter().filter(|name| alike(name)).count() >= most {
            return Ok(None);
        }
        let text = serde_json::to_vec_pretty(evidence).map_err(|error| HomeError::Io {
            action: "write",
            path: path.clone(),
            source: error.into(),
        })?;
        write_whole(&path, &text)?;
        Ok(Some(path))
    }

    /// All evidence, the oldest first. Files that hold something else are left out.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`].
    pub fn evidence(&self) -> Result<Vec<Evidence>, HomeError> {
        let mut found = Vec::new();
        for path in files_in(&self.evidence_folder(), "json")? {
            let bytes = read_bounded(&path, EVIDENCE_BYTES_MAX)?.unwrap_or_default();
            match serde_json::from_slice::<Evidence>(&bytes) {
                Ok(evidence) => found.push(evidence),
                Err(error) => tracing::warn!(file = %path.display(), %error, "this is no evidence"),
            }
        }
        found.sort_by(|a, b| (a.found_at_ms, &a.origin).cmp(&(b.found_at_ms, &b.origin)));
        Ok(found)
    }
}

/// The files of a folder with an extension; none where there is no folder.
fn files_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, HomeError> {
    let unreadable = |source| HomeError::Io { action: "read", path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = paths.map_err(unreadable)?;
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    Ok(paths)
}

/// A file's bytes, cut off where it is longer; `None` where there is none.
fn read_bounded(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, HomeError> {
    let unreadable = |source| HomeError::Io { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(bytes))
}
