//! Records heard but not ordered yet.

use crate::error::Reject;
use crate::ids::{PeerId, RecordId};
use crate::record::{Body, Record};
use crate::state::State;
use std::collections::BTreeMap;

/// Most records that wait.
pub const POOL_RECORDS_MAX: usize = 2_048;
/// Most records of one author that wait.
pub const POOL_RECORDS_PER_AUTHOR_MAX: usize = 64;
/// Most posts of one author that wait; other records keep their own places.
pub const POOL_POSTS_PER_AUTHOR_MAX: usize = 16;
/// Blocks after which a record that does not apply is forgotten.
pub const POOL_AGE_BLOCKS_MAX: u64 = 64;

struct Waiting {
    record: Record,
    since: u64,
    applies: bool,
}

/// A bounded set of records, in the order heard.
#[derive(Default)]
pub struct Pool {
    next: u64,
    by_arrival: BTreeMap<u64, Waiting>,
    arrivals: BTreeMap<RecordId, u64>,
}

impl Pool {
    /// Takes a record in, if it applies or may apply later. Returns whether it was unknown.
    ///
    /// # Errors
    ///
    /// [`Reject`] when the record can never apply, or when its author has too many waiting.
    pub fn insert(&mut self, state: &State, record: Record) -> Result<bool, Reject> {
        if self.contains(record.id) {
            return Ok(false);
        }
        let applies = match applies(state, &record) {
            Ok(()) => true,
            Err(reject) if may_apply_later(&reject) => false,
            Err(reject) => return Err(reject),
        };
        self.check_places(&record)?;
        if self.by_arrival.len() >= POOL_RECORDS_MAX {
            self.drop_oldest();
        }
        self.arrivals.insert(record.id, self.next);
        let waiting = Waiting { record, since: state.height(), applies };
        self.by_arrival.insert(self.next, waiting);
        self.next += 1;
        Ok(true)
    }

    /// Whether a record waits here.
    #[must_use]
    pub fn contains(&self, id: RecordId) -> bool {
        self.arrivals.contains_key(&id)
    }

    /// Whether any record could be ordered at once.
    #[must_use]
    pub fn has_applicable(&self) -> bool {
        self.by_arrival.values().any(|waiting| waiting.applies)
    }

    /// The waiting records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.by_arrival.values().map(|waiting| &waiting.record)
    }

    /// The waiting records of one author, oldest first.
    pub fn records_of(&self, author: PeerId) -> impl Iterator<Item = &Record> {
        self.records().filter(move |record| record.author == author)
    }

    /// Forgets a record, because it was ordered.
    pub fn remove(&mut self, id: RecordId) {
        if let Some(arrival) = self.arrivals.remove(&id) {
            self.by_arrival.remove(&arrival);
        }
    }

    /// Forgets what can never apply any more or waited too long.
    pub fn refresh(&mut self, state: &State) {
        self.by_arrival.retain(|_, waiting| match applies(state, &waiting.record) {
            Ok(()) => {
                waiting.applies = true;
                true
            }
            Err(reject) => {
                waiting.applies = false;
                let age = state.height().saturating_sub(waiting.since);
                may_apply_later(&reject) && age <= POOL_AGE_BLOCKS_MAX
            }
        });
        let kept = &self.by_arrival;
        self.arrivals.retain(|_, arrival| kept.contains_key(arrival));
    }

    /// Posts have places of their own, so that whoever talks much still gets its seals ordered.
    fn check_places(&self, record: &Record) -> Result<(), Reject> {
        let is_post = |record: &Record| matches!(record.body, Body::Post(_));
        let alike = self
            .records_of(record.author)
            .filter(|waiting| is_post(waiting) == is_post(record))
            .count();
        match is_post(record) {
            true if alike >= POOL_POSTS_PER_AUTHOR_MAX => {
                Err(Reject::PostsWaiting(POOL_POSTS_PER_AUTHOR_MAX))
            }
            false if alike >= POOL_RECORDS_PER_AUTHOR_MAX => {
                Err(Reject::DocketFull(POOL_RECORDS_PER_AUTHOR_MAX))
            }
            _ => Ok(()),
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, oldest)) = self.by_arrival.pop_first() {
            self.arrivals.remove(&oldest.record.id);
        }
    }
}

/// Whether a record could be ordered next.
///
/// # Errors
///
/// The [`Reject`] with which the ledger would refuse it.
pub fn applies(state: &State, record: &Record) -> Result<(), Reject> {
    // The clone shares every claim with the original, so it costs a few pointers a claim.
    state.clone().apply_record(record, state.height() + 1)
}

/// Whether a peer that is a few blocks ahead could have sent this.
fn may_apply_later(reject: &Reject) -> bool {
    matches!(
        reject,
        Reject::Phase { .. }
            | Reject::UnknownClaim(_)
            | Reject::UnknownRound(_)
            | Reject::NotSeated(_)
            | Reject::Parent(_)
            | Reject::OpenClaim(_)
            | Reject::OpenChallenge(_)
            | Reject::Standing { .. }
            | Reject::DocketFull(_)
            | Reject::OperatorDocketFull(_)
            | Reject::Uncitable(_)
            | Reject::UnknownPost(_)
            | Reject::UnknownRuling(_)
            | Reject::ChargesSpent { .. }
            | Reject::RulingsFull(_)
            | Reject::UnknownProposal(_)
            | Reject::ProposalsFull(_)
            | Reject::PostsSpent { .. }
            | Reject::BlockPosts
    ) || matches!(
        reject,
        Reject::PostEpoch { said, epoch } | Reject::ProposalEpoch { said, epoch } if said > epoch
    ) || matches!(reject, Reject::NotSilent { since, height, .. } if since > height)
}
