//! Flags on claims that repeat earlier ones without building on them.
//!
//! An accepted claim is held against the earlier ones as soon as the ledger allows a charge, by the predicate
//! that the seats of a ruling run, so that a flag that this raises is upheld. Sketches keep the work small: of
//! each earlier claim one is kept, and only a claim that may repeat it is compared in full. This runs beside
//! everything else, one claim at a time, and asks peers for manifests and bundles, never for weights.

use super::duplicate::{self, Work};
use super::flags::{is_turn, raise};
use super::sketch::{Sketch, Whole};
use super::{Judge, JudgeError};
use crate::author::Author;
use crate::ledger::now_ms;
use assay_protocol::error::Reject;
use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RecordId};
use assay_protocol::ruling::{Charge, Offence};
use assay_protocol::state::{ClaimState, State};
use assay_protocol::verdict::Outcome;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often the next claim is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Entries, the latest, that are looked at.
const LATEST: usize = 64;
/// Earlier claims that one is held against, the latest before it.
const EARLIER_MAX: usize = 256;
/// Claims that one is compared with in full.
const COMPARED_MAX: usize = 8;
/// Sketches that are kept; a further one drives out the oldest.
const SKETCHES_MAX: usize = 512;
/// How long the files of an earlier claim are waited for.
const FILES_WITHIN: Duration = Duration::from_secs(10);
/// Charges found that wait for the ledger to take them.
const FOUND_MAX: usize = 16;

/// Looks for copies in the name of an author.
pub(super) struct Copies {
    author: Author,
    judge: Arc<Judge>,
    /// Sketches by claim, none where its files were not to be had, and the order in which they came.
    sketches: BTreeMap<ClaimId, Option<Sketch>>,
    sketched: VecDeque<ClaimId>,
    /// Claims whose turn this node waits for, and since when.
    ripe: BTreeMap<ClaimId, u64>,
    /// Claims that were looked at, with how many earlier ones had been accepted by then.
    looked: VecDeque<(ClaimId, usize)>,
    /// What was found and not raised yet.
    found: VecDeque<(Charge, String)>,
}

impl Copies {
    /// Flags in the name of `author` what `judge` finds.
    pub(super) fn new(author: Author, judge: Arc<Judge>) -> Self {
        Self {
            author,
            judge,
            sketches: BTreeMap::new(),
            sketched: VecDeque::new(),
            ripe: BTreeMap::new(),
            looked: VecDeque::new(),
            found: VecDeque::new(),
        }
    }

    /// Looks at one claim after the other until the node stops.
    pub(super) async fn serve(mut self) {
        let mut clock = interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let state = self.author.ledger.state();
            self.raise_found(&state);
            let Some(claim) = self.next(&state) else { continue };
            match self.repeats(&state, claim).await {
                Ok(Some(found)) => keep(&mut self.found, found, FOUND_MAX),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(claim = %claim.short(), %error, "did not compare a claim");
                }
            }
        }
    }

    /// Raises what was found, unless somebody did; what the ledger would take later is kept.
    fn raise_found(&mut self, state: &State) {
        let me = self.author.me();
        let author = self.author.clone();
        self.found.retain(|(charge, words)| match state.would_charge(me, charge) {
            Ok(_) => !raise(&author, charge, &format!("repeats an earlier claim: {words}")),
            Err(reject) => is_passing(&reject),
        });
    }

    /// The next claim that this node is to look at; it is not looked at again until a claim from before it
    /// is accepted, which may be later than its own acceptance.
    fn next(&mut self, state: &State) -> Option<ClaimId> {
        let (me, now_ms) = (self.author.me(), now_ms());
        let ripe: Vec<&ClaimState> = ripe_claims(state, me)
            .into_iter()
            .filter(|claim| !self.looked.contains(&(claim.id, accepted_before(state, claim))))
            .collect();
        self.ripe = ripe
            .iter()
            .map(|claim| (claim.id, self.ripe.get(&claim.id).copied().unwrap_or(now_ms)))
            .collect();
        let due = ripe.into_iter().find(|claim| {
            let since_ms = self.ripe.get(&claim.id).copied().unwrap_or(now_ms);
            let waited_ms = now_ms.saturating_sub(since_ms);
            is_turn(state, RecordId(claim.id.0), claim.author, me, waited_ms)
        })?;
        keep(&mut self.looked, (due.id, accepted_before(state, due)), LATEST * 2);
        Some(due.id)
    }

    /// The charge that a claim repeats one of those before it, with what shows it.
    async fn repeats(
        &mut self,
        state: &State,
        claim: ClaimId,
    ) -> Result<Option<(Charge, String)>, JudgeError> {
        let earlier = earlier_claims(state, claim, self.author.me());
        if earlier.is_empty() {
            return Ok(None);
        }
        let base = Arc::new(self.judge.base(state).await?);
        let work = self.judge.work(state, claim).await?;
        let inherited = self.judge.inherited(state, claim).await?;
        let whole = spawn_blocking(move || Whole::of(&work, &inherited)).await?;
        let mut compared = 0;
        for id in earlier {
            let Some(sketch) = self.sketch(state, id, &base).await else { continue };
            if !whole.may_repeat(&sketch) {
                continue;
            }
            compared += 1;
            if compared > COMPARED_MAX {
                break;
            }
            let charge = charge(claim, id);
            // Kernels on another checkpoint are what shipping is: whether they had to be named is for
            // people to say.
            let checkpoint = |id| state.recipe(id).map(|recipe| recipe.checkpoint);
            let found = self.judge.repeats(&charge).await?.filter(|words| {
                checkpoint(claim) == checkpoint(id) || words.contains(duplicate::WEIGHTS)
            });
            if let Some(words) = found {
                return Ok(Some((charge, words)));
            }
        }
        Ok(None)
    }

    /// The sketch of a claim, if its files are to be had.
    async fn sketch(&mut self, state: &State, id: ClaimId, base: &Arc<Work>) -> Option<Sketch> {
        if let Some(sketch) = self.sketches.get(&id) {
            return sketch.clone();
        }
        let work =
            timeout(FILES_WITHIN, self.judge.work(state, id)).await.ok().and_then(Result::ok);
        let sketch = match work {
            Some(work) => {
                let base = Arc::clone(base);
                spawn_blocking(move || Sketch::of(&work, &base)).await.ok()
            }
            None => None,
        };
        if self.sketched.len() >= SKETCHES_MAX
            && let Some(oldest) = self.sketched.pop_front()
        {
            self.sketches.remove(&oldest);
        }
        self.sketched.push_back(id);
        self.sketches.insert(id, sketch.clone());
        sketch
    }
}

