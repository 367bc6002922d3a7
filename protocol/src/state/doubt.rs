//! Doubting an entry: challenges by members, re-audits by lot, and what a refutation does to an
//! entry and to everything built on it.

use super::{ClaimState, Finding, Purpose, State};
use crate::draw::Draw;
use crate::error::Reject;
use crate::gates::Gate;
use crate::ids::{ClaimId, PeerId, RecordId, RoundId};
use crate::record::{Challenge, Record};
use crate::standing::Rule;
use crate::verdict::{Outcome, Verdict};
use serde::Serialize;

/// Rounds that a claim gets in its life; each stays on the ledger with its raw data.
pub const ROUNDS_MAX: usize = 64;
/// Standing that a challenger must have: one more than the floor, so that there is something to lose.
pub const CHALLENGER_STANDING_MIN: u64 = 2;

/// When and by what an entry was refuted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Debunked {
    /// The block that settled the refuting round.
    pub height: u64,
    /// The refuting round.
    pub round: u32,
}

impl State {
    pub(super) fn apply_challenge(
        &mut self,
        record: &Record,
        challenge: &Challenge,
        height: u64,
    ) -> Result<(), Reject> {
        self.check_challenge(record.author, challenge.claim)?;
        self.open_challenge(challenge.claim, record.author, record.id, height);
        Ok(())
    }

    /// Whether a member may doubt an entry.
    pub(super) fn check_challenge(&self, by: PeerId, id: ClaimId) -> Result<(), Reject> {
        let claim = self.claim(id).ok_or(Reject::UnknownClaim(id))?;
        let own = |peer: PeerId| self.operator(peer) == self.operator(by);
        let said = claim.rounds.iter().any(
            |round| matches!(round.purpose, Purpose::Challenge { by: earlier, .. } if own(earlier)),
        );
        // One operator doubts one entry once: asking again until chance agrees is closed.
        if said {
            return Err(Reject::Repeated(by));
        }
        let refuse = |reason| Err(Reject::Unchallengeable { claim: id, reason });
        if own(claim.author) {
            return refuse("a challenger may not be its author's operator");
        }
        if self.draw_weight(by) == 0 {
            return refuse("its challenger is on probation, or was caught lately");
        }
        match claim.outcome() {
            None => return Err(Reject::Phase { claim: id, what: "challenge" }),
            Some(Outcome::Accepted) => {}
            Some(_) => return refuse("it was not accepted"),
        }
        if claim.debunked.is_some() {
            return refuse("it is debunked already");
        }
        if claim.rounds.len() >= ROUNDS_MAX {
            return refuse("it was measured as often as a claim can be");
        }
        if self.members.get(&by).is_none_or(|m| m.standing < CHALLENGER_STANDING_MIN) {
            return Err(Reject::Standing { peer: by, needed: CHALLENGER_STANDING_MIN });
        }
        if claim.is_open() {
            return Err(Reject::Phase { claim: id, what: "challenge" });
        }
        if let Some(open) = self.open_challenge_by(by) {
            return Err(Reject::OpenChallenge(open));
        }
        Ok(())
    }

    /// Opens the round of a challenge that was checked, which `record` says.
    pub(super) fn open_challenge(
        &mut self,
        id: ClaimId,
        by: PeerId,
        record: RecordId,
        height: u64,
    ) {
        self.open_round_of(id, Purpose::Challenge { by, record }, height);
        self.remember("challenged", id);
    }

    /// The claim that an open challenge by a member's operator is about.
    fn open_challenge_by(&self, peer: PeerId) -> Option<ClaimId> {
        let mut open = self.open_rounds();
        let operator = self.operator(peer);
        let by = |purpose| matches!(purpose, Purpose::Challenge { by, .. } if self.operator(by) == operator);
        open.find(|(_, round)| by(round.purpose)).map(|(claim, _)| claim.id)
    }

    /// What a later round says about the entry.
    ///
    /// A failed gate other than speed refutes it: the recipe is not what it was accepted for. Its
    /// speed is refuted when the whole interval of the new round lies below the whole interval of
    /// the entry. Merely not finding the gain again refutes nothing, since a round misses a true
    /// small gain now and then; each interval errs with probability α, and so does the refutation
    /// of a true entry at most twice that often.
    #[must_use]
    pub fn finding(claim: &ClaimState, verdict: &Verdict) -> Finding {
        if !verdict.outcome.has_speed() {
            return Finding::Undecided;
        }
        let entry = claim.verdict().and_then(|entry| entry.ratio);
        let slower = match (entry, verdict.ratio) {
            (Some(entry), Some(found)) => found.high_ppm < entry.low_ppm,
            _ => true,
        };
        match slower || Self::is_another_recipe(claim, verdict) {
            true => Finding::Debunked,
            false => Finding::Upheld,
        }
    }

