//! How an entry came about: from the base recipe, one claim after the other.

use super::super::claims::Named;
use super::graph::{Fate, changes, levers};
use crate::board::Board;
use assay_protocol::ids::ClaimId;
use assay_protocol::state::{ClaimState, State};
use assay_protocol::verdict::Estimate;
use serde::Serialize;

/// Most steps that are followed back.
pub(crate) const STEPS_MAX: usize = 256;

/// One claim on the way.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// Its number, from 1 after the base recipe.
    pub(crate) step: usize,
    pub(crate) claim: ClaimId,
    pub(crate) summary: String,
    pub(crate) author: Named,
    pub(crate) fate: Fate,
    /// What of the recipe differs from the parent's, in words.
    pub(crate) changed: Vec<String>,
    /// What its author says it turned.
    pub(crate) levers: Vec<String>,
    /// Child speed over parent speed.
    pub(crate) ratio: Option<Estimate>,
    /// Speed over the base recipe's, in millionths, once accepted.
    pub(crate) ratio_to_base_ppm: Option<u64>,
    /// KL(base || child) per token, in millionths of a nat.
    pub(crate) kl_micronats: Option<u64>,
    /// Block that docketed it.
    pub(crate) height: u64,
}

/// The steps from the base recipe to a claim, that claim the last. A lineage that is longer than what is
/// followed begins later.
pub(crate) fn path(state: &State, board: &Board, claim: &ClaimState) -> Vec<Step> {
    let mut claims = Vec::new();
    let mut next = Some(claim);
    while let Some(claim) = next.filter(|_| claims.len() < STEPS_MAX) {
        claims.push(claim);
        next = state.claim(claim.parent);
    }
    claims.reverse();
    let step = |(claim, step): (&ClaimState, usize)| Step {
        step,
        claim: claim.id,
        summary: claim.summary.clone(),
        author: Named::new(state, claim.author),
        fate: Fate::of(claim),
        changed: changes(state, claim),
        levers: levers(state, board, claim),
        ratio: claim.verdict().and_then(|verdict| verdict.ratio),
        ratio_to_base_ppm: claim.ratio_to_base_ppm,
        kl_micronats: claim.verdict().and_then(|verdict| verdict.kl_micronats),
        height: claim.docketed_at,
    };
    claims.into_iter().zip(1..).map(step).collect()
}
