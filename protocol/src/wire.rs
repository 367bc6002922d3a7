//! The one door: bytes become records here, or are refused.

use crate::equivocation::{DoubleVote, Equivocation};
use crate::error::Reject;
use crate::ids::{BlobHash, ClaimId, NetworkId, PeerId, RecordId, RoundId, hash_parts};
use crate::measurement::Measurement;
use crate::membership::{Disclosure, Join, Leave, Return, Vouch};
use crate::parameter::{Proposal, Voice};
use crate::post::{Forecast, Post, PostBody};
use crate::record::{
    Body, CITES_MAX, Challenge, Claim, DRAFT_LEN_MAX, Drafter, Opening, Recipe, Record, Reveal,
    SUMMARY_BYTES_MAX, Seal, is_class_name,
};
use crate::ruling::{Appeal, Ballot};
use assay_proto::{decode_canonical, limits, v1};
use ed25519_dalek::{Signature, Signer, SigningKey};
use prost::Message;

/// Reads a record from the network or a file: form, sizes, signature.
///
/// # Errors
///
/// [`Reject`]; nothing of the input is kept.
pub fn open(network: NetworkId, bytes: &[u8]) -> Result<Record, Reject> {
    let mut signed: v1::SignedRecord = decode_canonical(bytes, limits::RECORD_BYTES_MAX)?;
    let attachment = std::mem::take(&mut signed.attachment);
    if attachment.len() > limits::POST_BODY_BYTES_MAX {
        return Err(field("attachment", format!("{} bytes", attachment.len())));
    }
    let mut record = open_signed(network, signed)?;
    match &record.body {
        Body::Post(post) => post.open(&attachment).map(|_| ())?,
        _ if attachment.is_empty() => {}
        _ => return Err(field("attachment", "for posts only".to_owned())),
    }
    record.attachment = attachment;
    Ok(record)
}

/// Reads a record that was decoded as part of a block, which has no attachment.
///
/// # Errors
///
/// [`Reject`], as [`open`].
pub fn open_signed(network: NetworkId, signed: v1::SignedRecord) -> Result<Record, Reject> {
    let (author, record) = verified(network, &signed)?;
    let body = read_body(network, record)?;
    let id = record_id(network, author, &signed.payload);
    Ok(Record { id, author, body, signed, attachment: Vec::new() })
}

/// Reads a record whose signature was checked before, or that stands under a block that is believed in: the
/// signature is not checked here.
///
/// # Errors
///
/// [`Reject`], as [`open`].
pub(crate) fn open_unchecked(
    network: NetworkId,
    signed: v1::SignedRecord,
) -> Result<Record, Reject> {
    let author = envelope(&signed)?;
    let record = decode_canonical(&signed.payload, limits::RECORD_BYTES_MAX)?;
    let body = read_body(network, record)?;
    let id = record_id(network, author, &signed.payload);
    Ok(Record { id, author, body, signed, attachment: Vec::new() })
}

/// Reads a record inside a proof. Proofs themselves are refused there before they are read, so
/// that none nests.
pub(crate) fn open_statement(
    network: NetworkId,
    signed: v1::SignedRecord,
) -> Result<Record, Reject> {
    use v1::record::Body as Wire;
    let (author, record) = verified(network, &signed)?;
    if matches!(record.body, Some(Wire::Equivocation(_) | Wire::DoubleVote(_))) {
        return Err(field("first", "a proof within a proof".to_owned()));
    }
    let body = read_body(network, record)?;
    let id = record_id(network, author, &signed.payload);
    Ok(Record { id, author, body, signed, attachment: Vec::new() })
}

/// The author and content of a record whose signature verifies.
fn verified(network: NetworkId, signed: &v1::SignedRecord) -> Result<(PeerId, v1::Record), Reject> {
    let author = envelope(signed)?;
    if !author.has_signed(&signing_parts(&network, &signed.payload).concat(), &signed.signature) {
        return Err(Reject::Signature(author));
    }
    Ok((author, decode_canonical(&signed.payload, limits::RECORD_BYTES_MAX)?))
}

/// The author of a record, who is not believed yet.
fn envelope(signed: &v1::SignedRecord) -> Result<PeerId, Reject> {
    if !signed.attachment.is_empty() {
        return Err(field("attachment", "not here: what it holds is stored apart".to_owned()));
    }
    let author = PeerId(bytes32("author", &signed.author)?);
    match signed.signature.len() {
        Signature::BYTE_SIZE => Ok(author),
        length => Err(field("signature", format!("{length} bytes"))),
    }
}

/// Signs what this peer says.
#[must_use]
pub fn sign(network: NetworkId, key: &SigningKey, body: Body) -> Record {
    let signed = sign_payload(network, key, body_to_proto(&body).encode_to_vec());
    let author = PeerId(key.verifying_key().to_bytes());
    let id = record_id(network, author, &signed.payload);
    Record { id, author, body, signed, attachment: Vec::new() }
}