    /// Whether a later round found the recipe to be not what it was accepted for, whatever its speed.
    fn is_another_recipe(claim: &ClaimState, verdict: &Verdict) -> bool {
        let advisory = |gate| matches!(gate, Gate::Speed | Gate::Identity);
        let failed = verdict.gates.iter().any(|gate| !gate.pass && !advisory(gate.gate));
        let was_lossless = claim.verdict().is_some_and(|entry| entry.lossless);
        failed || (was_lossless && !verdict.lossless)
    }

    /// Carries out what a challenge or an audit found.
    pub(super) fn conclude_doubt(&mut self, id: RoundId, height: u64) {
        let Some((claim, round)) = self.round(id) else { return };
        let Some(verdict) = &round.verdict else { return };
        let (purpose, finding) = (round.purpose, Self::finding(claim, verdict));
        self.change_round(id, |round| round.finding = Some(finding));
        match (finding, purpose) {
            (Finding::Debunked, _) => {
                self.charge_author(id);
                self.debunk(id, height);
            }
            // A challenge that failed cost a committee's time.
            (Finding::Upheld, Purpose::Challenge { by, .. }) => {
                self.book_for(by, Rule::FailedChallenge, id);
            }
            _ => {}
        }
        if let Purpose::Challenge { record, .. } = purpose {
            self.conclude_charge(record, id, height);
        }
    }

    /// Charges the author of an entry that another committee found to be not what it was accepted for,
    /// unless the author told of it before anybody doubted: where that committee measures because another
    /// was divided, before the doubt that led to the first. Being slower than it was is no fault of
    /// anybody's.
    fn charge_author(&mut self, id: RoundId) {
        let Some((claim, round)) = self.round(id) else { return };
        let Some(verdict) = &round.verdict else { return };
        let doubted_at = claim.contested_right_before(round).unwrap_or(round).opened_at;
        let told = self.is_self_disclosed(id.claim, doubted_at);
        if !told && Self::is_another_recipe(claim, verdict) {
            self.book_for(claim.author, Rule::Debunked, id);
        }
    }

    /// Marks an entry, and everything that descends from it.
    fn debunk(&mut self, id: RoundId, height: u64) {
        let Some(claim) = self.claims.get_mut(id.claim) else { return };
        claim.debunked = Some(Debunked { height, round: id.number });
        for descendant in self.with_descendants(id.claim).into_iter().skip(1) {
            // Whatever is marked stays as it is, and there may be very many of them.
            if self.brief(descendant).is_none_or(|brief| brief.is_marked) {
                continue;
            }
            if let Some(claim) = self.claims.get_mut(descendant) {
                claim.descends_from_debunked = Some(id.claim);
            }
            self.put_away();
        }
    }

    /// The debunked entry because of which nothing may be built on `parent`.
    pub(super) fn debunked_root(&self, parent: ClaimId) -> Option<ClaimId> {
        let claim = self.claim(parent)?;
        match claim.debunked {
            Some(_) => Some(parent),
            None => claim.descends_from_debunked,
        }
    }

    /// After a claim became an entry, the beacon now and then picks an older one to be looked at
    /// again, if there are places that no claim waits for.
    pub(super) fn draw_audit(&mut self, entered: ClaimId, height: u64) {
        let rules = &self.parameters().committee;
        let busy = self.open_rounds().count();
        if busy >= usize::try_from(rules.measuring_max).unwrap_or(usize::MAX) {
            return;
        }
        let mut draw = Draw::new("assay audit lot v1", &[&self.beacon.0, &entered.0]);
        if draw.below(1_000_000) >= rules.audit_ppm {
            return;
        }
        let briefs = self.entry_briefs();
        let candidates = briefs.filter(|(id, brief)| *id != entered && brief.may_be_audited);
        let candidates: Vec<ClaimId> = candidates.map(|(id, _)| id).collect();
        let ticket = draw.below(candidates.len() as u64);
        let picked = usize::try_from(ticket).ok().and_then(|index| candidates.get(index));
        if let Some(id) = picked.copied() {
            self.open_round_of(id, Purpose::Audit, height);
            self.remember("audit", id);
        }
    }
}
