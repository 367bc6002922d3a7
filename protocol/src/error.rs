//! Why something was refused, and what that says about who sent it.

use crate::ids::{BlobHash, BlockHash, ClaimId, PeerId, RecipeId, RecordId, RoundId};
use assay_proto::DecodeError;

/// Why a record was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Bytes that are no message.
    #[error("record cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// A field with a value that its type does not allow.
    #[error("record field {field}: {reason}")]
    Field {
        /// The field's name in the schema.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The signature does not cover these bytes on this network.
    #[error("signature of {0} does not verify on this network")]
    Signature(PeerId),
    /// The author is not a member, and only members may say this.
    #[error("{0} is not a member of this network")]
    NotMember(PeerId),
    /// The recipe was docketed before; running it again adds nothing to the docket.
    #[error("recipe {recipe} is on the docket already as claim {claim}")]
    RecipeDocketed {
        /// The recipe claimed again.
        recipe: RecipeId,
        /// The claim that has it.
        claim: ClaimId,
    },
    /// The parent is neither the base recipe nor an accepted claim.
    #[error("parent {0} is not the base recipe nor an accepted claim")]
    Parent(ClaimId),
    /// The parent was measured on machines of another class.
    #[error(
        "parent {parent} was measured on class {class}; claim on an entry of your own class, or on the \
         base recipe"
    )]
    ParentClass {
        /// The parent.
        parent: ClaimId,
        /// Its class.
        class: String,
    },
    /// The parent is a debunked entry, or descends from one.
    #[error("parent {parent} cannot be built on: entry {entry} is debunked")]
    DebunkedParent {
        /// The parent claimed on.
        parent: ClaimId,
        /// The debunked entry: the parent or an ancestor of it.
        entry: ClaimId,
    },
    /// The claim cannot be challenged, now or later.
    #[error("claim {claim} cannot be challenged: {reason}")]
    Unchallengeable {
        /// The claim.
        claim: ClaimId,
        /// Why not.
        reason: &'static str,
    },
    /// The author has an undecided challenge.
    #[error("author's challenge of claim {0} is undecided; wait for its verdict")]
    OpenChallenge(ClaimId),
    /// The author's standing is too low for this.
    #[error("{peer} needs a standing of at least {needed} for this")]
    Standing {
        /// Who said it.
        peer: PeerId,
        /// Standing that it takes.
        needed: u64,
    },
    /// The author has an unsettled claim on the same parent.
    #[error("author has an open claim {0} on this parent; wait for its verdict")]
    OpenClaim(ClaimId),
    /// The author's operator has too many unsettled claims.
    #[error("the author's operator has {0} unsettled claims, the most allowed; wait for a verdict")]
    OperatorDocketFull(usize),
    /// Too many claims wait for measurement.
    #[error("docket is full ({0} open claims); try again when one has settled")]
    DocketFull(usize),
    /// No such claim.
    #[error("claim {0} is not on the ledger")]
    UnknownClaim(ClaimId),
    /// The claim has no such round yet.
    #[error("there is no {0} yet")]
    UnknownRound(RoundId),
    /// The round has its verdict; nothing can be added to it.
    #[error("{0} is over")]
    RoundOver(RoundId),
    /// The claim is not in the phase that this record belongs to.
    #[error("claim {claim} does not accept a {what} at this point")]
    Phase {
        /// The claim.
        claim: ClaimId,
        /// The kind of record.
        what: &'static str,
    },
    /// The author holds no seat on the claim's committee, or a reserve not yet called.
    #[error("{0} holds no seat on this committee")]
    NotSeated(PeerId),
    /// Said before by the same peer.
    #[error("{0} has said this before")]
    Repeated(PeerId),
    /// A reveal or opening that is not what was sealed.
    #[error("{0} revealed something else than it sealed")]
    SealBroken(PeerId),
    /// A newcomer that nobody vouched for, or whose vouch has lapsed.
    #[error("nobody vouches for {0}; ask a member to run `assay vouch` with this key")]
    NotVouched(PeerId),
    /// A vouch by a member that may not vouch at this point.
    #[error("this vouch does not count: {0}")]
    MayNotVouch(String),
    /// A vouch for a member.
    #[error("{0} is a member already")]
    Member(PeerId),
    /// A vouch for a newcomer that has one.
    #[error("{0} has a vouch that waits for its answer")]
    Vouched(PeerId),
    /// A vouch for a key that contradicted itself.
    #[error("the key {0} was ended for contradicting itself; it cannot come back")]
    KeyEnded(PeerId),
    /// No room for another member.
    #[error("the network has its most members, {0}; wait until one leaves")]
    MembersFull(usize),
    /// Somebody has this name.
    #[error("the name {0:?} is taken; choose another")]
    NameTaken(String),
    /// A random-function key that is not one or belongs to another member.
    #[error("{0} cannot be this peer's random-function key")]
    RandomKey(PeerId),
    /// A validator that cannot be spared.
    #[error("the network cannot spare this validator: {0} are needed; let somebody else in first")]
    LastValidators(usize),
    /// A return of a member that was not found silent, or not at the height it names.
    #[error("{peer} was not found silent at height {since}; the ledger is at {height}")]
    NotSilent {
        /// Who.
        peer: PeerId,
        /// The height that it names.
        since: u64,
        /// The ledger's height.
        height: u64,
    },
    /// No place for another disclosure.
    #[error("claim {0} has all the disclosures that it may have")]
    DisclosuresFull(ClaimId),
    /// A post of another time.
    #[error("the post was made in epoch {said}, this is epoch {epoch}; say it again")]
    PostEpoch {
        /// The epoch that the post names.
        said: u64,
        /// The epoch of the block.
        epoch: u64,
    },
    /// A peer that has said enough for an epoch.
    #[error("{peer} has had its {most} posts of this epoch; the next epoch has room again")]
    PostsSpent {
        /// Who.
        peer: PeerId,
        /// Most posts of a peer in an epoch.
        most: u64,
    },
    /// The block has all the posts that it may have; the next one has room.
    #[error("the block has all the posts that it may have; the next one has room")]
    BlockPosts,
    /// A subject that a ruling is open or decided about.
    #[error("the same was charged already: ruling {ruling} is {word}; `assay ruling show` has it")]
    Charged {
        /// The ruling.
        ruling: RecordId,
        /// How it stands.
        word: &'static str,
    },
    /// A charge that no committee can decide.
    #[error("this cannot be charged: {0}")]
    Unchargeable(&'static str),
    /// A peer that has charged enough for an epoch.
    #[error("{peer} has made its {most} charges of this epoch; the next epoch has room again")]
    ChargesSpent {
        /// Who.
        peer: PeerId,
        /// Most charges of a peer in an epoch.
        most: u32,
    },
    /// Too many rulings are open.
    #[error("{0} rulings are open, the most allowed; try again when one is decided")]
    RulingsFull(usize),
    /// A charge about no post that the ledger knows by name.
    #[error("record {0} is no post of the last two epochs on this ledger")]
    UnknownPost(RecordId),
    /// No such ruling, or no such hearing of it yet.
    #[error("there is no ruling {0}, or not yet this hearing of it")]
    UnknownRuling(RecordId),
    /// The hearing has its decision; nothing can be added to it.
    #[error("ruling {0} is decided")]
    RulingOver(RecordId),
    /// A ruling that this peer cannot appeal against, now or later.
    #[error("ruling {ruling} cannot be appealed against: {reason}")]
    Unappealable {
        /// The ruling.
        ruling: RecordId,
        /// Why not.
        reason: &'static str,
    },
    /// A proposal of another time.
    #[error("the proposal was made in epoch {said}, this is epoch {epoch}; make it again")]
    ProposalEpoch {
        /// The epoch that the proposal names.
        said: u64,
        /// The epoch of the block.
        epoch: u64,
    },
    /// A member that may neither propose nor vote at this point.
    #[error("{0} has no weight: it is on probation, or was caught lately")]
    NoVoice(PeerId),
    /// The same change is voted on, or waits to come into force.
    #[error("the same is proposed already: proposal {0}")]
    Proposed(RecordId),
    /// Too many proposals are open, of one operator or of all.
    #[error("{0} proposals are open, the most allowed; try again when one is decided")]
    ProposalsFull(usize),
    /// A value with which the network would not work, or that it has.
    #[error("this cannot be proposed: {0}")]
    Unproposable(String),
    /// No such proposal.
    #[error("there is no proposal {0}; `assay proposal list` has those there are")]
    UnknownProposal(RecordId),
    /// The votes on the proposal are counted.
    #[error("proposal {0} is decided")]
    ProposalOver(RecordId),
    /// Another member of the same operator has voted.
    #[error("{0} has voted for this operator, which has one voice")]
    OperatorSpoke(PeerId),
    /// Too many posts of one peer wait.
    #[error("{0} posts of this peer wait to be ordered, the most allowed; try again in a moment")]
    PostsWaiting(usize),
    /// A citation of something that is neither a spec nor a diagnosis with a correction.
    #[error(
        "record {0} is no spec and no diagnosis with a corrected checkpoint on this ledger; `assay spec list` \
         and `assay board list --kind diagnosis` have those there are"
    )]
    Uncitable(RecordId),
    /// A measurement that does not follow the plan drawn for the seat.
    #[error("measurement does not follow the seat's plan: {0}")]
    Plan(String),
}

