//! Claims as rows: what the table, the chart, the docket, JSON and CSV all show.

use assay_protocol::dissent::Dissent;
use assay_protocol::frontier::Track;
use assay_protocol::gates::Gate;
use assay_protocol::ids::{ClaimId, PeerId, RecordId};
use assay_protocol::ruling::{Decision, Offence};
use assay_protocol::state::{ClaimState, Debunked, Finding, Phase, Purpose, Round, State};
use assay_protocol::verdict::{Estimate, Outcome, Verdict};
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
    pub(crate) fn new(state: &State, peer: PeerId) -> Self {
        let member = state.members().get(&peer);
        Self { peer, name: member.map_or_else(|| peer.short(), |member| member.name.clone()) }
    }
}

/// A seat that a round was decided against, or that divides it.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Dissenter {
    /// The seat.
    pub seat: Named,
    /// What its own measurement says against the claim.
    pub gate: Gate,
}

impl Dissenter {
    fn all(state: &State, verdict: Option<&Verdict>) -> Vec<Self> {
        let found = verdict.map(|verdict| verdict.dissent.as_slice()).unwrap_or_default();
        let named = |d: &Dissent| Self { seat: Named::new(state, d.seat), gate: d.gate };
        found.iter().map(named).collect()
    }
}

/// How far a committee has come.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
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

impl Progress {
    fn new(state: &State, claim: &ClaimState, round: &Round) -> Self {
        Self {
            seats: round.committee.seats.len(),
            quorum: state.quorum(claim, round).quorum,
            reserves_called: round.reserves_called,
            sealed: round.seals.len(),
            revealed: round.reveals.len(),
        }
    }
}

/// One round of a claim in a line.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct RoundRow {
    /// Its number within the claim, from 1.
    pub number: u32,
    /// Why it is held.
    #[serde(flatten)]
    pub purpose: Purpose,
    /// Where it is in its life.
    #[serde(flatten)]
    pub phase: Phase,
    /// What it decided.
    pub outcome: Option<Outcome>,
    /// Child speed over parent speed by this round alone.
    pub ratio: Option<Estimate>,
    /// Pairs that every seat measures; 0 before the committee is drawn.
    pub pairs: u32,
    /// How far its committee has come.
    pub progress: Progress,
    /// Whose measurements its verdict rests on.
    pub attested_by: Vec<Named>,
    /// Seats at odds with the claim where the others, a quorum, are not.
    pub dissent: Vec<Dissenter>,
    /// Seats that reported a gain in an opened null claim.
    pub caught: Vec<Named>,
    /// What the round says about the entry, if it was held to look at one again.
    pub finding: Option<Finding>,
    /// How many of those who attested had attested an earlier round of the claim.
    pub sat_before: usize,
    /// Height of the block that opened it.
    pub opened_at: u64,
    /// Height of the block that settled it.
    pub settled_at: Option<u64>,
}

impl RoundRow {
    pub(super) fn new(state: &State, claim: &ClaimState, round: &Round) -> Self {
        let attested = round.verdict.as_ref().map(|v| v.attested_by.as_slice()).unwrap_or_default();
        Self {
            number: round.number,
            purpose: round.purpose,
            phase: round.phase,
            outcome: round.outcome(),
            ratio: round.verdict.as_ref().and_then(|verdict| verdict.ratio),
            pairs: round.pairs,
            progress: Progress::new(state, claim, round),
            attested_by: attested.iter().map(|peer| Named::new(state, *peer)).collect(),
            dissent: Dissenter::all(state, round.verdict.as_ref()),
            caught: round.caught.iter().map(|peer| Named::new(state, *peer)).collect(),
            finding: round.finding,
            sat_before: state.sat_before(claim, round.number),
            opened_at: round.opened_at,
            settled_at: round.settled_at,
        }
    }
}

