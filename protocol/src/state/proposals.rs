//! Proposals to change the network's numbers, the votes on them, and the numbers in force.
//!
//! A proposal is voted on for [`crate::genesis::VotingRules::window_ms`]. An operator has one voice, which
//! any of its full members gives, with the weight that the draws give that member's standing: the
//! greatest of its members', and never more than a third of all. It is adopted by two thirds of the weight
//! that was cast and a half of all there is, and replaces the old value
//! [`crate::genesis::VotingRules::delay_blocks`] blocks later.
//!
//! Everything reads the numbers through [`State::parameters`]. What was called before a change is finished
//! as it was begun: a round, its plans, deadlines and verdict, and a ruling's hearing go by the numbers
//! of the block that called it ([`State::parameters_of`]), whatever is adopted meanwhile. What is asked
//! anew each time goes by those in force: what may be docketed, who leads, how standing is counted.

use super::{Round, State};
use crate::error::Reject;
use crate::genesis::Genesis;
use crate::ids::{PeerId, RecordId, hash_parts};
use crate::parameter::{Parameter, Proposal, Voice};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Proposals that may be open at a time.
pub const PROPOSALS_OPEN_MAX: usize = 16;
/// Proposals of one operator that may be open at a time.
pub const PROPOSALS_PER_OPERATOR_MAX: usize = 2;
/// Standing that a proposer must have.
pub const PROPOSER_STANDING_MIN: u64 = super::CHALLENGER_STANDING_MIN;

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// It replaces the old value from its height on.
    Adopted,
    /// Too few agreed.
    Rejected,
    /// It was adopted, and did not go with what was adopted before it.
    Void,
}

impl Resolution {
    /// The resolution in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Rejected => "rejected",
            Self::Void => "void",
        }
    }
}

/// Who spoke for an operator, and what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spoken {
    /// The member.
    pub by: PeerId,
    /// Whether it agrees.
    pub yes: bool,
}

/// Weights for and against a proposal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Of those who agree.
    pub yes: u64,
    /// Of those who do not.
    pub no: u64,
    /// Of all who may vote.
    pub all: u64,
}

impl Count {
    /// Whether so much is enough: two thirds of what was cast, and a half of all there is.
    #[must_use]
    pub fn adopts(self) -> bool {
        let Self { yes, no, all } = self;
        let (yes, no, all) = (u128::from(yes), u128::from(no), u128::from(all));
        yes > 0 && 3 * yes >= 2 * (yes + no) && 2 * yes >= all
    }
}

/// A proposal as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProposalState {
    /// Its record.
    pub id: RecordId,
    /// Who made it.
    pub by: PeerId,
    /// What is to change.
    pub parameter: Parameter,
    /// Its value afterwards.
    pub value: u64,
    /// Its value when the proposal was made.
    pub before: u64,
    /// Why, in one line for people.
    pub why: String,
    /// Height of the block that ordered it.
    pub opened_at: u64,
    /// When voting ends; none before the end of that block.
    pub until_ms: Option<u64>,
    /// What was said, by operator.
    pub voices: BTreeMap<String, Spoken>,
    /// What became of it.
    pub resolution: Option<Resolution>,
    /// Height of the block that counted the votes.
    pub decided_at: Option<u64>,
    /// The votes as counted then.
    pub count: Option<Count>,
    /// Height of the last block under the old value, once adopted.
    pub effective_at: Option<u64>,
}

impl ProposalState {
    /// How it stands, in one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.resolution.map_or("open", Resolution::word)
    }
}

/// Everything that the ledger keeps of proposals. What grows is shared by all copies of a state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proposals {
    all: Arc<BTreeMap<RecordId, Arc<ProposalState>>>,
    /// Those being voted on, in the order made.
    open: Vec<RecordId>,
    /// Those adopted whose height is not there yet, in the order adopted.
    waiting: Vec<RecordId>,
    /// The numbers that were adopted, each with the last height before it, the proposal, and all numbers
    /// from there on.
    sets: Arc<Vec<(u64, RecordId, Arc<Genesis>)>>,
}

