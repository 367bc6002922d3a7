//! Flags that committees decide: the predicates that a drawn seat runs, and the flags that a node raises
//! by itself.
//!
//! - [`Judge`] brings here what a charge is about, runs the rule's predicate, and gives the ledger its
//!   finding. Every seat runs the same code over the same bytes.
//! - `duplicate` compares the kernels and weights of two claims, `sketch` says cheaply which are worth it.
//! - [`watch`] flags posts that ask readers to go on elsewhere, entries of which [`Entries`] says that they
//!   break a rule, and claims that repeat earlier ones; [`Looks`] says which claims are to be compared.

mod copies;
mod duplicate;
mod entries;
mod flags;
mod looks;
mod sketch;
mod watch;

pub use entries::{Entries, Notice};
pub use looks::Looks;

use crate::author::Author;
use crate::fetch::{FetchError, Fetcher};
use crate::ledger::Ledger;
use crate::nulls::files_of;
use crate::storage::{BlobError, Blobs};
use assay_protocol::error::ManifestError;
use assay_protocol::ids::{BlobHash, ClaimId, RecordId};
use assay_protocol::manifest::{Kind, Manifest, blob_hash};
use assay_protocol::peer::{Case, Input};
use assay_protocol::record::Recipe;
use assay_protocol::ruling::{Ballot, Charge, Judgement, Offence, Vote};
use assay_protocol::state::State;
use copies::Copies;
use duplicate::Work;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use watch::Watch;

