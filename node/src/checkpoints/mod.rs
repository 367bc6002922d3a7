//! Checkpoints of this node's ledger: signed here, cosigned by witnesses, shown to whoever asks.
//!
//! ```text
//! Ledger: a block is stored ──► LogTree ──► sign ──► witnesses, all at once ──► the checkpoint to show
//! ```
//!
//! Submitting is no part of ordering: a witness that is gone, slow or wrong delays nothing and decides
//! nothing. What it says is believed as far as its cosignature verifies.

mod submit;

pub use submit::WitnessAddress;

use assay_protocol::ids::{NetworkId, PeerId};
use assay_protocol::tlog::{Checkpoint, LogTree, Note, NoteError, NoteKey, Submission};
use ed25519_dalek::SigningKey;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use submit::{Answer, Submitter};
use tokio::time::{MissedTickBehavior, interval};

/// Most witnesses of a node: their cosignatures and its own must fit in a note.
pub const WITNESSES_MAX: usize = 32;
/// How often the head is submitted, if it moved.
const SUBMIT_EVERY: Duration = Duration::from_secs(15);
/// How long a checkpoint that was cosigned is shown while newer ones are not.
const SHOWN_WITHOUT_NEWS: Duration = Duration::from_secs(600);

/// The tree over the blocks of a ledger, shared by who grows it and who signs it.
pub type SharedTree = Arc<Mutex<LogTree>>;

/// A witness as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessRow {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Its verifier key.
    pub key: String,
    /// The size of the checkpoint that it cosigned last, for this node, since this node started.
    pub size: Option<u64>,
    /// When, in seconds since 1970 by its clock.
    pub cosigned_at_s: Option<u64>,
    /// Why the last submission was not cosigned.
    pub trouble: Option<String>,
    /// The size at which it says it cosigned another ledger of this network.
    pub conflict: Option<u64>,
}

/// The checkpoint that a node shows, and the witnesses it asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRow {
    /// The log's origin line.
    pub origin: String,
    /// How many blocks.
    pub size: u64,
    /// The root, in hexadecimal.
    pub root: String,
    /// This node's verifier key, which a witness needs to accept its checkpoints.
    pub key: String,
    /// The checkpoint with all signatures.
    pub note: String,
    /// Names of the witnesses whose cosignatures it has.
    pub cosigned_by: Vec<String>,
    /// The witnesses.
    pub witnesses: Vec<WitnessRow>,
}

impl CheckpointRow {
    /// Whether a witness says that it cosigned another ledger.
    #[must_use]
    pub fn is_contested(&self) -> bool {
        self.witnesses.iter().any(|witness| witness.conflict.is_some())
    }
}

struct Shown {
    note: Note,
    cosignatures: usize,
    since: Instant,
}

struct Inner {
    shown: Option<Shown>,
    rows: Vec<WitnessRow>,
}