impl Proposals {
    /// Hash of the open proposals, of those that wait for their height, and of the changes so far. What was
    /// decided is in the history.
    pub(super) fn digest(&self) -> [u8; 32] {
        let undone = self.open.iter().chain(&self.waiting).filter_map(|id| self.all.get(id));
        let undone: Vec<u8> = undone.flat_map(|proposal| proposal_digest(proposal)).collect();
        let mut sets = Vec::new();
        for (height, id, _) in self.sets.iter() {
            sets.extend_from_slice(&height.to_le_bytes());
            sets.extend_from_slice(&id.0);
        }
        hash_parts("assay proposals v1", &[&undone, &sets])
    }
}

/// Hash of a proposal's whole state, over its one JSON spelling.
fn proposal_digest(proposal: &ProposalState) -> [u8; 32] {
    // Serialising plain structs with string keys cannot fail.
    let text = serde_json::to_vec(proposal).unwrap_or_default();
    hash_parts("assay proposal state v1", &[&text])
}

/// The greatest weight that may count for one of several operators: no more than a third of what then
/// counts for all together, or 1 where there are too few of them for that.
///
/// Σ min(wᵢ, c) − 3c is concave in c and 0 at 0, so that the weights that satisfy it are all up to one.
fn weight_cap(weights: &BTreeMap<String, u64>) -> u64 {
    let counts = |cap: u64| {
        let all: u128 = weights.values().map(|weight| u128::from(cap.min(*weight))).sum();
        3 * u128::from(cap) <= all
    };
    let (mut low, mut high) = (0, weights.values().copied().max().unwrap_or(0));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if counts(middle) { low = middle } else { high = middle - 1 }
    }
    low.max(1)
}

impl State {
    /// The network's numbers in force: those of the genesis, with what the members adopted since. Everything
    /// else in it, the names and the first members, is the genesis's.
    #[must_use]
    pub fn parameters(&self) -> &Genesis {
        self.proposals.sets.last().map_or(&self.genesis, |(_, _, set)| set)
    }

    /// The numbers by which what was called at a height is finished.
    #[must_use]
    pub fn parameters_at(&self, height: u64) -> &Genesis {
        let mut later_first = self.proposals.sets.iter().rev();
        let found = later_first.find(|(last, _, _)| *last < height);
        found.map_or(&self.genesis, |(_, _, set)| set)
    }

    /// The numbers that a round goes by: those of its call, or before it those in force.
    #[must_use]
    pub fn parameters_of(&self, round: &Round) -> &Genesis {
        round.called_at.map_or_else(|| self.parameters(), |height| self.parameters_at(height))
    }

    /// The changes so far: the last height under the old value, and the proposal, in their order.
    pub fn amendments(&self) -> impl Iterator<Item = (u64, &ProposalState)> {
        let sets = self.proposals.sets.iter();
        sets.filter_map(|(height, id, _)| Some((*height, self.proposal(*id)?)))
    }

    /// All proposals, by record.
    pub fn proposals(&self) -> impl Iterator<Item = &ProposalState> {
        self.proposals.all.values().map(AsRef::as_ref)
    }

    /// One proposal.
    #[must_use]
    pub fn proposal(&self, id: RecordId) -> Option<&ProposalState> {
        self.proposals.all.get(&id).map(AsRef::as_ref)
    }

    /// The proposals being voted on, in the order made.
    pub fn open_proposals(&self) -> impl Iterator<Item = &ProposalState> {
        self.proposals.open.iter().filter_map(|id| self.proposal(*id))
    }

    /// The weight of every operator's voice at present.
    #[must_use]
    pub fn voice_weights(&self) -> BTreeMap<String, u64> {
        let mut weights = BTreeMap::new();
        for (peer, member) in &self.members {
            let weight = self.draw_weight(*peer);
            if weight > 0 {
                let most = weights.entry(member.operator.clone()).or_insert(0);
                *most = weight.max(*most);
            }
        }
        let cap = weight_cap(&weights);
        weights.values_mut().for_each(|weight| *weight = cap.min(*weight));
        weights
    }

