//! What each kind of record changes, and when it is refused.

use super::{ClaimState, Phase, Round, State};
use crate::error::Reject;
use crate::ids::{ClaimId, PeerId, RoundId};
use crate::measurement::Measurement;
use crate::record::{Body, Claim, Opening, Record, Reveal, Seal, opening_seal, reveal_seal};
use crate::verdict::Outcome;

impl State {
    /// Applies one record of the block at `height`.
    ///
    /// # Errors
    ///
    /// [`Reject`]; the state is then unchanged.
    pub(crate) fn apply_record(&mut self, record: &Record, height: u64) -> Result<(), Reject> {
        let author = record.author;
        // Joining is the one thing that a stranger may say.
        if self.active_member(author).is_none() && !matches!(record.body, Body::Join(_)) {
            return Err(Reject::NotMember(author));
        }
        match &record.body {
            Body::Claim(claim) => self.apply_claim(record, claim, height),
            Body::Seal(seal) => self.apply_seal(record.author, seal),
            Body::Reveal(reveal) => self.apply_reveal(record.author, reveal),
            Body::Opening(opening) => self.apply_opening(record.author, opening),
            Body::Challenge(challenge) => self.apply_challenge(record, challenge, height),
            Body::Vouch(vouch) => self.apply_vouch(author, record.id, vouch, height),
            Body::Join(join) => self.apply_join(author, join, height),
            Body::Leave(leave) => self.apply_leave(author, *leave),
            Body::Equivocation(proof) => self.end_key(proof.culprit(), height),
            Body::DoubleVote(proof) => self.end_key(proof.validator, height),
            Body::Return(back) => self.apply_return(author, *back),
            Body::Disclosure(told) => self.apply_disclosure(record, told, height),
            Body::Post(post) => self.apply_post(record, post, height),
            Body::Ballot(ballot) => self.apply_ballot(author, ballot),
            Body::Appeal(appeal) => self.apply_appeal(author, *appeal, height),
            Body::Proposal(proposal) => self.apply_proposal(record.id, author, proposal, height),
            Body::Voice(voice) => self.apply_voice(author, *voice),
        }
    }

    fn apply_claim(&mut self, record: &Record, claim: &Claim, height: u64) -> Result<(), Reject> {
        let recipe = claim.recipe.id();
        if let Some(docketed) = self.recipes.get(&recipe)
            && !self.may_be_claimed_again(*docketed)
        {
            return Err(Reject::RecipeDocketed { recipe, claim: *docketed });
        }
        if let Some(entry) = self.debunked_root(claim.parent) {
            return Err(Reject::DebunkedParent { parent: claim.parent, entry });
        }
        let parent_stands = claim.parent == self.base_claim
            || self.claim(claim.parent).and_then(ClaimState::outcome) == Some(Outcome::Accepted);
        if !parent_stands {
            return Err(Reject::Parent(claim.parent));
        }
        // Ratios are multiplied along a lineage, and those of different machines have no product.
        if let Some(parent) = self.claim(claim.parent)
            && parent.hardware_class != claim.hardware_class
        {
            return Err(Reject::ParentClass {
                parent: parent.id,
                class: parent.hardware_class.clone(),
            });
        }
        self.check_docket(record.author, claim.parent)?;
        self.check_citations(&claim.cites)?;
        let id = ClaimId(record.id.0);
        let state = ClaimState::docketed(id, record.author, claim.clone(), height);
        self.claims.insert(state);
        self.recipes.insert(recipe, id);
        self.docket.push(id);
        self.note_citations(id, &claim.cites);
        Ok(())
    }

    /// Whether nothing was decided about a docketed recipe, so that whoever brings it again is heard:
    /// otherwise one claim without its blobs, or about a class that nobody has, would bar a recipe for
    /// ever.
    fn may_be_claimed_again(&self, docketed: ClaimId) -> bool {
        let outcome = self.claim(docketed).and_then(ClaimState::outcome);
        matches!(outcome, Some(Outcome::Inconclusive | Outcome::Pending))
    }

    /// The claims that are no entries: those with an open round, and those that wait for their class.
    fn unsettled(&self) -> impl Iterator<Item = &ClaimState> {
        let waiting = self.pending.iter().filter_map(|id| self.claim(*id));
        self.docket().chain(waiting).filter(|claim| !claim.is_entry())
    }

