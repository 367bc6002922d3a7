//! All claims, each with the hash of its state once that was asked for.
//!
//! The state root covers every open claim at every block, and of these few change in one: a hash is kept
//! until its claim is changed, and [`Claims::get_mut`] is the only way to change one.

use super::archive::{Archive, ArchiveError, BYTES_IN_MEMORY, Brief};
use super::{ClaimState, spelling, spelling_digest};
use crate::ids::ClaimId;
use elsa::sync::FrozenMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// A claim with its hash, shared by the states that agree about it.
#[derive(Debug)]
struct Kept {
    claim: ClaimState,
    digest: OnceLock<[u8; 32]>,
}

impl Kept {
    fn new(claim: ClaimState) -> Arc<Self> {
        Arc::new(Self { claim, digest: OnceLock::new() })
    }
}

impl Clone for Kept {
    /// A copy is made to be changed, and so has no hash yet.
    fn clone(&self) -> Self {
        Self { claim: self.claim.clone(), digest: OnceLock::new() }
    }
}

/// A claim in the archive.
#[derive(Debug, Clone)]
struct PutAway {
    place: u64,
    brief: Brief<Arc<str>>,
}

/// The claims that are in an archive.
#[derive(Debug)]
struct Away {
    archive: Arc<dyn Archive>,
    in_memory_max: usize,
    claims: BTreeMap<ClaimId, PutAway>,
    /// The names of the classes that they are about, each once.
    classes: BTreeSet<Arc<str>>,
    /// What was read back lately. A map that only grows where it is shared, so that a claim which is read back
    /// can be borrowed from it.
    read_back: FrozenMap<ClaimId, Arc<Kept>>,
    /// Bytes that came into memory since claims were last put away, of records and from the archive.
    new_bytes: AtomicUsize,
    /// Claims that stayed in memory then, because something of them was open.
    stayed: usize,
    error: OnceLock<ArchiveError>,
}

impl Clone for Away {
    fn clone(&self) -> Self {
        Self {
            archive: self.archive.clone(),
            in_memory_max: self.in_memory_max,
            claims: self.claims.clone(),
            classes: self.classes.clone(),
            read_back: FrozenMap::default(),
            new_bytes: AtomicUsize::default(),
            stayed: self.stayed,
            error: self.error.clone(),
        }
    }
}

impl Away {
    fn new(archive: Arc<dyn Archive>, in_memory_max: usize) -> Self {
        Self {
            archive,
            in_memory_max,
            claims: BTreeMap::new(),
            classes: BTreeSet::new(),
            read_back: FrozenMap::default(),
            new_bytes: AtomicUsize::default(),
            stayed: 0,
            error: OnceLock::new(),
        }
    }

    fn get(&self, id: ClaimId) -> Option<&Kept> {
        let place = self.claims.get(&id)?.place;
        if let Some(kept) = self.read_back.get(&id) {
            return Some(kept);
        }
        let claim = self.archive.read(place).and_then(|bytes| {
            self.new_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
            rmp_serde::from_slice(&bytes).map_err(|e| ArchiveError(e.to_string()))
        });
        match claim {
            Ok(claim) => Some(self.read_back.insert(id, Kept::new(claim))),
            Err(error) => {
                self.error.get_or_init(|| error);
                None
            }
        }
    }

    /// Takes a claim out.
    fn take(&mut self, id: ClaimId) -> Option<Arc<Kept>> {
        self.get(id)?;
        self.claims.remove(&id);
        self.read_back.as_mut().remove(&id)
    }

    /// A class's name, of which there is one for all claims.
    fn name_of(&mut self, class: &str) -> Arc<str> {
        if let Some(known) = self.classes.get(class) {
            return known.clone();
        }
        let class: Arc<str> = Arc::from(class);
        self.classes.insert(class.clone());
        class
    }

