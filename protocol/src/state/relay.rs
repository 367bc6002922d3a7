//! Relays: whom the ledger credits for the checkpoint of a claim.
//!
//! One peer builds a checkpoint, a second cannot run it, a third corrects it, a fourth claims it. The first
//! three are posts whose headers carry a [`Link`]; the claim cites the third, and so the ledger finds the
//! others.

use super::posts::{due, in_excess};
use super::{ClaimState, State};
use crate::ids::{BlobHash, ClaimId, PeerId, RecordId};
use crate::post::{Kind, Link, Post};
use crate::record::{Recipe, Record};
use crate::standing::{Occasion, Rule};
use serde::Serialize;
use std::sync::Arc;

/// Links of one author that the ledger keeps while no claim cites them or what follows them; a further one
/// drives out the oldest.
pub const UNCITED_LINKS_PER_AUTHOR_MAX: usize = 32;

/// A checkpoint, a failed attempt or a diagnosis on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkState {
    /// Its record.
    pub id: RecordId,
    /// Who wrote it.
    pub author: PeerId,
    /// Height of the block that ordered it.
    pub height: u64,
    /// Which of the three it is.
    pub kind: Kind,
    /// What it is about, and what it follows.
    pub link: Link,
    /// Whether a claim cites it or a diagnosis that follows it: it is then kept for good.
    pub is_cited: bool,
    /// The claim that brought its author credit; a link is credited once.
    pub credited: Option<ClaimId>,
}

/// The three posts behind a corrected checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay<'a> {
    /// Who made the checkpoint.
    pub built: &'a LinkState,
    /// Who could not run it.
    pub tried: &'a LinkState,
    /// Who found out why and corrected it.
    pub diagnosed: &'a LinkState,
}

impl<'a> Relay<'a> {
    /// In the order in which they came about.
    #[must_use]
    pub fn links(&self) -> [&'a LinkState; 3] {
        [self.built, self.tried, self.diagnosed]
    }
}

impl State {
    /// A checkpoint, failed attempt or diagnosis on the ledger.
    #[must_use]
    pub fn link(&self, id: RecordId) -> Option<&LinkState> {
        self.posts.links.get(&id).map(AsRef::as_ref)
    }

    /// All checkpoints, failed attempts and diagnoses that the ledger keeps, by record.
    pub fn links(&self) -> impl Iterator<Item = &LinkState> {
        self.posts.links.values().map(AsRef::as_ref)
    }

