//! Roots and proofs, against the crate `tlog_tiles`, which shares no code with the tree.

use crate::ids::BlockHash;
use crate::tlog::{LogTree, is_beginning};
use tlog_tiles::{Hash, HashReader, check_tree, prove_tree, stored_hashes, tree_hash};

/// More than two full levels of any shape.
const BLOCKS: u8 = 70;

fn block(index: u8) -> BlockHash {
    BlockHash([index; 32])
}

/// The nodes of a tree in the order in which `tlog_tiles` stores them.
#[derive(Default)]
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

/// The tree of each size up to [`BLOCKS`], here and there.
fn trees() -> (Vec<LogTree>, Stored) {
    let (mut trees, mut stored) = (vec![LogTree::default()], Stored::default());
    for index in 0..BLOCKS {
        let mut next = trees.last().unwrap().clone();
        next.push(block(index));
        trees.push(next);
        let added = stored_hashes(u64::from(index), &block(index).0, &stored).unwrap();
        stored.0.extend(added);
    }
    (trees, stored)
}

#[test]
fn roots_are_those_of_another_implementation() {
    let (trees, stored) = trees();
    for (size, tree) in (0_u64..).zip(&trees) {
        assert_eq!(tree.size(), size);
        assert_eq!(tree.root(), tree_hash(size, &stored).unwrap().0, "{size}");
        assert_eq!(trees.last().unwrap().at(size).unwrap().root(), tree.root());
    }
    assert!(trees.last().unwrap().at(u64::from(BLOCKS) + 1).is_none());
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex::encode(trees[0].root()), empty, "SHA-256 of nothing");
}

#[test]
fn proofs_are_those_of_another_implementation_and_verify_in_both() {
    let (trees, stored) = trees();
    for (size, tree) in (0_u64..).zip(&trees) {
        for (from, earlier) in (0..=size).zip(&trees) {
            let proof = tree.consistency(from).unwrap();
            let (old, new) = ((from, earlier.root()), (size, tree.root()));
            assert!(is_beginning(old, new, &proof), "{from} to {size}");
            if from > 0 {
                let theirs = prove_tree(size, from, &stored).unwrap();
                assert_eq!(proof, theirs.iter().map(|hash| hash.0).collect::<Vec<_>>());
                check_tree(&theirs, size, Hash(new.1), from, Hash(old.1)).unwrap();
            }
        }
        assert!(tree.consistency(size + 1).is_none());
    }
}

#[test]
fn what_is_no_proof_proves_nothing() {
    let (trees, _) = trees();
    let pair = |size: usize| (size as u64, trees[size].root());
    for (from, size) in [(1, 2), (3, 7), (4, 8), (6, 8), (7, 8), (20, 69), (64, 65), (33, 64)] {
        let proof = trees[size].consistency(from as u64).unwrap();
        assert!(is_beginning(pair(from), pair(size), &proof));
        assert!(!is_beginning(pair(size), pair(from), &proof), "backwards");
        assert!(!is_beginning((from as u64, [1; 32]), pair(size), &proof), "another beginning");
        assert!(!is_beginning(pair(from), (size as u64, [1; 32]), &proof), "another end");
        let shorter = &proof[..proof.len() - 1];
        let longer = [proof.as_slice(), &[[0; 32]]].concat();
        for false_proof in [shorter, &longer, &[]] {
            let theirs: Vec<Hash> = false_proof.iter().copied().map(Hash).collect();
            let (old, new) = (pair(from), pair(size));
            assert!(!is_beginning(old, new, false_proof), "{from} to {size}");
            assert!(check_tree(&theirs, new.0, Hash(new.1), old.0, Hash(old.1)).is_err());
        }
        for at in 0..proof.len() {
            let mut changed = proof.clone();
            changed[at][31] ^= 1;
            assert!(!is_beginning(pair(from), pair(size), &changed));
        }
    }
    // Sizes that no ledger reaches.
    for size in [u64::MAX, u64::MAX / 2 + 1, u64::MAX / 2 + 2] {
        assert!(!is_beginning(pair(3), (size, [0; 32]), &[[0; 32]; 63]));
        assert!(!is_beginning((size, [0; 32]), (u64::MAX, [0; 32]), &[]));
    }
    assert!(!is_beginning((0, [0; 32]), pair(3), &[]), "the empty tree has one root");
    assert!(!is_beginning(pair(0), pair(3), &[[0; 32]]), "nothing needs no proof");
    assert!(!is_beginning(pair(0), (0, [0; 32]), &[]));
    assert!(is_beginning(pair(0), pair(0), &[]));
}
