//! The one copy of the peer's state, shared by ordering, network, pages and the driver.

use crate::board::Board;
use crate::checkpoints::SharedTree;
use crate::storage::{Store, StoreError};
use assay_proto::v1;
use assay_protocol::block::Proposer;
use assay_protocol::genesis::Genesis;
use assay_protocol::ids::{BlobHash, PeerId};
use assay_protocol::item::{ItemError, apply_item};
use assay_protocol::peer::{Effect, Heard, Input, Peer};
use assay_protocol::state::State;
use assay_protocol::tlog::LogTree;
use assay_protocol::wire;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// Why the ledger cannot be opened or extended.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block does not extend the ledger.
    #[error("block {height} does not extend the ledger: {reason}")]
    Block {
        /// Its height.
        height: u64,
        /// The rule it breaks.
        reason: ItemError,
    },
    /// A stored ledger that this genesis did not start.
    #[error("the stored ledger does not replay: {0}; move the folder `ledger` away to sync afresh")]
    Replay(String),
}

struct Inner {
    peer: Peer,
    certificate: Option<v1::CommitCertificate>,
    effects: VecDeque<Effect>,
}

/// The peer with its store, behind one lock.
pub struct Ledger {
    inner: Mutex<Inner>,
    store: Store,
    board: Arc<Board>,
    /// The blocks as witnesses see them.
    tree: SharedTree,
    effects_ready: Notify,
    changes: watch::Sender<u64>,
}

/// Milliseconds since 1970 by this machine's clock.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn stored_body(store: &Store, hash: BlobHash) -> Option<Vec<u8>> {
    store.post_body(hash).unwrap_or_else(|error| {
        tracing::error!(%error, "asking peers for it again");
        None
    })
}

/// Gives the peer the posts that were not on the ledger when the node stopped.
fn restore_posts(
    store: &Store,
    peer: &mut Peer,
    effects: &mut Vec<Effect>,
) -> Result<(), LedgerError> {
    for bytes in store.waiting_posts()? {
        let Ok(record) = wire::open(peer.network(), &bytes) else { continue };
        let id = record.id;
        if record.author == peer.me() {
            peer.step(Input::Own(Box::new(record)), effects)
                .map_err(|e| LedgerError::Replay(e.to_string()))?;
        } else {
            peer.hear(&bytes, effects);
        }
        if !peer.waits(id) {
            store.forget_waiting(id)?;
        }
    }
    Ok(())
}

impl Ledger {
    /// Replays the stored blocks on the genesis and restores the peer's secrets.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the store fails or holds a ledger that does not replay.
    pub fn open(store: Store, genesis: Genesis, me: PeerId) -> Result<Arc<Self>, LedgerError> {
        let mut state = State::new(genesis);
        let board = Board::default();
        let mut certificate = None;
        let mut tree = LogTree::default();
        while let Some(item) = store.item(state.height() + 1)? {
            apply_item(&mut state, &item).map_err(|e| LedgerError::Replay(e.to_string()))?;
            board.take_block(state.network(), &item, |hash| stored_body(&store, hash));
            tree.push(state.head());
            certificate = item.certificate;
        }
        let mut peer = Peer::new(me, state);
        let mut effects = Vec::new();
        for secret in store.secrets()? {
            peer.step(Input::Restore(secret), &mut effects)
                .map_err(|e| LedgerError::Replay(e.to_string()))?;
        }
        restore_posts(&store, &mut peer, &mut effects)?;
        let inner = Inner { peer, certificate, effects: VecDeque::new() };
        let ledger = Arc::new(Self {
            inner: Mutex::new(inner),
            store,
            board: Arc::new(board),
            tree: Arc::new(Mutex::new(tree)),
            effects_ready: Notify::new(),
            changes: watch::Sender::new(0),
        });
        ledger.enqueue(effects);
        Ok(ledger)
    }

    /// What was said.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The tree over the blocks that are stored.
    #[must_use]
    pub fn tree(&self) -> &SharedTree {
        &self.tree
    }

    /// Takes in the body of a post that was learnt from a block. The caller checked its hash.
    pub fn take_post_body(&self, hash: BlobHash, bytes: &[u8]) {
        if let Err(error) = self.store.put_post_body(hash, bytes) {
            tracing::error!(%error, "a post's body was not stored");
        }
        self.board.fill(hash, bytes);
        self.touch();
    }

