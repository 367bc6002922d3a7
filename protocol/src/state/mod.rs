//! The ledger's state: a pure function of genesis and blocks.

mod advance;
mod disclosure;
mod membership;
mod records;

pub use disclosure::{DISCLOSURES_PER_CLAIM_MAX, Disclosed};
pub use membership::{Admission, MemberState, Membership, PendingVouch};

use crate::draw::{Candidate, Committee};
use crate::genesis::Genesis;
use crate::ids::{Beacon, BlockHash, ClaimId, NetworkId, PeerId, RecipeId, RecordId, hash_parts};
use crate::measurement::Measurement;
use crate::merkle::Frontier;
use crate::plan::{Plan, Subject, plan};
use crate::record::{Claim, Opening, Recipe};
use crate::verdict::{Outcome, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a claim is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "phase")]
pub enum Phase {
    /// Waits for its beacon and for a free place.
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

/// A claim and everything the ledger knows about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    #[serde(serialize_with = "serialize_hash")]
    pub result_seal: [u8; 32],
    /// The author's line for people.
    pub summary: String,
    /// The block that docketed it.
    pub docketed_at: u64,
    /// Randomness fixed two blocks later.
    pub beacon: Option<Beacon>,
    /// Where it is in its life.
    #[serde(flatten)]
    pub phase: Phase,
    /// Who measures it.
    pub committee: Committee,
    /// How many reserves were called.
    pub reserves_called: usize,
    /// Seals by seat.
    #[serde(serialize_with = "serialize_hashes")]
    pub seals: BTreeMap<PeerId, [u8; 32]>,
    /// Measurements by seat.
    pub reveals: BTreeMap<PeerId, Measurement>,
    /// The decision.
    pub verdict: Option<Verdict>,
    /// The block that settled it.
    pub settled_at: Option<u64>,
    /// The author's own result, once opened.
    pub opening: Option<Opening>,
}

fn serialize_hash<S: serde::Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(hash))
}

fn serialize_hashes<S: serde::Serializer>(
    hashes: &BTreeMap<PeerId, [u8; 32]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(hashes.iter().map(|(peer, hash)| (peer, hex::encode(hash))))
}

impl ClaimState {
    fn docketed(id: ClaimId, author: PeerId, claim: Claim, height: u64) -> Self {
        Self {
            id,
            author,
            recipe: claim.recipe,
            parent: claim.parent,
            result_seal: claim.result_seal,
            summary: claim.summary,
            docketed_at: height,
            beacon: None,
            phase: Phase::Docketed,
            committee: Committee::default(),
            reserves_called: 0,
            seals: BTreeMap::new(),
            reveals: BTreeMap::new(),
            verdict: None,
            settled_at: None,
            opening: None,
        }
    }

    /// Whether the claim waits for anything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Settled
    }

    /// What became of it, once settled.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.verdict.as_ref().map(|verdict| verdict.outcome)
    }

    /// The peers that may seal now: the seats and the reserves called so far.
    pub fn active_seats(&self) -> impl Iterator<Item = PeerId> + '_ {
        let reserves = self.committee.reserves.iter().take(self.reserves_called);
        self.committee.seats.iter().chain(reserves).copied()
    }
}

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
    pub(crate) claims: BTreeMap<ClaimId, Arc<ClaimState>>,
    pub(crate) recipes: BTreeMap<RecipeId, ClaimId>,
    /// Open claims in the order docketed.
    pub(crate) docket: Vec<ClaimId>,
    /// Hash chain over everything settled, so that the state root need not walk it.
    pub(crate) history: [u8; 32],
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
            claims: BTreeMap::new(),
            recipes: BTreeMap::from([(genesis.challenge.base.id(), genesis.base_claim())]),
            docket: Vec::new(),
            history: hash_parts("assay history v1", &[]),
            genesis: Arc::new(genesis),
        }
    }

    /// What the network started from.
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
        self.claims.values().map(AsRef::as_ref)
    }

    /// One claim.
    #[must_use]
    pub fn claim(&self, id: ClaimId) -> Option<&ClaimState> {
        self.claims.get(&id).map(AsRef::as_ref)
    }

    /// The claims not settled yet, in the order docketed.
    pub fn docket(&self) -> impl Iterator<Item = &ClaimState> {
        self.docket.iter().filter_map(|id| self.claim(*id))
    }

    /// The recipe behind a claim id, the base's included.
    #[must_use]
    pub fn recipe(&self, id: ClaimId) -> Option<Recipe> {
        if id == self.base_claim {
            return Some(self.genesis.challenge.base);
        }
        self.claim(id).map(|claim| claim.recipe)
    }

    /// What `seat` has to measure for a claim whose beacon is fixed.
    #[must_use]
    pub fn plan(&self, claim: &ClaimState, seat: PeerId) -> Option<Plan> {
        let subject = Subject {
            beacon: claim.beacon?,
            claim: claim.id,
            parent: self.recipe(claim.parent)?,
            child: claim.recipe,
        };
        Some(plan(&self.genesis, &subject, seat))
    }

    /// Whether the ledger needs a block at `now_ms` although nobody says anything: a beacon is
    /// awaited or a deadline has passed.
    #[must_use]
    pub fn wants_block(&self, now_ms: u64) -> bool {
        self.docket().any(|claim| match claim.phase {
            Phase::Docketed => claim.beacon.is_none(),
            Phase::Sealing { reserves_at_ms, until_ms } => {
                let calls = claim.reserves_called == 0 && !claim.committee.reserves.is_empty();
                now_ms >= until_ms || (calls && now_ms >= reserves_at_ms)
            }
            Phase::Revealing { until_ms } => now_ms >= until_ms,
            Phase::Settled => false,
        })
    }

    /// Hash of the validator set of the next height.
    #[must_use]
    pub fn validators_hash(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        for (peer, power) in self.validators() {
            bytes.extend_from_slice(&peer.0);
            bytes.extend_from_slice(&power.to_le_bytes());
        }
        hash_parts("assay validators v1", &[&bytes])
    }

    /// Hash of everything that decides what may come next, except the head itself, which the
    /// header carries.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        let open: Vec<u8> = self.docket().flat_map(claim_digest).collect();
        hash_parts(
            "assay state v1",
            &[
                &self.height.to_le_bytes(),
                &self.time_ms.to_le_bytes(),
                &self.beacon.0,
                &self.membership_digest(),
                &open,
                &self.history,
            ],
        )
    }

    fn remember(&mut self, event: &'static str, claim: &ClaimState) {
        let digest = claim_digest(claim);
        self.history = hash_parts("assay history v1", &[&self.history, event.as_bytes(), &digest]);
    }

    /// The members that may be drawn for a claim, by rising id: those with a weight, but nobody of
    /// the author's operator.
    fn candidates(&self, author: PeerId) -> Vec<Candidate> {
        let operator = self.members.get(&author).map(|member| &member.operator);
        let members = self.members.iter().filter(|(_, member)| Some(&member.operator) != operator);
        members
            .map(|(peer, member)| Candidate {
                peer: *peer,
                operator: member.operator.clone(),
                weight: self.draw_weight(*peer),
            })
            .filter(|candidate| candidate.weight > 0)
            .collect()
    }
}

/// Hash of a claim's whole state, over its one JSON spelling.
fn claim_digest(claim: &ClaimState) -> [u8; 32] {
    // Serialising plain structs with string keys cannot fail.
    let text = serde_json::to_vec(claim).unwrap_or_default();
    hash_parts("assay claim state v1", &[&text])
}
