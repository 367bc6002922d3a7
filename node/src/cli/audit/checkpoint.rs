//! Holding a ledger against a checkpoint: whether its blocks are those that nodes signed and witnesses cosigned.

use crate::text::line;
use anyhow::{Context, ensure};
use assay_protocol::audit::{Fault, Rule};
use assay_protocol::ids::PeerId;
use assay_protocol::state::State;
use assay_protocol::tlog::{Checkpoint, LogTree, NOTE_BYTES_MAX, Note, NoteKey, Root, origin};
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A checkpoint to hold the ledger against.
pub(super) struct Held {
    note: Note,
    checkpoint: Checkpoint,
    witnesses: Vec<NoteKey>,
    tree: LogTree,
}

/// What the checkpoint says, which the ledger bears out.
#[derive(Debug, Serialize)]
pub(super) struct Agreed {
    origin: String,
    size: u64,
    /// In hexadecimal.
    root: String,
    /// Members of the network whose nodes signed it.
    signed_by: Vec<Signer>,
    /// Of the witnesses asked for, who cosigned it.
    cosigned_by: Vec<Cosigner>,
}

#[derive(Debug, Serialize)]
struct Signer {
    peer: PeerId,
    name: String,
}

#[derive(Debug, Serialize)]
struct Cosigner {
    name: String,
    key: String,
    /// When, in seconds since 1970 by the witness's clock.
    time_s: u64,
}

impl Held {
    /// Reads a checkpoint of a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no checkpoint.
    pub(super) fn read(file: &Path, witnesses: Vec<NoteKey>) -> anyhow::Result<Self> {
        let name = file.display();
        let opened = File::open(file).with_context(|| format!("cannot read {name}"))?;
        let mut bytes = Vec::new();
        opened.take(NOTE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        let read = Note::read(&bytes).and_then(|note| Ok((Checkpoint::read(&note)?, note)));
        let (checkpoint, note) = read.with_context(|| {
            format!("{name} is no checkpoint; `assay ledger checkpoint --out {name}` writes one")
        })?;
        Ok(Self { note, checkpoint, witnesses, tree: LogTree::default() })
    }

    /// Takes in the next block.
    pub(super) fn observe(&mut self, state: &State) {
        if self.tree.size() < self.checkpoint.size {
            self.tree.push(state.head());
        }
    }

    /// Compares the blocks with the checkpoint, by the members that the ledger ends with.
    ///
    /// # Errors
    ///
    /// The [`Fault`] found.
    pub(super) fn compare(&self, state: &State) -> Result<Agreed, Fault> {
        let Self { note, checkpoint, witnesses, tree } = self;
        let Checkpoint { size, root, .. } = checkpoint;
        let fault = |message: String| {
            Err(Rule::SignedCheckpoint.broken(format!("checkpoint of {size} blocks"), message))
        };
        let expected = origin(state.network());
        if checkpoint.origin != expected {
            let found = line(&checkpoint.origin);
            return fault(format!("it is of {found}, the ledger is of {expected}"));
        }
        let (signed_by, cosigned_by) = (self.signers(state), self.cosigners());
        if signed_by.is_empty() && cosigned_by.is_empty() {
            return fault(
                "no member of the network signed it, and no witness that was named".into(),
            );
        }
        let signed = |key: &&NoteKey| note.signed_by(key).is_none();
        if let Some(missing) = witnesses.iter().find(signed) {
            return fault(format!("the witness {} did not cosign it", line(missing.name())));
        }
        if tree.size() < *size {
            return fault(format!(
                "the ledger ends after {} blocks, so this says nothing about the others; export it again from a \
                 node that has them",
                tree.size()
            ));
        }
        if tree.root() != *root {
            return fault(disagreement(tree.root(), *root, &signed_by, &cosigned_by));
        }
        Ok(Agreed {
            origin: expected,
            size: *size,
            root: hex::encode(root),
            signed_by,
            cosigned_by,
        })
    }

    fn signers(&self, state: &State) -> Vec<Signer> {
        let members = state.members().iter();
        let signed = members.filter(|(peer, _)| {
            self.note.signed_by(&NoteKey::of_node(state.network(), **peer)).is_some()
        });
        signed.map(|(peer, member)| Signer { peer: *peer, name: member.name.clone() }).collect()
    }

    fn cosigners(&self) -> Vec<Cosigner> {
        let signed = self.witnesses.iter().filter_map(|key| {
            let time_s = self.note.signed_by(key)?;
            Some(Cosigner { name: key.name().to_owned(), key: key.to_string(), time_s })
        });
        signed.collect()
    }
}

/// That there are two ledgers, and who signed the other one.
fn disagreement(found: Root, signed: Root, by: &[Signer], cosigned_by: &[Cosigner]) -> String {
    format!(
        "the ledger's first blocks have the root {}, the checkpoint says {}, signed by {}: these are two ledgers of \
         one network. Keep both files: together they show who signed both",
        hex::encode(found),
        hex::encode(signed),
        who(by, cosigned_by)
    )
}

fn who(signed_by: &[Signer], cosigned_by: &[Cosigner]) -> String {
    let nodes =
        signed_by.iter().map(|signer| format!("{} ({})", line(&signer.name), signer.peer.short()));
    let witnesses = cosigned_by.iter().map(|cosigner| format!("witness {}", line(&cosigner.name)));
    nodes.chain(witnesses).collect::<Vec<_>>().join(", ")
}

impl Agreed {
    /// The agreement in words.
    pub(super) fn text(&self) -> String {
        format!(
            "The first {} blocks are those of the checkpoint {}, signed by {}.",
            self.size,
            &self.root.get(..8).unwrap_or(&self.root),
            who(&self.signed_by, &self.cosigned_by)
        )
    }
}

/// Checks that witnesses' keys are such.
///
/// # Errors
///
/// Naming a key that is a log's.
pub(super) fn only_witnesses(keys: &[NoteKey]) -> anyhow::Result<()> {
    for key in keys {
        ensure!(
            key.algorithm() == assay_protocol::tlog::Algorithm::Cosignature,
            "--witness {key} is the key of a log; give one that `assay witness run` printed"
        );
    }
    Ok(())
}
