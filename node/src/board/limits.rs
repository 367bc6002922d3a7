//! Limits: bounds that somebody set, and the entries that went beyond them.

use super::Board;
use super::rows::PostRow;
use crate::api::Named;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::post::{Bound, Detail, Quantity};
use assay_protocol::state::{ClaimState, LimitState, State};
use serde::{Deserialize, Serialize};

/// A limit with what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LimitRow {
    /// Its record.
    pub id: RecordId,
    /// Who set it.
    pub author: Named,
    /// Height of the block that ordered it.
    pub height: u64,
    /// What is held to go no further, in words; empty where this node has not got the post.
    pub levers: Vec<String>,
    /// The predicate.
    pub bound: Bound,
    /// The entry that debunks it, if one does.
    pub debunked_by: Option<Beyond>,
    /// The entry that comes closest to it while it holds.
    pub closest: Option<Beyond>,
    /// What its author says; none where this node has not got it.
    pub post: Option<PostRow>,
}

/// An entry beside a limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Beyond {
    /// The entry.
    pub claim: ClaimId,
    /// Its author's line.
    pub summary: String,
    /// Who claimed it.
    pub author: Named,
    /// How far it goes, in the unit of the bound.
    pub value: u64,
    /// Height of the block whose round gave the entry its number.
    pub height: u64,
}

impl Beyond {
    /// An entry, if the bound says anything about it.
    fn new(state: &State, bound: &Bound, claim: &ClaimState) -> Option<Self> {
        let settled = claim.deciding().and_then(|round| round.settled_at);
        Some(Self {
            claim: claim.id,
            summary: claim.summary.clone(),
            author: Named::new(state, claim.author),
            value: state.reach(bound, claim)?,
            height: settled.or(claim.settled_at)?,
        })
    }

    /// The first entry that goes beyond a bound, which it debunks.
    #[must_use]
    pub fn first(state: &State, bound: &Bound) -> Option<Self> {
        state.debunked_by(bound).and_then(|claim| Self::new(state, bound, claim))
    }
}

impl LimitRow {
    /// The predicate in words.
    #[must_use]
    pub fn words(&self) -> String {
        bound_words(&self.bound)
    }

    /// What became of it, in words.
    #[must_use]
    pub fn fate(&self) -> String {
        let far = |beyond: &Beyond| self.bound.quantity.words(beyond.value);
        match (&self.debunked_by, &self.closest) {
            (Some(by), _) => format!("debunked by {} at {}", by.claim.short(), far(by)),
            (None, Some(by)) => format!("holds; closest {} at {}", by.claim.short(), far(by)),
            (None, None) => "holds; no entry comes under it".to_owned(),
        }
    }
}

/// A predicate in words.
#[must_use]
pub fn bound_words(bound: &Bound) -> String {
    let what = match bound.checkpoint {
        Some(checkpoint) => format!("checkpoint {}", &checkpoint.to_string()[..8]),
        None => "any recipe".to_owned(),
    };
    let figure = bound.quantity.words(bound.most);
    let than = match bound.quantity {
        Quantity::RatioToBase => " the base",
        Quantity::DecodeSpeed => "",
    };
    format!("{what} on {}: at most {figure}{than}", bound.hardware_class)
}

impl Board {
    /// The limits on the ledger, newest first.
    #[must_use]
    pub fn limits(&self, state: &State) -> Vec<LimitRow> {
        let mut limits: Vec<&LimitState> = state.limits().collect();
        limits.sort_by_key(|limit| std::cmp::Reverse((limit.height, limit.id)));
        limits.into_iter().map(|limit| self.limit_row(state, limit)).collect()
    }

    /// One limit.
    #[must_use]
    pub fn limit_row(&self, state: &State, limit: &LimitState) -> LimitRow {
        let item = self.read().items.get(&limit.id).cloned();
        let bound = &limit.bound;
        let beyond = |claim| Beyond::new(state, bound, claim);
        let debunked_by = Beyond::first(state, bound);
        let closest = match debunked_by {
            Some(_) => None,
            None => state.entries().filter_map(beyond).max_by_key(|beyond| beyond.value),
        };
        let levers = match item.as_ref().and_then(|item| item.detail()) {
            Some(Detail::Limit(limit)) => limit.levers.clone(),
            _ => Vec::new(),
        };
        LimitRow {
            id: limit.id,
            author: Named::new(state, limit.author),
            height: limit.height,
            levers,
            bound: bound.clone(),
            debunked_by,
            closest,
            post: item.map(|item| PostRow::new(state, &item)),
        }
    }
}
