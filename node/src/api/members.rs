//! Members as rows, and what an operator may say in the node's name.

use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RecordId};
use assay_protocol::state::{MemberState, Membership, State};
use serde::{Deserialize, Serialize};

/// One present or past member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// Its key.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Who runs it.
    pub operator: String,
    /// Founder, full, probation with its count, left or ended, in words.
    pub membership: String,
    /// Its standing.
    pub standing: u64,
    /// The weight with which it is drawn as a seat; 0 when it is not.
    pub weight: u64,
    /// Whether it is a validator of the next height.
    pub validator: bool,
    /// Height at which it lost its place as a validator because it proposed nothing for too long;
    /// none while it is there.
    pub silent_since: Option<u64>,
    /// Who vouched for it; none for the founders.
    pub vouched_by: Option<PeerId>,
    /// Height of the block that let it in; 0 for the founders.
    pub joined_at: u64,
}

/// What an operator may say in the node's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Statement {
    /// Vouch for a newcomer.
    Vouch {
        /// The newcomer's key.
        peer: PeerId,
        /// Who runs it.
        operator: String,
        /// Its name for people.
        name: String,
    },
    /// Leave the network.
    Leave,
    /// Doubt an entry: a fresh committee measures it again.
    Challenge {
        /// The entry.
        claim: ClaimId,
        /// Why, in one line.
        reason: String,
    },
    /// Have another committee look at a flag.
    Appeal {
        /// The flag's record.
        ruling: RecordId,
    },
    /// Tell of a trick.
    Disclose {
        /// The claim that uses it, if one does.
        #[serde(default)]
        claim: Option<ClaimId>,
        /// What it is.
        text: String,
        /// Names whatever shows it.
        #[serde(default)]
        evidence: Option<BlobHash>,
    },
}

/// A statement that was signed and published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Its record's id.
    pub record: RecordId,
}

/// All members by falling standing, then by name.
pub(super) fn rows(state: &State) -> Vec<MemberRow> {
    let validators = state.validators();
    let mut rows: Vec<MemberRow> = state
        .members()
        .iter()
        .map(|(peer, member)| MemberRow {
            peer: *peer,
            name: member.name.clone(),
            operator: member.operator.clone(),
            membership: membership_word(state, member),
            silent_since: state.turns().silent.get(peer).copied(),
            standing: member.standing,
            weight: state.draw_weight(*peer),
            validator: validators.contains_key(peer),
            vouched_by: member.admission.map(|admission| admission.by),
            joined_at: member.joined_at(),
        })
        .collect();
    rows.sort_by(|a, b| b.standing.cmp(&a.standing).then_with(|| a.name.cmp(&b.name)));
    rows
}

/// A member's status in a few words.
pub(super) fn membership_word(state: &State, member: &MemberState) -> String {
    match (member.membership, member.admission) {
        (Membership::Full, None) => "founder".to_owned(),
        (Membership::Full, Some(_)) => "full".to_owned(),
        (Membership::Probation { agreements }, _) => {
            let needed = state.parameters().membership.probation_rounds;
            format!("probation, {agreements} of {needed} agreements")
        }
        (Membership::Left, _) => "left".to_owned(),
        (Membership::Ended, _) => "ended".to_owned(),
    }
}
