//! What programs look up in playbooks: triage tables and lever maps.

use super::Board;
use super::rows::PlaybookRow;
use crate::api::Named;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::post::{Detail, Lever, Playbook, Table, Triage};
use assay_protocol::state::State;
use assay_protocol::verdict::{Estimate, Outcome};
use serde::{Deserialize, Serialize};

/// Longest sign that is looked up, in characters: an error's first lines. More is left out.
const SIGN_CHARS_MAX: usize = 2_000;
/// Shortest sign of a row that is looked for inside longer ones, in bytes: one letter is in every error.
const PART_BYTES_MIN: usize = 3;

/// A row of a triage table that fits a sign.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Remedy {
    /// The row.
    #[serde(flatten)]
    pub row: Triage,
    /// The playbook's latest revision.
    pub playbook: RecordId,
    /// Its title.
    pub title: String,
    /// Who wrote it.
    pub author: Named,
    /// Standing of those who endorse it.
    pub weight: u64,
}

/// A row of a lever map beside what the ledger says of the claim that it names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeverRow {
    /// The row.
    #[serde(flatten)]
    pub row: Lever,
    /// The claim on the ledger; none where the row names none, or the ledger has not got it.
    pub shown: Option<Shown>,
}

/// What a claim came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// The claim.
    pub claim: ClaimId,
    /// Its outcome, once it has one.
    pub outcome: Option<Outcome>,
    /// Speed over its parent's, where seats of its class measured it.
    pub ratio: Option<Estimate>,
    /// Whether it is an accepted entry that still stands.
    pub stands: bool,
}

impl LeverRow {
    /// The rows of a playbook's lever map; none where it has no such map.
    #[must_use]
    pub fn all(state: &State, detail: Option<&Detail>) -> Vec<Self> {
        let Some(Detail::Playbook(Playbook { table: Some(Table::Levers(rows)), .. })) = detail
        else {
            return Vec::new();
        };
        let row = |row: &Lever| Self {
            row: row.clone(),
            shown: row.claim.and_then(|claim| Shown::new(state, claim)),
        };
        rows.iter().map(row).collect()
    }

    /// What the ledger says, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.shown, self.row.claim) {
            (Some(shown), _) => shown.words(),
            (None, Some(claim)) => format!("claim {} is not on this ledger", claim.short()),
            (None, None) => "no claim shows it".to_owned(),
        }
    }
}

impl Shown {
    fn new(state: &State, claim: ClaimId) -> Option<Self> {
        let claim = state.claim(claim)?;
        let ratio = claim.deciding().and_then(|round| round.verdict.as_ref()?.ratio);
        let (id, outcome, stands) = (claim.id, claim.outcome(), claim.stands());
        Some(Self { claim: id, outcome, ratio, stands })
    }

    fn words(&self) -> String {
        let ratio = self.ratio.map_or(String::new(), |ratio| {
            let [at, low, high] =
                [ratio.ppm, ratio.low_ppm, ratio.high_ppm].map(|ppm| ppm as f64 / 1e6);
            format!("{at:.3}× [{low:.3}, {high:.3}], ")
        });
        let fate = match self.outcome {
            Some(Outcome::Accepted) if !self.stands => "debunked",
            Some(Outcome::Accepted) => "accepted",
            Some(Outcome::Refuted) => "refuted",
            Some(_) => "undecided",
            None => "being measured",
        };
        format!("{ratio}{fate} in {}", self.claim.short())
    }
}

impl Board {
    /// Rows of triage tables that fit a sign, of the best endorsed playbooks first: those whose own sign
    /// is part of it, or the other way round, whatever the case. An empty sign fits every row.
    #[must_use]
    pub fn triage(&self, state: &State, sign: &str) -> Vec<Remedy> {
        let sign = sign.trim().chars().take(SIGN_CHARS_MAX).collect::<String>().to_lowercase();
        let mut found = Vec::new();
        for book in self.playbooks(state) {
            let rows = triage_of(&book).iter().filter(|row| fits(row, &sign));
            found.extend(rows.map(|row| remedy(&book, row)));
        }
        found
    }
}

/// Whether a row is about `sign`, which is in lower case.
fn fits(row: &Triage, sign: &str) -> bool {
    let known = row.sign.trim().to_lowercase();
    known.contains(sign) || (known.len() >= PART_BYTES_MIN && sign.contains(&known))
}

fn triage_of(book: &PlaybookRow) -> &[Triage] {
    match &book.latest.detail {
        Some(Detail::Playbook(Playbook { table: Some(Table::Triage(rows)), .. })) => rows,
        _ => &[],
    }
}

fn remedy(book: &PlaybookRow, row: &Triage) -> Remedy {
    Remedy {
        row: row.clone(),
        playbook: book.latest.id,
        title: book.latest.headline().to_owned(),
        author: book.latest.author.clone(),
        weight: book.weight,
    }
}
