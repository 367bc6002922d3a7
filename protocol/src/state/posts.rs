//! Posts as the ledger sees them: how many a peer may have ordered, and what specs forecast.

use super::relay::LinkState;
use super::{ClaimState, State};
use crate::error::Reject;
use crate::ids::{ClaimId, PeerId, RecordId, hash_parts};
use crate::post::{Forecast, Kind, Post};
use crate::record::Record;
use crate::standing::{Occasion, Rule};
use crate::verdict::Estimate;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most posts in one block.
pub const POSTS_PER_BLOCK_MAX: u32 = 64;
/// Most posts of one peer in one block.
pub const POSTS_PER_PEER_PER_BLOCK_MAX: u32 = 4;
/// Posts that a peer may have ordered in an epoch besides one for each of its blocks. A peer that
/// nobody else answers moves the ledger by its own posts, one block each, and is never stuck.
pub const POSTS_PER_EPOCH_EXTRA: u64 = 64;
/// Specs of one author that the ledger keeps while no claim cites them; a further one drives out the oldest.
pub const UNCITED_SPECS_PER_AUTHOR_MAX: usize = 32;

/// A spec on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecState {
    /// Its record.
    pub id: RecordId,
    /// Who wrote it.
    pub author: PeerId,
    /// Height of the block that ordered it.
    pub height: u64,
    /// What it predicts.
    pub forecast: Forecast,
    /// Whether a claim cites it: it is then kept for good.
    pub is_cited: bool,
    /// The claim that brought it its credit; a spec is credited once.
    pub credited: Option<ClaimId>,
}

/// One peer's posts of the last two epochs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Recent {
    /// The epoch in which each was ordered: it is known by name to the end of the next one, in which it
    /// could be ordered again and may be charged, whatever epoch it says it is of.
    said: BTreeMap<RecordId, u64>,
    /// The epoch that `ordered` counts in.
    epoch: u64,
    /// Posts ordered in it.
    ordered: u64,
}

/// What was ordered in the block being made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct InBlock {
    height: u64,
    all: u32,
    by_peer: BTreeMap<PeerId, u32>,
}

/// Everything that the ledger keeps of posts. Whatever grows is shared by all copies of a state until one
/// changes it, since every record heard is tried on a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Posts {
    total: u64,
    block: InBlock,
    recent: Arc<BTreeMap<PeerId, Arc<Recent>>>,
    specs: Arc<BTreeMap<RecordId, Arc<SpecState>>>,
    pub(super) links: Arc<BTreeMap<RecordId, Arc<LinkState>>>,
    citations: Arc<BTreeMap<ClaimId, Arc<[RecordId]>>>,
}

impl Posts {
    /// Hash of what decides which posts may come next. Specs, links and citations are in the history.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut bytes = self.total.to_le_bytes().to_vec();
        for (peer, recent) in self.recent.iter() {
            bytes.extend_from_slice(&peer.0);
            bytes.extend_from_slice(&recent.epoch.to_le_bytes());
            bytes.extend_from_slice(&recent.ordered.to_le_bytes());
            bytes.extend_from_slice(&(recent.said.len() as u64).to_le_bytes());
            for (id, epoch) in &recent.said {
                bytes.extend_from_slice(&id.0);
                bytes.extend_from_slice(&epoch.to_le_bytes());
            }
        }
        hash_parts("assay posts v1", &[&bytes])
    }
}

/// The oldest of what one author has, by height and id, that must go so that one more is `most` at most.
pub(super) fn in_excess(mut own: Vec<(u64, RecordId)>, most: usize) -> Vec<RecordId> {
    own.sort_unstable();
    let too_many = (own.len() + 1).saturating_sub(most);
    own.into_iter().take(too_many).map(|(_, id)| id).collect()
}

/// A claim that may credit what it cites, with its ratio: opened, no null claim, confirmed by a second
/// committee and not debunked.
pub(super) fn due(claim: &ClaimState) -> Option<(&ClaimState, Estimate)> {
    let is_opened = claim.opening.as_ref().is_some_and(|opening| !opening.null);
    let ratio = claim.verdict()?.ratio?;
    (is_opened && claim.is_confirmed() && claim.stands()).then_some((claim, ratio))
}