/// Signs a post, with its body attached. `forecast` is for specs, which need one.
#[must_use]
pub fn sign_post(
    network: NetworkId,
    key: &SigningKey,
    said: &PostBody,
    epoch: u64,
    forecast: Option<Forecast>,
) -> Record {
    let record = sign(network, key, Body::Post(Post::of(said, epoch, forecast)));
    Record { attachment: said.to_bytes(), ..record }
}

pub(crate) fn sign_payload(
    network: NetworkId,
    key: &SigningKey,
    payload: Vec<u8>,
) -> v1::SignedRecord {
    let author = key.verifying_key().to_bytes().to_vec();
    let signature = key.sign(&signing_parts(&network, &payload).concat()).to_bytes().to_vec();
    v1::SignedRecord { author, payload, signature, attachment: Vec::new() }
}

/// The id of a signed record, whether or not its signature verifies; `None` without a proper key.
#[must_use]
pub fn id_of(network: NetworkId, signed: &v1::SignedRecord) -> Option<RecordId> {
    let author = PeerId::from_slice(&signed.author).ok()?;
    Some(record_id(network, author, &signed.payload))
}

fn record_id(network: NetworkId, author: PeerId, payload: &[u8]) -> RecordId {
    RecordId(hash_parts("assay record id v1", &[&network.0, &author.0, payload]))
}

/// What the author of a record signs, in parts.
pub(crate) fn signing_parts<'a>(network: &'a NetworkId, payload: &'a [u8]) -> [&'a [u8]; 3] {
    [b"assay/record/v1\0", &network.0, payload]
}

fn body_to_proto(body: &Body) -> v1::Record {
    use v1::record::Body as Wire;
    let body = match body {
        Body::Claim(claim) => Wire::Claim(v1::Claim {
            recipe: Some(claim.recipe.to_proto()),
            parent: claim.parent.to_vec(),
            result_seal: claim.result_seal.to_vec(),
            summary: claim.summary.clone(),
            hardware_class: claim.hardware_class.clone(),
            cites: claim.cites.iter().map(|id| id.to_vec()).collect(),
        }),
        Body::Seal(seal) => Wire::Seal(v1::Seal {
            claim: seal.round.claim.to_vec(),
            round: seal.round.number,
            commitment: seal.commitment.to_vec(),
        }),
        Body::Reveal(reveal) => Wire::Reveal(v1::Reveal {
            claim: reveal.round.claim.to_vec(),
            round: reveal.round.number,
            salt: reveal.salt.to_vec(),
            measurement: Some(reveal.measurement.to_proto()),
        }),
        Body::Opening(opening) => Wire::Opening(v1::Opening {
            claim: opening.claim.to_vec(),
            salt: opening.salt.to_vec(),
            ratio_ppm: opening.ratio_ppm,
            null: opening.null,
        }),
        Body::Challenge(challenge) => Wire::Challenge(v1::Challenge {
            claim: challenge.claim.to_vec(),
            reason: challenge.reason.clone(),
        }),
        Body::Vouch(vouch) => Wire::Vouch(vouch.to_proto()),
        Body::Join(join) => Wire::Join(join.to_proto()),
        Body::Leave(leave) => Wire::Leave(v1::Leave { joined_at: leave.joined_at }),
        Body::Equivocation(proof) => Wire::Equivocation(proof.to_proto()),
        Body::DoubleVote(proof) => Wire::DoubleVote(proof.to_proto()),
        Body::Disclosure(disclosure) => Wire::Disclosure(disclosure.to_proto()),
        Body::Return(back) => Wire::Return(v1::Return { silent_since: back.silent_since }),
        Body::Post(post) => Wire::Post(post.to_proto()),
        Body::Ballot(ballot) => Wire::RulingBallot(ballot.to_proto()),
        Body::Appeal(appeal) => Wire::Appeal(v1::Appeal { charge: appeal.charge.to_vec() }),
        Body::Proposal(proposal) => Wire::Proposal(proposal.to_proto()),
        Body::Voice(voice) => Wire::Voice(voice.to_proto()),
    };
    v1::Record { body: Some(body) }
}

