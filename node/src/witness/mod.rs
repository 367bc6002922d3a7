//! A witness: it cosigns the checkpoints of logs, each only where it continues the one cosigned before, and
//! keeps what shows that a log told two stories. It needs no node, no model and no graphics adapter.
//!
//! ```text
//! node ── add-checkpoint: old size, proof, signed checkpoint ──► server ──► Witness: judge, keep, cosign
//!      ◄── cosignature/v1 ─────────────────────────────────────────┘          │
//!                                                              HOME/witness ◄─┘ files
//! ```
//!
//! The protocol is `tlog-witness` of <https://c2sp.org>, so that any log of that kind can be cosigned here and
//! a ledger by any witness of that kind. What may be cosigned is decided in [`assay_protocol::tlog`].

mod files;
mod server;

pub use files::{Evidence, EvidenceKind, WITNESS_FOLDER, WitnessFiles};
pub use server::{router, serve};

use crate::home::HomeError;
use assay_protocol::tlog::{
    Checkpoint, Note, NoteError, NoteKey, NoteSignature, Refusal, Submission, judge,
};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// What came is no submission.
    #[error(transparent)]
    Malformed(#[from] NoteError),
    /// A log that this witness does not know.
    #[error("this witness does not know the log {0:?}")]
    UnknownLog(String),
    /// The rules refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be kept, and what is not kept is not cosigned.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// A log as its witness knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// Its origin line.
    pub origin: String,
    /// The verifier keys that it may sign with; none where they are not known.
    pub keys: Vec<String>,
    /// The size cosigned last; none before the first time.
    pub size: Option<u64>,
    /// The root at that size, in hexadecimal.
    pub root: Option<String>,
    /// When, in seconds since 1970.
    pub cosigned_at_s: Option<u64>,
    /// The checkpoint cosigned last, with the log's signatures and this witness's.
    pub note: Option<String>,
}

impl LogRow {
    /// A row from the checkpoint that the key of a witness cosigned last.
    fn new(origin: &str, keys: &[NoteKey], note: Option<&Note>, witness: &NoteKey) -> Self {
        let checkpoint = note.and_then(|note| Checkpoint::read(note).ok());
        Self {
            origin: origin.to_owned(),
            keys: keys.iter().map(ToString::to_string).collect(),
            size: checkpoint.as_ref().map(|checkpoint| checkpoint.size),
            root: checkpoint.map(|checkpoint| hex::encode(checkpoint.root)),
            cosigned_at_s: note.and_then(|note| note.signed_by(witness)),
            note: note.map(ToString::to_string),
        }
    }
}

/// A witness with its key and what it cosigned.
#[derive(Debug)]
pub struct Witness {
    files: WitnessFiles,
    key: NoteKey,
    secret: SigningKey,
    /// Keys by origin.
    logs: BTreeMap<String, Vec<NoteKey>>,
    /// The checkpoint of each log cosigned last.
    kept: Mutex<BTreeMap<String, Note>>,
}

impl Witness {
    /// Opens what was kept of the logs that these keys sign for; a key's name is its log's origin.
    ///
    /// # Errors
    ///
    /// [`HomeError`] when a file cannot be read. A witness that does not know what it cosigned must not go
    /// on, so a damaged checkpoint is an error too.
    pub fn open(
        files: WitnessFiles,
        key: NoteKey,
        secret: SigningKey,
        keys: Vec<NoteKey>,
    ) -> Result<Self, HomeError> {
        let mut logs: BTreeMap<String, Vec<NoteKey>> = BTreeMap::new();
        for one in keys {
            let known = logs.entry(one.name().to_owned()).or_default();
            if !known.contains(&one) {
                known.push(one);
            }
        }
        let mut kept = BTreeMap::new();
        for origin in logs.keys() {
            if let Some(note) = files.checkpoint(origin, &key)? {
                kept.insert(origin.clone(), note);
            }
        }
        Ok(Self { files, key, secret, logs, kept: Mutex::new(kept) })
    }

    /// The key that cosignatures of this witness verify with.
    #[must_use]
    pub fn key(&self) -> &NoteKey {
        &self.key
    }

    /// Its folder.
    #[must_use]
    pub fn files(&self) -> &WitnessFiles {
        &self.files
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Note>> {
        // A note is replaced whole or not at all.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cosigns what a log submits, at a time in milliseconds since 1970. The checkpoint is on disk when this
    /// returns: whatever happens to this process, it never cosigns another one of that size or a smaller
    /// one. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`WitnessError`]; nothing is then cosigned. What shows that a log told two stories is kept.
    pub fn add(&self, body: &[u8], now_ms: u64) -> Result<NoteSignature, WitnessError> {
        let submission = Submission::read(body)?;
        let checkpoint = Checkpoint::read(&submission.note)?;
        let Some(keys) = self.logs.get(&checkpoint.origin) else {
            return Err(WitnessError::UnknownLog(checkpoint.origin));
        };
        // One at a time: between the comparison with what is kept and its replacement nothing may come.
        let mut kept = self.lock();
        let last = kept.get(&checkpoint.origin);
        let compared = last.map(Checkpoint::read).transpose()?;
        let mut note = signed_only(&submission.note, keys);
        if let Err(refusal) = judge(&submission, &checkpoint, keys, compared.as_ref()) {
            if let (Some(last), Some(kind)) = (last, EvidenceKind::of(&refusal)) {
                let evidence = evidence(kind, &submission, last, &note, now_ms);
                drop(kept);
                self.report(&evidence);
            }
            return Err(refusal.into());
        }
        let cosignature = self.key.sign(&self.secret, note.text(), now_ms / 1_000);
        note.add(cosignature.clone());
        self.files.keep(&checkpoint.origin, &note)?;
        kept.insert(checkpoint.origin, note);
        Ok(cosignature)
    }

    fn report(&self, evidence: &Evidence) {
        let origin = &evidence.origin;
        match (self.files.keep_evidence(evidence), evidence.kind) {
            (Ok(None), _) => {}
            (Ok(Some(file)), EvidenceKind::SplitView) => tracing::error!(
                origin, file = %file.display(),
                "SPLIT VIEW: a log signed two roots for one size; both checkpoints are kept"
            ),
            (Ok(Some(file)), EvidenceKind::Unproven) => tracing::warn!(
                origin, file = %file.display(),
                "a signed checkpoint came without proof that it continues the one cosigned last"
            ),
            (Err(error), _) => tracing::error!(%error, origin, "evidence could not be kept"),
        }
    }

    /// The logs, by origin.
    #[must_use]
    pub fn logs(&self) -> Vec<LogRow> {
        let kept = self.lock();
        let row = |(origin, keys): (&String, &Vec<NoteKey>)| {
            LogRow::new(origin, keys, kept.get(origin), &self.key)
        };
        self.logs.iter().map(row).collect()
    }
}

/// The note with those signatures that a key of its log made.
fn signed_only(note: &Note, keys: &[NoteKey]) -> Note {
    let mut signed = note.clone();
    signed.retain(|signature| keys.iter().any(|key| key.verify(note.text(), signature).is_some()));
    signed
}

fn evidence(
    kind: EvidenceKind,
    submission: &Submission,
    kept: &Note,
    received: &Note,
    now_ms: u64,
) -> Evidence {
    let origin = kept.text().lines().next().unwrap_or_default().to_owned();
    Evidence {
        kind,
        origin,
        found_at_ms: now_ms,
        kept: kept.to_string(),
        received: received.to_string(),
        old_size: submission.old_size,
        proof: submission.proof.iter().map(hex::encode).collect(),
    }
}