    /// The votes on a proposal: as counted, or as they stand while it is open. Who has no weight any more
    /// is not counted.
    #[must_use]
    pub fn count(&self, proposal: &ProposalState) -> Count {
        if let Some(count) = proposal.count {
            return count;
        }
        let weights = self.voice_weights();
        let mut count = Count {
            all: weights.values().fold(0, |sum, one| one.saturating_add(sum)),
            ..Count::default()
        };
        for (operator, spoken) in &proposal.voices {
            let weight = weights.get(operator).filter(|_| self.draw_weight(spoken.by) > 0);
            let side = if spoken.yes { &mut count.yes } else { &mut count.no };
            *side = side.saturating_add(weight.copied().unwrap_or(0));
        }
        count
    }

    /// Whether a block is wanted at `now_ms` for the proposals' sake: a vote is over, or an adopted value
    /// waits for its height.
    pub(super) fn proposals_want_block(&self, now_ms: u64) -> bool {
        let over = |open: &ProposalState| open.until_ms.is_none_or(|until| now_ms >= until);
        !self.proposals.waiting.is_empty() || self.open_proposals().any(over)
    }

    /// The operator for which a member may speak about proposals.
    fn may_speak(&self, peer: PeerId) -> Result<&str, Reject> {
        if self.draw_weight(peer) == 0 {
            return Err(Reject::NoVoice(peer));
        }
        self.operator(peer).ok_or(Reject::NotMember(peer))
    }

    pub(super) fn apply_proposal(
        &mut self,
        id: RecordId,
        by: PeerId,
        proposal: &Proposal,
        height: u64,
    ) -> Result<(), Reject> {
        if self.proposals.all.contains_key(&id) {
            return Err(Reject::Repeated(by));
        }
        let (said, epoch) = (proposal.epoch, self.epoch_of(height));
        if said != epoch {
            return Err(Reject::ProposalEpoch { said, epoch });
        }
        let operator = self.may_speak(by)?;
        if self.members.get(&by).is_none_or(|member| member.standing < PROPOSER_STANDING_MIN) {
            return Err(Reject::Standing { peer: by, needed: PROPOSER_STANDING_MIN });
        }
        let Proposal { parameter, value, .. } = *proposal;
        let undone = self.proposals.open.iter().chain(&self.proposals.waiting);
        let same = |other: &&ProposalState| other.parameter == parameter && other.value == value;
        if let Some(open) = undone.filter_map(|id| self.proposal(*id)).find(same) {
            return Err(Reject::Proposed(open.id));
        }
        let own = self.open_proposals().filter(|open| self.operator(open.by) == Some(operator));
        if own.count() >= PROPOSALS_PER_OPERATOR_MAX {
            return Err(Reject::ProposalsFull(PROPOSALS_PER_OPERATOR_MAX));
        }
        if self.proposals.open.len() >= PROPOSALS_OPEN_MAX {
            return Err(Reject::ProposalsFull(PROPOSALS_OPEN_MAX));
        }
        let before = parameter.value(self.parameters());
        if before == value {
            return Err(Reject::Unproposable(format!("{} is {value} already", parameter.path())));
        }
        let unfit = |error: crate::genesis::GenesisError| Reject::Unproposable(error.to_string());
        parameter.set(self.parameters(), value).map_err(unfit)?;
        let made = ProposalState {
            id,
            by,
            parameter,
            value,
            before,
            why: proposal.why.clone(),
            opened_at: height,
            until_ms: None,
            voices: BTreeMap::new(),
            resolution: None,
            decided_at: None,
            count: None,
            effective_at: None,
        };
        Arc::make_mut(&mut self.proposals.all).insert(id, Arc::new(made));
        self.proposals.open.push(id);
        Ok(())
    }

    pub(super) fn apply_voice(&mut self, by: PeerId, voice: Voice) -> Result<(), Reject> {
        let Voice { proposal: id, yes } = voice;
        let proposal = self.proposal(id).ok_or(Reject::UnknownProposal(id))?;
        if proposal.resolution.is_some() {
            return Err(Reject::ProposalOver(id));
        }
        let operator = self.may_speak(by)?.to_owned();
        if let Some(spoken) = proposal.voices.get(&operator) {
            return Err(match spoken.by == by {
                true => Reject::Repeated(by),
                false => Reject::OperatorSpoke(spoken.by),
            });
        }
        self.change_proposal(id, |proposal| {
            _ = proposal.voices.insert(operator, Spoken { by, yes })
        });
        Ok(())
    }

