//! What was said, and where to find it again.

use super::solicit::solicits;
use super::words::{mentions, words};
use assay_protocol::ids::{BlobHash, PeerId, RecordId};
use assay_protocol::post::{Detail, Kind, Post, PostBody};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most posts that are kept ready; of older ones the store has the bodies.
pub const POSTS_MAX: usize = 20_000;

/// Where a post stands in the common order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the ledger.
    Ordered {
        /// Height of its block.
        height: u64,
        /// Its place among the block's records.
        index: usize,
    },
    /// Heard, and not on the ledger yet.
    Waiting {
        /// In the order in which this node heard it.
        arrival: u64,
    },
}

/// A post as this node knows it.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its record.
    pub id: RecordId,
    /// Who said it.
    pub author: PeerId,
    /// Where it stands.
    pub place: Place,
    /// Time of its block, or when it was heard, in Unix milliseconds.
    pub time_ms: u64,
    /// What the ledger says of it.
    pub post: Post,
    /// What it says; none while no peer has given the body.
    pub body: Option<PostBody>,
    /// Its body is here and breaks a rule, so that asking for it again is of no use.
    pub unreadable: bool,
    /// What in it asks to go on elsewhere, see [`solicits`].
    pub solicits: Option<String>,
}

impl Item {
    pub(super) fn new(
        id: RecordId,
        author: PeerId,
        post: &Post,
        place: Place,
        time_ms: u64,
    ) -> Self {
        let post = post.clone();
        Self { id, author, post, place, time_ms, body: None, unreadable: false, solicits: None }
    }

    /// With what its body says. Blocks carry no bodies, so that an ordered post may promise one that
    /// breaks a rule.
    pub(super) fn with_body(self, bytes: &[u8]) -> Self {
        let body = self.post.open(bytes).ok();
        Self { unreadable: body.is_none(), body, ..self }
    }

    /// What it says for programs.
    #[must_use]
    pub fn detail(&self) -> Option<&Detail> {
        self.body.as_ref()?.detail.as_ref()
    }
}

/// All posts, by everything that they are asked for by.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) items: BTreeMap<RecordId, Arc<Item>>,
    pub(super) order: BTreeMap<Place, RecordId>,
    pub(super) threads: BTreeMap<RecordId, BTreeSet<RecordId>>,
    pub(super) backrefs: BTreeMap<[u8; 32], BTreeSet<RecordId>>,
    pub(super) mentions: BTreeMap<String, BTreeSet<RecordId>>,
    pub(super) words: BTreeMap<String, BTreeSet<RecordId>>,
    /// Bodies that no peer gave yet, with the posts that name them.
    pub(super) missing: BTreeMap<BlobHash, BTreeSet<RecordId>>,
    /// The missing body that was asked for last.
    pub(super) asked: BlobHash,
    /// Height of the last block whose posts are here.
    pub(super) taken: u64,
    arrivals: u64,
}

impl Index {
    /// The next place among those that wait.
    pub(super) fn arrival(&mut self) -> Place {
        self.arrivals += 1;
        Place::Waiting { arrival: self.arrivals }
    }

    /// Takes in a post, or moves one that waited to its place on the ledger.
    pub(super) fn put(&mut self, item: Item) {
        if let Some(known) = self.items.get(&item.id) {
            if matches!(known.place, Place::Ordered { .. }) {
                return;
            }
            let body = item.body.or_else(|| known.body.clone());
            let item = Item { body, ..item };
            self.remove(item.id);
            self.put(item);
            return;
        }
        let item = Item { solicits: item.body.as_ref().and_then(solicitation), ..item };
        let id = item.id;
        self.order.insert(item.place, id);
        match &item.body {
            Some(body) => self.find_by(id, body),
            None => {
                if !item.unreadable {
                    self.missing.entry(item.post.body).or_default().insert(id);
                }
                self.threads.entry(id).or_default().insert(id);
            }
        }
        self.items.insert(id, Arc::new(item));
        while self.items.len() > POSTS_MAX {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            self.remove(*oldest);
        }
    }

    /// Takes in a body that was missing; its hash was checked.
    pub(super) fn fill(&mut self, hash: BlobHash, bytes: &[u8]) {
        for id in self.missing.remove(&hash).unwrap_or_default() {
            let Some(item) = self.items.get(&id).cloned() else { continue };
            self.remove(id);
            self.put(item.as_ref().clone().with_body(bytes));
        }
    }

