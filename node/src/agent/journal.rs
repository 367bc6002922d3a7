//! What the agent must not forget over a restart: where its search stands.

use super::control::Note;
use super::view::{Claimed, Start, Trial, Variant};
use super::world::Made;
use crate::home::{HomeError, write_whole};
use assay_protocol::ids::{BlobHash, RecordId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// Most trials of one search that are kept.
const TRIALS_MAX: usize = 512;

/// A variant whose files are on disk, or were paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// What was made.
    pub variant: Variant,
    /// Bytes that the budget counts for it.
    pub bytes: u64,
    /// Manifests of its files; none before they were made.
    pub manifests: Vec<BlobHash>,
}

/// What of a search's files may be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leavings {
    /// Manifests that nothing of the search needs any more.
    pub manifests: Vec<BlobHash>,
    /// Manifests that it needs: those of candidates that may still win, and of the claim.
    pub kept: Vec<BlobHash>,
    /// Bytes that the budget counts for what goes.
    pub bytes: u64,
}

/// One search, from a start to what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// What it starts from; none before the first.
    pub start: Option<Start>,
    /// What was measured.
    pub trials: Vec<Trial>,
    /// The announced plan.
    pub plan: Option<RecordId>,
    /// The levers that it names.
    #[serde(default)]
    pub planned: BTreeSet<String>,
    /// The claim.
    pub claimed: Option<Claimed>,
    /// Whether what came of it was published, so that it is over.
    pub published: bool,
    /// Candidates whose files are on disk.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// What the network will not take a claim of.
    #[serde(default)]
    pub refused: Option<Variant>,
    /// The last thing that the agent did.
    #[serde(default)]
    pub last: Option<Note>,
}

impl Journal {
    /// Reads the journal in `path`; an empty one where there is none.
    ///
    /// # Errors
    ///
    /// When it is there and is not a journal.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        match std::fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the journal, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), HomeError> {
        // What serde derives for these types has no way to fail.
        let text = serde_json::to_vec(self).unwrap_or_default();
        write_whole(path, &text)
    }

    /// The search that follows this one, from `start`.
    #[must_use]
    pub fn next_from(&self, start: Start) -> Self {
        Self { start: Some(start), last: self.last.clone(), ..Self::default() }
    }

    /// Whether the files of a variant are paid for.
    #[must_use]
    pub fn has_made(&self, variant: &Variant) -> bool {
        self.candidates.iter().any(|candidate| candidate.variant == *variant)
    }

    /// Takes down that `bytes` were paid for a variant's files.
    pub fn pays(&mut self, variant: &Variant, bytes: u64) {
        let variant = variant.clone();
        self.candidates.push(Candidate { variant, bytes, manifests: Vec::new() });
    }

    /// Takes down what was made for a variant, and returns the bytes that were paid for and not written.
    pub fn made(&mut self, variant: &Variant, made: Made) -> u64 {
        let of = |candidate: &&mut Candidate| candidate.variant == *variant;
        let Some(candidate) = self.candidates.iter_mut().find(of) else { return 0 };
        let unwritten = candidate.bytes.saturating_sub(made.bytes);
        candidate.bytes -= unwritten;
        candidate.manifests = made.manifests;
        unwritten
    }

    /// What may be deleted when `lost` candidates are given up. What was claimed stays.
    pub fn leavings(&self, lost: impl Fn(&Candidate) -> bool) -> Leavings {
        let mut leavings = Leavings::default();
        for candidate in &self.candidates {
            let gone = lost(candidate);
            leavings.bytes += if gone { candidate.bytes } else { 0 };
            let stays = !gone || self.is_claimed(&candidate.variant);
            let place = if stays { &mut leavings.kept } else { &mut leavings.manifests };
            place.extend(&candidate.manifests);
        }
        leavings.manifests.retain(|manifest| !leavings.kept.contains(manifest));
        leavings
    }

    fn is_claimed(&self, variant: &Variant) -> bool {
        self.claimed.as_ref().is_some_and(|claimed| claimed.variant == *variant)
    }

    /// Takes down a trial.
    pub fn took(&mut self, trial: Trial) {
        if self.trials.len() < TRIALS_MAX {
            self.trials.push(trial);
        }
    }

    /// The last trial of a variant.
    #[must_use]
    pub fn last(&self, variant: &Variant) -> Option<&Trial> {
        self.trials.iter().rev().find(|trial| trial.variant == *variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(lever: &str) -> Variant {
        Variant([(lever.to_owned(), "1".to_owned())].into())
    }

    #[test]
    fn files_that_a_claim_or_another_candidate_needs_stay() {
        let mut journal = Journal::default();
        let hashes: Vec<BlobHash> = (0..4).map(|byte| BlobHash([byte; 32])).collect();
        let manifests = [vec![hashes[0]], vec![hashes[1], hashes[2]], vec![hashes[2], hashes[3]]];
        for (lever, manifests) in ["claimed", "lost", "wins"].iter().zip(manifests) {
            assert!(!journal.has_made(&variant(lever)));
            journal.pays(&variant(lever), 100);
            let unwritten = journal.made(&variant(lever), Made { manifests, bytes: 60 });
            assert_eq!(unwritten, 40);
        }
        let leavings = journal.leavings(|candidate| candidate.variant == variant("lost"));
        assert_eq!(leavings.manifests, [hashes[1]], "what the next one shares with it stays");
        assert_eq!(leavings.bytes, 60);
        let claim = assay_protocol::ids::ClaimId([9; 32]);
        journal.claimed = Some(Claimed { claim, variant: variant("claimed") });
        let leavings = journal.leavings(|_| true);
        assert_eq!((leavings.kept, leavings.bytes), (vec![hashes[0]], 180));
        assert_eq!(leavings.manifests, [hashes[1], hashes[2], hashes[2], hashes[3]]);
    }
}
