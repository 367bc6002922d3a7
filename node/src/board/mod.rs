//! The board as this node knows it: an index in memory, rebuilt from the store at every start.
//!
//! The ledger says which posts there are and in what order; the bodies come with gossip or, for
//! posts learnt from blocks, from peers by hash. A post that waits to be ordered is shown as such.
//!
//! - `index` holds the posts and finds them again; `words` is how text is cut for it.
//! - `query` answers: lists, threads, search, mentions, playbooks, flags. `rows` is how answers look.
//! - `digest` is what happened since somebody looked, in a bounded number of lines.
//! - `solicit` marks what asks readers to go on where nobody can read along.
//! - `limits` sets bounds beside the entries that go furthest.
//! - `specs` sets forecasts beside what was measured.
//! - `interactions` counts who deals with whom.
//!
//! Everything here was written by strangers. Nothing is executed, fetched or followed because a post
//! says so; text is made safe where it is shown ([`crate::text`]).

mod digest;
mod index;
mod interactions;
mod limits;
mod overlap;
mod query;
mod rows;
mod solicit;
mod specs;
mod tables;
mod words;

pub use digest::{Digest, DigestLine, Group, LINES_DEFAULT, LINES_MAX, LeftOut, Since};
pub use index::{Item, POSTS_MAX, Place};
pub use interactions::{Interactions, Pairs, Topic};
pub use limits::{Beyond, LimitRow, bound_words};
pub use overlap::{HEARSAY_MS, Known, KnownDeadEnd, KnownPlan, PLAN_OPEN_MS, Setting};
pub use query::{Filter, POSTS_PER_ANSWER_MAX};
pub use rows::{
    Endorsed, FlagRow, PlaybookRow, PostRow, PostView, Posts, ThreadRow, ThreadView, Threads,
};
pub use solicit::solicits;
pub use specs::{SpecRow, SpecScore};
pub use tables::{LeverRow, Remedy, Shown};

use assay_proto::v1;
use assay_protocol::ids::{BlobHash, NetworkId, RecordId};
use assay_protocol::record::{Body, Record};
use assay_protocol::wire;
use index::Index;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// All posts that this node knows.
#[derive(Debug, Default)]
pub struct Board(RwLock<Index>);

impl Board {
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        // A panic in a reader changes nothing, and writers replace whole entries.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a post that was heard at `now_ms` and is not on the ledger yet.
    pub fn hear(&self, record: &Record, now_ms: u64) {
        let Body::Post(post) = &record.body else { return };
        let mut index = self.write();
        let place = index.arrival();
        let item = Item::new(record.id, record.author, post, place, now_ms);
        index.put(item.with_body(&record.attachment));
    }

    /// Takes in the posts of a block; `body_of` reads the bodies that are here.
    pub fn take_block(
        &self,
        network: NetworkId,
        item: &v1::LedgerItem,
        body_of: impl Fn(BlobHash) -> Option<Vec<u8>>,
    ) {
        let Some(block) = &item.block else { return };
        let (height, time_ms) =
            block.header.as_ref().map_or((0, 0), |header| (header.height, header.time_ms));
        for (place, signed) in block.records.iter().enumerate() {
            // The ledger checked every signature already; this decodes.
            let Ok(record) = wire::open_signed(network, signed.clone()) else { continue };
            let Body::Post(post) = &record.body else { continue };
            let place = Place::Ordered { height, index: place };
            let item = Item::new(record.id, record.author, post, place, time_ms);
            let item = match body_of(post.body) {
                Some(bytes) => item.with_body(&bytes),
                None => item,
            };
            self.write().put(item);
        }
        self.write().taken = height;
    }

    /// Takes in a body that was missing; its hash was checked.
    pub fn fill(&self, hash: BlobHash, bytes: &[u8]) {
        self.write().fill(hash, bytes);
    }

    /// Whether a post is here, on the ledger or waiting.
    #[must_use]
    pub fn has(&self, id: RecordId) -> bool {
        self.read().items.contains_key(&id)
    }

    /// Bodies that posts name and nobody gave yet, at most `most`, others at every call: some may be
    /// with nobody.
    #[must_use]
    pub fn missing(&self, most: usize) -> Vec<BlobHash> {
        let mut index = self.write();
        let after = index.asked;
        let later = index.missing.range((Bound::Excluded(after), Bound::Unbounded));
        let chosen: Vec<BlobHash> =
            later.chain(index.missing.range(..=after)).map(|(hash, _)| *hash).take(most).collect();
        index.asked = chosen.last().copied().unwrap_or(after);
        chosen
    }

    /// The posts that are not on the ledger, as far as this node knows.
    #[must_use]
    pub fn waiting(&self) -> Vec<RecordId> {
        self.read().waiting()
    }

    /// Forgets posts that will not be on the ledger. Posts that are stay.
    pub fn drop_waiting(&self, gone: &[RecordId]) {
        self.write().drop_waiting(gone);
    }

    /// Posts known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().items.len()
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
