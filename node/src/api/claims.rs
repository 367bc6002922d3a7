//! Claims as rows: what the table, the chart, the docket, JSON and CSV all show.

use assay_protocol::ids::{ClaimId, PeerId};
use assay_protocol::state::{ClaimState, Phase, State};
use assay_protocol::verdict::{Estimate, Outcome};
use serde::{Deserialize, Serialize};

/// Fewest digits of an abbreviated claim id.
const PREFIX_DIGITS_MIN: usize = 6;

/// A peer with its name.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Named {
    /// The key.
    pub peer: PeerId,
    /// The name.
    pub name: String,
}

impl Named {
    /// A member's name; the short key for anybody else.
    pub(super) fn new(state: &State, peer: PeerId) -> Self {
        let member = state.members().get(&peer);
        Self { peer, name: member.map_or_else(|| peer.short(), |member| member.name.clone()) }
    }
}

/// How far the committee has come.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct Progress {
    /// Seats drawn.
    pub seats: usize,
    /// Reveals that a verdict needs.
    pub quorum: u32,
    /// Reserves called.
    pub reserves_called: usize,
    /// Seats that sealed.
    pub sealed: usize,
    /// Seats that revealed.
    pub revealed: usize,
}

/// One claim in a line.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ClaimRow {
    /// Its id.
    pub id: ClaimId,
    /// The author's line for people.
    pub summary: String,
    /// Who made it.
    pub author: Named,
    /// What it is compared with.
    pub parent: ClaimId,
    /// Whether that is the base recipe.
    pub parent_is_base: bool,
    /// Where it is in its life.
    #[serde(flatten)]
    pub phase: Phase,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// Whether it decodes exactly what its checkpoint says.
    pub lossless: Option<bool>,
    /// Child speed over parent speed.
    pub ratio: Option<Estimate>,
    /// Perplexity of the parent, in millionths.
    pub perplexity_parent_ppm: Option<u64>,
    /// Perplexity of the child, in millionths.
    pub perplexity_child_ppm: Option<u64>,
    /// The ratio that the author sealed, once opened.
    pub author_ratio_ppm: Option<u64>,
    /// How far the committee has come.
    pub progress: Progress,
    /// Whose measurements the verdict rests on.
    pub attested_by: Vec<Named>,
    /// Height of the block that docketed it.
    pub docketed_at: u64,
    /// Height of the block that settled it.
    pub settled_at: Option<u64>,
}

impl ClaimRow {
    pub(super) fn new(state: &State, claim: &ClaimState) -> Self {
        let verdict = claim.verdict.as_ref();
        let attested = verdict.map(|v| v.attested_by.as_slice()).unwrap_or_default();
        Self {
            id: claim.id,
            summary: claim.summary.clone(),
            author: Named::new(state, claim.author),
            parent: claim.parent,
            parent_is_base: claim.parent == state.base_claim(),
            phase: claim.phase,
            outcome: claim.outcome(),
            // Nobody measured the tokens when nobody revealed.
            lossless: verdict.filter(|v| !v.gates.is_empty()).map(|v| v.lossless),
            ratio: verdict.and_then(|v| v.ratio),
            perplexity_parent_ppm: verdict.and_then(|v| v.perplexity_parent_ppm),
            perplexity_child_ppm: verdict.and_then(|v| v.perplexity_child_ppm),
            author_ratio_ppm: claim.opening.as_ref().map(|opening| opening.ratio_ppm),
            progress: Progress {
                seats: claim.committee.seats.len(),
                quorum: state.genesis().committee.quorum,
                reserves_called: claim.reserves_called,
                sealed: claim.seals.len(),
                revealed: claim.reveals.len(),
            },
            attested_by: attested.iter().map(|peer| Named::new(state, *peer)).collect(),
            docketed_at: claim.docketed_at,
            settled_at: claim.settled_at,
        }
    }

    /// The phase in one word.
    pub(super) fn phase_word(&self) -> &'static str {
        match self.phase {
            Phase::Docketed => "docketed",
            Phase::Sealing { .. } => "sealing",
            Phase::Revealing { .. } => "revealing",
            Phase::Settled => "settled",
        }
    }
}

/// The outcome in one word.
pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Refuted => "refuted",
        Outcome::Inconclusive => "inconclusive",
    }
}

/// Rows of the claims from `skip` on, newest first, at most `limit` of them.
pub(super) fn rows(state: &State, skip: usize, limit: usize) -> Vec<ClaimRow> {
    let mut claims: Vec<&ClaimState> = state.claims().collect();
    claims.sort_by(|a, b| b.docketed_at.cmp(&a.docketed_at).then(a.id.cmp(&b.id)));
    let chosen = claims.into_iter().skip(skip).take(limit);
    chosen.map(|claim| ClaimRow::new(state, claim)).collect()
}

/// The claim that an id, or the unambiguous beginning of one, names.
///
/// # Errors
///
/// What to tell the reader.
pub(super) fn find<'a>(state: &'a State, text: &str) -> Result<&'a ClaimState, String> {
    if let Ok(id) = text.parse::<ClaimId>() {
        if id == state.base_claim() {
            return Err("this id stands for the base recipe, which nobody claimed".to_owned());
        }
        return state.claim(id).ok_or_else(|| format!("claim {id} is not on this ledger"));
    }
    let hexadecimal = text.chars().all(|c| c.is_ascii_hexdigit());
    if !hexadecimal || !(PREFIX_DIGITS_MIN..64).contains(&text.len()) {
        return Err(format!(
            "a claim id has 64 hexadecimal digits; its first {PREFIX_DIGITS_MIN} or more also do"
        ));
    }
    let prefix = text.to_ascii_lowercase();
    let mut found = state.claims().filter(|claim| claim.id.to_string().starts_with(&prefix));
    match (found.next(), found.next()) {
        (Some(claim), None) => Ok(claim),
        (None, _) => Err(format!("no claim on this ledger begins with {prefix}")),
        (Some(_), Some(_)) => Err(format!("several claims begin with {prefix}; give more digits")),
    }
}