/// Whether a measured ratio bears a forecast out: both are gains, and neither is more than twice
/// the other.
#[must_use]
pub fn bears_out(forecast_ppm: u64, measured_ppm: u64) -> bool {
    let gain = |ppm: u64| ppm.saturating_sub(1_000_000);
    let (forecast, measured) = (gain(forecast_ppm), gain(measured_ppm));
    let within = |a: u64, b: u64| a <= b.saturating_mul(2);
    measured > 0 && within(forecast, measured) && within(measured, forecast)
}

impl State {
    /// Posts ordered so far.
    #[cfg(test)]
    pub(crate) fn posts_ordered(&self) -> u64 {
        self.posts.total
    }

    /// A spec on the ledger.
    #[must_use]
    pub fn spec(&self, id: RecordId) -> Option<&SpecState> {
        self.posts.specs.get(&id).map(AsRef::as_ref)
    }

    /// All specs, by record.
    pub fn specs(&self) -> impl Iterator<Item = &SpecState> {
        self.posts.specs.values().map(AsRef::as_ref)
    }

    /// The specs and diagnoses that a claim says it follows.
    #[must_use]
    pub fn citations(&self, claim: ClaimId) -> &[RecordId] {
        self.posts.citations.get(&claim).map_or(&[], AsRef::as_ref)
    }

    /// The claims that cite a spec or a diagnosis, by id.
    pub fn cited_by(&self, cited: RecordId) -> impl Iterator<Item = &ClaimState> {
        let citing = self.posts.citations.iter().filter(move |(_, cites)| cites.contains(&cited));
        citing.filter_map(|(claim, _)| self.claim(*claim))
    }

    /// Most posts that a peer may have ordered in one epoch.
    #[must_use]
    pub fn posts_per_epoch(&self) -> u64 {
        self.parameters().membership.epoch_blocks.saturating_add(POSTS_PER_EPOCH_EXTRA)
    }

    /// Who said a post of the last two epochs in which its author said anything; older ones are not known
    /// by name any more.
    ///
    /// # Errors
    ///
    /// [`Reject::UnknownPost`].
    pub fn poster(&self, id: RecordId) -> Result<PeerId, Reject> {
        let mut recent = self.posts.recent.iter();
        let found = recent.find(|(_, recent)| recent.said.contains_key(&id));
        found.map(|(peer, _)| *peer).ok_or(Reject::UnknownPost(id))
    }

    pub(super) fn apply_post(
        &mut self,
        record: &Record,
        post: &Post,
        height: u64,
    ) -> Result<(), Reject> {
        let epoch = self.epoch_of(height);
        if post.epoch > epoch || post.epoch.saturating_add(1) < epoch {
            return Err(Reject::PostEpoch { said: post.epoch, epoch });
        }
        let most = self.posts_per_epoch();
        if let Some(recent) = self.posts.recent.get(&record.author) {
            if recent.said.contains_key(&record.id) {
                return Err(Reject::Repeated(record.author));
            }
            if recent.epoch == epoch && recent.ordered >= most {
                return Err(Reject::PostsSpent { peer: record.author, most });
            }
        }
        if self.posts.block.height != height {
            self.posts.block = InBlock { height, ..InBlock::default() };
        }
        let charged = match &post.charge {
            Some(charge) => Some((charge, self.check_charge(record.author, charge, height)?)),
            None => None,
        };
        let block = &mut self.posts.block;
        let by_peer = block.by_peer.entry(record.author).or_default();
        if block.all >= POSTS_PER_BLOCK_MAX || *by_peer >= POSTS_PER_PEER_PER_BLOCK_MAX {
            return Err(Reject::BlockPosts);
        }
        block.all = block.all.saturating_add(1);
        *by_peer = by_peer.saturating_add(1);

        let recent = Arc::make_mut(&mut self.posts.recent);
        let changed = Arc::make_mut(recent.entry(record.author).or_default());
        if changed.epoch != epoch {
            (changed.epoch, changed.ordered) = (epoch, 0);
            changed.said.retain(|_, said| said.saturating_add(1) >= epoch);
        }
        changed.ordered = changed.ordered.saturating_add(1);
        changed.said.insert(record.id, epoch);
        self.posts.total = self.posts.total.saturating_add(1);
        if let Some(forecast) = &post.forecast {
            self.note_spec(record, forecast, height);
        }
        self.note_link(record, post, height);
        if let Some((charge, accused)) = charged {
            self.open_ruling(record.id, record.author, charge, accused);
        }
        if let Some(bound) = &post.bound {
            self.note_limit(record, bound, height);
        }
        Ok(())
    }