/// Keeps something, and the oldest no longer where there are too many.
fn keep<T>(kept: &mut VecDeque<T>, what: T, most: usize) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back(what);
}

fn charge(claim: ClaimId, earlier: ClaimId) -> Charge {
    Charge {
        rule: Offence::Duplicate,
        subject: RecordId(claim.0),
        evidence: Some(BlobHash(earlier.0)),
        sighting: None,
    }
}

/// Whether a refusal may be over with the next epoch or ruling.
fn is_passing(reject: &Reject) -> bool {
    matches!(reject, Reject::ChargesSpent { .. } | Reject::RulingsFull(_))
}

/// The accepted claims among the latest entries that may be compared with others and whose author did not
/// tell that they are copies, oldest first.
fn ripe_claims(state: &State, me: PeerId) -> Vec<&ClaimState> {
    let operator = |peer: PeerId| state.members().get(&peer).map(|member| &member.operator);
    let told = |claim: &ClaimState| state.is_self_disclosed(claim.id, state.height() + 1);
    let latest = state.entries().skip(state.entries().count().saturating_sub(LATEST));
    latest
        .filter(|claim| claim.stands() && state.is_comparable(claim))
        .filter(|claim| operator(claim.author) != operator(me) && !told(claim))
        .collect()
}

/// How many of the accepted claims were docketed before one.
fn accepted_before(state: &State, claim: &ClaimState) -> usize {
    let before = |other: &&ClaimState| {
        other.docketed_at <= claim.docketed_at && other.outcome() == Some(Outcome::Accepted)
    };
    state.entries().filter(before).filter(|other| other.id != claim.id).count()
}

/// The claims that this node holds one against, the latest first: those before it that were accepted, of
/// another operator, no null claims, and that it does not build on. Who tries again what was refuted takes
/// nothing from anybody.
#[must_use]
pub fn earlier_claims(state: &State, claim: ClaimId, me: PeerId) -> Vec<ClaimId> {
    let accepted = state.entries().filter(|entry| entry.outcome() == Some(Outcome::Accepted));
    let mut before: Vec<(u64, ClaimId)> =
        accepted.map(|entry| (entry.docketed_at, entry.id)).collect();
    before.sort_unstable();
    let may_be = |earlier: ClaimId| match state.would_charge(me, &charge(claim, earlier)) {
        Ok(_) => true,
        Err(reject) => is_passing(&reject),
    };
    let earlier = before.into_iter().rev().map(|(_, id)| id).filter(|id| may_be(*id));
    earlier.take(EARLIER_MAX).collect()
}
