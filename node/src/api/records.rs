//! The records of a block as rows: what each is, who signed it, and what it is about.

use super::claims::Named;
use assay_proto::v1;
use assay_proto::v1::record::Body as Said;
use assay_protocol::ids::{ClaimId, PeerId, RecordId};
use assay_protocol::post::Post;
use assay_protocol::record::Body;
use assay_protocol::state::State;
use assay_protocol::wire;
use prost::Message;
use serde::Serialize;

/// A record in a line.
#[derive(Debug, Serialize)]
pub(super) struct RecordRow {
    /// Its place in the block, from 0.
    pub(super) place: usize,
    pub(super) kind: &'static str,
    pub(super) id: RecordId,
    pub(super) author: Named,
    /// What it is about.
    pub(super) about: Option<About>,
    /// What it says, in a line; empty where the row says it all.
    pub(super) says: String,
    pub(super) bytes: usize,
}

/// What a record is about, where that has a page.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum About {
    /// A claim.
    Claim(ClaimId),
    /// A post of the board.
    Post(RecordId),
    /// A flag with its ruling.
    Ruling(RecordId),
    /// A peer.
    Peer(PeerId),
}

impl RecordRow {
    /// What a record is, in a word.
    pub(super) fn kind_of(signed: &v1::SignedRecord) -> &'static str {
        let record = v1::Record::decode(signed.payload.as_slice());
        match record.ok().and_then(|record| record.body) {
            Some(Said::Claim(_)) => "claim",
            Some(Said::Seal(_)) => "seal",
            Some(Said::Reveal(_)) => "reveal",
            Some(Said::Opening(_)) => "opening",
            Some(Said::Challenge(_)) => "challenge",
            Some(Said::Vouch(_)) => "vouch",
            Some(Said::Join(_)) => "join",
            Some(Said::Leave(_)) => "leave",
            Some(Said::Equivocation(_)) => "equivocation",
            Some(Said::DoubleVote(_)) => "double vote",
            Some(Said::Disclosure(_)) => "disclosure",
            Some(Said::Return(_)) => "return",
            Some(Said::RulingBallot(_)) => "ballot",
            Some(Said::Appeal(_)) => "appeal",
            Some(Said::Proposal(_)) => "proposal",
            Some(Said::Voice(_)) => "vote",
            Some(Said::Post(_)) => "post",
            None => "unknown",
        }
    }

    pub(super) fn new(state: &State, signed: &v1::SignedRecord, place: usize) -> Self {
        let (id, author) = match wire::open_signed(state.network(), signed.clone()) {
            Ok(record) => {
                let (about, says) = meaning(record.id, &record.body);
                let author = Named::new(state, record.author);
                return Self {
                    place,
                    kind: Self::kind_of(signed),
                    id: record.id,
                    author,
                    about,
                    says,
                    bytes: signed.encoded_len(),
                };
            }
            Err(_) => (wire::id_of(state.network(), signed), PeerId::from_slice(&signed.author)),
        };
        Self {
            place,
            kind: Self::kind_of(signed),
            id: id.unwrap_or_default(),
            author: Named::new(state, author.unwrap_or_default()),
            about: None,
            says: "it does not read back; audit the ledger".to_owned(),
            bytes: signed.encoded_len(),
        }
    }
}

/// What a record is about, and what it says in a line.
fn meaning(id: RecordId, body: &Body) -> (Option<About>, String) {
    let claim = |id| Some(About::Claim(id));
    match body {
        Body::Claim(said) => (claim(ClaimId(id.0)), said.summary.clone()),
        Body::Seal(said) => (claim(said.round.claim), format!("round {}", said.round.number)),
        Body::Reveal(said) => {
            let pairs = said.measurement.pairs.len();
            (claim(said.round.claim), format!("round {}, {pairs} pairs", said.round.number))
        }
        Body::Opening(said) => {
            let trap = if said.null { ", a null claim" } else { "" };
            let ratio = said.ratio_ppm as f64 / 1e6;
            (claim(said.claim), format!("the author's own {ratio:.3}×{trap}"))
        }
        Body::Challenge(said) => (claim(said.claim), said.reason.clone()),
        Body::Disclosure(said) => (said.claim.map(About::Claim), said.text.clone()),
        Body::Vouch(said) => {
            (Some(About::Peer(said.peer)), format!("{}, run by {}", said.name, said.operator))
        }
        Body::Join(said) => (None, format!("accepts vouch {}", said.vouch.short())),
        Body::Leave(_) => (None, String::new()),
        Body::Return(said) => (None, format!("silent since block {}", said.silent_since)),
        Body::Equivocation(_) | Body::DoubleVote(_) => {
            (None, "proof that a key said two things where it may say one".to_owned())
        }
        Body::Ballot(said) => {
            let finding = format!("{:?}", said.vote.finding).to_lowercase();
            (Some(About::Ruling(said.charge)), format!("hearing {}: {finding}", said.hearing))
        }
        Body::Appeal(said) => (Some(About::Ruling(said.charge)), String::new()),
        Body::Proposal(said) => {
            // What is said about a proposal is in the thread with its id.
            (Some(About::Post(id)), format!("{}: {}", said.parameter.path(), said.value))
        }
        Body::Voice(said) => {
            (Some(About::Post(said.proposal)), if said.yes { "yes" } else { "no" }.to_owned())
        }
        Body::Post(said) => (Some(About::Post(id)), post(said)),
    }
}

fn post(said: &Post) -> String {
    format!("{}, {} bytes beside the ledger", said.kind.word(), said.body_bytes)
}
