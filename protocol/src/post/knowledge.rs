//! Tables inside playbooks, which programs look things up in.

use super::TITLE_BYTES_MAX;
use super::body::{filled, line};
use super::detail::{NOTE_BYTES_MAX, is_word};
use crate::error::Reject;
use crate::ids::ClaimId;
use crate::wire::{bytes32, field};
use assay_proto::v1;
use serde::{Deserialize, Serialize};

/// Most rows of a table.
pub const ROWS_MAX: usize = 32;

/// A table that a playbook carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Table {
    /// What goes wrong, why, and what to do.
    Triage(Vec<Triage>),
    /// What can be turned, and what came of it.
    Levers(Vec<Lever>),
}

/// A row of a triage table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triage {
    /// What is seen: a code of `assay model check`, or words of an error.
    pub sign: String,
    /// Why.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

/// A row of a lever map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lever {
    /// What is turned, as plans name it.
    pub lever: String,
    /// What it does.
    pub note: String,
    /// The claim that shows what it brings.
    #[serde(default)]
    pub claim: Option<ClaimId>,
}

impl Table {
    /// The claims that it names.
    pub fn claims(&self) -> impl Iterator<Item = ClaimId> {
        let rows = match self {
            Self::Triage(_) => [].as_slice(),
            Self::Levers(rows) => rows,
        };
        rows.iter().filter_map(|row| row.claim)
    }

    pub(super) fn to_proto(&self) -> v1::playbook::Table {
        use v1::playbook::Table as Wire;
        match self {
            Self::Triage(rows) => {
                let row = |row: &Triage| v1::TriageRow {
                    sign: row.sign.clone(),
                    cause: row.cause.clone(),
                    remedy: row.remedy.clone(),
                };
                Wire::Triage(v1::TriageTable { rows: rows.iter().map(row).collect() })
            }
            Self::Levers(rows) => {
                let row = |row: &Lever| v1::LeverRow {
                    lever: row.lever.clone(),
                    note: row.note.clone(),
                    claim: row.claim.map(ClaimId::to_vec).unwrap_or_default(),
                };
                Wire::Levers(v1::LeverMap { rows: rows.iter().map(row).collect() })
            }
        }
    }

    pub(super) fn from_proto(table: v1::playbook::Table) -> Result<Self, Reject> {
        use v1::playbook::Table as Wire;
        match table {
            Wire::Triage(table) => {
                rows("playbook.triage", table.rows, Triage::from_proto).map(Self::Triage)
            }
            Wire::Levers(map) => {
                rows("playbook.levers", map.rows, Lever::from_proto).map(Self::Levers)
            }
        }
    }
}

impl Triage {
    fn from_proto(row: v1::TriageRow) -> Result<Self, Reject> {
        Ok(Self {
            sign: filled("playbook.triage.sign", row.sign, TITLE_BYTES_MAX)?,
            cause: filled("playbook.triage.cause", row.cause, NOTE_BYTES_MAX)?,
            remedy: filled("playbook.triage.remedy", row.remedy, NOTE_BYTES_MAX)?,
        })
    }
}

impl Lever {
    fn from_proto(row: v1::LeverRow) -> Result<Self, Reject> {
        if !is_word(&row.lever) {
            let reason = "lower-case letters, digits and dashes, 1 to 32".to_owned();
            return Err(field("playbook.levers.lever", reason));
        }
        let claim = match row.claim.as_slice() {
            [] => None,
            bytes => Some(ClaimId(bytes32("playbook.levers.claim", bytes)?)),
        };
        let note = line("playbook.levers.note", row.note, NOTE_BYTES_MAX)?;
        Ok(Self { lever: row.lever, note, claim })
    }
}

/// Reads the rows of a table, which has at least one.
fn rows<Wire, Row>(
    name: &'static str,
    wire: Vec<Wire>,
    read: impl Fn(Wire) -> Result<Row, Reject>,
) -> Result<Vec<Row>, Reject> {
    if !(1..=ROWS_MAX).contains(&wire.len()) {
        return Err(field(name, format!("{}, not 1 to {ROWS_MAX} rows", wire.len())));
    }
    wire.into_iter().map(read).collect()
}
