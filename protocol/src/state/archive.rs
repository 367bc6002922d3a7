//! Where closed claims are put, so that memory does not grow with a ledger.
//!
//! A claim holds the samples of all its rounds, but once nothing of it is open it changes seldom and few
//! records are about it. Whoever replays a long ledger gives the state an [`Archive`], which takes the bytes of
//! closed claims and gives them back where one is asked for. What is asked of all claims at once stays in
//! memory, as a [`Brief`] of each.

use super::{ClaimState, ROUNDS_MAX, State};
use crate::frontier::{Point, Track};
use crate::ids::ClaimId;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Claims that stay in memory beside an archive, as many again of those that were read back: what was settled
/// lately is asked for most.
pub const CLAIMS_IN_MEMORY: usize = 1_024;
/// Bytes that may come into memory before closed claims are put away, however few they are.
pub(super) const BYTES_IN_MEMORY: usize = 64 << 20;

/// Keeps bytes outside of memory, for as long as it lives.
pub trait Archive: fmt::Debug + Send + Sync {
    /// Keeps some bytes, and says at which place.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] where they cannot be kept.
    fn keep(&self, bytes: &[u8]) -> Result<u64, ArchiveError>;

    /// The bytes at a place that [`Archive::keep`] named.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] where they cannot be had back.
    fn read(&self, place: u64) -> Result<Vec<u8>, ArchiveError>;
}

/// Why an archive does not give back what was put into it. Nothing follows from the state after one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("claims cannot be kept outside of memory: {0}")]
pub struct ArchiveError(pub String);

/// What is asked of all claims at once. `Name` is how it has the hardware class's name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brief<Name> {
    /// The block that docketed the claim.
    pub(super) docketed_at: u64,
    /// What it is compared with.
    pub(super) parent: ClaimId,
    /// The hardware class that it is about.
    pub(super) class: Name,
    /// See [`ClaimState::ratio_to_base_ppm`].
    pub(super) ratio_to_base_ppm: Option<u64>,
    /// See [`ClaimState::stands`].
    pub(super) stands: bool,
    /// Its place in its track, once accepted.
    pub(super) standing: Option<(Track, Point)>,
    /// Whether it is known to descend from a debunked entry.
    pub(super) is_marked: bool,
    /// Whether the beacon may pick it to be looked at again.
    pub(super) may_be_audited: bool,
    /// Whether a second committee may measure it after a leader fell.
    pub(super) may_run_up: bool,
}

impl<Name> Brief<Name> {
    /// The same with another form of the class's name.
    pub(super) fn with_class<Other>(&self, class: Other) -> Brief<Other> {
        Brief {
            docketed_at: self.docketed_at,
            parent: self.parent,
            class,
            ratio_to_base_ppm: self.ratio_to_base_ppm,
            stands: self.stands,
            standing: self.standing,
            is_marked: self.is_marked,
            may_be_audited: self.may_be_audited,
            may_run_up: self.may_run_up,
        }
    }
}

impl State {
    /// Puts claims that are closed into an archive whenever there are more than some in memory; see
    /// [`State::put_away`].
    pub(crate) fn use_archive(&mut self, archive: Arc<dyn Archive>, in_memory_max: usize) {
        self.claims.use_archive(archive, in_memory_max);
    }

    /// Why the state is worth nothing, if its archive failed.
    #[must_use]
    pub fn archive_error(&self) -> Option<&ArchiveError> {
        self.claims.archive_error()
    }

    /// Tells that a record of so many bytes came into memory.
    pub(crate) fn count_record(&mut self, bytes: usize) {
        self.claims.count_record(bytes);
    }

    /// Clears memory of closed claims, if there is an archive and there are many. What the state says is the
    /// same afterwards.
    pub(crate) fn put_away(&mut self) {
        if !self.claims.is_due() {
            return;
        }
        let closed = |claim: &&ClaimState| claim.is_entry() && !claim.is_open();
        let closed = self.claims.in_memory().filter(closed);
        let briefs: Vec<(ClaimId, Brief<()>)> =
            closed.map(|claim| (claim.id, self.brief_of(claim).with_class(()))).collect();
        self.claims.put_away(briefs);
    }

    /// What is asked of a claim together with all others, wherever it is.
    pub(super) fn brief(&self, id: ClaimId) -> Option<Brief<&str>> {
        let put_away = self.claims.put_away_brief(id);
        put_away.or_else(|| self.claim(id).map(|claim| self.brief_of(claim)))
    }

    /// The ids of all claims, in no order that means anything.
    pub fn claim_ids(&self) -> impl Iterator<Item = ClaimId> {
        self.claims.ids()
    }

    /// Whether any claim is about this hardware class, measured or not.
    #[must_use]
    pub fn is_class_of_a_claim(&self, class: &str) -> bool {
        self.claims.ids().any(|id| self.brief(id).is_some_and(|brief| brief.class == class))
    }

    /// The briefs of all entries, in the order in which they were settled.
    pub(super) fn entry_briefs(&self) -> impl Iterator<Item = (ClaimId, Brief<&str>)> {
        self.entries.iter().filter_map(|id| self.brief(*id).map(|brief| (*id, brief)))
    }

    /// A claim and all that descend from it, in the order in which they were docketed.
    pub(super) fn with_descendants(&self, id: ClaimId) -> Vec<ClaimId> {
        let parents = self.claims.ids().filter_map(|id| {
            let brief = self.brief(id)?;
            Some((brief.docketed_at, id, brief.parent))
        });
        let mut parents: Vec<(u64, ClaimId, ClaimId)> = parents.collect();
        // A child is docketed after its parent became an entry, so that one pass finds all descendants.
        parents.sort_unstable();
        let mut found = vec![id];
        let mut known = BTreeSet::from([id]);
        for (_, child, parent) in parents {
            if known.contains(&parent) && known.insert(child) {
                found.push(child);
            }
        }
        found
    }

    pub(super) fn brief_of<'a>(&self, claim: &'a ClaimState) -> Brief<&'a str> {
        let stands = claim.stands();
        let measurable = stands && !claim.is_open() && claim.rounds.len() < ROUNDS_MAX;
        Brief {
            docketed_at: claim.docketed_at,
            parent: claim.parent,
            class: &claim.hardware_class,
            ratio_to_base_ppm: claim.ratio_to_base_ppm,
            stands,
            standing: self.standing_of(claim),
            is_marked: claim.descends_from_debunked.is_some(),
            may_be_audited: measurable,
            may_run_up: measurable && Self::may_be_confirmed(claim),
        }
    }
}
