//! Charges that a measurement decides: `path` by a challenge of the entry, `physics` by what the ledger
//! holds.
//!
//! Neither takes a point. A path charge is a challenge, whose own rules say what it costs and whom. An
//! entry beyond what its class delivers is nobody's proven fault: seats, their probes or the recipe may be
//! to blame, and so the ledger has other seats measure it, once, and what they find has the consequences of
//! any look by lot.

use super::doubt::ROUNDS_MAX;
use super::rulings::ruling_digest;
use super::{ClaimState, Finding, Purpose, State};
use crate::error::Reject;
use crate::gates::{self, Evidence, Gate};
use crate::ids::{ClaimId, PeerId, RecordId, RoundId};
use crate::ruling::{Charge, Decision, Measured, Offence};
use crate::sighting::{Divergence, Excess, Sighting};
use crate::verdict::{Outcome, SpeedClass};

impl State {
    /// By how much an accepted entry is faster than the memory of its class, as the ledger knows the class
    /// by now; see [`gates::excess`].
    #[must_use]
    pub fn excess(&self, id: ClaimId) -> Option<Excess> {
        let claim = self.claim(id)?;
        let round = claim.deciding()?;
        let name = claim.hardware_class.as_str();
        let class = SpeedClass { name, calibration: self.classes.calibration(name) };
        let revealed = self.revealed(claim, round);
        let evidence: Vec<Evidence<'_>> =
            revealed.iter().map(|(_, plan, measurement)| Evidence { plan, measurement }).collect();
        let (bandwidth_mb_s, share_ppm) = gates::excess(&class, &evidence)?;
        Some(Excess { round: round.number, bandwidth_mb_s, share_ppm })
    }

    /// The author of an entry whose path is said to break, if the flagger may challenge it.
    pub(super) fn check_path(&self, by: PeerId, charge: &Charge) -> Result<PeerId, Reject> {
        let Some(Sighting::Divergence(found)) = charge.sighting else {
            return Err(Reject::Unchargeable("a broken path needs where it was seen"));
        };
        let Divergence { prompt, position, .. } = found;
        let genesis = self.parameters();
        let exists = prompt < genesis.challenge.pool.prompts
            && position <= genesis.measurement.decode_tokens;
        if !exists {
            return Err(Reject::Unchargeable("no measurement has such a prompt or position"));
        }
        let id = ClaimId(charge.subject.0);
        self.check_challenge(by, id)?;
        self.claim(id).map(|claim| claim.author).ok_or(Reject::UnknownClaim(id))
    }

    /// The author of an entry that is beyond what its class delivers.
    pub(super) fn check_physics(&self, charge: &Charge) -> Result<PeerId, Reject> {
        let refuse = |reason| Err(Reject::Unchargeable(reason));
        let Some(Sighting::Excess(said)) = charge.sighting else {
            return refuse("an entry beyond physics needs by how much");
        };
        let id = ClaimId(charge.subject.0);
        let claim = self.claim(id).ok_or(Reject::UnknownClaim(id))?;
        if claim.outcome() != Some(Outcome::Accepted) || claim.debunked.is_some() {
            return refuse("the claim is no accepted entry, or is debunked already");
        }
        if claim.is_open() {
            return Err(Reject::Phase { claim: id, what: "charge" });
        }
        if claim.rounds.len() >= ROUNDS_MAX {
            return refuse("it was measured as often as a claim can be");
        }
        if claim.decided_by != Some(said.round) {
            return refuse("the figures are not those of the round that made the entry");
        }
        match self.excess(id) {
            Some(_) => Ok(claim.author),
            None => refuse("as its class is known, the entry is no faster than memory"),
        }
    }

    /// Opens the round that a charge leads to at `height`, if a measurement decides it.
    pub(super) fn measure_for(
        &mut self,
        charge: &Charge,
        by: PeerId,
        flag: RecordId,
        height: u64,
    ) -> Option<Measured> {
        let id = ClaimId(charge.subject.0);
        let decision = match charge.rule {
            Offence::OffChannel | Offence::Duplicate => return None,
            Offence::Path => {
                self.open_challenge(id, by, flag, height);
                None
            }
            Offence::Physics => {
                self.open_round_of(id, Purpose::Audit, height);
                self.remember("audit", id);
                Some(Decision::Upheld)
            }
        };
        let round = self.claim(id).and_then(ClaimState::latest).map_or(0, |round| round.number);
        Some(Measured { round, decision, decided_at: decision.map(|_| height) })
    }

    /// Decides the charge that a challenge's `record` makes, if it is a flag: upheld where the round that
    /// refuted the entry found its path broken as well, dismissed where the entry stands. An entry that fell
    /// for something else says nothing about its path.
    pub(super) fn conclude_charge(&mut self, record: RecordId, id: RoundId, height: u64) {
        let Some((_, round)) = self.round(id) else { return };
        let gates = round.verdict.iter().flat_map(|verdict| &verdict.gates);
        let breaks = gates.into_iter().any(|gate| gate.gate == Gate::Path && !gate.pass);
        let decision = match round.finding {
            Some(Finding::Debunked) if breaks => Decision::Upheld,
            Some(Finding::Upheld) => Decision::Dismissed,
            _ => Decision::Undecided,
        };
        let measured =
            Measured { round: id.number, decision: Some(decision), decided_at: Some(height) };
        let is_open = self.ruling(record).is_some_and(|ruling| {
            ruling.measured.is_some_and(|measured| measured.decision.is_none())
        });
        if is_open {
            self.change_ruling(record, |ruling| ruling.measured = Some(measured));
            self.remember_ruling(record);
        }
    }

    /// Binds what was decided about a charge into the history.
    pub(super) fn remember_ruling(&mut self, id: RecordId) {
        let Some(digest) = self.ruling(id).map(ruling_digest) else { return };
        self.note(&[b"ruling", &digest]);
    }
}
