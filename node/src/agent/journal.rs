//! What the agent must not forget over a restart: where its search stands.

use super::view::{Claimed, Start, Trial, Variant};
use crate::home::{HomeError, write_whole};
use assay_protocol::ids::RecordId;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Most trials of one search that are kept.
const TRIALS_MAX: usize = 512;

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
    /// The claim.
    pub claimed: Option<Claimed>,
    /// Whether what came of it was published, so that it is over.
    pub published: bool,
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
    pub fn from_start(start: Start) -> Self {
        Self { start: Some(start), ..Self::default() }
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