/// How often a seat looks whether the body of a post has come.
const POLL: Duration = Duration::from_millis(250);
/// How long a seat waits for the body of a post, which every node asks its peers for.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Why a seat cannot say anything about a charge.
#[derive(Debug, thiserror::Error)]
enum JudgeError {
    /// No peer gave the post's words.
    #[error("no peer gave what post {0} says")]
    NoBody(RecordId),
    /// A claim that the charge names is not on the ledger.
    #[error("claim {0} is not on the ledger")]
    NoClaim(ClaimId),
    /// Something that the recipes name could not be brought here.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Something that was brought here could not be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A manifest that lists no files.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// No seat has anything to say about a rule that a measurement decides.
    #[error("a measurement decides over the rule {0}")]
    Measured(&'static str),
    /// The comparison did not end.
    #[error("the comparison did not end: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Flags in the name of `author` what it sees, until the node stops; `judge` compares claims.
pub async fn watch(author: Author, judge: Arc<Judge>) {
    let copies = Copies::new(author.clone(), judge);
    tokio::join!(Watch::new(author).serve(), copies.serve());
}

/// Judges charges on this machine.
pub struct Judge {
    ledger: Arc<Ledger>,
    fetcher: Fetcher,
    blobs: Blobs,
}

impl Judge {
    /// A judge that fetches what it needs with `fetcher`.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, fetcher: Fetcher, blobs: Blobs) -> Self {
        Self { ledger, fetcher, blobs }
    }

    /// Judges one case and tells the ledger what came of it.
    pub async fn judge(&self, case: Case) {
        let (finding, words) = match self.look(&case.charge).await {
            Ok(Some(words)) => (Judgement::Upheld, words),
            Ok(None) => (Judgement::Dismissed, "nothing".to_owned()),
            Err(error) => (Judgement::Unable, error.to_string()),
        };
        let ruling = case.ruling.short();
        tracing::info!(%ruling, finding = finding.word(), %words, "judged a flag");
        let vote = Vote { finding, digest: blob_hash(words.as_bytes()) };
        let Case { ruling: charge, hearing, .. } = case;
        self.ledger.step(Input::Judged(Ballot { charge, hearing, vote }));
    }

    /// What the rule's predicate finds, in words that are the same for every seat.
    async fn look(&self, charge: &Charge) -> Result<Option<String>, JudgeError> {
        match charge.rule {
            Offence::OffChannel => self.solicits(charge.subject).await,
            Offence::Duplicate => self.repeats(charge).await,
            // A measurement decides these: no committee is drawn.
            Offence::Path | Offence::Physics => Err(JudgeError::Measured(charge.rule.word())),
        }
    }

    /// What in a post asks to go on elsewhere.
    async fn solicits(&self, post: RecordId) -> Result<Option<String>, JudgeError> {
        let deadline = Instant::now() + BODY_PATIENCE;
        loop {
            match self.ledger.board().item(post).filter(|item| item.body.is_some()) {
                Some(item) => return Ok(item.solicits.clone()),
                None if self.ledger.board().item(post).is_some_and(|item| item.unreadable) => {
                    return Err(JudgeError::NoBody(post));
                }
                None if Instant::now() >= deadline => return Err(JudgeError::NoBody(post)),
                None => sleep(POLL).await,
            }
        }
    }

    /// In what a claim repeats the one that the charge names.
    async fn repeats(&self, charge: &Charge) -> Result<Option<String>, JudgeError> {
        let state = self.ledger.state();
        let subject = ClaimId(charge.subject.0);
        let earlier = ClaimId(charge.evidence.unwrap_or_default().0);
        let later = self.work(&state, subject).await?;
        let original = self.work(&state, earlier).await?;
        let mut inherited = self.inherited(&state, subject).await?;
        inherited.extend(self.owed(&state, subject, earlier).await?);
        let compare = move || duplicate::compare(&later, &original, &inherited);
        Ok(tokio::task::spawn_blocking(compare).await?)
    }

    /// What the base recipe and a claim's parents are made of.
    async fn inherited(&self, state: &State, claim: ClaimId) -> Result<Vec<Work>, JudgeError> {
        let mut inherited = vec![self.base(state).await?];
        for ancestor in ancestors(state, claim) {
            inherited.push(self.work(state, ancestor).await?);
        }
        Ok(inherited)
    }

    /// The checkpoints that a claim owes to its relay and not to an earlier claim.
    async fn owed(
        &self,
        state: &State,
        later: ClaimId,
        earlier: ClaimId,
    ) -> Result<Vec<Work>, JudgeError> {
        let later = state.claim(later).ok_or(JudgeError::NoClaim(later))?;
        let earlier = state.claim(earlier).ok_or(JudgeError::NoClaim(earlier))?;
        let mut owed = Vec::new();
        for checkpoint in state.owed_to_relay(later, earlier) {
            let weights = self.chunks(checkpoint).await?;
            owed.push(Work { kernels: Default::default(), weights, checkpoint, drafter: None });
        }
        Ok(owed)
    }

    async fn base(&self, state: &State) -> Result<Work, JudgeError> {
        self.work_of(state.genesis().challenge.base).await
    }

    async fn work(&self, state: &State, claim: ClaimId) -> Result<Work, JudgeError> {
        let recipe = state.recipe(claim).ok_or(JudgeError::NoClaim(claim))?;
        self.work_of(recipe).await
    }

    /// What a recipe is made of: its kernels' texts and its weights' chunks.
    async fn work_of(&self, recipe: Recipe) -> Result<Work, JudgeError> {
        let kernels = match recipe.bundle {
            Some(bundle) => {
                self.fetcher.files(bundle, Kind::Bundle).await?;
                files_of(&self.blobs, bundle)?
            }
            None => Default::default(),
        };
        let drafter = recipe.drafter.map(|drafter| drafter.checkpoint);
        let weights = self.chunks(recipe.checkpoint).await?;
        Ok(Work { kernels, weights, checkpoint: recipe.checkpoint, drafter })
    }

    async fn chunks(&self, checkpoint: BlobHash) -> Result<Vec<BlobHash>, JudgeError> {
        let bytes = self.fetcher.blob(checkpoint).await?;
        let manifest = Manifest::read(checkpoint, &bytes)?;
        Ok(manifest.files.into_iter().flat_map(|file| file.chunks).collect())
    }
}

/// The claims that a claim builds on, its parent first.
fn ancestors(state: &State, claim: ClaimId) -> Vec<ClaimId> {
    let parent = |id: ClaimId| state.claim(id).map(|claim| claim.parent);
    let lineage = std::iter::successors(parent(claim), |id| parent(*id));
    lineage.filter(|id| state.claim(*id).is_some()).collect()
}
