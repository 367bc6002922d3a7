//! Where a number on the ledger comes from, so that a person can follow it by hand.
//!
//! A pure function of the ledger's state: the running node, and an auditor with an export and no
//! node, get the same words and the same figures.

mod claim;
mod class;
mod dissent;
mod norms;
mod peer;

pub use norms::ClassNorms;

use assay_protocol::ids::{ClaimId, PeerId};
use assay_protocol::state::State;
use serde::{Deserialize, Serialize};

/// Fewest digits of an abbreviated id.
const PREFIX_DIGITS_MIN: usize = 6;
/// Digits of an id in full.
const ID_DIGITS: usize = 64;

/// A derivation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The id in full.
    pub id: String,
    /// `claim`, `entry`, `peer` or `class`.
    pub kind: String,
    /// What the derivation starts from.
    pub inputs: serde_json::Value,
    /// The rule in words.
    pub rule: String,
    /// From the inputs to the result, in order.
    pub steps: Vec<Step>,
    /// What comes out.
    pub result: serde_json::Value,
}

/// One step of a derivation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What is computed.
    pub title: String,
    /// The computation with its numbers, line by line, for people.
    pub lines: Vec<String>,
    /// The numbers, for programs.
    pub values: serde_json::Value,
}

impl Step {
    fn new(title: impl Into<String>, lines: Vec<String>, values: serde_json::Value) -> Self {
        Self { title: title.into(), lines, values }
    }
}

/// What an id names.
enum Subject {
    Claim(ClaimId),
    Peer(PeerId),
    Class(String),
}

/// Derives the figures behind a claim, an entry, a peer or a hardware class. `text` is an id, the
/// unambiguous beginning of one, or the name of a peer or class.
///
/// # Errors
///
/// What to tell the reader when it names nothing or several things.
pub fn explain(state: &State, text: &str) -> Result<Explanation, String> {
    match find(state, text)? {
        Subject::Claim(id) => claim::explain(state, id),
        Subject::Peer(id) => peer::explain(state, id),
        Subject::Class(class) => Ok(class::explain(state, &class)),
    }
}

/// What `text` names. An id in full comes first, then a measured class: members choose their names, and
/// authors the classes of their claims, so that neither may stand before what the network found.
fn find(state: &State, text: &str) -> Result<Subject, String> {
    let prefix = text.to_ascii_lowercase();
    let digits = text.chars().all(|c| c.is_ascii_hexdigit());
    let by_id = digits && (PREFIX_DIGITS_MIN..=ID_DIGITS).contains(&text.len());
    let subjects = |names: &dyn Fn(Option<&str>, String) -> bool| -> Vec<Subject> {
        let claims = state.claim_ids().filter(|id| names(None, id.to_string()));
        let members = state.members().iter();
        let peers = members.filter(|(id, member)| names(Some(&member.name), id.to_string()));
        claims.map(Subject::Claim).chain(peers.map(|(id, _)| Subject::Peer(*id))).collect()
    };
    if let Some(subject) = subjects(&|_, id| id == prefix).pop() {
        return Ok(subject);
    }
    if state.classes().measured().any(|(class, _)| class == text) {
        return Ok(Subject::Class(text.to_owned()));
    }
    let begins = |id: String| by_id && id.starts_with(&prefix);
    let mut found = subjects(&|name, id| name == Some(text) || begins(id));
    match (found.pop(), found.is_empty()) {
        (Some(subject), true) => Ok(subject),
        (Some(_), false) => {
            Err(format!("several things are called {text} or begin with it; give more digits"))
        }
        (None, _) if state.is_class_of_a_claim(text) => Ok(Subject::Class(text.to_owned())),
        (None, _) if by_id => {
            Err(format!("no claim and no peer on this ledger begins with {text}"))
        }
        (None, _) => Err(format!(
            "no member is called {text:?}; give a member's name, or the id of a claim or peer by \
             its first {PREFIX_DIGITS_MIN} or more hexadecimal digits"
        )),
    }
}

/// A member's name; the short key for anybody else.
fn name_of(state: &State, peer: PeerId) -> String {
    state.members().get(&peer).map_or_else(|| peer.short(), |member| member.name.clone())
}