/// The rules that a claim was found to break.
pub(super) fn upheld(state: &State, claim: ClaimId) -> Vec<Offence> {
    let broken = |rule: &Offence| {
        let ruling = state.ruling_about(*rule, RecordId(claim.0));
        ruling.and_then(|ruling| ruling.decision()) == Some(Decision::Upheld)
    };
    Offence::ALL.into_iter().filter(broken).collect()
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
    /// The hardware class that it is about.
    pub hardware_class: String,
    /// Whether that is the base recipe.
    pub parent_is_base: bool,
    /// Where its latest round is in its life.
    #[serde(flatten)]
    pub phase: Phase,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// Whether it decodes exactly what its checkpoint says.
    pub lossless: Option<bool>,
    /// Child speed over parent speed.
    pub ratio: Option<Estimate>,
    /// Speed over the base recipe's, along the lineage, in millionths.
    pub ratio_to_base_ppm: Option<u64>,
    /// What it is ranked among.
    pub track: Option<Track>,
    /// 1 and the number of entries of its track that are faster by more than η.
    pub rank: Option<usize>,
    /// Whether it leads its track: the published best, or a place on the Pareto front.
    pub leads: bool,
    /// Whether an independent second committee supplied the number.
    pub confirmed: bool,
    /// How a later round refuted the entry.
    pub debunked: Option<Debunked>,
    /// Whether its author told of the trick in it before that.
    pub told_first: bool,
    /// The debunked entry that this claim builds on.
    pub descends_from_debunked: Option<ClaimId>,
    /// The rules that it was found to break, by a drawn committee or another measurement.
    pub upheld: Vec<Offence>,
    /// Whether the author had hidden no gain in it, once opened.
    pub null: Option<bool>,
    /// KL(base || child) per token, in millionths of a nat.
    pub kl_micronats: Option<u64>,
    /// Perplexity over the base checkpoint's, in millionths.
    pub perplexity_ratio_ppm: Option<u64>,
    /// Perplexity of the parent, in millionths.
    pub perplexity_parent_ppm: Option<u64>,
    /// Perplexity of the child, in millionths.
    pub perplexity_child_ppm: Option<u64>,
    /// The ratio that the author sealed, once opened.
    pub author_ratio_ppm: Option<u64>,
    /// How far the committee of its latest round has come.
    pub progress: Progress,
    /// Its measurements, in their order.
    pub rounds: Vec<RoundRow>,
    /// Whose measurements the verdict rests on.
    pub attested_by: Vec<Named>,
    /// Against whose measurements it was reached.
    pub dissent: Vec<Dissenter>,
    /// Height of the block that docketed it.
    pub docketed_at: u64,
    /// Height of the block that made it an entry.
    pub settled_at: Option<u64>,
}

impl ClaimRow {
    pub(super) fn new(state: &State, claim: &ClaimState) -> Self {
        let verdict = claim.verdict();
        let track = state.standing_of(claim).map(|(track, _)| track);
        let attested = verdict.map(|v| v.attested_by.as_slice()).unwrap_or_default();
        Self {
            id: claim.id,
            summary: claim.summary.clone(),
            author: Named::new(state, claim.author),
            parent: claim.parent,
            hardware_class: claim.hardware_class.clone(),
            parent_is_base: claim.parent == state.base_claim(),
            phase: claim.phase(),
            outcome: claim.outcome(),
            // Nobody measured the tokens when nobody revealed.
            lossless: verdict.filter(|v| !v.gates.is_empty()).map(|v| v.lossless),
            ratio: verdict.and_then(|v| v.ratio),
            ratio_to_base_ppm: claim.ratio_to_base_ppm,
            track,
            rank: state.rank(claim),
            leads: track.is_some_and(|track| state.leads(claim.id, track)),
            confirmed: claim.is_confirmed(),
            debunked: claim.debunked,
            told_first: claim
                .debunked
                .is_some_and(|debunked| state.is_self_disclosed(claim.id, debunked.height)),
            descends_from_debunked: claim.descends_from_debunked,
            upheld: upheld(state, claim.id),
            null: claim.opening.as_ref().map(|opening| opening.null),
            kl_micronats: verdict.and_then(|v| v.kl_micronats),
            perplexity_ratio_ppm: verdict.and_then(|v| v.perplexity_ratio_ppm),
            perplexity_parent_ppm: verdict.and_then(|v| v.perplexity_parent_ppm),
            perplexity_child_ppm: verdict.and_then(|v| v.perplexity_child_ppm),
            author_ratio_ppm: claim.opening.as_ref().map(|opening| opening.ratio_ppm),
            progress: claim.latest().map(|r| Progress::new(state, claim, r)).unwrap_or_default(),
            rounds: claim.rounds.iter().map(|round| RoundRow::new(state, claim, round)).collect(),
            attested_by: attested.iter().map(|peer| Named::new(state, *peer)).collect(),
            dissent: Dissenter::all(state, verdict),
            docketed_at: claim.docketed_at,
            settled_at: claim.settled_at,
        }
    }

    /// Whether the last committee that measured it was divided, so that another one measures again.
    #[must_use]
    pub fn is_contested(&self) -> bool {
        let last = self.rounds.iter().rev().find_map(|round| round.outcome);
        last == Some(Outcome::Contested)
    }

    /// The phase in one word.
    pub(super) fn phase_word(&self) -> &'static str {
        phase_word(self.phase)
    }
}

/// A phase in one word.
pub(super) fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Docketed => "docketed",
        Phase::Sealing { .. } => "sealing",
        Phase::Revealing { .. } => "revealing",
        Phase::Settled => "settled",
    }
}

/// The outcome in one word.
pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Refuted => "refuted",
        Outcome::Inconclusive => "inconclusive",
        Outcome::Pending => "speed pending",
        Outcome::Contested => "contested",
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
