//! Everything about one claim: its seats with their samples, and its lineage.

use super::claims::{ClaimRow, Named, RoundRow};
use super::relay::{self, Part};
use super::rulings::RulingRow;
use assay_protocol::gates::Evidence;
use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RecipeId};
use assay_protocol::measurement::{ArmReport, Environment, Measurement};
use assay_protocol::plan::{Arm, Plan};
use assay_protocol::record::Recipe;
use assay_protocol::state::{ClaimState, Phase, Round, State};
use assay_protocol::verdict::{Estimate, Outcome, Verdict};
use serde::Serialize;
use std::collections::BTreeSet;

/// Most ancestors shown; a longer lineage says that it was cut.
const LINEAGE_MAX: usize = 64;

/// Everything about one claim.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) claim: ClaimRow,
    pub(super) recipe_id: RecipeId,
    pub(super) parent_recipe: Option<Recipe>,
    /// The verdict of the round that the page shows first, see [`ClaimState::shown`].
    pub(super) verdict: Option<Verdict>,
    /// The seats of that round.
    pub(super) seats: Vec<SeatRow>,
    /// Every round with its seats, in their order.
    pub(super) rounds: Vec<RoundEntry>,
    pub(super) lineage: Lineage,
    /// Who built, tried, diagnosed and shipped its checkpoint; empty where no relay is behind it.
    pub(super) relay: Vec<Part>,
    /// Tricks in this claim that peers told of.
    pub(super) disclosures: Vec<DisclosureRow>,
    /// What came of flags on this claim, the latest first.
    pub(super) rulings: Vec<RulingRow>,
    /// The claim as the ledger has it, raw samples included.
    pub(super) ledger: ClaimState,
}

/// One round with its seats.
#[derive(Debug, Serialize)]
pub(super) struct RoundEntry {
    #[serde(flatten)]
    pub(super) row: RoundRow,
    pub(super) seats: Vec<SeatRow>,
}

/// What one peer told about a claim.
#[derive(Debug, Serialize)]
pub(super) struct DisclosureRow {
    pub(super) by: Named,
    /// Whether the claim's own author told it.
    pub(super) is_author: bool,
    pub(super) height: u64,
    pub(super) text: String,
    pub(super) evidence: Option<BlobHash>,
}

fn disclosures(state: &State, claim: &ClaimState) -> Vec<DisclosureRow> {
    let mut told: Vec<DisclosureRow> = state
        .disclosures_of(claim.id)
        .map(|told| DisclosureRow {
            by: Named::new(state, told.by),
            is_author: told.by == claim.author,
            height: told.height,
            text: told.text.clone(),
            evidence: told.evidence,
        })
        .collect();
    told.sort_by_key(|row| row.height);
    told
}

fn rulings(state: &State, claim: &ClaimState) -> Vec<RulingRow> {
    let about = state.rulings().filter(|ruling| ruling.charge.subject.0 == claim.id.0);
    let mut rows: Vec<RulingRow> = about.map(|ruling| RulingRow::new(state, ruling)).collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.opened_at), row.id));
    rows
}

/// The accepted claims that a claim builds on.
#[derive(Debug, Serialize)]
pub(super) struct Lineage {
    /// The parent first, the oldest last.
    pub(super) ancestors: Vec<Ancestor>,
    /// Whether older ancestors were left out.
    pub(super) cut: bool,
}

/// One step of a lineage.
#[derive(Debug, Serialize)]
pub(super) struct Ancestor {
    pub(super) claim: ClaimId,
    pub(super) summary: String,
    pub(super) author: Named,
    pub(super) ratio: Option<Estimate>,
}

/// Where a seat stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SeatStage {
    /// A reserve that nobody called.
    Uncalled,
    /// Has not sealed yet.
    Measuring,
    /// Has sealed and not revealed yet.
    Sealed,
    /// Has revealed.
    Revealed,
    /// Missed a deadline.
    Silent,
}

impl SeatStage {
    /// The stage as words for people.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Uncalled => "reserve, not called",
            Self::Measuring => "measuring",
            Self::Sealed => "sealed",
            Self::Revealed => "revealed",
            Self::Silent => "silent",
        }
    }
}

/// One seat.
#[derive(Debug, Serialize)]
pub(super) struct SeatRow {
    pub(super) seat: Named,
    pub(super) reserve: bool,
    /// Standing on the ledger's last block.
    pub(super) standing: Option<u64>,
    pub(super) stage: SeatStage,
    pub(super) samples: Option<Samples>,
}

impl SeatRow {
    /// What decoding took of its machine's time, both arms of all pairs together.
    pub(super) fn decoding_ns(&self) -> u64 {
        let pairs = self.samples.iter().flat_map(|samples| &samples.pairs);
        pairs.fold(0, |sum, pair| sum.saturating_add(pair.parent_ns).saturating_add(pair.child_ns))
    }
}

/// What a seat measured, with its labels resolved.
#[derive(Debug, Serialize)]
pub(super) struct Samples {
    /// The label of the child.
    pub(super) child: Arm,
    /// Geometric mean over the pairs of child speed over parent speed.
    pub(super) ratio: f64,
    pub(super) pairs: Vec<PairRow>,
    /// Decoded tokens over the wall time of the decode loop.
    pub(super) child_tps: f64,
    pub(super) parent_tps: f64,
    pub(super) environment: Environment,
}

