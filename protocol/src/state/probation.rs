//! Probation: newcomers measure beside the seats of ordinary rounds until they were right often
//! enough.
//!
//! A *shadow* seals and reveals as a seat does, at a time when no answer is public, and counts for
//! nothing: not for the quorum, not for the verdict. Nobody waits for a shadow that did not seal.

use super::{ClaimState, Membership, Round, State, spelt};
use crate::dissent::broken_gate;
use crate::draw::{self, Candidate, Committee};
use crate::gates::{Evidence, Gate};
use crate::ids::{Beacon, PeerId, RoundId};
use crate::measurement::Measurement;
use crate::verdict::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most newcomers beside the seats of one round.
pub const SHADOWS_MAX: usize = 2;

/// What a newcomer said beside the seats of a round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Its seal.
    #[serde(with = "spelt::optional_hash")]
    pub seal: Option<[u8; 32]>,
    /// Its measurement.
    #[serde(rename = "revealed", with = "spelt::optional_measurement")]
    pub measurement: Option<Arc<Measurement>>,
    /// Whether that agreed with the seats'; none while or where nothing can be said.
    pub agreed: Option<bool>,
}

impl Round {
    /// Whether `peer` may seal: a seat, a reserve that was called, or a shadow.
    #[must_use]
    pub fn admits(&self, peer: PeerId) -> bool {
        self.seats(peer) || self.shadows.contains_key(&peer)
    }

    /// What `peer` sealed, as a seat or as a shadow.
    #[must_use]
    pub fn seal_of(&self, peer: PeerId) -> Option<[u8; 32]> {
        let shadow = || self.shadows.get(&peer).and_then(|shadow| shadow.seal);
        self.seals.get(&peer).copied().or_else(shadow)
    }

    /// Whether `peer` has shown its measurement, as a seat or as a shadow.
    #[must_use]
    pub fn has_revealed(&self, peer: PeerId) -> bool {
        let shadow = || self.shadows.get(&peer).is_some_and(|shadow| shadow.measurement.is_some());
        self.reveals.contains_key(&peer) || shadow()
    }

    /// Whether everyone who sealed has revealed.
    pub(super) fn all_revealed(&self) -> bool {
        let shadows = self.shadows.iter().filter(|(_, shadow)| shadow.seal.is_some());
        let mut sealed = self.seals.keys().chain(shadows.map(|(peer, _)| peer));
        sealed.all(|peer| self.has_revealed(*peer))
    }

    pub(super) fn put_seal(&mut self, peer: PeerId, seal: [u8; 32]) {
        match self.shadows.get_mut(&peer) {
            Some(shadow) => shadow.seal = Some(seal),
            None => {
                self.seals.insert(peer, seal);
            }
        }
    }

    pub(super) fn put_measurement(&mut self, peer: PeerId, measurement: Measurement) {
        match self.shadows.get_mut(&peer) {
            Some(shadow) => shadow.measurement = Some(Arc::new(measurement)),
            None => {
                self.reveals.insert(peer, Arc::new(measurement));
            }
        }
    }

    /// Draws the newcomers that measure beside a committee: of operators that do not sit on it, each with
    /// the same chance.
    pub(super) fn draw_shadows(
        &self,
        id: RoundId,
        beacon: Beacon,
        committee: &Committee,
    ) -> BTreeMap<PeerId, Shadow> {
        let drawn = |found: &&Candidate| {
            committee.seats.contains(&found.peer) || committee.reserves.contains(&found.peer)
        };
        let near: BTreeSet<&str> =
            self.candidates.iter().filter(drawn).map(|found| found.operator.as_str()).collect();
        let far = self.newcomers.iter().filter(|found| !near.contains(found.operator.as_str()));
        let far: Vec<Candidate> = far.cloned().collect();
        let drawn = draw::committee(beacon, id, &far, SHADOWS_MAX, 0);
        drawn.seats.into_iter().map(|peer| (peer, Shadow::default())).collect()
    }
}

impl State {
    /// The newcomers that may be drawn to measure beside a round's seats, by rising id: members on
    /// probation of another operator than the author's. Only in a claim's first round: in later ones an
    /// answer to copy is public.
    pub(super) fn newcomers(&self, claim: &ClaimState, round: &Round) -> Vec<Candidate> {
        if round.number != 1 {
            return Vec::new();
        }
        let author = self.operator(claim.author);
        self.members
            .iter()
            .filter(|(_, member)| matches!(member.membership, Membership::Probation { .. }))
            .filter(|(_, member)| author != Some(member.operator.as_str()))
            .map(|(peer, member)| Candidate {
                peer: *peer,
                operator: member.operator.clone(),
                weight: 1,
                tier: 0,
            })
            .collect()
    }

    /// Compares the shadows of a settled round with its seats, and ends the probation of those that
    /// agreed often enough in a row. A seal that was not opened counts as a disagreement.
    pub(super) fn account_for_shadows(&mut self, id: RoundId) {
        let Some((claim, round)) = self.round(id) else { return };
        let undecided = [Outcome::Inconclusive, Outcome::Contested];
        let decided = round.outcome().is_some_and(|outcome| !undecided.contains(&outcome));
        if !decided || round.shadows.is_empty() {
            return;
        }
        let Some(middle) = self.middle_of(id, &self.timed_logs(id)) else { return };
        let class = claim.speed_class(round);
        let counts = [Gate::Path, Gate::Reach, Gate::Shape, Gate::Repeat];
        let gates = round.verdict.iter().flat_map(|verdict| &verdict.gates);
        let breaks = gates.into_iter().any(|found| counts.contains(&found.gate) && !found.pass);
        let agrees = |peer: &PeerId, shadow: &Shadow| {
            let shown = shadow.measurement.as_ref().zip(self.plan(claim, round, *peer));
            let Some((measurement, plan)) = shown else { return Some(false) };
            let evidence = Evidence { plan: &plan, measurement };
            if class.fits(&measurement.environment) {
                let fit = middle.place(&evidence.log_ratios());
                return Some(fit.is_some_and(|fit| fit.in_range));
            }
            // Machines of another class have another ratio, and kernels may break on them alone: what
            // they count as the seats do is for the newcomer, what they count otherwise says nothing.
            (broken_gate(evidence).is_some() == breaks).then_some(true)
        };
        let sealed = round.shadows.iter().filter(|(_, shadow)| shadow.seal.is_some());
        let agreed = sealed.filter_map(|(peer, shadow)| Some((*peer, agrees(peer, shadow)?)));
        let agreed: Vec<(PeerId, bool)> = agreed.collect();
        for (peer, agrees) in agreed {
            self.change_round(id, |round| {
                if let Some(shadow) = round.shadows.get_mut(&peer) {
                    shadow.agreed = Some(agrees);
                }
            });
            self.count_agreement(peer, agrees);
        }
    }

    fn count_agreement(&mut self, peer: PeerId, agrees: bool) {
        let needed = self.parameters().membership.probation_rounds;
        let height = self.height;
        let Some(member) = self.members.get_mut(&peer).map(Arc::make_mut) else { return };
        let Membership::Probation { agreements } = member.membership else { return };
        let agreements = if agrees { agreements.saturating_add(1) } else { 0 };
        member.membership = Membership::Probation { agreements };
        if agreements >= needed {
            member.membership = Membership::Full;
            if let Some(admission) = &mut member.admission {
                admission.full_at = Some(height);
            }
        }
    }
}
