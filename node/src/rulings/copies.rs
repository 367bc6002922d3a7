//! Flags on claims that repeat earlier ones without building on them.
//!
//! An accepted claim is held against the earlier ones as soon as the ledger allows a charge, by the predicate
//! that the seats of a ruling run, so that a flag that this raises is upheld. Sketches keep the work small: of
//! each earlier claim one is kept, and only a claim that may repeat it is compared in full. This runs beside
//! everything else, one claim at a time, and asks peers for manifests and bundles, never for weights.

use super::duplicate::{self, Work};
use super::flags::raise;
use super::looks::{Looks, charge, is_passing};
use super::sketch::{Sketch, Whole};
use super::{Judge, JudgeError};
use crate::author::Author;
use crate::ledger::now_ms;
use assay_protocol::ids::ClaimId;
use assay_protocol::ruling::Charge;
use assay_protocol::state::State;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often the next claim is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Claims that one is compared with in full.
const COMPARED_MAX: usize = 8;
/// Sketches that are kept; a further one drives out the oldest.
const SKETCHES_MAX: usize = 512;
/// How long the files of an earlier claim are waited for.
const FILES_WITHIN: Duration = Duration::from_secs(10);
/// How long files that were not to be had are taken to be missing.
const MISSING_FOR: Duration = Duration::from_secs(45);
/// Charges found that wait for the ledger to take them.
const FOUND_MAX: usize = 16;

/// Looks for copies in the name of an author.
pub(super) struct Copies {
    author: Author,
    judge: Arc<Judge>,
    /// Sketches by claim, and the order in which they came.
    sketches: BTreeMap<ClaimId, Sketch>,
    sketched: VecDeque<ClaimId>,
    /// Claims whose files were not to be had, and when.
    missing: BTreeMap<ClaimId, Instant>,
    looks: Looks,
    /// What was found and not raised yet.
    found: VecDeque<(Charge, String)>,
}

/// What comparing a claim with earlier ones came to.
struct Compared {
    /// The charge that it repeats one of them, with what shows it.
    found: Option<(Charge, String)>,
    /// Those whose files were not to be had.
    missed: Vec<ClaimId>,
}

impl Copies {
    /// Flags in the name of `author` what `judge` finds.
    pub(super) fn new(author: Author, judge: Arc<Judge>) -> Self {
        Self {
            looks: Looks::new(author.me()),
            author,
            judge,
            sketches: BTreeMap::new(),
            sketched: VecDeque::new(),
            missing: BTreeMap::new(),
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
            let Some((claim, earlier)) = self.looks.next(&state, now_ms()) else { continue };
            let missed = match self.compare(&state, claim, &earlier).await {
                Ok(Compared { found, missed }) => {
                    if let Some(found) = found {
                        keep(&mut self.found, found, FOUND_MAX);
                    }
                    missed
                }
                Err(error) => {
                    tracing::debug!(claim = %claim.short(), %error, "did not compare a claim");
                    earlier
                }
            };
            self.looks.missed(claim, &missed, now_ms());
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

    /// Compares a claim with earlier ones until it repeats one.
    async fn compare(
        &mut self,
        state: &State,
        claim: ClaimId,
        earlier: &[ClaimId],
    ) -> Result<Compared, JudgeError> {
        let base = Arc::new(self.judge.base(state).await?);
        let work = self.judge.work(state, claim).await?;
        let inherited = self.judge.inherited(state, claim).await?;
        let whole = spawn_blocking(move || Whole::of(&work, &inherited)).await?;
        let (mut compared, mut missed) = (0, Vec::new());
        for id in earlier.iter().copied() {
            let Some(sketch) = self.sketch(state, id, &base).await else {
                missed.push(id);
                continue;
            };
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
            let Ok(found) = self.judge.repeats(&charge).await else {
                missed.push(id);
                continue;
            };
            let found = found.filter(|words| {
                checkpoint(claim) == checkpoint(id) || words.contains(duplicate::WEIGHTS)
            });
            if let Some(words) = found {
                return Ok(Compared { found: Some((charge, words)), missed });
            }
        }
        Ok(Compared { found: None, missed })
    }

    /// The sketch of a claim, if its files are to be had.
    async fn sketch(&mut self, state: &State, id: ClaimId, base: &Arc<Work>) -> Option<Sketch> {
        if let Some(sketch) = self.sketches.get(&id) {
            return Some(sketch.clone());
        }
        // Many claims may be held against this one, and each would wait for its files.
        self.missing.retain(|_, since| since.elapsed() < MISSING_FOR);
        if self.missing.contains_key(&id) {
            return None;
        }
        let work =
            timeout(FILES_WITHIN, self.judge.work(state, id)).await.ok().and_then(Result::ok);
        let Some(work) = work else {
            self.missing.insert(id, Instant::now());
            return None;
        };
        let base = Arc::clone(base);
        let sketch = spawn_blocking(move || Sketch::of(&work, &base)).await.ok()?;
        if self.sketched.len() >= SKETCHES_MAX
            && let Some(oldest) = self.sketched.pop_front()
        {
            self.sketches.remove(&oldest);
        }
        self.sketched.push_back(id);
        self.sketches.insert(id, sketch.clone());
        Some(sketch)
    }
}

/// Keeps something, and the oldest no longer where there are too many.
fn keep<T>(kept: &mut VecDeque<T>, what: T, most: usize) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back(what);
}