/// One prompt.
#[derive(Debug, Serialize)]
pub(super) struct PairRow {
    pub(super) prompt: u32,
    pub(super) parent_ns: u64,
    pub(super) child_ns: u64,
    /// Child speed over parent speed.
    pub(super) ratio: f64,
    pub(super) same_tokens: bool,
}

impl Entry {
    pub(super) fn new(state: &State, claim: &ClaimState) -> Self {
        Self {
            claim: ClaimRow::new(state, claim),
            recipe_id: claim.recipe.id(),
            parent_recipe: state.recipe(claim.parent),
            verdict: claim.shown().and_then(|round| round.verdict.clone()),
            seats: claim.shown().map(|round| seats(state, claim, round)).unwrap_or_default(),
            rounds: claim.rounds.iter().map(|round| RoundEntry::new(state, claim, round)).collect(),
            lineage: lineage(state, claim),
            relay: relay::parts(state, claim),
            disclosures: disclosures(state, claim),
            rulings: rulings(state, claim),
            ledger: claim.clone(),
        }
    }
}

impl RoundEntry {
    fn new(state: &State, claim: &ClaimState, round: &Round) -> Self {
        Self { row: RoundRow::new(state, claim, round), seats: seats(state, claim, round) }
    }
}

fn lineage(state: &State, claim: &ClaimState) -> Lineage {
    let mut ancestors = Vec::new();
    let mut next = state.claim(claim.parent);
    while let Some(step) = next
        && ancestors.len() < LINEAGE_MAX
    {
        ancestors.push(Ancestor {
            claim: step.id,
            summary: step.summary.clone(),
            author: Named::new(state, step.author),
            ratio: step.verdict().and_then(|verdict| verdict.ratio),
        });
        next = state.claim(step.parent);
    }
    Lineage { ancestors, cut: next.is_some() }
}

/// The seats in the order drawn, then the reserves in theirs.
pub(super) fn seats(state: &State, claim: &ClaimState, round: &Round) -> Vec<SeatRow> {
    let active: BTreeSet<PeerId> = round.active_seats().collect();
    let drawn = round.committee.seats.iter().map(|peer| (*peer, false));
    let reserves = round.committee.reserves.iter().map(|peer| (*peer, true));
    drawn
        .chain(reserves)
        .map(|(peer, reserve)| SeatRow {
            seat: Named::new(state, peer),
            reserve,
            standing: state.members().get(&peer).map(|member| member.standing),
            stage: stage(round, peer, active.contains(&peer)),
            samples: round
                .reveals
                .get(&peer)
                .and_then(|m| samples(state.plan(claim, round, peer)?, m)),
        })
        .collect()
}

fn stage(round: &Round, peer: PeerId, active: bool) -> SeatStage {
    if round.reveals.contains_key(&peer) {
        return SeatStage::Revealed;
    }
    match (round.phase, round.seals.contains_key(&peer)) {
        _ if !active => SeatStage::Uncalled,
        (Phase::Docketed | Phase::Sealing { .. }, false) => SeatStage::Measuring,
        (Phase::Docketed | Phase::Sealing { .. } | Phase::Revealing { .. }, true) => {
            SeatStage::Sealed
        }
        // Sealed seats of a round that ended without a quorum were never asked to reveal.
        (Phase::Settled, true) if round.outcome() == Some(Outcome::Inconclusive) => {
            SeatStage::Sealed
        }
        (Phase::Revealing { .. }, false) | (Phase::Settled, _) => SeatStage::Silent,
    }
}

fn samples(plan: Plan, measurement: &Measurement) -> Option<Samples> {
    let evidence = Evidence { plan: &plan, measurement };
    let logs = evidence.log_ratios();
    let pairs: Vec<PairRow> = measurement
        .pairs
        .iter()
        .zip(&logs)
        .map(|(pair, log)| {
            let (child_ns, parent_ns) = match plan.child {
                Arm::X => (pair.x_ns, pair.y_ns),
                Arm::Y => (pair.y_ns, pair.x_ns),
            };
            PairRow {
                prompt: pair.prompt,
                parent_ns,
                child_ns,
                ratio: log.exp(),
                same_tokens: pair.x_tokens == pair.y_tokens,
            }
        })
        .collect();
    let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
    Some(Samples {
        child: plan.child,
        ratio: mean.exp(),
        child_tps: tokens_per_second(evidence.child(), pairs.iter().map(|pair| pair.child_ns)),
        parent_tps: tokens_per_second(evidence.parent(), pairs.iter().map(|pair| pair.parent_ns)),
        pairs,
        environment: measurement.environment.clone(),
    })
}

fn tokens_per_second(arm: &ArmReport, times_ns: impl Iterator<Item = u64>) -> f64 {
    let total_ns: f64 = times_ns.map(|ns| ns as f64).sum();
    arm.decoded_tokens as f64 * 1e9 / total_ns.max(1.0)
}
