//! Who deals with whom: what peers said to each other on the board, and what they did with each other's
//! work on the ledger.
//!
//! Only what is ordered counts, so that all nodes that have the same posts count the same. A post counts
//! once a kind and addressee, however often it names somebody; nobody deals with itself.

use super::Board;
use super::index::{Index, Item, Place};
use assay_protocol::ids::{ClaimId, PeerId, RecordId};
use assay_protocol::post::Detail;
use assay_protocol::state::{ClaimState, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How often one peer dealt with another, by what it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interactions {
    /// Posts in a thread that the other began.
    pub replies: u64,
    /// Posts that call the other by name or key.
    pub mentions: u64,
    /// Posts that refer to a post, a claim or the key of the other, endorsements among them.
    pub quotes: u64,
    /// Claims whose parent is the other's.
    pub parents: u64,
    /// Specs and diagnoses of the other that claims cite.
    pub citations: u64,
    /// Parts of the other in relays that were credited when the claim at their end was confirmed.
    pub relays: u64,
    /// Rounds of the other's claims that it measured as a seat. It was drawn for them.
    pub attestations: u64,
    /// Flags that accuse the other, or a post or claim of it.
    pub flags: u64,
}

/// What interactions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// What peers say to each other: replies, mentions and quotes.
    Words,
    /// What peers do with each other's work: parents, citations and relays.
    Work,
    /// What they were drawn to measure.
    Attestations,
    /// Accusations.
    Flags,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 4] = [Self::Words, Self::Work, Self::Attestations, Self::Flags];

    /// The topic as a word, which is also what it is asked for by.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Work => "work",
            Self::Attestations => "attestations",
            Self::Flags => "flags",
        }
    }
}

impl Interactions {
    /// Each count with the words for one and for many.
    #[must_use]
    pub fn parts(&self) -> [(u64, &'static str, &'static str); 8] {
        [
            (self.replies, "reply", "replies"),
            (self.mentions, "mention", "mentions"),
            (self.quotes, "quote", "quotes"),
            (self.parents, "claim built on", "claims built on"),
            (self.citations, "citation", "citations"),
            (self.relays, "relay credit", "relay credits"),
            (self.attestations, "attestation", "attestations"),
            (self.flags, "flag", "flags"),
        ]
    }

    /// All of a topic together, or of every topic.
    #[must_use]
    pub fn about(&self, topic: Option<Topic>) -> u64 {
        let counts = match topic {
            None => return Topic::ALL.iter().map(|topic| self.about(Some(*topic))).sum(),
            Some(Topic::Words) => [self.replies, self.mentions, self.quotes],
            Some(Topic::Work) => [self.parents, self.citations, self.relays],
            Some(Topic::Attestations) => [self.attestations, 0, 0],
            Some(Topic::Flags) => [self.flags, 0, 0],
        };
        counts.iter().sum()
    }
}

/// Interactions by who dealt with whom.
pub type Pairs = BTreeMap<(PeerId, PeerId), Interactions>;

/// Interactions while they are counted.
#[derive(Default)]
struct Counted(Pairs);

impl Counted {
    fn add(&mut self, from: PeerId, to: PeerId, count: impl FnOnce(&mut Interactions) -> &mut u64) {
        if from != to {
            *count(self.0.entry((from, to)).or_default()) += 1;
        }
    }

    fn post(&mut self, state: &State, index: &Index, item: &Item) {
        let Some(body) = &item.body else { return };
        let author_of = |name: [u8; 32]| author_of(state, index, name);
        // An accusation is no conversation, whatever it refers to.
        if let Some(Detail::Flag(flag)) = &body.detail {
            if let Some(accused) = author_of(flag.subject.0) {
                self.add(item.author, accused, |interactions| &mut interactions.flags);
            }
            return;
        }
        if let Some(asked) = body.thread.and_then(|thread| author_of(thread.0)) {
            self.add(item.author, asked, |interactions| &mut interactions.replies);
        }
        let names = body.refs.iter().map(|id| id.0);
        let names = names.chain(body.detail.iter().flat_map(Detail::names));
        let quoted: BTreeSet<PeerId> = names.filter_map(author_of).collect();
        for author in quoted {
            self.add(item.author, author, |interactions| &mut interactions.quotes);
        }
    }

    fn claim(&mut self, state: &State, claim: &ClaimState) {
        if let Some(parent) = state.claim(claim.parent) {
            self.add(claim.author, parent.author, |interactions| &mut interactions.parents);
        }
        for cited in state.citations(claim.id) {
            let spec = state.spec(*cited).map(|spec| spec.author);
            if let Some(author) = spec.or_else(|| Some(state.link(*cited)?.author)) {
                self.add(claim.author, author, |interactions| &mut interactions.citations);
            }
        }
        for seat in claim.rounds.iter().flat_map(|round| round.reveals.keys()) {
            self.add(*seat, claim.author, |interactions| &mut interactions.attestations);
        }
    }
}

/// Who wrote what a post names; a key names itself.
fn author_of(state: &State, index: &Index, name: [u8; 32]) -> Option<PeerId> {
    let id = RecordId(name);
    let post = index.items.get(&id).map(|item| item.author);
    let claim = || state.claim(ClaimId(name)).map(|claim| claim.author);
    let proposal = || state.proposal(id).map(|proposal| proposal.by);
    let key = || Some(PeerId(name)).filter(|peer| state.members().contains_key(peer));
    post.or_else(claim).or_else(proposal).or_else(key)
}

fn is_ordered(item: &Item) -> bool {
    matches!(item.place, Place::Ordered { .. })
}

impl Board {
    /// All interactions of peers with each other.
    #[must_use]
    pub fn interactions(&self, state: &State) -> Pairs {
        let index = self.read();
        let mut counted = Counted::default();
        for item in index.items.values().filter(|item| is_ordered(item)) {
            counted.post(state, &index, item);
        }
        for peer in state.members().keys() {
            for id in index.calling(state, *peer) {
                let Some(item) = index.items.get(&id).filter(|item| is_ordered(item)) else {
                    continue;
                };
                if !matches!(item.detail(), Some(Detail::Flag(_))) {
                    counted.add(item.author, *peer, |interactions| &mut interactions.mentions);
                }
            }
        }
        for claim in state.claims() {
            counted.claim(state, claim);
        }
        for link in state.links() {
            if let Some(claim) = link.credited.and_then(|claim| state.claim(claim)) {
                counted.add(claim.author, link.author, |interactions| &mut interactions.relays);
            }
        }
        counted.0
    }
}
