//! One measurement of a claim by one committee.

use super::{Shadow, spelt};
use crate::calibration::Calibration;
use crate::draw::{Candidate, Committee};
use crate::genesis::Quorum;
use crate::ids::{Beacon, ClaimId, PeerId, RecordId, RoundId};
use crate::measurement::Measurement;
use crate::verdict::{Outcome, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a claim is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "purpose")]
pub enum Purpose {
    /// Nobody measured it before.
    First,
    /// It looks like the fastest of its track: an independent committee supplies the number.
    Frontier,
    /// A member doubts the entry.
    Challenge {
        /// Who doubts.
        by: PeerId,
        /// The record that says so.
        record: RecordId,
    },
    /// The beacon picked the entry by lot.
    Audit,
}

impl Purpose {
    /// The purpose in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Frontier => "frontier",
            Self::Challenge { .. } => "challenge",
            Self::Audit => "audit",
        }
    }
}

/// Where a round is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "phase")]
pub enum Phase {
    /// Waits for a free place, and then for its beacon.
    Docketed,
    /// Seats measure and seal.
    Sealing {
        /// When reserves are called.
        reserves_at_ms: u64,
        /// When sealing ends.
        until_ms: u64,
    },
    /// Seats that sealed reveal.
    Revealing {
        /// When revealing ends.
        until_ms: u64,
    },
    /// The verdict stands.
    Settled,
}

/// What a challenge or an audit says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// The entry stands.
    Upheld,
    /// The entry is refuted.
    Debunked,
    /// Too few seats revealed a measurement.
    Undecided,
}

/// One measurement of a claim by one committee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Its number within the claim, from 1. Seals and reveals name it, and every draw depends on
    /// it, so that nothing said in one round means anything in another.
    pub number: u32,
    /// Why it is held.
    #[serde(flatten)]
    pub purpose: Purpose,
    /// The block that opened it.
    pub opened_at: u64,
    /// The block at which its turn came. What is drawn from is fixed here: nothing that anybody does once
    /// the beacon is known changes the draw.
    pub called_at: Option<u64>,
    /// Who may be drawn, between the call and the draw.
    pub candidates: Vec<Candidate>,
    /// Who may be drawn to measure beside the seats, between the call and the draw.
    pub newcomers: Vec<Candidate>,
    /// Randomness fixed two blocks after the call.
    pub beacon: Option<Beacon>,
    /// Where it is in its life.
    #[serde(flatten)]
    pub phase: Phase,
    /// Seats and quorum; fixed with the call, none before.
    pub size: Option<Quorum>,
    /// Pairs that every seat measures; fixed with the call, 0 before.
    pub pairs: u32,
    /// What was known of the claim's hardware class at the call: the verdict goes by it.
    pub calibration: Calibration,
    /// When its committee was drawn.
    pub drawn_at_ms: Option<u64>,
    /// Who measures.
    pub committee: Committee,
    /// How many reserves were called.
    pub reserves_called: usize,
    /// Seals by seat.
    #[serde(with = "spelt::hashes")]
    pub seals: BTreeMap<PeerId, [u8; 32]>,
    /// Measurements by seat.
    #[serde(with = "spelt::measurements")]
    pub reveals: BTreeMap<PeerId, Arc<Measurement>>,
    /// Newcomers that measure beside the seats, with what they said.
    pub shadows: BTreeMap<PeerId, Shadow>,
    /// The decision.
    pub verdict: Option<Verdict>,
    /// The block that settled it.
    pub settled_at: Option<u64>,
    /// Seats that reported a gain where the author had hidden none: noted when a null claim is
    /// opened.
    pub caught: Vec<PeerId>,
    /// What it says about the entry, if it was held to look at one again.
    pub finding: Option<Finding>,
}

impl Round {
    /// A round that waits for its beacon.
    #[must_use]
    pub(crate) fn opened(number: u32, purpose: Purpose, height: u64) -> Self {
        Self {
            number,
            purpose,
            opened_at: height,
            called_at: None,
            candidates: Vec::new(),
            newcomers: Vec::new(),
            beacon: None,
            phase: Phase::Docketed,
            size: None,
            pairs: 0,
            calibration: Calibration::default(),
            drawn_at_ms: None,
            committee: Committee::default(),
            reserves_called: 0,
            seals: BTreeMap::new(),
            reveals: BTreeMap::new(),
            shadows: BTreeMap::new(),
            verdict: None,
            settled_at: None,
            caught: Vec::new(),
            finding: None,
        }
    }

    /// Its name on the ledger.
    #[must_use]
    pub fn id(&self, claim: ClaimId) -> RoundId {
        RoundId { claim, number: self.number }
    }

    /// Whether it was held for a purpose and divided its seats.
    pub(super) fn is_contested_for(&self, purpose: Purpose) -> bool {
        self.outcome() == Some(Outcome::Contested) && self.purpose == purpose
    }

    /// Whether it waits for anything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Settled
    }

    /// What it decided, once settled.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.verdict.as_ref().map(|verdict| verdict.outcome)
    }

    /// The peers that may seal: the seats and the reserves called so far.
    pub fn active_seats(&self) -> impl Iterator<Item = PeerId> + '_ {
        let reserves = self.committee.reserves.iter().take(self.reserves_called);
        self.committee.seats.iter().chain(reserves).copied()
    }

    /// Whether its verdict was reached against what `seat` measured.
    #[must_use]
    pub fn has_dissent_of(&self, seat: PeerId) -> bool {
        let dissent = self.verdict.iter().flat_map(|verdict| &verdict.dissent);
        dissent.into_iter().any(|dissent| dissent.seat == seat)
    }

    /// Whether a seat is held by `peer`.
    #[must_use]
    pub fn seats(&self, peer: PeerId) -> bool {
        self.active_seats().any(|seat| seat == peer)
    }
}
