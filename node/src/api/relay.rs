//! Who built, tried, diagnosed and shipped the checkpoint of a claim.

use super::claims::Named;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::post::Kind;
use assay_protocol::state::{ClaimState, LinkState, State};
use serde::{Deserialize, Serialize};

/// A part in a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Made the checkpoint.
    Built,
    /// Could not run it.
    Tried,
    /// Found out why and corrected it.
    Diagnosed,
    /// Claimed it.
    Shipped,
}

impl Role {
    /// The part as a word for people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Tried => "tried",
            Self::Diagnosed => "diagnosed",
            Self::Shipped => "shipped",
        }
    }

    fn of(link: &LinkState) -> Self {
        match link.kind {
            Kind::Checkpoint => Self::Built,
            Kind::Attempt => Self::Tried,
            _ => Self::Diagnosed,
        }
    }
}

/// One peer's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    /// What it did.
    pub(crate) role: Role,
    /// Who.
    pub(crate) by: Named,
    /// The post that says so; none for the claim itself.
    pub(crate) post: Option<RecordId>,
    /// Whether this claim brought it credit.
    pub(crate) credited: bool,
}

/// The parts of the relay behind a claim, in the order in which they came about; none where there is none.
pub(crate) fn parts(state: &State, claim: &ClaimState) -> Vec<Part> {
    let Some(relay) = state.relay_of(claim) else { return Vec::new() };
    let is_credit = |credited: Option<ClaimId>| credited == Some(claim.id);
    let links = relay.links().map(|link| Part {
        role: Role::of(link),
        by: Named::new(state, link.author),
        post: Some(link.id),
        credited: is_credit(link.credited),
    });
    let shipped = Part {
        role: Role::Shipped,
        by: Named::new(state, claim.author),
        post: None,
        credited: links.iter().any(|part| part.credited),
    };
    links.into_iter().chain([shipped]).collect()
}