    /// Keeps a claim. The brief's class is the claim's.
    fn put(&mut self, claim: &ClaimState, brief: &Brief<()>) -> Result<(), ArchiveError> {
        let bytes = rmp_serde::to_vec(claim).map_err(|e| ArchiveError(e.to_string()))?;
        let place = self.archive.keep(&bytes)?;
        let brief = brief.with_class(self.name_of(&claim.hardware_class));
        self.claims.insert(claim.id, PutAway { place, brief });
        Ok(())
    }
}

/// All claims by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    in_memory: BTreeMap<ClaimId, Arc<Kept>>,
    away: Option<Away>,
}

impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Claims {}

impl Claims {
    /// The ids of all claims, in memory before the others.
    pub(super) fn ids(&self) -> impl Iterator<Item = ClaimId> {
        let away = self.away.iter().flat_map(|away| away.claims.keys());
        self.in_memory.keys().chain(away).copied()
    }

    /// All claims, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ClaimState> {
        let mut ids: Vec<ClaimId> = self.ids().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.get(id))
    }

    /// The claims that are in memory.
    pub(super) fn in_memory(&self) -> impl Iterator<Item = &ClaimState> {
        self.in_memory.values().map(|kept| &kept.claim)
    }

    /// One claim.
    pub(crate) fn get(&self, id: ClaimId) -> Option<&ClaimState> {
        self.kept(id).map(|kept| &kept.claim)
    }

    fn kept(&self, id: ClaimId) -> Option<&Kept> {
        let here = self.in_memory.get(&id).map(AsRef::as_ref);
        here.or_else(|| self.away.as_ref()?.get(id))
    }

    /// One claim, to be changed.
    pub(crate) fn get_mut(&mut self, id: ClaimId) -> Option<&mut ClaimState> {
        if let Some(kept) = self.away.as_mut().and_then(|away| away.take(id)) {
            self.in_memory.insert(id, kept);
        }
        let kept = Arc::make_mut(self.in_memory.get_mut(&id)?);
        kept.digest = OnceLock::new();
        Some(&mut kept.claim)
    }

    /// Adds a claim, or puts it in the place of the one with its id.
    pub(crate) fn insert(&mut self, claim: ClaimState) {
        if let Some(away) = &mut self.away {
            away.take(claim.id);
        }
        self.in_memory.insert(claim.id, Kept::new(claim));
    }

    /// Hash of one claim's whole state.
    pub(crate) fn digest(&self, id: ClaimId) -> Option<[u8; 32]> {
        let kept = self.kept(id)?;
        Some(*kept.digest.get_or_init(|| spelling_digest(&spelling(&kept.claim))))
    }

    /// Has an archive for what [`Claims::put_away`] is told to put away.
    pub(super) fn use_archive(&mut self, archive: Arc<dyn Archive>, in_memory_max: usize) {
        self.away = Some(Away::new(archive, in_memory_max));
    }

    /// Why the archive failed, if it did.
    pub(super) fn archive_error(&self) -> Option<&ArchiveError> {
        self.away.as_ref().and_then(|away| away.error.get())
    }

    /// What is kept in memory of a claim that was put away.
    pub(super) fn put_away_brief(&self, id: ClaimId) -> Option<Brief<&str>> {
        let claim = self.away.as_ref()?.claims.get(&id)?;
        Some(claim.brief.with_class(claim.brief.class.as_ref()))
    }

    /// Tells that a record came into memory.
    pub(super) fn count_record(&mut self, bytes: usize) {
        if let Some(away) = &mut self.away {
            *away.new_bytes.get_mut() += bytes;
        }
    }

    /// Whether there is an archive that works, and more in memory than is meant to be.
    pub(super) fn is_due(&self) -> bool {
        let Some(away) = self.away.as_ref().filter(|away| away.error.get().is_none()) else {
            return false;
        };
        let (kept, max) = (self.in_memory.len(), away.in_memory_max);
        // Claims that had to stay are not looked at again for each record, however many they are.
        let is_full = kept > max && kept.saturating_sub(away.stayed) >= max;
        let is_large = away.new_bytes.load(Ordering::Relaxed) > BYTES_IN_MEMORY;
        is_full || is_large || away.read_back.len() > max
    }

    /// Puts some claims into the archive, and forgets what was read back from it.
    pub(super) fn put_away(&mut self, claims: Vec<(ClaimId, Brief<()>)>) {
        let Some(away) = &mut self.away else { return };
        away.read_back.as_mut().clear();
        *away.new_bytes.get_mut() = 0;
        for (id, brief) in claims {
            let Some(kept) = self.in_memory.get(&id) else { continue };
            if let Err(error) = away.put(&kept.claim, &brief) {
                away.error.get_or_init(|| error);
                return;
            }
            self.in_memory.remove(&id);
        }
        away.stayed = self.in_memory.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{CLASS, child_recipe, genesis, peer};
    use crate::record::Claim;
    use crate::state::State;

    fn claim(id: u8) -> ClaimState {
        let claim = Claim {
            recipe: child_recipe(id),
            parent: State::new(genesis()).base_claim(),
            result_seal: [0; 32],
            summary: String::new(),
            hardware_class: CLASS.to_owned(),
            cites: Vec::new(),
        };
        ClaimState::docketed(ClaimId([id; 32]), peer(0), claim, 1)
    }

    #[test]
    fn a_hash_follows_its_claim() {
        let id = ClaimId([7; 32]);
        let mut claims = Claims::default();
        claims.insert(claim(7));
        let before = claims.digest(id);
        let old = claims.clone();
        claims.get_mut(id).unwrap().settled_at = Some(9);
        let after = claims.digest(id);
        assert!(before.is_some() && before != after);
        assert_eq!(after, Some(spelling_digest(&spelling(claims.get(id).unwrap()))));
        assert_eq!((old.digest(id), old == claims), (before, false), "a copy keeps its own");
        claims.get_mut(id).unwrap().settled_at = None;
        assert_eq!((claims.digest(id), old == claims), (before, true), "hashes do not tell apart");
        assert_eq!(claims.digest(ClaimId([8; 32])), None);
    }

    /// Loses whatever it is given.
    #[derive(Debug)]
    struct Full;

    impl Archive for Full {
        fn keep(&self, _: &[u8]) -> Result<u64, ArchiveError> {
            Err(ArchiveError("full".to_owned()))
        }

        fn read(&self, _: u64) -> Result<Vec<u8>, ArchiveError> {
            Err(ArchiveError("full".to_owned()))
        }
    }

    #[test]
    fn claims_are_looked_through_when_many_or_large_ones_came_and_never_after_a_failure() {
        let mut claims = Claims::default();
        claims.insert(claim(0));
        assert!(!claims.is_due(), "there is no archive");
        claims.use_archive(Arc::new(Full), 2);
        let inserted = |claims: &mut Claims, id| {
            claims.insert(claim(id));
            claims.is_due()
        };
        assert_eq!([1, 2].map(|id| inserted(&mut claims, id)), [false, true]);
        claims.put_away(Vec::new());
        assert_eq!([3, 4].map(|id| inserted(&mut claims, id)), [false, true], "three stayed");
        claims.put_away(Vec::new());
        claims.count_record(BYTES_IN_MEMORY);
        assert!(!claims.is_due());
        claims.count_record(1);
        assert!(claims.is_due());
        let id = ClaimId([0; 32]);
        let state = State::new(genesis());
        let brief = state.brief_of(claims.get(id).unwrap()).with_class(());
        claims.put_away(vec![(id, brief)]);
        claims.count_record(BYTES_IN_MEMORY + 1);
        assert!(claims.archive_error().is_some() && !claims.is_due());
        assert!(claims.get(id).is_some(), "what could not be put away is still here");
    }
}
