//! Members as rows, and what an operator may say in the node's name.

use crate::roles::Role;
use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RecordId};
use assay_protocol::parameter::Parameter;
use assay_protocol::post::Kind;
use assay_protocol::standing::Rule;
use assay_protocol::state::{MemberState, Membership, State};
use assay_protocol::verdict::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Whether it may say anything: it neither left nor ended.
    #[serde(default)]
    pub active: bool,
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
    /// The hardware class that it measured as; none before it did.
    #[serde(default)]
    pub hardware_class: Option<String>,
    /// What it did, as the ledger has it.
    #[serde(default)]
    pub deeds: Deeds,
}

/// What a peer did, as the ledger has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deeds {
    /// Claims made.
    pub claims: usize,
    /// Of these, accepted.
    pub accepted: usize,
    /// Rounds in which it revealed a measurement.
    pub attested: usize,
    /// Specs that the ledger keeps.
    pub specs: usize,
    /// Checkpoints built that the ledger keeps.
    pub checkpoints: usize,
    /// Failed attempts at running one that the ledger keeps.
    pub attempts: usize,
    /// Diagnoses that the ledger keeps.
    pub diagnoses: usize,
}

impl Deeds {
    /// What everybody did.
    fn of_all(state: &State) -> BTreeMap<PeerId, Self> {
        let mut all: BTreeMap<PeerId, Self> = BTreeMap::new();
        for claim in state.claims() {
            let author = all.entry(claim.author).or_default();
            author.claims += 1;
            author.accepted += usize::from(claim.outcome() == Some(Outcome::Accepted));
            for seat in claim.rounds.iter().flat_map(|round| round.reveals.keys()) {
                all.entry(*seat).or_default().attested += 1;
            }
        }
        for spec in state.specs() {
            all.entry(spec.author).or_default().specs += 1;
        }
        for link in state.links() {
            let author = all.entry(link.author).or_default();
            match link.kind {
                Kind::Checkpoint => author.checkpoints += 1,
                Kind::Attempt => author.attempts += 1,
                _ => author.diagnoses += 1,
            }
        }
        all
    }

    /// The roles that it has filled.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let filled = [
            (Role::Builder, self.checkpoints),
            (Role::Runner, self.attempts),
            (Role::Diagnoser, self.diagnoses),
            (Role::Shipper, self.claims),
            (Role::Scout, self.specs),
            (Role::Verifier, self.attested),
        ];
        filled.into_iter().filter(|(_, count)| *count > 0).map(|(role, _)| role).collect()
    }
}

/// One rule's part of a peer's standing.
#[derive(Debug, Serialize)]
pub(super) struct TallyRow {
    pub(super) rule: Rule,
    /// The rule in words.
    pub(super) word: &'static str,
    /// How often it applied.
    pub(super) count: u64,
    /// Points each time; none where it takes everything.
    pub(super) each: Option<i64>,
    /// Points that counted, after floor and cap.
    pub(super) points: i64,
}

/// A change of standing.
#[derive(Debug, Serialize)]
pub(super) struct EventRow {
    pub(super) height: u64,
    pub(super) rule: Rule,
    /// The rule in words.
    pub(super) word: &'static str,
    /// Points that counted.
    pub(super) points: i64,
    pub(super) claim: Option<ClaimId>,
    pub(super) round: Option<u32>,
}

/// What a member's standing adds up from, besides what it started with.
pub(super) fn tallies(member: &MemberState) -> Vec<TallyRow> {
    let tallies = member.tallies().iter();
    tallies
        .map(|(rule, tally)| TallyRow {
            rule: *rule,
            word: rule.word(),
            count: tally.count,
            each: rule.delta(),
            points: tally.points,
        })
        .collect()
}

/// A member's latest changes of standing, newest first.
pub(super) fn events(member: &MemberState) -> Vec<EventRow> {
    let mut rows: Vec<EventRow> = member
        .recent_events()
        .map(|event| EventRow {
            height: event.occasion.height,
            rule: event.rule,
            word: event.rule.word(),
            points: event.delta,
            claim: event.occasion.claim,
            round: event.occasion.round,
        })
        .collect();
    rows.reverse();
    rows
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
    /// Have the members vote on another value of one of the network's numbers.
    Propose {
        /// What is to change, by its path.
        parameter: Parameter,
        /// Its value afterwards.
        value: u64,
        /// Why, in one line.
        why: String,
    },
    /// Vote on a proposal, for this node's operator.
    Vote {
        /// The proposal's record.
        proposal: RecordId,
        /// Whether it agrees.
        yes: bool,
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
    let mut deeds = Deeds::of_all(state);
    let mut rows: Vec<MemberRow> = state
        .members()
        .iter()
        .map(|(peer, member)| MemberRow {
            peer: *peer,
            name: member.name.clone(),
            operator: member.operator.clone(),
            membership: membership_word(state, member),
            active: member.is_active(),
            silent_since: state.turns().silent.get(peer).copied(),
            standing: member.standing,
            weight: state.draw_weight(*peer),
            validator: validators.contains_key(peer),
            vouched_by: member.admission.map(|admission| admission.by),
            joined_at: member.joined_at(),
            hardware_class: state.classes().of(*peer).map(str::to_owned),
            deeds: deeds.remove(peer).unwrap_or_default(),
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