    /// The relay that ended in a diagnosis: the attempt it explains, and the checkpoint that the attempt
    /// tried, which is not the corrected one.
    #[must_use]
    pub fn relay_behind(&self, diagnosis: RecordId) -> Option<Relay<'_>> {
        let of_kind = |id, kind| self.link(id).filter(|link| link.kind == kind);
        let diagnosed = of_kind(diagnosis, Kind::Diagnosis)?;
        let tried = of_kind(diagnosed.link.previous?, Kind::Attempt)?;
        let built = of_kind(tried.link.previous?, Kind::Checkpoint)?;
        let is_one_checkpoint = built.link.manifest == tried.link.manifest;
        let is_corrected = built.link.manifest != diagnosed.link.manifest;
        (is_one_checkpoint && is_corrected).then_some(Relay { built, tried, diagnosed })
    }

    /// The relay that a claim owes its checkpoint or drafter to: that of the first diagnosis it cites whose
    /// correction it runs and neither its parent nor the base did, if all of it was ordered before the
    /// claim was docketed.
    #[must_use]
    pub fn relay_of(&self, claim: &ClaimState) -> Option<Relay<'_>> {
        let runs = |recipe: &Recipe, manifest: BlobHash| {
            let drafter = recipe.drafter.map(|drafter| drafter.checkpoint);
            manifest == recipe.checkpoint || Some(manifest) == drafter
        };
        let inherited = [Some(self.genesis.challenge.base), self.recipe(claim.parent)];
        let is_own = |manifest| {
            runs(&claim.recipe, manifest)
                && !inherited.iter().flatten().any(|recipe| runs(recipe, manifest))
        };
        let relays = self.citations(claim.id).iter().filter_map(|id| self.relay_behind(*id));
        let mut fitting = relays.filter(|relay| {
            let before = |link: &LinkState| link.height < claim.docketed_at;
            is_own(relay.diagnosed.link.manifest) && relay.links().into_iter().all(before)
        });
        fitting.next()
    }

    /// The checkpoints that a claim owes to its relay, so that it repeats nobody by running them: those that
    /// the relay's builder and its diagnoser published before `earlier` was docketed, or whose publisher is
    /// of its author's operator. One that was published only afterwards excuses nothing, or friends of
    /// whoever copies a checkpoint could publish it as a relay of theirs.
    #[must_use]
    pub fn owed_to_relay(&self, later: &ClaimState, earlier: &ClaimState) -> Vec<BlobHash> {
        let Some(relay) = self.relay_of(later) else { return Vec::new() };
        let is_rightful = |link: &&LinkState| {
            let is_own = self.operator(link.author) == self.operator(earlier.author);
            is_own || link.height < earlier.docketed_at
        };
        let links = [relay.built, relay.diagnosed].into_iter().filter(is_rightful);
        links.map(|link| link.link.manifest).collect()
    }

    /// Keeps the link of a post just ordered.
    pub(super) fn note_link(&mut self, record: &Record, post: &Post, height: u64) {
        let Some(link) = post.link else { return };
        let (id, author) = (record.id, record.author);
        let own = self.posts.links.values().filter(|link| link.author == author && !link.is_cited);
        let own = own.map(|link| (link.height, link.id)).collect();
        let links = Arc::make_mut(&mut self.posts.links);
        for oldest in in_excess(own, UNCITED_LINKS_PER_AUTHOR_MAX) {
            links.remove(&oldest);
        }
        let kind = post.kind;
        let link = LinkState { id, author, height, kind, link, is_cited: false, credited: None };
        links.insert(id, Arc::new(link));
        self.note(&[b"link", &id.0, &height.to_le_bytes()]);
    }

    pub(super) fn change_link(&mut self, id: RecordId, change: impl FnOnce(&mut LinkState)) {
        if let Some(link) = Arc::make_mut(&mut self.posts.links).get_mut(&id) {
            change(Arc::make_mut(link));
        }
    }

    /// Keeps a cited diagnosis, and the relay behind it, for good.
    pub(super) fn keep_relay(&mut self, cited: RecordId) {
        let relay = self.relay_behind(cited).map(|relay| relay.links().map(|link| link.id));
        for id in relay.into_iter().flatten().chain([cited]) {
            self.change_link(id, |link| link.is_cited = true);
        }
    }

    /// Credits the authors of the relay behind a confirmed claim, each operator once, and with them the
    /// claim's author, who shipped what they made.
    ///
    /// Due when specs are, and for the same reasons no cheaper to come by: the
    /// claim led its track and a second committee confirmed it, and a link is credited once. Links of the
    /// claim's own operator are not, and without anybody else's there was no relay to ship.
    pub(super) fn credit_relay(&mut self, id: ClaimId) {
        let Some((claim, _)) = self.claim(id).and_then(due) else { return };
        let (shipper, mut operators) = (claim.author, vec![self.operator(claim.author)]);
        let Some(relay) = self.relay_of(claim) else { return };
        let mut earning = Vec::new();
        for link in relay.links().into_iter().filter(|link| link.credited.is_none()) {
            let operator = self.operator(link.author);
            if !operators.contains(&operator) {
                operators.push(operator);
                earning.push((link.id, link.author));
            }
        }
        if earning.is_empty() {
            return;
        }
        let occasion = Occasion { height: self.height, claim: Some(id), round: None };
        for (link, author) in earning {
            self.change_link(link, |link| link.credited = Some(id));
            self.note(&[b"credit", &link.0, &id.0]);
            self.book(author, Rule::Relayed, occasion);
        }
        self.book(shipper, Rule::Relayed, occasion);
    }
}
