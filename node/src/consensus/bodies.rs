//! The bodies of the blocks proposed at the running height.

use assay_protocol::ids::BlockHash;
use std::collections::BTreeMap;

/// Most bodies kept, and so at most 16 MiB of them.
const BODIES_MAX: usize = 32;
/// Bodies kept per round: an honest proposer has one, and the engine looks at two at most.
const BODIES_PER_ROUND_MAX: usize = 2;

#[derive(Debug)]
struct Body {
    round: u32,
    bytes: Vec<u8>,
}

/// A bounded map from hash to body, which prefers later rounds.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    map: BTreeMap<BlockHash, Body>,
}

impl Bodies {
    pub(crate) fn contains(&self, hash: BlockHash) -> bool {
        self.map.contains_key(&hash)
    }

    pub(crate) fn get(&self, hash: BlockHash) -> Option<&[u8]> {
        self.map.get(&hash).map(|body| body.bytes.as_slice())
    }

    /// Whether a body of this round would still be taken.
    pub(crate) fn has_room(&self, round: u32) -> bool {
        let in_round = self.map.values().filter(|body| body.round == round).count();
        in_round < BODIES_PER_ROUND_MAX
    }

    /// Keeps a body. When full, the body of the earliest round goes, unless it is `locked`, the
    /// one that a quorum already stands behind.
    pub(crate) fn insert(
        &mut self,
        hash: BlockHash,
        round: u32,
        bytes: Vec<u8>,
        locked: Option<BlockHash>,
    ) {
        if self.map.len() >= BODIES_MAX {
            let oldest = self
                .map
                .iter()
                .filter(|(hash, _)| Some(**hash) != locked)
                .min_by_key(|(_, body)| body.round)
                .map(|(hash, _)| *hash);
            if let Some(oldest) = oldest {
                self.map.remove(&oldest);
            }
        }
        self.map.insert(hash, Body { round, bytes });
    }

    pub(crate) fn clear(&mut self) {
        self.map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_bounded_and_keeps_the_locked_block() {
        let mut bodies = Bodies::default();
        let hash = |round: u32| BlockHash([round as u8; 32]);
        for round in 0..100 {
            assert!(bodies.has_room(round));
            bodies.insert(hash(round), round, vec![1], Some(hash(3)));
        }
        assert_eq!(bodies.map.len(), BODIES_MAX);
        assert!(bodies.contains(hash(3)) && bodies.contains(hash(99)));
        assert!(!bodies.contains(hash(4)));
        bodies.insert(BlockHash([200; 32]), 99, vec![2], None);
        assert!(!bodies.has_room(99));
        assert_eq!(bodies.get(BlockHash([200; 32])), Some([2].as_slice()));
    }
}