    /// Whether the docket has room for another claim by an author on a parent.
    fn check_docket(&self, author: PeerId, parent: ClaimId) -> Result<(), Reject> {
        let same = |open: &&ClaimState| open.author == author && open.parent == parent;
        if let Some(open) = self.unsettled().find(same) {
            return Err(Reject::OpenClaim(open.id));
        }
        let rules = &self.parameters().committee;
        let limit = usize::try_from(rules.open_per_operator).unwrap_or(usize::MAX);
        let operator = self.operator(author);
        let own = self.unsettled().filter(|open| self.operator(open.author) == operator);
        if own.count() >= limit {
            return Err(Reject::OperatorDocketFull(limit));
        }
        let waiting = self.unsettled().count();
        if waiting >= usize::try_from(rules.docket_max).unwrap_or(usize::MAX) {
            return Err(Reject::DocketFull(waiting));
        }
        Ok(())
    }

    fn apply_seal(&mut self, author: PeerId, seal: &Seal) -> Result<(), Reject> {
        let (_, round) = self.open_round(seal.round)?;
        // Asked first, because a repeated record never applies again while the others may.
        if round.seal_of(author).is_some() {
            return Err(Reject::Repeated(author));
        }
        if !matches!(round.phase, Phase::Sealing { .. }) {
            return Err(Reject::Phase { claim: seal.round.claim, what: "seal" });
        }
        if !round.admits(author) {
            return Err(Reject::NotSeated(author));
        }
        self.change_round(seal.round, |round| round.put_seal(author, seal.commitment));
        Ok(())
    }

    fn apply_reveal(&mut self, author: PeerId, reveal: &Reveal) -> Result<(), Reject> {
        let (claim, round) = self.open_round(reveal.round)?;
        if round.has_revealed(author) {
            return Err(Reject::Repeated(author));
        }
        if !matches!(round.phase, Phase::Revealing { .. }) {
            return Err(Reject::Phase { claim: reveal.round.claim, what: "reveal" });
        }
        let sealed = round.seal_of(author).ok_or(Reject::NotSeated(author))?;
        if reveal_seal(reveal.round, author, &reveal.salt, &reveal.measurement) != sealed {
            return Err(Reject::SealBroken(author));
        }
        self.check_plan(claim, round, author, &reveal.measurement)?;
        self.change_round(reveal.round, |round| {
            round.put_measurement(author, reveal.measurement.clone());
        });
        Ok(())
    }

    fn apply_opening(&mut self, author: PeerId, opening: &Opening) -> Result<(), Reject> {
        let id = opening.claim;
        let claim = self.claim(id).ok_or(Reject::UnknownClaim(id))?;
        if claim.author != author {
            return Err(Reject::NotSeated(author));
        }
        if !claim.is_entry() {
            return Err(Reject::Phase { claim: id, what: "opening" });
        }
        if claim.opening.is_some() {
            return Err(Reject::Repeated(author));
        }
        let Opening { salt, ratio_ppm, null, .. } = opening;
        let seal = opening_seal(author, claim.recipe.id(), salt, *ratio_ppm, *null);
        if seal != claim.result_seal {
            return Err(Reject::SealBroken(author));
        }
        if let Some(claim) = self.claims.get_mut(id) {
            claim.opening = Some(opening.clone());
        }
        if opening.null {
            self.spring_trap(id);
        }
        self.credit_cited(id);
        self.remember("opening", id);
        Ok(())
    }

    /// Checks that a measurement covers exactly what was drawn for the seat.
    fn check_plan(
        &self,
        claim: &ClaimState,
        round: &Round,
        seat: PeerId,
        measurement: &Measurement,
    ) -> Result<(), Reject> {
        let Some(plan) = self.plan(claim, round, seat) else {
            return Err(Reject::Plan("no plan was drawn".to_owned()));
        };
        measurement.check(&self.parameters_of(round).scope(&plan.prompts))
    }

    /// The round that a seal or reveal is for.
    fn open_round(&self, id: RoundId) -> Result<(&ClaimState, &Round), Reject> {
        let claim = self.claim(id.claim).ok_or(Reject::UnknownClaim(id.claim))?;
        let round = claim.round(id.number).ok_or(Reject::UnknownRound(id))?;
        if round.is_open() { Ok((claim, round)) } else { Err(Reject::RoundOver(id)) }
    }

    pub(super) fn change_round(&mut self, id: RoundId, change: impl FnOnce(&mut Round)) {
        let claim = self.claims.get_mut(id.claim);
        if let Some(round) = claim.and_then(|claim| claim.round_mut(id.number)) {
            change(round);
        }
    }
}
