//! The ordering engine's types: what a height, a value, a vote and a validator are here.

use super::HostError;
use super::application::Validator as Member;
use arc_malachitebft_core_types as malachite;
use assay_protocol::ids::{BlockHash, PeerId};
use ed25519_dalek::{SigningKey, VerifyingKey};
use malachite::{LinearTimeouts, NilOrVal, Round, SignedExtension, VoteType, VotingPower};
use std::collections::BTreeMap;
use std::fmt;

/// Most voting power of a whole set. The engine multiplies powers by 3 with checked arithmetic.
pub(crate) const POWER_MAX: u64 = u32::MAX as u64;

/// A validator's address: its Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(pub(crate) PeerId);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.short())
    }
}

impl malachite::Address for Address {}

/// A position in the ledger; the first block has height 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Height(pub(crate) u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl malachite::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// What is decided: the hash of a block. The block itself travels apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockValue(pub(crate) BlockHash);

impl malachite::Value for BlockValue {
    type Id = BlockHash;

    fn id(&self) -> BlockHash {
        self.0
    }
}

/// Blocks travel whole under their proposal, so proposals have no parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoPart {}

impl malachite::ProposalPart<LedgerContext> for NoPart {
    fn is_first(&self) -> bool {
        match *self {}
    }

    fn is_last(&self) -> bool {
        match *self {}
    }
}

/// A proposer's statement "decide this block in this round".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: BlockValue,
    pub(crate) valid_round: Round,
    pub(crate) proposer: Address,
}

impl malachite::Proposal<LedgerContext> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockValue {
        &self.value
    }

    fn take_value(self) -> BlockValue {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.valid_round
    }

    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

/// A prevote or precommit, for a block or against all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) kind: VoteType,
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) block: NilOrVal<BlockHash>,
    pub(crate) validator: Address,
}

impl malachite::Vote<LedgerContext> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockHash> {
        &self.block
    }

    fn take_value(self) -> NilOrVal<BlockHash> {
        self.block
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.validator
    }

    fn extension(&self) -> Option<&SignedExtension<LedgerContext>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<LedgerContext>> {
        None
    }

    fn extend(self, _: SignedExtension<LedgerContext>) -> Self {
        self
    }
}

/// A member of the set, with its key ready for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validator {
    address: Address,
    key: VerifyingKey,
    power: VotingPower,
}

impl malachite::Validator<LedgerContext> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &VerifyingKey {
        &self.key
    }

    fn voting_power(&self) -> VotingPower {
        self.power
    }
}

/// The validators of one height, ordered by address; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValidatorSet {
    members: Vec<Validator>,
    total: VotingPower,
}

impl ValidatorSet {
    /// Checks what the application says and puts it in order.
    pub(crate) fn new(members: Vec<Member>) -> Result<Self, HostError> {
        let refused = |reason: String| HostError::ValidatorSet(reason);
        let mut list = Vec::with_capacity(members.len());
        let mut total: VotingPower = 0;
        for Member { peer, power } in members {
            if power == 0 {
                return Err(refused(format!("validator {peer} has no voting power")));
            }
            let key = VerifyingKey::from_bytes(&peer.0)
                .map_err(|_| refused(format!("validator {peer} is not an Ed25519 key")))?;
            total = total
                .checked_add(power)
                .filter(|total| *total <= POWER_MAX)
                .ok_or_else(|| refused(format!("voting power exceeds {POWER_MAX}")))?;
            list.push(Validator { address: Address(peer), key, power });
        }
        list.sort_by_key(|member| member.address);
        if let Some(pair) = list.windows(2).find(|pair| pair[0].address == pair[1].address) {
            return Err(refused(format!("validator {} is listed twice", pair[0].address.0)));
        }
        if list.is_empty() {
            return Err(refused("there is no validator".into()));
        }
        Ok(Self { members: list, total })
    }

    /// The member with this address.
    pub(crate) fn get(&self, address: Address) -> Option<&Validator> {
        let found = self.members.binary_search_by_key(&address, |member| member.address);
        found.ok().map(|index| &self.members[index])
    }

    /// Who proposes in a round: the members take turns, one place further each height and round.
    pub(crate) fn proposer(&self, height: Height, round: Round) -> &Validator {
        let turn = u128::from(height.0) + u128::from(round.as_u32().unwrap_or(0));
        &self.members[(turn % self.members.len() as u128) as usize]
    }

    /// Powers by key, as [`assay_protocol::certificate::verify`] takes them.
    pub(crate) fn powers(&self) -> BTreeMap<PeerId, u64> {
        self.members.iter().map(|member| (member.address.0, member.power)).collect()
    }
}

impl malachite::ValidatorSet<LedgerContext> for ValidatorSet {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn total_voting_power(&self) -> VotingPower {
        self.total
    }

    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        self.get(*address)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.members.get(index)
    }
}

/// The bytes of an Ed25519 signature, which the engine wants ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signature(pub(crate) [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hex::encode(&self.0[..4]))
    }
}

/// Ed25519 in the shape in which the engine names key and signature types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ed25519;

impl malachite::SigningScheme for Ed25519 {
    type DecodingError = String;
    type Signature = Signature;
    type PublicKey = VerifyingKey;
    type PrivateKey = SigningKey;

    fn decode_signature(bytes: &[u8]) -> Result<Signature, String> {
        bytes.try_into().map(Signature).map_err(|_| format!("signature of {} bytes", bytes.len()))
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<VerifyingKey, String> {
        VerifyingKey::try_from(bytes).map_err(|e| e.to_string())
    }

    fn encode_public_key(key: &VerifyingKey) -> Vec<u8> {
        key.to_bytes().to_vec()
    }
}

/// Binds the types above together for the engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LedgerContext;

impl malachite::Context for LedgerContext {
    type Address = Address;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = LinearTimeouts;
    type Value = BlockValue;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(
        &self,
        set: &'a ValidatorSet,
        height: Height,
        round: Round,
    ) -> &'a Validator {
        set.proposer(height, round)
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: BlockValue,
        valid_round: Round,
        proposer: Address,
    ) -> Proposal {
        Proposal { height, round, value, valid_round, proposer }
    }

    fn new_prevote(
        &self,
        height: Height,
        round: Round,
        block: NilOrVal<BlockHash>,
        validator: Address,
    ) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, block, validator }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        block: NilOrVal<BlockHash>,
        validator: Address,
    ) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, block, validator }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(seed: u8, power: u64) -> Member {
        let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
        Member { peer: PeerId(key.to_bytes()), power }
    }

    #[test]
    fn bad_validator_sets_are_refused() {
        assert!(ValidatorSet::new(vec![]).is_err());
        assert!(ValidatorSet::new(vec![member(1, 0)]).is_err());
        assert!(ValidatorSet::new(vec![member(1, 1), member(1, 1)]).is_err());
        assert!(ValidatorSet::new(vec![member(1, u64::MAX), member(2, 2)]).is_err());
        let not_a_point = Member { peer: PeerId([2; 32]), power: 1 };
        assert!(ValidatorSet::new(vec![not_a_point]).is_err());
    }

    #[test]
    fn members_take_turns_to_propose() {
        let set = ValidatorSet::new((1..=4).map(|i| member(i, 1)).collect()).expect("valid");
        let turns: Vec<Address> =
            (0..4).map(|round| set.proposer(Height(9), Round::new(round)).address).collect();
        let mut sorted = turns.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 4);
        assert_eq!(turns[1], set.proposer(Height(10), Round::ZERO).address);
        assert_eq!(set.proposer(Height(u64::MAX), Round::new(u32::MAX)).power, 1);
    }
}