    /// The posts that wait to be ordered, oldest first.
    pub(super) fn waiting(&self) -> Vec<RecordId> {
        self.order.range(Place::Waiting { arrival: 0 }..).map(|(_, id)| *id).collect()
    }

    /// Drops those of the posts that still wait.
    pub(super) fn drop_waiting(&mut self, gone: &[RecordId]) {
        for id in gone {
            let waits = |item: &Arc<Item>| matches!(item.place, Place::Waiting { .. });
            if self.items.get(id).is_some_and(waits) {
                self.remove(*id);
            }
        }
    }

    /// The first post of the thread that a post belongs to.
    pub(super) fn root(&self, id: RecordId) -> RecordId {
        let named = || self.items.get(&id)?.body.as_ref()?.thread;
        named().unwrap_or(id)
    }

    fn find_by(&mut self, id: RecordId, body: &PostBody) {
        self.threads.entry(body.thread.unwrap_or(id)).or_default().insert(id);
        for name in named(body) {
            self.backrefs.entry(name).or_default().insert(id);
        }
        for handle in mentions(&body.text).into_iter().chain(mentions(&body.title)) {
            self.mentions.entry(handle).or_default().insert(id);
        }
        for word in words(&searched(body)) {
            self.words.entry(word).or_default().insert(id);
        }
    }

    fn remove(&mut self, id: RecordId) {
        let Some(item) = self.items.remove(&id) else { return };
        self.order.remove(&item.place);
        take_out(&mut self.missing, &item.post.body, id);
        let Some(body) = &item.body else {
            take_out(&mut self.threads, &id, id);
            return;
        };
        take_out(&mut self.threads, &body.thread.unwrap_or(id), id);
        for name in named(body) {
            take_out(&mut self.backrefs, &name, id);
        }
        for handle in mentions(&body.text).into_iter().chain(mentions(&body.title)) {
            take_out(&mut self.mentions, &handle, id);
        }
        for word in words(&searched(body)) {
            take_out(&mut self.words, &word, id);
        }
    }
}

fn take_out<K: Ord + Clone>(map: &mut BTreeMap<K, BTreeSet<RecordId>>, key: &K, id: RecordId) {
    if let Some(set) = map.get_mut(key) {
        set.remove(&id);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

/// What in a post asks to go on elsewhere. A flag quotes what it accuses, and is not one itself.
fn solicitation(body: &PostBody) -> Option<String> {
    let looked_at = body.kind() != Kind::Flag;
    looked_at.then(|| solicits(&format!("{}\n{}", body.title, body.text))).flatten()
}

/// Everything that a post names.
fn named(body: &PostBody) -> BTreeSet<[u8; 32]> {
    let refs = body.refs.iter().map(|id| id.0);
    refs.chain(body.detail.iter().flat_map(Detail::names)).collect()
}

/// The text by which a post is found.
fn searched(body: &PostBody) -> String {
    let mut text = format!("{} {} {} {}", body.title, body.channel, body.kind().word(), body.text);
    match &body.detail {
        Some(Detail::Plan(plan)) => add(&mut text, &plan.levers),
        Some(Detail::DeadEnd(end)) => add(&mut text, &end.levers),
        Some(Detail::Diagnosis(found)) => add(&mut text, &found.codes),
        Some(Detail::Spec(spec)) => {
            add(&mut text, [&spec.model, &spec.change, &spec.experiment]);
            add(&mut text, spec.parts.iter().map(|part| &part.name));
        }
        Some(Detail::Attempt(attempt)) => add(&mut text, [&attempt.error]),
        Some(Detail::Checkpoint(built)) => add(&mut text, [&built.scheme]),
        Some(Detail::Flag(flag)) => add(&mut text, [&flag.rule]),
        Some(Detail::Limit(limit)) => add(&mut text, &limit.levers),
        Some(Detail::Result(_) | Detail::Playbook(_) | Detail::Endorsement(_)) | None => {}
    }
    text
}

fn add<'a>(text: &mut String, more: impl IntoIterator<Item = &'a String>) {
    for part in more {
        text.push(' ');
        text.push_str(part);
    }
}
