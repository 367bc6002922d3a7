//! The challenge: who leads each track of a hardware class, and how the score came about.

use super::claims::{Named, upheld};
use super::lineage::Fate;
use crate::explain::ClassNorms;
use assay_protocol::frontier::{Point, Track, front, product_ppm};
use assay_protocol::ids::{BlobHash, ClaimId};
use assay_protocol::record::Drafter;
use assay_protocol::ruling::Offence;
use assay_protocol::state::{ClaimState, State};
use assay_protocol::verdict::Estimate;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most claims in a chart, the latest.
const CHART_CLAIMS_MAX: usize = 400;

/// An entry on the leaderboard.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LeaderRow {
    /// Its place among the faster ones of its track; ties share it.
    pub(super) rank: Option<usize>,
    pub(super) claim: ClaimId,
    pub(super) summary: String,
    pub(super) author: Named,
    pub(super) track: Track,
    /// Whether it is the published best, or has a place on the Pareto front.
    pub(super) leads: bool,
    /// Whether a second committee supplied the number.
    pub(super) confirmed: bool,
    /// None stands for the base recipe.
    pub(super) parent: Option<ClaimId>,
    /// Child speed over parent speed.
    pub(super) ratio: Option<Estimate>,
    pub(super) ratio_to_base_ppm: u64,
    /// Decoded tokens a second on its class, in thousandths.
    pub(super) decode_mtps: Option<u64>,
    /// Perplexity, in millionths.
    pub(super) perplexity_ppm: Option<u64>,
    /// Perplexity over the base checkpoint's, in millionths.
    pub(super) perplexity_ratio_ppm: Option<u64>,
    /// KL(base || child) per token, in millionths of a nat.
    pub(super) kl_micronats: Option<u64>,
    pub(super) checkpoint: BlobHash,
    /// None stands for the built-in kernels.
    pub(super) bundle: Option<BlobHash>,
    pub(super) drafter: Option<Drafter>,
    /// Seats that its verdict rests on.
    pub(super) seats: usize,
    pub(super) fate: Fate,
    /// The rules that it was found to break.
    pub(super) upheld: Vec<Offence>,
}

/// A claim in the chart of the score over time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ScoreRow {
    pub(super) claim: ClaimId,
    pub(super) summary: String,
    /// None before a committee said whether it is lossless.
    pub(super) track: Option<Track>,
    pub(super) fate: Fate,
    /// Block that settled it; of an open claim the one that docketed it.
    pub(super) height: u64,
    /// Speed over the base recipe's by its own measurement, in millionths; where none says anything, its
    /// parent's.
    pub(super) ratio_to_base_ppm: u64,
    /// Its bounds times the parent's speed over the base recipe's, in millionths.
    pub(super) low_ppm: Option<u64>,
    pub(super) high_ppm: Option<u64>,
    pub(super) perplexity_ratio_ppm: Option<u64>,
    pub(super) kl_micronats: Option<u64>,
    pub(super) leads: bool,
}

/// The published best from a block on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct BestRow {
    pub(super) height: u64,
    /// The claim that leads; none stands for the base recipe.
    pub(super) claim: Option<ClaimId>,
    pub(super) ratio_to_base_ppm: u64,
}

/// One class of the challenge.
#[derive(Debug, Serialize)]
pub(super) struct Score {
    pub(super) class: String,
    /// All classes that something was claimed for, with their claims, the most claimed first.
    pub(super) classes: Vec<(String, usize)>,
    pub(super) norms: ClassNorms,
    pub(super) claims: Vec<ScoreRow>,
    /// The published best of the lossless track over time.
    pub(super) best: Vec<BestRow>,
    pub(super) leaders: Vec<LeaderRow>,
}

impl Score {
    /// The class that is asked for, else the one that most is claimed for; `own` decides where nothing
    /// was claimed.
    pub(super) fn new(state: &State, asked: Option<&str>, own: Option<&str>) -> Self {
        let classes = classes(state);
        let named = asked.filter(|class| classes.iter().any(|(known, _)| known == class));
        let most = classes.first().map(|(class, _)| class.as_str());
        let class = named.or(most).or(own).unwrap_or("unknown").to_owned();
        Self {
            norms: ClassNorms::of(state, &class),
            claims: claims(state, &class),
            best: best(state, &class),
            leaders: leaders(state, &class),
            class,
            classes,
        }
    }
}

/// The published best at the end of its course, in millionths of the base recipe's speed.
pub(super) fn best_ppm(course: &[BestRow]) -> u64 {
    course.last().map_or(Point::BASE.ratio_ppm, |best| best.ratio_to_base_ppm)
}

fn classes(state: &State) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for claim in state.claims() {
        *counts.entry(&claim.hardware_class).or_default() += 1;
    }
    let mut classes: Vec<(String, usize)> =
        counts.into_iter().map(|(class, claims)| (class.to_owned(), claims)).collect();
    classes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    classes
}

fn track_of(state: &State, claim: &ClaimState) -> Option<Track> {
    let verdict = claim.verdict().filter(|verdict| !verdict.gates.is_empty())?;
    Some(state.track(claim, verdict))
}

fn leads(state: &State, claim: &ClaimState) -> bool {
    track_of(state, claim).is_some_and(|track| state.leads(claim.id, track))
}