    fn note_spec(&mut self, record: &Record, forecast: &Forecast, height: u64) {
        let (id, author) = (record.id, record.author);
        let uncited = self.specs().filter(|spec| spec.author == author && !spec.is_cited);
        let uncited = uncited.map(|spec| (spec.height, spec.id)).collect();
        let specs = Arc::make_mut(&mut self.posts.specs);
        for oldest in in_excess(uncited, UNCITED_SPECS_PER_AUTHOR_MAX) {
            specs.remove(&oldest);
        }
        let forecast = forecast.clone();
        let spec = SpecState { id, author, height, forecast, is_cited: false, credited: None };
        specs.insert(id, Arc::new(spec));
        self.note(&[b"spec", &id.0, &height.to_le_bytes()]);
    }

    fn change_spec(&mut self, id: RecordId, change: impl FnOnce(&mut SpecState)) {
        if let Some(spec) = Arc::make_mut(&mut self.posts.specs).get_mut(&id) {
            change(Arc::make_mut(spec));
        }
    }

    /// Checks that what a claim cites are specs or diagnoses on the ledger.
    pub(super) fn check_citations(&self, cites: &[RecordId]) -> Result<(), Reject> {
        let is_diagnosis = |id| self.link(id).is_some_and(|link| link.kind == Kind::Diagnosis);
        match cites.iter().find(|id| self.spec(**id).is_none() && !is_diagnosis(**id)) {
            Some(unknown) => Err(Reject::Uncitable(*unknown)),
            None => Ok(()),
        }
    }

    /// Remembers what a claim cites.
    pub(super) fn note_citations(&mut self, claim: ClaimId, cites: &[RecordId]) {
        if cites.is_empty() {
            return;
        }
        let ids: Vec<u8> = cites.iter().flat_map(|id| id.0).collect();
        self.note(&[b"cites", &claim.0, &ids]);
        Arc::make_mut(&mut self.posts.citations).insert(claim, cites.into());
        for id in cites {
            self.change_spec(*id, |spec| spec.is_cited = true);
            self.keep_relay(*id);
        }
    }

    /// Credits those whom a claim says it follows.
    pub(super) fn credit_cited(&mut self, id: ClaimId) {
        self.credit_specs(id);
        self.credit_relay(id);
    }

    /// Credits the first spec of somebody else that a confirmed claim followed and bore out.
    ///
    /// Only a claim that led its track and that a second committee confirmed credits anybody, once,
    /// and a spec is credited once: every credit costs the network's best being beaten, so that two
    /// operators who cite each other gain nothing that work would not bring them.
    ///
    /// Due when the author opened its result and when a later committee confirms a claim that was opened
    /// before; a null claim credits nobody.
    fn credit_specs(&mut self, id: ClaimId) {
        let Some((claim, ratio)) = self.claim(id).and_then(due) else { return };
        let operator = self.operator(claim.author);
        let earns = |spec: &&SpecState| {
            spec.credited.is_none()
                && spec.height < claim.docketed_at
                && self.operator(spec.author) != operator
                && spec.forecast.hardware_class == claim.hardware_class
                && bears_out(spec.forecast.ratio_ppm, ratio.ppm)
        };
        let cited = self.citations(id).iter().filter_map(|spec| self.spec(*spec));
        let Some((spec, author)) = cited.into_iter().find(earns).map(|s| (s.id, s.author)) else {
            return;
        };
        self.change_spec(spec, |spec| spec.credited = Some(id));
        self.note(&[b"credit", &spec.0, &id.0]);
        let occasion = Occasion { height: self.height, claim: Some(id), round: None };
        self.book(author, Rule::CitedSpec, occasion);
    }
}
