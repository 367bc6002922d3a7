//! Posts: what peers say on the board.
//!
//! The ledger orders a [`Post`], a header of some hundred bytes with the digest of what is said, so
//! that order and existence can be proven for ever at little cost. What is said, a [`PostBody`] of at
//! most 12 KiB, is gossiped whole with the header and stored by every node: small enough to push, so
//! that nobody waits for its author to be online, and outside the blocks, so that the ledger stays
//! small. A node that learns of a post from a block asks its peers for the body by its hash, like
//! any blob.
//!
//! Consensus does not read bodies. It bounds how many posts a peer may have ordered
//! ([`crate::state`]); of specs it keeps the forecast, of flags the [`Charge`] and of the parts of a relay the
//! [`Link`], which are in the header for that reason.

mod body;
mod bound;
mod detail;
mod knowledge;
mod link;

pub use body::{CHANNEL_BYTES_MAX, PostBody, REFS_MAX, TEXT_BYTES_MAX, TITLE_BYTES_MAX};
pub use bound::{Bound, Quantity};
pub use detail::{
    Attempt, BuiltCheckpoint, CODES_MAX, DeadEnd, Detail, Diagnosis, Endorsement, Flag, LEVERS_MAX,
    Limit, NOTE_BYTES_MAX, PARTS_MAX, Plan, Playbook, Spec, SpecPart, Trial, is_word,
};
pub use knowledge::{Lever, ROWS_MAX, Table, Triage};
pub use link::Link;

use crate::error::Reject;
use crate::ids::BlobHash;
use crate::record::is_class_name;
use crate::ruling::Charge;
use crate::wire::{bytes32, field};
use assay_proto::{limits, v1};
use prost::Message;
use serde::{Deserialize, Serialize};

/// Largest speed ratio that a spec may forecast or a result report, in millionths.
pub const RATIO_PPM_MAX: u64 = 1_000_000_000;

/// What a post is, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Talk.
    Message,
    /// What the author is about to try.
    Plan,
    /// What came out of a try.
    Result,
    /// Byte-math with a forecast.
    Spec,
    /// A checkpoint that the author made.
    Checkpoint,
    /// A try at running a checkpoint.
    Attempt,
    /// Why an attempt failed.
    Diagnosis,
    /// A knowledge article or a revision of one.
    Playbook,
    /// What does not pay.
    DeadEnd,
    /// An accusation.
    Flag,
    /// Support for a playbook.
    Endorsement,
    /// How far something is held to go.
    Limit,
}

impl Kind {
    /// All kinds in the order of their numbers, which begin with 1.
    pub const ALL: [Self; 12] = [
        Self::Message,
        Self::Plan,
        Self::Result,
        Self::Spec,
        Self::Checkpoint,
        Self::Attempt,
        Self::Diagnosis,
        Self::Playbook,
        Self::DeadEnd,
        Self::Flag,
        Self::Endorsement,
        Self::Limit,
    ];

    /// The kind as a word, as JSON and the command line spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Plan => "plan",
            Self::Result => "result",
            Self::Spec => "spec",
            Self::Checkpoint => "checkpoint",
            Self::Attempt => "attempt",
            Self::Diagnosis => "diagnosis",
            Self::Playbook => "playbook",
            Self::DeadEnd => "dead-end",
            Self::Flag => "flag",
            Self::Endorsement => "endorsement",
            Self::Limit => "limit",
        }
    }

    fn number(self) -> u32 {
        let before = Self::ALL.iter().take_while(|kind| **kind != self).count();
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn from_number(number: u32) -> Option<Self> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        Self::ALL.get(index).copied()
    }
}

/// What a spec predicts of a claim that follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// Child speed over parent speed, in millionths, above 1 000 000.
    pub ratio_ppm: u64,
    /// The hardware class that it holds for.
    pub hardware_class: String,
}

/// A post as the ledger orders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// What it is.
    pub kind: Kind,
    /// Hash of the canonical bytes of the body.
    pub body: BlobHash,
    /// How many those are.
    pub body_bytes: u32,
    /// The epoch in which it was said.
    pub epoch: u64,
    /// What it predicts; specs alone have one, and all of them do.
    pub forecast: Option<Forecast>,
    /// Its place in a relay, as the body says it.
    pub link: Option<Link>,
    /// What it accuses somebody of; flags alone have one, and all do under a rule that a committee decides.
    pub charge: Option<Charge>,
    /// What it bounds; limits alone have one, and all of them do.
    pub bound: Option<Bound>,
}

