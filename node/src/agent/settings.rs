//! What the operator decided about the agent, kept in the home folder.

use super::budget::Limits;
use crate::home::{HomeError, write_whole};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Who decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Nobody: the node does what seats must do, and no more
    #[default]
    Off,
    /// Successive halving over kernels, their constants, draft length and quantisation
    Searcher,
    /// The node's own model, which chooses among calls that are allowed
    Planner,
}

impl PolicyKind {
    /// The kind as a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Searcher => "searcher",
            Self::Planner => "planner",
        }
    }
}

/// What the operator decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Who decides.
    pub policy: PolicyKind,
    /// The kill switch was used; it stays so until the agent is started again.
    pub stopped: bool,
    /// Where a search draws its lots from; none means the node's id.
    pub seed: Option<u64>,
    /// Folders of kernel bundles that a search may take kernels from, besides those on the ledger.
    pub bundles: Vec<PathBuf>,
    /// Checkpoint that the planner asks; none means the embedded one.
    pub model: Option<PathBuf>,
    /// What may be spent.
    pub limits: Limits,
}

impl Settings {
    /// The settings in an agent's folder; the defaults where there are none.
    ///
    /// # Errors
    ///
    /// When they cannot be read: an agent that was stopped must not start because of that.
    pub fn read(folder: &Path) -> std::io::Result<Self> {
        match std::fs::read(Self::path(folder)) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the settings, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`].
    pub fn write(&self, folder: &Path) -> Result<(), HomeError> {
        let path = Self::path(folder);
        let io = |source| HomeError::Io { action: "write", path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let text = serde_json::to_vec_pretty(self).map_err(|e| io(e.into()))?;
        write_whole(&path, &text)
    }

    /// Whether the agent acts.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.policy != PolicyKind::Off && !self.stopped
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("settings.json")
    }
}
