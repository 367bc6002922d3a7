//! What peers say, as validated types. [`crate::wire`] is the only way in.

use crate::equivocation::{DoubleVote, Equivocation};
use crate::ids::{BlobHash, ClaimId, PeerId, RecipeId, RecordId, RoundId, hash_parts};
use crate::measurement::{ENVIRONMENT_TEXT_BYTES_MAX, Measurement};
use crate::membership::{Disclosure, Join, Leave, Return, Vouch};
use crate::parameter::{Proposal, Voice};
use crate::post::Post;
use crate::ruling::{Appeal, Ballot};
use assay_proto::v1;
use prost::Message;
use serde::{Deserialize, Serialize};

/// Longest summary of a claim, in bytes.
pub const SUMMARY_BYTES_MAX: usize = 200;
/// Most specs and diagnoses that a claim cites.
pub const CITES_MAX: usize = 4;
/// Most drafts per step that a recipe may ask for.
pub const DRAFT_LEN_MAX: u32 = 16;

/// A record whose signature was checked, with what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub id: RecordId,
    /// Who signed it.
    pub author: PeerId,
    /// What it says.
    pub body: Body,
    /// As it is ordered.
    pub signed: v1::SignedRecord,
    /// The body of a post, which travels with it and is not ordered; empty where there is none.
    pub attachment: Vec<u8>,
}

impl Record {
    /// The record as it travels on gossip.
    #[must_use]
    pub fn to_gossip(&self) -> Vec<u8> {
        let signed = self.signed.clone();
        v1::SignedRecord { attachment: self.attachment.clone(), ..signed }.encode_to_vec()
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A claim for the docket.
    Claim(Claim),
    /// A seat's sealed measurement.
    Seal(Seal),
    /// The measurement behind a seal.
    Reveal(Box<Reveal>),
    /// The author's own result.
    Opening(Opening),
    /// Doubt about an entry.
    Challenge(Challenge),
    /// A member's word for a newcomer.
    Vouch(Vouch),
    /// A newcomer's acceptance of a vouch.
    Join(Join),
    /// A member's farewell.
    Leave(Leave),
    /// Proof that a peer contradicted itself in a record.
    Equivocation(Box<Equivocation>),
    /// Proof that a validator contradicted itself in the ordering protocol.
    DoubleVote(Box<DoubleVote>),
    /// A trick that its finder or user tells of.
    Disclosure(Disclosure),
    /// A silent validator's word that it is back.
    Return(Return),
    /// Something said on the board.
    Post(Post),
    /// What a drawn seat found about a flag.
    Ballot(Ballot),
    /// The losing side's wish that other seats look at a flag.
    Appeal(Appeal),
    /// A change of one of the network's numbers, to be voted on.
    Proposal(Proposal),
    /// An operator's word on a proposal.
    Voice(Voice),
}

/// Drafting, when a recipe uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drafter {
    /// Manifest of the drafter's checkpoint.
    pub checkpoint: BlobHash,
    /// Drafts per step, 1 to [`DRAFT_LEN_MAX`].
    pub draft_len: u32,
}

/// All that decides tokens and speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Manifest of the checkpoint.
    pub checkpoint: BlobHash,
    /// Manifest of the kernel bundle; none means the built-in one.
    #[serde(default)]
    pub bundle: Option<BlobHash>,
    /// Drafting; none means one token per step.
    #[serde(default)]
    pub drafter: Option<Drafter>,
}

impl Recipe {
    /// The recipe as a message.
    #[must_use]
    pub fn to_proto(&self) -> v1::Recipe {
        v1::Recipe {
            checkpoint: self.checkpoint.to_vec(),
            bundle: self.bundle.map(BlobHash::to_vec).unwrap_or_default(),
            drafter: self.drafter.map(|d| d.checkpoint.to_vec()).unwrap_or_default(),
            draft_len: self.drafter.map_or(0, |d| d.draft_len),
        }
    }

    /// The hash of the recipe's canonical bytes.
    #[must_use]
    pub fn id(&self) -> RecipeId {
        RecipeId(hash_parts("assay recipe v1", &[&self.to_proto().encode_to_vec()]))
    }
}

/// "This recipe is faster than its parent's at the same quality."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed to be fast.
    pub recipe: Recipe,
    /// What it is compared with.
    pub parent: ClaimId,
    /// Commitment to the author's own result, see [`opening_seal`].
    pub result_seal: [u8; 32],
    /// One line for people.
    pub summary: String,
    /// The hardware class that it is about: where the author's machine belongs.
    pub hardware_class: String,
    /// The specs and diagnoses that it follows.
    pub cites: Vec<RecordId>,
}

/// Whether a text can name a hardware class: letters, digits and dashes.
#[must_use]
pub fn is_class_name(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain && (1..=ENVIRONMENT_TEXT_BYTES_MAX).contains(&text.len())
}

/// A seat's promise of one measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The round measured for.
    pub round: RoundId,
    /// See [`reveal_seal`].
    pub commitment: [u8; 32],
}

/// The measurement behind a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reveal {
    /// The round measured for.
    pub round: RoundId,
    /// Random bytes that kept the seal from being guessed.
    pub salt: [u8; 32],
    /// The raw data.
    pub measurement: Measurement,
}

/// The author's own result, opened after the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The claim.
    pub claim: ClaimId,
    /// Random bytes that kept the seal from being guessed.
    pub salt: [u8; 32],
    /// Child speed over parent speed as the author measured it, in millionths.
    pub ratio_ppm: u64,
    /// Whether the claim was a trap: its recipe is its parent's with other bytes, so that a seat
    /// which reported a gain did not measure one.
    #[serde(default)]
    pub null: bool,
}

/// "Measure this entry again."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The entry doubted.
    pub claim: ClaimId,
    /// Why, in one line for people.
    pub reason: String,
}

/// The commitment of a seat to `measurement`, bound to round and seat so that it can neither be
/// copied nor shown again in another round.
#[must_use]
pub fn reveal_seal(
    round: RoundId,
    seat: PeerId,
    salt: &[u8; 32],
    measurement: &Measurement,
) -> [u8; 32] {
    let bytes = measurement.to_proto().encode_to_vec();
    hash_parts("assay measurement seal v2", &[&round.to_bytes(), &seat.0, salt, &bytes])
}

/// The commitment of an author to its own result for `recipe`, and to whether it is a trap.
#[must_use]
pub fn opening_seal(
    author: PeerId,
    recipe: RecipeId,
    salt: &[u8; 32],
    ratio_ppm: u64,
    null: bool,
) -> [u8; 32] {
    let (ratio, null) = (ratio_ppm.to_le_bytes(), [u8::from(null)]);
    hash_parts("assay author result seal v2", &[&author.0, &recipe.0, salt, &ratio, &null])
}