/// Signs checkpoints of a ledger and has them cosigned.
pub struct Checkpoints {
    network: NetworkId,
    secret: SigningKey,
    key: NoteKey,
    tree: SharedTree,
    witnesses: Vec<WitnessAddress>,
    submitter: Submitter,
    inner: Mutex<Inner>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values behind these locks are replaced whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Checkpoints {
    /// Checkpoints of the blocks in `tree`, signed with the node's key.
    #[must_use]
    pub fn new(
        network: NetworkId,
        secret: SigningKey,
        tree: SharedTree,
        witnesses: Vec<WitnessAddress>,
    ) -> Self {
        let key = NoteKey::of_node(network, PeerId(secret.verifying_key().to_bytes()));
        let rows = witnesses.iter().map(|witness| WitnessRow {
            name: witness.key.name().to_owned(),
            url: witness.url.clone(),
            key: witness.key.to_string(),
            size: None,
            cosigned_at_s: None,
            trouble: None,
            conflict: None,
        });
        let inner = Mutex::new(Inner { shown: None, rows: rows.collect() });
        Self { network, secret, key, tree, witnesses, submitter: Submitter::default(), inner }
    }

    /// The tree as it is now.
    fn snapshot(&self) -> LogTree {
        lock(&self.tree).clone()
    }

    /// A checkpoint of a tree with this node's signature.
    fn sign(&self, tree: &LogTree) -> Result<Note, NoteError> {
        let mut note = Note::new(Checkpoint::of(self.network, tree).to_string())?;
        note.add(self.key.sign(&self.secret, note.text(), 0));
        Ok(note)
    }

    /// The checkpoint to show: of the head where nobody is asked to cosign, else the newest that was
    /// submitted, with the cosignatures that it got.
    ///
    /// # Errors
    ///
    /// [`NoteError`] for what no tree of blocks is.
    pub fn note(&self) -> Result<Note, NoteError> {
        let shown = lock(&self.inner).shown.as_ref().map(|shown| shown.note.clone());
        match shown {
            Some(note) => Ok(note),
            None => self.sign(&self.snapshot()),
        }
    }

    /// The body of `add-checkpoint` for the checkpoint of the first `to` blocks, or else the one that is
    /// shown, with the proof from `from` blocks on; `None` where there are not that many.
    ///
    /// # Errors
    ///
    /// As [`Checkpoints::note`].
    pub fn submission(&self, from: u64, to: Option<u64>) -> Result<Option<Submission>, NoteError> {
        let shown = self.note()?;
        let size = Checkpoint::read(&shown)?.size;
        let Some(tree) = self.snapshot().at(to.unwrap_or(size)) else { return Ok(None) };
        let Some(proof) = tree.consistency(from) else { return Ok(None) };
        let note = if tree.size() == size { shown } else { self.sign(&tree)? };
        Ok(Some(Submission { old_size: from, proof, note }))
    }

    /// What is shown, in parts.
    ///
    /// # Errors
    ///
    /// As [`Checkpoints::note`].
    pub fn row(&self) -> Result<CheckpointRow, NoteError> {
        let note = self.note()?;
        let Checkpoint { origin, size, root, .. } = Checkpoint::read(&note)?;
        let cosigned = |witness: &&WitnessAddress| note.signed_by(&witness.key).is_some();
        let cosigned_by = self.witnesses.iter().filter(cosigned);
        Ok(CheckpointRow {
            origin,
            size,
            root: hex::encode(root),
            key: self.key.to_string(),
            cosigned_by: cosigned_by.map(|witness| witness.key.name().to_owned()).collect(),
            note: note.to_string(),
            witnesses: lock(&self.inner).rows.clone(),
        })
    }

    /// Submits the head to every witness, every so often, for ever.
    pub async fn serve(self: Arc<Self>) {
        if self.witnesses.is_empty() {
            return std::future::pending().await;
        }
        let mut clock = interval(SUBMIT_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            if let Err(error) = Arc::clone(&self).submit().await {
                tracing::error!(%error, "the head was not submitted to the witnesses");
            }
        }
    }

    /// Submits the head to every witness that did not cosign it, at once, and shows what comes back.
    ///
    /// # Errors
    ///
    /// As [`Checkpoints::note`].
    pub async fn submit(self: Arc<Self>) -> Result<(), NoteError> {
        let tree = Arc::new(self.snapshot());
        let size = tree.size();
        let all = lock(&self.inner).rows.iter().all(|row| row.size == Some(size));
        if size == 0 || all {
            return Ok(());
        }
        let note = self.sign(&tree)?;
        let questions = (0..self.witnesses.len()).map(|index| {
            let (own, tree, note) = (Arc::clone(&self), Arc::clone(&tree), note.clone());
            let known = lock(&self.inner).rows.get(index).and_then(|row| row.size);
            tokio::task::spawn_blocking(move || own.ask(index, &tree, &note, known.unwrap_or(0)))
        });
        let answers = join_all(questions).await;
        let mut cosigned = note;
        let mut cosignatures = 0;
        for (index, answer) in answers.into_iter().enumerate() {
            let answer = answer.unwrap_or_else(|error| Answer::Failed(error.to_string()));
            if let Answer::Cosigned { signature, .. } = &answer {
                cosigned.add(signature.clone());
                cosignatures += 1;
            }
            self.note_down(index, size, &answer);
        }
        self.show(cosigned, cosignatures);
        Ok(())
    }

    fn ask(&self, index: usize, tree: &LogTree, note: &Note, known: u64) -> Answer {
        let Some(witness) = self.witnesses.get(index) else {
            return Answer::Failed("no such witness".to_owned());
        };
        let earlier = |size: u64| {
            let tree = tree.at(size)?;
            self.sign(&tree).ok()
        };
        self.submitter.submit(witness, tree, note, known, earlier)
    }

    /// Keeps what a witness answered, and logs what is new in it.
    fn note_down(&self, index: usize, size: u64, answer: &Answer) {
        let mut inner = lock(&self.inner);
        let Some(row) = inner.rows.get_mut(index) else { return };
        let before = row.trouble.take();
        match answer {
            Answer::Cosigned { time_s, .. } => {
                row.size = Some(size);
                row.cosigned_at_s = Some(*time_s);
            }
            Answer::Ahead { size } => {
                row.trouble = Some(format!("it cosigned size {size} already, this node is behind"));
            }
            Answer::Conflict { size } => {
                row.trouble = Some(format!("it cosigned another ledger of {size} blocks"));
                let known = row.conflict.replace(*size);
                if known.is_none() {
                    let (witness, key) = (row.name.as_str(), row.key.as_str());
                    tracing::error!(
                        witness,
                        key,
                        size,
                        "SPLIT VIEW: a witness cosigned a ledger of this network whose first blocks are \
                         others than here; compare with other nodes, export and audit this ledger"
                    );
                }
            }
            Answer::Failed(reason) => row.trouble = Some(reason.clone()),
        }
        if row.trouble != before
            && let Some(trouble) = &row.trouble
        {
            tracing::warn!(witness = row.name, trouble, "a witness did not cosign");
        }
    }

    /// Shows a checkpoint, unless it is a while since nothing was cosigned and what is shown was.
    fn show(&self, note: Note, cosignatures: usize) {
        let mut inner = lock(&self.inner);
        let better = inner.shown.as_ref().is_none_or(|shown| {
            cosignatures > 0
                || shown.cosignatures == 0
                || shown.since.elapsed() > SHOWN_WITHOUT_NEWS
        });
        if better {
            inner.shown = Some(Shown { note, cosignatures, since: Instant::now() });
        }
    }
}