/// What a refused record costs the peer that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Penalty {
    /// Nothing: an honest peer can be in this position, for example by being a block behind.
    None,
    /// The sender forwarded or made what no honest peer would.
    Misbehaviour,
}

impl Reject {
    /// What this refusal costs the sender.
    #[must_use]
    pub fn penalty(&self) -> Penalty {
        match self {
            Self::Decode(_) | Self::Field { .. } | Self::Signature(_) => Penalty::Misbehaviour,
            _ => Penalty::None,
        }
    }
}

/// Why a block does not extend the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Bytes that are no block.
    #[error("block cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// A header field of the wrong length.
    #[error("header field {field} has {bytes} bytes")]
    FieldLength {
        /// The field's name in the schema.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// No header at all.
    #[error("block has no header")]
    NoHeader,
    /// A header field that contradicts the ledger or the block's own records.
    #[error("header field {field} is {found}, expected {expected}")]
    Field {
        /// The field's name in the schema.
        field: &'static str,
        /// What the rules give.
        expected: String,
        /// What the header says.
        found: String,
    },
    /// Time runs backwards or too far ahead.
    #[error("block time {time_ms} ms is outside {earliest_ms}..={latest_ms} ms")]
    Time {
        /// The header's time.
        time_ms: u64,
        /// The parent's time.
        earliest_ms: u64,
        /// The local clock plus the allowed disparity.
        latest_ms: u64,
    },
    /// The proposer is not a validator.
    #[error("proposer {0} is not a validator of this height")]
    Proposer(PeerId),
    /// The verifiable random output does not verify.
    #[error("random output of proposer {0} does not verify")]
    Randomness(PeerId),
    /// A block that orders nothing while nothing is due.
    #[error("block orders nothing and nothing is due")]
    Empty,
    /// More records than a block may have.
    #[error("block has {0} records")]
    TooManyRecords(usize),
    /// A record that cannot be read, or whose signature does not verify.
    #[error("record {index}: {reason}")]
    Form {
        /// Its place in the block.
        index: usize,
        /// What is wrong with it.
        reason: Reject,
    },
    /// A record that does not apply.
    #[error("record {index}: {reason}")]
    Record {
        /// Its place in the block.
        index: usize,
        /// Why it does not apply.
        reason: Reject,
    },
}

/// Why a manifest does not describe files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Bytes that are no manifest.
    #[error("manifest cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The hash of the bytes is not the name asked for.
    #[error("manifest hashes to {found}, expected {expected}")]
    Hash {
        /// The name asked for.
        expected: BlobHash,
        /// The hash of what came.
        found: BlobHash,
    },
    /// A file name, count, size or chunk list that is not allowed.
    #[error("manifest file {name:?}: {reason}")]
    File {
        /// The file's name, shortened.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// A block hash that differs from the one expected, as text for an error.
pub(crate) fn mismatch(
    field: &'static str,
    expected: impl ToString,
    found: impl ToString,
) -> BlockError {
    BlockError::Field { field, expected: expected.to_string(), found: found.to_string() }
}

/// Reads a 32-byte header field.
pub(crate) fn field32(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], BlockError> {
    BlockHash::from_slice(bytes)
        .map(|hash| hash.0)
        .map_err(|bytes| BlockError::FieldLength { field, bytes })
}