    fn change_proposal(&mut self, id: RecordId, change: impl FnOnce(&mut ProposalState)) {
        let proposal = Arc::make_mut(&mut self.proposals.all).get_mut(&id);
        if let Some(proposal) = proposal.map(Arc::make_mut) {
            change(proposal);
        }
    }

    /// Opens the votes of the block at `height` and `time_ms`, counts those that are over, and puts adopted
    /// values in force, at the end of that block.
    pub(super) fn advance_proposals(&mut self, height: u64, time_ms: u64) {
        for id in self.proposals.open.clone() {
            match self.proposal(id).and_then(|proposal| proposal.until_ms) {
                None => {
                    let until_ms = time_ms.saturating_add(self.genesis.voting.window_ms);
                    self.change_proposal(id, |proposal| proposal.until_ms = Some(until_ms));
                }
                Some(until_ms) if time_ms >= until_ms => self.resolve(id, height),
                Some(_) => {}
            }
        }
        let waiting = std::mem::take(&mut self.proposals.waiting);
        for id in waiting {
            let due = self.proposal(id).and_then(|proposal| proposal.effective_at);
            if due.is_some_and(|due| due > height) {
                self.proposals.waiting.push(id);
            } else {
                self.amend(id, height);
            }
        }
    }

    /// Counts the votes on a proposal whose time is over.
    fn resolve(&mut self, id: RecordId, height: u64) {
        let Some(count) = self.proposal(id).map(|proposal| self.count(proposal)) else { return };
        let adopted = count.adopts();
        let effective_at = height.saturating_add(self.genesis.voting.delay_blocks);
        self.proposals.open.retain(|open| *open != id);
        self.change_proposal(id, |proposal| {
            proposal.count = Some(count);
            proposal.decided_at = Some(height);
            proposal.effective_at = adopted.then_some(effective_at);
            let resolution = if adopted { Resolution::Adopted } else { Resolution::Rejected };
            proposal.resolution = Some(resolution);
        });
        if adopted {
            self.proposals.waiting.push(id);
        }
        self.remember_proposal(id);
    }

    /// Puts an adopted value in force, from the next block on.
    fn amend(&mut self, id: RecordId, height: u64) {
        let Some(proposal) = self.proposal(id) else { return };
        match proposal.parameter.set(self.parameters(), proposal.value) {
            Ok(set) => {
                let sets = Arc::make_mut(&mut self.proposals.sets);
                sets.push((height, id, Arc::new(set)));
            }
            Err(_) => {
                self.change_proposal(id, |proposal| proposal.resolution = Some(Resolution::Void));
            }
        }
        self.remember_proposal(id);
    }

    /// Binds a proposal's present state into the history.
    fn remember_proposal(&mut self, id: RecordId) {
        let Some(digest) = self.proposal(id).map(proposal_digest) else { return };
        self.note(&[b"proposal", &digest]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capped(weights: &[u64]) -> Vec<u64> {
        let named = weights.iter().enumerate().map(|(i, weight)| (format!("{i}"), *weight));
        let cap = weight_cap(&named.collect());
        weights.iter().map(|weight| cap.min(*weight)).collect()
    }

    #[test]
    fn no_operator_counts_for_more_than_a_third() {
        assert_eq!(capped(&[10, 10, 10, 10, 10]), [10; 5]);
        assert_eq!(capped(&[1_000, 10, 10, 10]), [15, 10, 10, 10]);
        assert_eq!(capped(&[1_000, 900, 10, 10]), [20, 20, 10, 10]);
        assert_eq!(capped(&[u64::MAX; 4]), [u64::MAX; 4]);
        assert_eq!(capped(&[7, 3, 5]), [3; 3], "three are equal");
        assert_eq!(capped(&[7, 3]), [1; 2], "so are two");
        assert!(capped(&[]).is_empty());
    }

    #[test]
    fn two_thirds_of_those_who_spoke_and_half_of_all_adopt() {
        let adopts = |yes, no, all| Count { yes, no, all }.adopts();
        assert!(adopts(30, 15, 50));
        assert!(!adopts(29, 15, 50), "too many against");
        assert!(adopts(25, 0, 50));
        assert!(!adopts(24, 0, 50), "too few in all");
        assert!(!adopts(0, 0, 0));
        assert!(adopts(u64::MAX, 0, u64::MAX));
    }
}