    /// The body of a post, if it is stored here.
    #[must_use]
    pub fn post_body(&self, hash: BlobHash) -> Option<Vec<u8>> {
        stored_body(&self.store, hash)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock was held left the peer as it was before the step, because steps
        // replace the state last.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the peer. Must be short: everything waits for it.
    pub fn with<R>(&self, read: impl FnOnce(&Peer) -> R) -> R {
        read(&self.lock().peer)
    }

    /// The state, to be read at leisure; sharing it costs a few pointers a claim.
    #[must_use]
    pub fn state(&self) -> State {
        self.with(|peer| peer.state().clone())
    }

    /// The blocks.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Changes whenever there is something else to see.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells watchers that something changed outside the ledger.
    pub fn touch(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Gives the peer an input other than a block.
    pub fn step(&self, input: Input) {
        let mut effects = Vec::new();
        let result = self.lock().peer.step(input, &mut effects);
        if let Err(error) = result {
            tracing::warn!(%error, "the ledger refused an input");
        }
        self.enqueue(effects);
    }

    /// Gives the peer a record from the network.
    pub fn hear(&self, bytes: &[u8]) -> Heard {
        let mut effects = Vec::new();
        let heard = self.lock().peer.hear(bytes, &mut effects);
        self.enqueue(effects);
        heard
    }

    /// Stores and applies a decided block; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; the ledger is then unchanged.
    pub fn commit(&self, item: v1::LedgerItem) -> Result<(), LedgerError> {
        let mut inner = self.lock();
        let height = inner.peer.state().height() + 1;
        let certificate = item.certificate.clone();
        let mut effects = Vec::new();
        // The block is checked on a copy first, so that nothing is stored that does not replay.
        let mut trial = inner.peer.state().clone();
        apply_item(&mut trial, &item).map_err(|reason| LedgerError::Block { height, reason })?;
        self.store.put_item(height, &item)?;
        inner
            .peer
            .step(Input::Block(Box::new(item.clone())), &mut effects)
            .map_err(|reason| LedgerError::Block { height, reason })?;
        inner.certificate = certificate;
        // Still under the ledger's lock, so that leaves are appended in the order of their blocks.
        let head = inner.peer.state().head();
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        let network = inner.peer.network();
        drop(inner);
        // The board is read at leisure, so that its lock is never waited for under the ledger's.
        self.board.take_block(network, &item, |hash| stored_body(&self.store, hash));
        self.forget_ordered_posts();
        self.enqueue(effects);
        self.touch();
        Ok(())
    }

    /// The certificate of the last block.
    #[must_use]
    pub fn certificate(&self) -> Option<v1::CommitCertificate> {
        self.lock().certificate.clone()
    }

    /// The next block, if it has something to say.
    #[must_use]
    pub fn build(&self, proposer: Proposer) -> Option<v1::Block> {
        self.lock().peer.build(now_ms(), proposer)
    }

    /// Waits for effects and takes them, in order.
    pub async fn effects(&self) -> Vec<Effect> {
        loop {
            let ready = self.effects_ready.notified();
            let taken: Vec<Effect> = self.lock().effects.drain(..).collect();
            if !taken.is_empty() {
                return taken;
            }
            ready.await;
        }
    }

    /// Posts that were ordered, or grew too old to be, wait no more.
    fn forget_ordered_posts(&self) {
        let waiting = self.store.waiting_ids();
        let forgotten = waiting.and_then(|mut ids| {
            self.with(|peer| ids.retain(|id| !peer.waits(*id)));
            ids.into_iter().try_for_each(|id| self.store.forget_waiting(id))
        });
        if let Err(error) = forgotten {
            tracing::error!(%error, "posts stay among those that wait");
        }
        let mut gone = self.board.waiting();
        self.with(|peer| gone.retain(|id| !peer.waits(*id)));
        self.board.drop_waiting(&gone);
    }

    /// Stores and shows posts before anything else is done with them. Those of others are not waited
    /// for until they are on disk: peers and blocks bring them again.
    fn keep_posts(&self, effects: &mut Vec<Effect>) {
        effects.retain(|effect| {
            let Effect::KeepPost(record) = effect else { return true };
            if let Err(error) = self.store.put_post(record) {
                tracing::error!(%error, "a post was not stored");
            }
            self.board.hear(record, now_ms());
            self.touch();
            false
        });
    }

    fn enqueue(&self, mut effects: Vec<Effect>) {
        self.keep_posts(&mut effects);
        if effects.is_empty() {
            return;
        }
        let changed = effects.iter().any(|effect| !matches!(effect, Effect::Order));
        self.lock().effects.extend(effects);
        self.effects_ready.notify_one();
        if changed {
            self.touch();
        }
    }
}
