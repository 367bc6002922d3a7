//! The ledger's state: a pure function of genesis and blocks.

mod advance;
mod archive;
mod claim;
mod claims;
mod classes;
mod disclosure;
mod doubt;
mod events;
mod limits;
mod measured;
mod membership;
mod nulls;
mod places;
mod posts;
mod probation;
mod proposals;
mod ranking;
mod records;
mod relay;
mod round;
mod rulings;
mod silence;
mod spelt;
mod standing;
mod trap;

pub use archive::{Archive, ArchiveError, CLAIMS_IN_MEMORY};
pub use claim::ClaimState;
pub use classes::{Classes, PENDING_ROUNDS_MAX};
pub use disclosure::{DISCLOSURES_PER_CLAIM_MAX, Disclosed};
pub use doubt::{CHALLENGER_STANDING_MIN, Debunked, ROUNDS_MAX};
pub use events::Events;
pub(crate) use events::next_history;
pub use limits::{LIMITS_PER_AUTHOR_MAX, LimitState};
pub use membership::{Admission, MemberState, Membership, PendingVouch};
pub use nulls::NullLot;
pub use places::Cost;
pub use posts::{
    POSTS_PER_BLOCK_MAX, POSTS_PER_EPOCH_EXTRA, POSTS_PER_PEER_PER_BLOCK_MAX, SpecState,
    UNCITED_SPECS_PER_AUTHOR_MAX, bears_out,
};
pub use probation::{SHADOWS_MAX, Shadow};
pub use proposals::{
    Count, PROPOSALS_OPEN_MAX, PROPOSALS_PER_OPERATOR_MAX, PROPOSER_STANDING_MIN, ProposalState,
    Resolution, Spoken,
};
pub use ranking::FRONTIER_ROUNDS_MAX;
pub use relay::{LinkState, Relay, UNCITED_LINKS_PER_AUTHOR_MAX};
pub use round::{Finding, Phase, Purpose, Round};
pub use rulings::{APPEAL_BLOCKS, CHARGES_PER_EPOCH_MAX, RULINGS_OPEN_MAX};
pub use silence::Turns;

use claims::Claims;

use crate::draw::Candidate;
use crate::fair::Shares;
use crate::genesis::{Genesis, Quorum};
use crate::ids::{
    Beacon, BlockHash, ClaimId, NetworkId, PeerId, RecipeId, RecordId, RoundId, hash_parts,
};
use crate::merkle::Frontier;
use crate::plan::{Plan, Subject, plan};
use crate::record::Recipe;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Domain of the state root.
pub(crate) const STATE_DOMAIN: &str = "assay state v1";

/// Everything that the ledger decided so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) network: NetworkId,
    pub(crate) base_claim: ClaimId,
    pub(crate) height: u64,
    pub(crate) head: BlockHash,
    pub(crate) time_ms: u64,
    pub(crate) beacon: Beacon,
    /// All records ever ordered.
    pub(crate) index: Frontier,
    /// Everyone who is or was a member.
    pub(crate) members: BTreeMap<PeerId, Arc<MemberState>>,
    /// Vouches not accepted yet, by newcomer.
    pub(crate) vouches: BTreeMap<PeerId, PendingVouch>,
    /// Tricks told of. The history covers them.
    pub(crate) disclosures: BTreeMap<RecordId, Arc<Disclosed>>,
    /// What is kept of posts.
    pub(crate) posts: posts::Posts,
    /// Charges and what was decided about them.
    pub(crate) rulings: rulings::Rulings,
    /// Proposals, and the numbers in force.
    pub(crate) proposals: proposals::Proposals,
    /// Bounds that entries may go beyond. The history covers them.
    pub(crate) limits: Arc<BTreeMap<RecordId, Arc<LimitState>>>,
    pub(crate) claims: Claims,
    pub(crate) recipes: BTreeMap<RecipeId, ClaimId>,
    /// Claims with an open round, in the order these were opened.
    pub(crate) docket: Vec<ClaimId>,
    /// Rounds that the last block settled.
    pub(crate) settled: Vec<RoundId>,
    /// Entries in the order in which they were settled.
    pub(crate) entries: Vec<ClaimId>,
    /// The places among these of the entries whose number an independent committee supplied.
    pub(crate) confirmed: BTreeSet<usize>,
    /// Claims whose quality is attested and whose class is short of seats.
    pub(crate) pending: Vec<ClaimId>,
    /// What is known of hardware classes.
    pub(crate) classes: Classes,
    /// How much of the committees' time each operator had.
    pub(crate) shares: Shares,
    /// Who let its turns to propose pass.
    pub(crate) turns: Turns,
    /// Hash chain over everything settled, so that the state root need not walk it.
    pub(crate) history: [u8; 32],
    /// The last block's part of that chain.
    pub(crate) events: Events,
}

