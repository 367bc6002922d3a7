//! Merkle trees with the shape of RFC 6962 over BLAKE3: leaves and nodes are hashed in different
//! domains, so that neither passes for the other.

use crate::ids::hash_parts;

/// Hash of a leaf.
#[must_use]
pub fn leaf(data: &[u8]) -> [u8; 32] {
    hash_parts("assay merkle leaf v1", &[data])
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    hash_parts("assay merkle node v1", &[left, right])
}

/// The right edge of a growing tree: enough to append and to know the root, 32 bytes per level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    leaves: u64,
    /// Roots of the complete subtrees, largest first; their sizes are the bits of `leaves`.
    peaks: Vec<[u8; 32]>,
}

impl Frontier {
    /// Appends a leaf by its data.
    pub fn push(&mut self, data: &[u8]) {
        let mut hash = leaf(data);
        let mut size = self.leaves;
        while size & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
            size >>= 1;
        }
        self.peaks.push(hash);
        self.leaves += 1;
    }

    /// How many leaves there are.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The root; a constant for the empty tree.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => hash_parts("assay merkle empty v1", &[]),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

/// The root over `items`.
pub fn root<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut frontier = Frontier::default();
    for item in items {
        frontier.push(item);
    }
    frontier.root()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 §2.1 word for word: split at the largest power of two below n.
    fn reference(items: &[Vec<u8>]) -> [u8; 32] {
        match items.len() {
            0 => hash_parts("assay merkle empty v1", &[]),
            1 => leaf(&items[0]),
            n => {
                let k = n.next_power_of_two() / 2;
                node(&reference(&items[..k]), &reference(&items[k..]))
            }
        }
    }

    #[test]
    fn frontier_gives_the_rfc_6962_root_for_every_size() {
        let items: Vec<Vec<u8>> = (0..70_u8).map(|i| vec![i; usize::from(i % 5)]).collect();
        for n in 0..items.len() {
            let part = &items[..n];
            assert_eq!(root(part.iter().map(Vec::as_slice)), reference(part), "{n} leaves");
        }
    }
}
