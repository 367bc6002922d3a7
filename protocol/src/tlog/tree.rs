//! The Merkle tree of RFC 6962 over the blocks of a ledger, with SHA-256, as witnesses know it. The crate
//! `ct-merkle` does the arithmetic; the leaf of a block is its hash.

use crate::ids::BlockHash;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, RootHash};
use sha2::{Digest, Sha256};
use std::fmt;

/// A node's hash.
pub type Root = [u8; 32];

/// A tree that grows by a leaf a block and keeps all its nodes, about 96 bytes a block.
#[derive(Clone, Default)]
pub struct LogTree(MemoryBackedTree<Sha256, [u8; 32]>);

impl LogTree {
    /// Appends the next block.
    pub fn push(&mut self, block: BlockHash) {
        self.0.push(block.0);
    }

    /// How many blocks there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.len()
    }

    /// The root; of the empty tree, the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Root {
        (*self.0.root().as_bytes()).into()
    }

    /// The tree as it was when it had `size` blocks; `None` before it had. Hashes all of them again.
    #[must_use]
    pub fn at(&self, size: u64) -> Option<Self> {
        let mut earlier = Self::default();
        for block in self.0.items().get(..usize::try_from(size).ok()?)? {
            earlier.0.push(*block);
        }
        Some(earlier)
    }

    /// The proof that the tree of `from` blocks is the beginning of this one, RFC 6962 section 2.1.2. It is
    /// empty from no block on and for the tree itself; `None` beyond it.
    #[must_use]
    pub fn consistency(&self, from: u64) -> Option<Vec<Root>> {
        let added = self.size().checked_sub(from)?;
        if from == 0 || added == 0 {
            return Some(Vec::new());
        }
        let proof = self.0.prove_consistency(usize::try_from(added).ok()?);
        let (hashes, _) = proof.as_bytes().as_chunks();
        Some(hashes.to_vec())
    }
}

impl fmt::Debug for LogTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogTree({} blocks, {})", self.size(), hex::encode(self.root()))
    }
}

/// Whether a proof shows that one tree is the beginning of another, each given as its size and root.
/// Every tree begins with the empty one, and with itself; neither needs a hash to be shown.
#[must_use]
pub fn is_beginning(old: (u64, Root), new: (u64, Root), proof: &[Root]) -> bool {
    let empty: Root = Sha256::digest([]).into();
    if old.0 == 0 {
        return old.1 == empty && proof.is_empty() && (new.0 > 0 || new.1 == empty);
    }
    let hash = |(size, root): (u64, Root)| RootHash::<Sha256>::new(root.into(), size);
    let Ok(proof) = ConsistencyProof::try_from_bytes(proof.concat()) else { return false };
    hash(new).verify_consistency(&hash(old), &proof).is_ok()
}