impl State {
    /// The state before the first block.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        Self {
            network: genesis.network(),
            base_claim: genesis.base_claim(),
            height: 0,
            head: BlockHash::default(),
            time_ms: genesis.time_ms,
            beacon: genesis.first_beacon(),
            index: Frontier::default(),
            members: membership::founders(&genesis),
            vouches: BTreeMap::new(),
            disclosures: BTreeMap::new(),
            posts: posts::Posts::default(),
            rulings: rulings::Rulings::default(),
            proposals: proposals::Proposals::default(),
            limits: Arc::default(),
            claims: Claims::default(),
            recipes: BTreeMap::from([(genesis.challenge.base.id(), genesis.base_claim())]),
            docket: Vec::new(),
            settled: Vec::new(),
            entries: Vec::new(),
            confirmed: BTreeSet::new(),
            pending: Vec::new(),
            classes: Classes::default(),
            shares: Shares::default(),
            turns: Turns::default(),
            history: hash_parts("assay history v1", &[]),
            events: Events::default(),
            genesis: Arc::new(genesis),
        }
    }

    /// What the network started from. The numbers in force are [`State::parameters`].
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The network's id.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// Height of the last block; 0 before the first.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.height
    }

    /// Hash of the last header; zeros before the first.
    #[must_use]
    pub fn head(&self) -> BlockHash {
        self.head
    }

    /// Time of the last block.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Records ordered so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.index.leaves()
    }

    /// The id that stands for the base recipe.
    #[must_use]
    pub fn base_claim(&self) -> ClaimId {
        self.base_claim
    }

    /// All claims by id.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimState> {
        self.claims.iter()
    }

    /// One claim.
    #[must_use]
    pub fn claim(&self, id: ClaimId) -> Option<&ClaimState> {
        self.claims.get(id)
    }

    /// The claims with an open round, in the order these were opened.
    pub fn docket(&self) -> impl Iterator<Item = &ClaimState> {
        self.docket.iter().filter_map(|id| self.claim(*id))
    }

    /// The entries, whatever became of them, in the order in which they were settled.
    pub fn entries(&self) -> impl Iterator<Item = &ClaimState> {
        self.entries.iter().filter_map(|id| self.claim(*id))
    }

    /// The open rounds with their claims, in the order opened.
    pub fn open_rounds(&self) -> impl Iterator<Item = (&ClaimState, &Round)> {
        self.docket().filter_map(|claim| claim.open_round().map(|round| (claim, round)))
    }

    /// How much of the committees' time each operator had.
    #[must_use]
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// The rounds that the last block settled.
    #[must_use]
    pub fn settled_rounds(&self) -> &[RoundId] {
        &self.settled
    }

    /// One round with its claim.
    #[must_use]
    pub fn round(&self, id: RoundId) -> Option<(&ClaimState, &Round)> {
        let claim = self.claim(id.claim)?;
        claim.round(id.number).map(|round| (claim, round))
    }

    /// The recipe behind a claim id, the base's included.
    #[must_use]
    pub fn recipe(&self, id: ClaimId) -> Option<Recipe> {
        if id == self.base_claim {
            return Some(self.genesis.challenge.base);
        }
        self.claim(id).map(|claim| claim.recipe)
    }

    /// What `seat` has to measure in a round whose committee is drawn.
    #[must_use]
    pub fn plan(&self, claim: &ClaimState, round: &Round, seat: PeerId) -> Option<Plan> {
        let subject = Subject {
            beacon: round.beacon?,
            round: round.id(claim.id),
            pairs: round.pairs,
            parent: self.recipe(claim.parent)?,
            child: claim.recipe,
        };
        Some(plan(self.parameters_of(round), &subject, seat))
    }

    /// Whether the ledger needs a block at `now_ms` although nobody says anything: a beacon is
    /// awaited or a deadline has passed.
    #[must_use]
    pub fn wants_block(&self, now_ms: u64) -> bool {
        let rounds = self.open_rounds().any(|(_, round)| match round.phase {
            Phase::Docketed => round.called_at.is_some() && round.beacon.is_none(),
            Phase::Sealing { reserves_at_ms, until_ms } => {
                let calls = round.reserves_called == 0 && !round.committee.reserves.is_empty();
                now_ms >= until_ms || (calls && now_ms >= reserves_at_ms)
            }
            Phase::Revealing { until_ms } => now_ms >= until_ms,
            Phase::Settled => false,
        });
        rounds || self.rulings_want_block(now_ms) || self.proposals_want_block(now_ms)
    }

    /// Hash of the validator set of the next height.
    #[must_use]
    pub fn validators_hash(&self) -> [u8; 32] {
        validator_set_hash(&self.validators())
    }

    /// Hash of everything that decides what may come next, except the head itself, which the
    /// header carries.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        let parts = self.root_parts();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        hash_parts(STATE_DOMAIN, &parts)
    }

    /// What [`State::root`] is the hash of. The history is the last part.
    #[must_use]
    pub fn root_parts(&self) -> Vec<Vec<u8>> {
        let open: Vec<u8> =
            self.docket.iter().filter_map(|id| self.claims.digest(*id)).flatten().collect();
        let pending: Vec<u8> = self.pending.iter().flat_map(|claim| claim.0).collect();
        // Serialising plain structs with string keys cannot fail.
        let shares = serde_json::to_vec(&self.shares).unwrap_or_default();
        vec![
            self.height.to_le_bytes().to_vec(),
            self.time_ms.to_le_bytes().to_vec(),
            self.beacon.to_vec(),
            self.membership_digest().to_vec(),
            open,
            pending,
            self.classes.digest().to_vec(),
            self.posts.digest().to_vec(),
            self.rulings.digest().to_vec(),
            self.proposals.digest().to_vec(),
            shares,
            self.turns.digest().to_vec(),
            self.history.to_vec(),
        ]
    }

    /// The last block's part of the hash chain over everything settled.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Binds a claim's present state into the history.
    fn remember(&mut self, event: &'static str, id: ClaimId) {
        let Some(digest) = self.claims.digest(id) else { return };
        self.note(&[event.as_bytes(), &digest]);
    }

    /// Binds an event into the history.
    fn note(&mut self, event: &[&[u8]]) {
        self.history = next_history(self.history, event);
        self.events.list.push(event.iter().map(|part| part.to_vec()).collect());
    }

    /// Seats and quorum of a round; before its committee is drawn, the fewest it can have.
    #[must_use]
    pub fn quorum(&self, claim: &ClaimState, round: &Round) -> Quorum {
        round.size.unwrap_or_else(|| self.smallest(claim, round.purpose))
    }

    /// The smallest committee for a purpose. A round that may overturn an entry is held by no fewer
    /// than the committee that made it.
    fn smallest(&self, claim: &ClaimState, purpose: Purpose) -> Quorum {
        let rules = &self.parameters().committee;
        let confirms = match purpose {
            Purpose::First => false,
            Purpose::Frontier => true,
            Purpose::Challenge { .. } | Purpose::Audit => claim.is_confirmed(),
        };
        if confirms { rules.frontier } else { rules.first() }
    }

    /// The members that may be drawn for a round, by rising id: those with a weight, but none of
    /// `excluded` operators. Those whose machines are of another class than the claim's come last,
    /// because the speed needs a quorum of its class; among each, those who held a seat in an earlier
    /// round.
    fn candidates(&self, claim: &ClaimState, excluded: &[PeerId]) -> Vec<Candidate> {
        let operators = |peers: Vec<PeerId>| -> BTreeSet<&str> {
            let members = peers.iter().filter_map(|peer| self.members.get(peer));
            members.map(|member| member.operator.as_str()).collect()
        };
        let excluded = operators(excluded.to_vec());
        let earlier = claim.rounds.iter().flat_map(Round::active_seats).collect();
        let sat_before = operators(earlier);
        self.members
            .iter()
            .filter(|(_, member)| !excluded.contains(member.operator.as_str()))
            .map(|(peer, member)| Candidate {
                peer: *peer,
                operator: member.operator.clone(),
                weight: self.draw_weight(*peer),
                tier: u8::from(sat_before.contains(member.operator.as_str()))
                    + 2 * u8::from(!self.may_time(*peer, &claim.hardware_class)),
            })
            .filter(|candidate| candidate.weight > 0)
            .collect()
    }
}

/// The claim's one JSON spelling. Samples are not in it, whose seals are. The gates' sentences for people are
/// left empty: they say nothing that the samples do not, and mending one must not fork the ledger.
pub(crate) fn spelling(claim: &ClaimState) -> Vec<u8> {
    let mut claim = claim.clone();
    let verdicts = claim.rounds.iter_mut().filter_map(|round| round.verdict.as_mut());
    verdicts.flat_map(|verdict| &mut verdict.gates).for_each(|gate| gate.detail.clear());
    // Serialising plain structs with string keys cannot fail.
    serde_json::to_vec(&claim).unwrap_or_default()
}

/// Hash of a claim's whole state, from its spelling.
pub(crate) fn spelling_digest(text: &[u8]) -> [u8; 32] {
    hash_parts("assay claim state v2", &[text])
}

/// Hash of a validator set.
pub(crate) fn validator_set_hash(validators: &BTreeMap<PeerId, u64>) -> [u8; 32] {
    let mut bytes = Vec::new();
    for (peer, power) in validators {
        bytes.extend_from_slice(&peer.0);
        bytes.extend_from_slice(&power.to_le_bytes());
    }
    hash_parts("assay validators v1", &[&bytes])
}