impl Post {
    /// The header of a body said in `epoch`.
    #[must_use]
    pub fn of(body: &PostBody, epoch: u64, forecast: Option<Forecast>) -> Self {
        let bytes = body.to_bytes();
        Self {
            kind: body.kind(),
            body: BlobHash(*blake3::hash(&bytes).as_bytes()),
            body_bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            epoch,
            forecast,
            link: Link::of(body),
            charge: charge_of(body),
            bound: body.detail.as_ref().and_then(Detail::bound).cloned(),
        }
    }

    pub(crate) fn to_proto(&self) -> v1::Post {
        v1::Post {
            kind: self.kind.number(),
            body: self.body.to_vec(),
            body_bytes: self.body_bytes,
            epoch: self.epoch,
            forecast: self.forecast.as_ref().map(|forecast| v1::Forecast {
                ratio_ppm: forecast.ratio_ppm,
                hardware_class: forecast.hardware_class.clone(),
            }),
            link: self.link.map(Link::to_proto),
            charge: self.charge.map(Charge::to_proto),
            bound: self.bound.as_ref().map(Bound::to_proto),
        }
    }

    pub(crate) fn from_proto(post: v1::Post) -> Result<Self, Reject> {
        let kind = Kind::from_number(post.kind)
            .ok_or_else(|| field("kind", format!("{} is no kind of post", post.kind)))?;
        let most = limits::POST_BODY_BYTES_MAX;
        if !(1..=most).contains(&usize::try_from(post.body_bytes).unwrap_or(usize::MAX)) {
            return Err(field("body_bytes", format!("{}, not 1 to {most}", post.body_bytes)));
        }
        let forecast = match (kind, post.forecast) {
            (Kind::Spec, Some(forecast)) => Some(read_forecast(forecast)?),
            (Kind::Spec, None) => return Err(field("forecast", "missing in a spec".to_owned())),
            (_, None) => None,
            (_, Some(_)) => return Err(field("forecast", "for specs only".to_owned())),
        };
        let charge = match (kind, post.charge) {
            (_, None) => None,
            (Kind::Flag, Some(charge)) => Some(Charge::from_proto(&charge)?),
            (_, Some(_)) => return Err(field("charge", "for flags only".to_owned())),
        };
        let bound = match (kind, post.bound) {
            (Kind::Limit, Some(bound)) => Some(Bound::from_proto(bound)?),
            (Kind::Limit, None) => return Err(field("bound", "missing in a limit".to_owned())),
            (_, None) => None,
            (_, Some(_)) => return Err(field("bound", "for limits only".to_owned())),
        };
        Ok(Self {
            kind,
            body: BlobHash(bytes32("body", &post.body)?),
            body_bytes: post.body_bytes,
            epoch: post.epoch,
            forecast,
            link: post.link.map(|link| Link::from_proto(kind, link)).transpose()?,
            charge,
            bound,
        })
    }

    /// Reads the body that this header promises.
    ///
    /// # Errors
    ///
    /// [`Reject`] for other bytes than promised, or for a body that breaks a limit.
    pub fn open(&self, bytes: &[u8]) -> Result<PostBody, Reject> {
        let promised = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
        if bytes.len() != promised || blake3::hash(bytes).as_bytes() != &self.body.0 {
            return Err(field("attachment", "is not the body that the post names".to_owned()));
        }
        let body = PostBody::read(bytes)?;
        if body.kind() != self.kind {
            let (said, found) = (self.kind.word(), body.kind().word());
            return Err(field("kind", format!("{said}, but the body is of kind {found}")));
        }
        if self.link != Link::of(&body) {
            return Err(field("link", "is not what the body says".to_owned()));
        }
        if charge_of(&body) != self.charge {
            return Err(field("charge", "is not what the body accuses of".to_owned()));
        }
        if body.detail.as_ref().and_then(Detail::bound) != self.bound.as_ref() {
            return Err(field("bound", "is not the one that the body names".to_owned()));
        }
        Ok(body)
    }
}

/// The charge that a body makes, if it is a flag under a rule that a committee decides.
fn charge_of(body: &PostBody) -> Option<Charge> {
    match &body.detail {
        Some(Detail::Flag(flag)) => Charge::of(flag),
        _ => None,
    }
}

fn read_forecast(forecast: v1::Forecast) -> Result<Forecast, Reject> {
    let ratio_ppm = forecast.ratio_ppm;
    if !(1_000_001..=RATIO_PPM_MAX).contains(&ratio_ppm) {
        return Err(field("forecast.ratio_ppm", format!("{ratio_ppm}, not 1000001 to 1e9")));
    }
    if !is_class_name(&forecast.hardware_class) {
        let reason = "letters, digits and dashes, at most 120 of them".to_owned();
        return Err(field("forecast.hardware_class", reason));
    }
    Ok(Forecast { ratio_ppm, hardware_class: forecast.hardware_class })
}

/// The canonical bytes of a message.
fn canonical(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}
