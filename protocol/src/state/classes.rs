//! Hardware classes as the ledger knows them: what each has shown, and which members are of it.

use super::{ClaimState, Round, State};
use crate::calibration::{Calibration, Effort};
use crate::gates::{self, Evidence};
use crate::genesis::Quorum;
use crate::ids::{PeerId, RoundId, hash_parts};
use crate::verdict::Outcome;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Rounds that a claim gets while its class is short of seats; after the last it enters as it is.
pub const PENDING_ROUNDS_MAX: usize = 3;

/// What the ledger knows of hardware classes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Classes {
    /// By class, what its rounds have shown. A class is added by a quorum of its seats only, so that
    /// nobody fills this map by making up names.
    calibrations: BTreeMap<String, Calibration>,
    /// The class that each member last attested.
    of_member: BTreeMap<PeerId, String>,
}

impl Classes {
    /// What the rounds of a class have shown; nothing before the first.
    #[must_use]
    pub fn calibration(&self, class: &str) -> Calibration {
        self.calibrations.get(class).copied().unwrap_or_default()
    }

    /// The classes that have been measured.
    pub fn measured(&self) -> impl Iterator<Item = (&str, &Calibration)> {
        self.calibrations.iter().map(|(class, calibration)| (class.as_str(), calibration))
    }

    /// The class that a member last attested.
    #[must_use]
    pub fn of(&self, member: PeerId) -> Option<&str> {
        self.of_member.get(&member).map(String::as_str)
    }

    /// Hash of everything here, for the state root.
    #[must_use]
    pub(super) fn digest(&self) -> [u8; 32] {
        // Serialising plain structs with string keys cannot fail.
        let text = serde_json::to_vec(self).unwrap_or_default();
        hash_parts("assay classes v1", &[&text])
    }
}

impl State {
    /// What the ledger knows of hardware classes.
    #[must_use]
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Whether a member may hold a speed seat for a claim about `class`: it attested that class, or
    /// has attested none yet.
    #[must_use]
    pub(super) fn may_time(&self, member: PeerId, class: &str) -> bool {
        self.classes.of(member).is_none_or(|own| own == class)
    }

    /// How much a round of a class measures whose smallest committee is `least`, and of whose members
    /// of `operators` operators may be drawn: as much as the noise of the class asks for.
    #[must_use]
    pub(super) fn effort(&self, class: &Calibration, least: Quorum, operators: usize) -> Effort {
        let rules = &self.parameters().committee;
        let most = rules.seats_max.min(u32::try_from(operators).unwrap_or(u32::MAX));
        let seats = (least, most.max(least.seats));
        let pairs = (self.parameters().measurement.pairs_min, self.parameters().measurement.pairs);
        class.effort(&self.parameters().significance, seats, pairs)
    }

    /// Learns from a settled round: who is of which class, and what the claim's class has shown.
    pub(super) fn learn_classes(&mut self, id: RoundId) {
        let Some((claim, round)) = self.round(id) else { return };
        let beside = round.shadows.iter();
        let beside = beside.filter_map(|(peer, shadow)| Some((peer, shadow.measurement.as_ref()?)));
        let attested: Vec<(PeerId, String)> = round
            .reveals
            .iter()
            .chain(beside)
            .map(|(peer, found)| (*peer, found.environment.hardware_class.clone()))
            .collect();
        let learned = self.calibrated(claim, round);
        let class = claim.hardware_class.clone();
        self.classes.of_member.extend(attested);
        if let Some(calibration) = learned {
            self.classes.calibrations.insert(class, calibration);
        }
    }

    /// The calibration of a claim's class with one of its rounds added; `None` where that said nothing
    /// about speed. Seats that lie further off than noise explains teach nothing.
    fn calibrated(&self, claim: &ClaimState, round: &Round) -> Option<Calibration> {
        round.outcome().filter(|outcome| outcome.has_speed())?;
        let fits = self.seat_fits(round.id(claim.id)).into_iter();
        let trusted: BTreeSet<PeerId> =
            fits.filter(|(_, fit)| fit.in_range).map(|(seat, _)| seat).collect();
        let plans: Vec<_> = round
            .reveals
            .iter()
            .filter(|(seat, _)| trusted.contains(seat) && !round.has_dissent_of(**seat))
            .filter_map(|(seat, measured)| Some((self.plan(claim, round, *seat)?, measured)))
            .collect();
        let class = claim.speed_class(round);
        let seats: Vec<Evidence<'_>> = plans
            .iter()
            .map(|(plan, measurement)| Evidence { plan, measurement })
            .filter(|seat| class.fits(&seat.measurement.environment))
            .collect();
        let rules = &self.parameters_of(round).significance;
        let gain = gates::gain(rules, class.calibration.between(rules), &seats)?;
        let mut calibration = self.classes.calibration(class.name);
        let environments = seats.iter().map(|seat| &seat.measurement.environment);
        calibration.add(rules, &gain.pooled, environments);
        if claim.parent == self.base_claim {
            calibration.add_base(&seats);
        }
        Some(calibration)
    }

    /// Rounds of a claim that found too few seats of its class.
    pub(super) fn pending_rounds(claim: &ClaimState) -> usize {
        let pending = |round: &&Round| round.outcome() == Some(Outcome::Pending);
        claim.rounds.iter().filter(pending).count()
    }

    /// The operators that can hold a speed seat for a claim about `class`: those of a member that may be
    /// drawn and may be of it.
    pub(super) fn operators_of_class(&self, class: &str) -> BTreeSet<&str> {
        let may_sit = self
            .members
            .iter()
            .filter(|(peer, _)| self.draw_weight(**peer) > 0 && self.may_time(**peer, class));
        may_sit.map(|(_, member)| member.operator.as_str()).collect()
    }

    /// Whether enough operators may be of a pending claim's class for a quorum: those who attested it,
    /// and those who have attested none.
    pub(super) fn has_speed_quorum(&self, claim: &ClaimState) -> bool {
        let Some(round) = claim.latest() else { return false };
        let mut operators = self.operators_of_class(&claim.hardware_class);
        if let Some(author) = self.operator(claim.author) {
            operators.remove(author);
        }
        let quorum = self.smallest(claim, round.purpose).quorum;
        operators.len() >= usize::try_from(quorum).unwrap_or(usize::MAX)
    }
}