fn read_body(network: NetworkId, record: v1::Record) -> Result<Body, Reject> {
    use v1::record::Body as Wire;
    match record.body {
        None => Err(field("body", "missing".to_owned())),
        Some(Wire::Claim(claim)) => read_claim(claim).map(Body::Claim),
        Some(Wire::Seal(seal)) => Ok(Body::Seal(Seal {
            round: read_round(&seal.claim, seal.round)?,
            commitment: bytes32("commitment", &seal.commitment)?,
        })),
        Some(Wire::Reveal(reveal)) => read_reveal(reveal).map(|r| Body::Reveal(Box::new(r))),
        Some(Wire::Opening(opening)) => Ok(Body::Opening(Opening {
            claim: ClaimId(bytes32("claim", &opening.claim)?),
            salt: bytes32("salt", &opening.salt)?,
            ratio_ppm: opening.ratio_ppm,
            null: opening.null,
        })),
        Some(Wire::Challenge(challenge)) => Ok(Body::Challenge(Challenge {
            claim: ClaimId(bytes32("claim", &challenge.claim)?),
            reason: read_line("reason", challenge.reason)?,
        })),
        Some(Wire::Vouch(vouch)) => Vouch::from_proto(vouch).map(Body::Vouch),
        Some(Wire::Join(join)) => Join::from_proto(&join).map(Body::Join),
        Some(Wire::Leave(leave)) => Ok(Body::Leave(Leave { joined_at: leave.joined_at })),
        Some(Wire::Equivocation(proof)) => Equivocation::from_proto(network, proof)
            .map(|proof| Body::Equivocation(Box::new(proof))),
        Some(Wire::DoubleVote(proof)) => {
            DoubleVote::from_proto(network, &proof).map(|proof| Body::DoubleVote(Box::new(proof)))
        }
        Some(Wire::Disclosure(told)) => Disclosure::from_proto(told).map(Body::Disclosure),
        Some(Wire::Return(back)) => Ok(Body::Return(Return { silent_since: back.silent_since })),
        Some(Wire::Post(post)) => Post::from_proto(post).map(Body::Post),
        Some(Wire::RulingBallot(ballot)) => Ballot::from_proto(&ballot).map(Body::Ballot),
        Some(Wire::Appeal(appeal)) => {
            Ok(Body::Appeal(Appeal { charge: RecordId(bytes32("charge", &appeal.charge)?) }))
        }
        Some(Wire::Proposal(proposal)) => Proposal::from_proto(proposal).map(Body::Proposal),
        Some(Wire::Voice(voice)) => Voice::from_proto(&voice).map(Body::Voice),
    }
}

fn read_claim(claim: v1::Claim) -> Result<Claim, Reject> {
    let recipe = claim.recipe.ok_or_else(|| field("recipe", "missing".to_owned()))?;
    let summary = read_line("summary", claim.summary)?;
    if !is_class_name(&claim.hardware_class) {
        let reason = "letters, digits and dashes, at most 120 of them".to_owned();
        return Err(field("hardware_class", reason));
    }
    Ok(Claim {
        recipe: read_recipe(&recipe)?,
        parent: ClaimId(bytes32("parent", &claim.parent)?),
        result_seal: bytes32("result_seal", &claim.result_seal)?,
        summary,
        hardware_class: claim.hardware_class,
        cites: read_cites(&claim.cites)?,
    })
}

fn read_cites(cites: &[Vec<u8>]) -> Result<Vec<RecordId>, Reject> {
    if cites.len() > CITES_MAX {
        return Err(field("cites", format!("{}, at most {CITES_MAX}", cites.len())));
    }
    let mut ids = Vec::with_capacity(cites.len());
    for bytes in cites {
        let id = RecordId(bytes32("cites", bytes)?);
        if ids.contains(&id) {
            return Err(field("cites", format!("{} twice", id.short())));
        }
        ids.push(id);
    }
    Ok(ids)
}

/// One line for people.
fn read_line(name: &'static str, line: String) -> Result<String, Reject> {
    if line.len() > SUMMARY_BYTES_MAX || line.chars().any(char::is_control) {
        let reason = format!("at most {SUMMARY_BYTES_MAX} bytes without control characters");
        return Err(field(name, reason));
    }
    Ok(line)
}

fn read_recipe(recipe: &v1::Recipe) -> Result<Recipe, Reject> {
    let optional = |name, bytes: &[u8]| match bytes {
        [] => Ok(None),
        bytes => bytes32(name, bytes).map(|hash| Some(BlobHash(hash))),
    };
    let drafter = match (optional("drafter", &recipe.drafter)?, recipe.draft_len) {
        (None, 0) => None,
        (Some(checkpoint), draft_len @ 1..=DRAFT_LEN_MAX) => {
            Some(Drafter { checkpoint, draft_len })
        }
        (_, len) => return Err(field("draft_len", format!("{len} with this drafter field"))),
    };
    Ok(Recipe {
        checkpoint: BlobHash(bytes32("checkpoint", &recipe.checkpoint)?),
        bundle: optional("bundle", &recipe.bundle)?,
        drafter,
    })
}

fn read_reveal(reveal: v1::Reveal) -> Result<Reveal, Reject> {
    let measurement =
        reveal.measurement.ok_or_else(|| field("measurement", "missing".to_owned()))?;
    let packed_bytes = measurement.encoded_len();
    if packed_bytes > limits::MEASUREMENT_BYTES_MAX {
        return Err(field("measurement", format!("{packed_bytes} bytes packed")));
    }
    Ok(Reveal {
        round: read_round(&reveal.claim, reveal.round)?,
        salt: bytes32("salt", &reveal.salt)?,
        measurement: Measurement::from_proto(measurement)?,
    })
}

fn read_round(claim: &[u8], number: u32) -> Result<RoundId, Reject> {
    if number == 0 {
        return Err(field("round", "rounds are counted from 1".to_owned()));
    }
    Ok(RoundId { claim: ClaimId(bytes32("claim", claim)?), number })
}

pub(crate) fn field(field: &'static str, reason: String) -> Reject {
    Reject::Field { field, reason }
}

pub(crate) fn bytes32(name: &'static str, bytes: &[u8]) -> Result<[u8; 32], Reject> {
    bytes.try_into().map_err(|_| field(name, format!("{} bytes instead of 32", bytes.len())))
}
