//! A claim as the ledger knows it: what was claimed, its rounds, and what became of it.

use super::doubt::Debunked;
use super::round::{Phase, Purpose, Round};
use crate::ids::{ClaimId, PeerId, RoundId};
use crate::record::{Claim, Opening, Recipe};
use crate::verdict::{Outcome, SpeedClass, Verdict};
use serde::{Deserialize, Serialize};

/// A claim and everything the ledger knows about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimState {
    /// Its id.
    pub id: ClaimId,
    /// Who made it.
    pub author: PeerId,
    /// The recipe claimed to be fast.
    pub recipe: Recipe,
    /// What it is compared with.
    pub parent: ClaimId,
    /// The author's sealed result.
    #[serde(with = "hex::serde")]
    pub result_seal: [u8; 32],
    /// The author's line for people.
    pub summary: String,
    /// The hardware class that it is about.
    pub hardware_class: String,
    /// The block that docketed it.
    pub docketed_at: u64,
    /// The block that made it an entry.
    pub settled_at: Option<u64>,
    /// Its measurements, in their order. Only the last can be open.
    pub rounds: Vec<Round>,
    /// The round whose verdict is the entry's.
    pub decided_by: Option<u32>,
    /// Speed over the base recipe's, in millionths, once accepted: the product of the ledger's
    /// ratios along the lineage.
    pub ratio_to_base_ppm: Option<u64>,
    /// How a later round refuted the entry, which stays, marked.
    pub debunked: Option<Debunked>,
    /// The debunked entry that this claim builds on.
    pub descends_from_debunked: Option<ClaimId>,
    /// The author's own result, once opened.
    pub opening: Option<Opening>,
}

impl ClaimState {
    pub(crate) fn docketed(id: ClaimId, author: PeerId, claim: Claim, height: u64) -> Self {
        Self {
            id,
            author,
            recipe: claim.recipe,
            parent: claim.parent,
            result_seal: claim.result_seal,
            summary: claim.summary,
            hardware_class: claim.hardware_class,
            docketed_at: height,
            settled_at: None,
            rounds: vec![Round::opened(1, Purpose::First, height)],
            decided_by: None,
            ratio_to_base_ppm: None,
            debunked: None,
            descends_from_debunked: None,
            opening: None,
        }
    }

    /// The hardware class that the claim is about, as the verdict of one of its rounds sees it.
    #[must_use]
    pub fn speed_class(&self, round: &Round) -> SpeedClass<'_> {
        SpeedClass { name: &self.hardware_class, calibration: round.calibration }
    }

    /// One round by its number, from 1.
    #[must_use]
    pub fn round(&self, number: u32) -> Option<&Round> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.rounds.get(index)
    }

    pub(crate) fn round_mut(&mut self, number: u32) -> Option<&mut Round> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.rounds.get_mut(index)
    }

    /// The latest round, open or not.
    #[must_use]
    pub fn latest(&self) -> Option<&Round> {
        self.rounds.last()
    }

    /// The round that waits for something.
    #[must_use]
    pub fn open_round(&self) -> Option<&Round> {
        self.rounds.last().filter(|round| round.is_open())
    }

    /// The name of the open round.
    #[must_use]
    pub fn open_round_id(&self) -> Option<RoundId> {
        self.open_round().map(|round| round.id(self.id))
    }

    /// Whether any measurement of the claim is under way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open_round().is_some()
    }

    /// Whether the claim is an entry of the ledger, whatever its outcome.
    #[must_use]
    pub fn is_entry(&self) -> bool {
        self.settled_at.is_some()
    }

    /// Where the latest round is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.latest().map_or(Phase::Settled, |round| round.phase)
    }

    /// The round whose verdict is the entry's.
    #[must_use]
    pub fn deciding(&self) -> Option<&Round> {
        self.decided_by.and_then(|number| self.round(number))
    }

    /// Whether it is an accepted entry that nobody refuted, itself or below it.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.outcome() == Some(Outcome::Accepted)
            && self.debunked.is_none()
            && self.descends_from_debunked.is_none()
    }

    /// The round in which a first committee accepted the claim.
    pub(super) fn first_word(&self) -> Option<u32> {
        let accepted = |round: &&Round| {
            round.purpose == Purpose::First && round.outcome() == Some(Outcome::Accepted)
        };
        self.rounds.iter().find(accepted).map(|round| round.number)
    }

    /// The round right before `round`, if it was held for the same purpose and divided its seats.
    pub(super) fn contested_right_before(&self, round: &Round) -> Option<&Round> {
        let earlier = round.number.checked_sub(1).and_then(|number| self.round(number));
        earlier.filter(|earlier| earlier.is_contested_for(round.purpose))
    }

    /// Whether the last committee before `round` that spoke about the speed was drawn for the same
    /// purpose and divided. Committees that were short of seats of the class settle no division: if they
    /// counted, a claim could go back and forth between both.
    pub(super) fn contested_before(&self, round: &Round) -> bool {
        let earlier = self.rounds.iter().rev().skip_while(|other| other.number >= round.number);
        let mut spoke = earlier.skip_while(|other| other.outcome() == Some(Outcome::Pending));
        spoke.next().is_some_and(|other| other.is_contested_for(round.purpose))
    }

    /// Whether an independent committee supplied the number.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.deciding().is_some_and(|round| round.purpose == Purpose::Frontier)
    }

    /// The round to show first: the deciding one, before there is one the latest that has a
    /// verdict, and before any has the latest.
    #[must_use]
    pub fn shown(&self) -> Option<&Round> {
        let settled = || self.rounds.iter().rev().find(|round| !round.is_open());
        self.deciding().or_else(settled).or_else(|| self.latest())
    }

    /// The ledger's word on the claim, once it is an entry.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.deciding().and_then(|round| round.verdict.as_ref())
    }

    /// What became of it, once it is an entry.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.verdict().map(|verdict| verdict.outcome)
    }
}