/// The latest claims of a class, oldest first.
fn claims(state: &State, class: &str) -> Vec<ScoreRow> {
    let mut rows: Vec<ScoreRow> = state
        .claims()
        .filter(|claim| claim.hardware_class == class)
        .filter_map(|claim| score(state, claim))
        .collect();
    rows.sort_by_key(|row| (row.height, row.claim));
    rows.split_off(rows.len().saturating_sub(CHART_CLAIMS_MAX))
}

fn score(state: &State, claim: &ClaimState) -> Option<ScoreRow> {
    let parent_ppm = state.ratio_to_base_ppm(claim.parent)?;
    let verdict = claim.verdict();
    let ratio = verdict.and_then(|verdict| verdict.ratio);
    let times = |ppm: u64| product_ppm(parent_ppm, ppm);
    Some(ScoreRow {
        claim: claim.id,
        summary: claim.summary.clone(),
        track: track_of(state, claim),
        fate: Fate::of(claim),
        height: claim.settled_at.unwrap_or(claim.docketed_at),
        ratio_to_base_ppm: match ratio {
            Some(ratio) => times(ratio.ppm)?,
            None => parent_ppm,
        },
        low_ppm: ratio.and_then(|ratio| times(ratio.low_ppm)),
        high_ppm: ratio.and_then(|ratio| times(ratio.high_ppm)),
        perplexity_ratio_ppm: verdict.and_then(|verdict| verdict.perplexity_ratio_ppm),
        kl_micronats: verdict.and_then(|verdict| verdict.kl_micronats),
        leads: leads(state, claim),
    })
}

/// From which block on an entry's number counted, and from which on no more.
fn reign(state: &State, claim: &ClaimState) -> Option<(u64, Option<u64>)> {
    let from = claim.deciding()?.settled_at?;
    let fell = |claim: &ClaimState| claim.debunked.map(|debunked| debunked.height);
    let below = claim.descends_from_debunked.and_then(|id| state.claim(id)).and_then(fell);
    let until = match (fell(claim), below) {
        (Some(own), Some(below)) => Some(own.min(below)),
        (own, below) => own.or(below),
    };
    Some((from, until))
}

/// The published best of the lossless track over time, as the rule of the frontier has it for every block
/// at which an entry came or went.
fn best(state: &State, class: &str) -> Vec<BestRow> {
    let eta_ppm = state.parameters().significance.eta_ppm;
    let entries: Vec<(ClaimId, Point, u64, Option<u64>)> = state
        .entries()
        .filter(|claim| claim.hardware_class == class && claim.is_confirmed())
        .filter_map(|claim| {
            let (track, point) = state.standing_of(claim)?;
            let (from, until) = reign(state, claim)?;
            (track == Track::Lossless).then_some((claim.id, point, from, until))
        })
        .collect();
    let heights: BTreeSet<u64> =
        entries.iter().flat_map(|(_, _, from, until)| [Some(*from), *until]).flatten().collect();
    let base = BestRow { height: 0, claim: None, ratio_to_base_ppm: Point::BASE.ratio_ppm };
    let mut rows = vec![base];
    for height in heights {
        let counted = entries.iter().filter(|(_, _, from, until)| {
            *from <= height && until.is_none_or(|until| until > height)
        });
        let leader = front(counted.map(|(id, point, ..)| (*id, *point)), eta_ppm).pop();
        let row = match leader {
            Some((id, point)) => {
                BestRow { height, claim: Some(id), ratio_to_base_ppm: point.ratio_ppm }
            }
            None => BestRow { height, ..base },
        };
        if rows.last().is_none_or(|last| {
            (last.claim, last.ratio_to_base_ppm) != (row.claim, row.ratio_to_base_ppm)
        }) {
            rows.push(row);
        }
    }
    rows
}

/// The accepted entries of a class: lossless ones first, leaders before others, then by speed.
fn leaders(state: &State, class: &str) -> Vec<LeaderRow> {
    let entries = state.entries().filter(|claim| claim.hardware_class == class);
    let mut rows: Vec<LeaderRow> = entries.filter_map(|claim| leader(state, claim)).collect();
    let falls = |row: &LeaderRow| matches!(row.fate, Fate::Debunked | Fate::Fallen);
    rows.sort_by(|a, b| {
        let key = |row: &LeaderRow| (row.track, falls(row), !row.leads);
        key(a)
            .cmp(&key(b))
            .then(b.ratio_to_base_ppm.cmp(&a.ratio_to_base_ppm))
            .then(a.claim.cmp(&b.claim))
    });
    rows
}

fn leader(state: &State, claim: &ClaimState) -> Option<LeaderRow> {
    let (track, point) = state.standing_of(claim)?;
    let verdict = claim.verdict()?;
    Some(LeaderRow {
        rank: state.rank(claim),
        claim: claim.id,
        summary: claim.summary.clone(),
        author: Named::new(state, claim.author),
        track,
        leads: leads(state, claim),
        confirmed: claim.is_confirmed(),
        parent: Some(claim.parent).filter(|parent| *parent != state.base_claim()),
        ratio: verdict.ratio,
        ratio_to_base_ppm: point.ratio_ppm,
        decode_mtps: state.decode_speed_mtps(claim),
        perplexity_ppm: verdict.perplexity_child_ppm,
        perplexity_ratio_ppm: verdict.perplexity_ratio_ppm,
        kl_micronats: verdict.kl_micronats,
        checkpoint: claim.recipe.checkpoint,
        bundle: claim.recipe.bundle,
        drafter: claim.recipe.drafter,
        seats: verdict.attested_by.len(),
        fate: Fate::of(claim),
        upheld: upheld(state, claim.id),
    })
}
