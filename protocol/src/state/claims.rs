//! All claims, each with the hash of its state once that was asked for.
//!
//! The state root covers every open claim at every block, and of these few change in one: a hash is kept
//! until its claim is changed, and [`Claims::get_mut`] is the only way to change one.

use super::{ClaimState, spelling, spelling_digest};
use crate::ids::ClaimId;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A claim with its hash, shared by the states that agree about it.
#[derive(Debug)]
struct Kept {
    claim: ClaimState,
    digest: OnceLock<[u8; 32]>,
}

impl Clone for Kept {
    /// A copy is made to be changed, and so has no hash yet.
    fn clone(&self) -> Self {
        Self { claim: self.claim.clone(), digest: OnceLock::new() }
    }
}

/// All claims by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims(BTreeMap<ClaimId, Arc<Kept>>);

impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Claims {}

impl Claims {
    /// All claims, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ClaimState> {
        self.0.values().map(|kept| &kept.claim)
    }

    /// One claim.
    pub(crate) fn get(&self, id: ClaimId) -> Option<&ClaimState> {
        self.0.get(&id).map(|kept| &kept.claim)
    }

    /// One claim, to be changed.
    pub(crate) fn get_mut(&mut self, id: ClaimId) -> Option<&mut ClaimState> {
        let kept = Arc::make_mut(self.0.get_mut(&id)?);
        kept.digest = OnceLock::new();
        Some(&mut kept.claim)
    }

    /// Adds a claim, or puts it in the place of the one with its id.
    pub(crate) fn insert(&mut self, claim: ClaimState) {
        self.0.insert(claim.id, Arc::new(Kept { claim, digest: OnceLock::new() }));
    }

    /// Hash of one claim's whole state.
    pub(crate) fn digest(&self, id: ClaimId) -> Option<[u8; 32]> {
        let kept = self.0.get(&id)?;
        Some(*kept.digest.get_or_init(|| spelling_digest(&spelling(&kept.claim))))
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
}
