//! Cheap answers to "may this claim repeat that one": what one brings, by its least hashes, held against all of
//! the other.
//!
//! The least hashes of a set are a sample of it that depends on nothing else (A. Broder, "On the resemblance
//! and containment of documents", 1997). A copy contains nearly all of what it copies, so that a sample of the
//! earlier claim lies nearly whole in the later one; where it does not, comparing both is of no use.

use super::duplicate::{Shingle, Work, built_in, shingles};
use assay_protocol::ids::BlobHash;
use std::collections::BTreeSet;

/// Hashes of each kind that a sketch keeps.
const SKETCH: usize = 128;
/// Share of a sketch of kernels that a copy contains at least, in per cent: what a comparison asks for, less
/// what a sample of so many may miss.
const KERNELS_PERCENT: usize = 60;
/// Share of a sketch of weights. Fewer, because a comparison asks how much of the later one is in the earlier,
/// which may be larger.
const WEIGHTS_PERCENT: usize = 20;

/// A sample of what a recipe brings beside the built-in kernels and the base recipe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sketch {
    kernels: Vec<Shingle>,
    weights: Vec<BlobHash>,
}

impl Sketch {
    /// Of a recipe in a network with this base recipe.
    pub(super) fn of(work: &Work, base: &Work) -> Self {
        let mut known = built_in();
        known.extend(shingles(base.shaders()));
        let kernels = shingles(work.shaders());
        let common: BTreeSet<&BlobHash> = base.weights.iter().collect();
        let weights: BTreeSet<BlobHash> =
            work.weights.iter().filter(|hash| !common.contains(hash)).copied().collect();
        Self {
            kernels: kernels.difference(&known).take(SKETCH).copied().collect(),
            weights: weights.into_iter().take(SKETCH).collect(),
        }
    }
}

/// Everything that a claim has, from wherever.
#[derive(Debug, Clone)]
pub(super) struct Whole {
    kernels: BTreeSet<Shingle>,
    weights: BTreeSet<BlobHash>,
}

impl Whole {
    /// Of a claim and what it builds on.
    pub(super) fn of(work: &Work, inherited: &[Work]) -> Self {
        let all = || inherited.iter().chain([work]);
        Self {
            kernels: shingles(all().flat_map(Work::shaders)),
            weights: all().flat_map(|work| work.weights.iter().copied()).collect(),
        }
    }

    /// Whether it is worth comparing with the claim of a sketch.
    pub(super) fn may_repeat(&self, earlier: &Sketch) -> bool {
        let kernels = earlier.kernels.iter().filter(|hash| self.kernels.contains(*hash)).count();
        let weights = earlier.weights.iter().filter(|hash| self.weights.contains(*hash)).count();
        let reaches =
            |found: usize, of: usize, percent: usize| found > 0 && found * 100 >= of * percent;
        reaches(kernels, earlier.kernels.len(), KERNELS_PERCENT)
            || reaches(weights, earlier.weights.len(), WEIGHTS_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A recipe with so many different statements from `first` on, and these chunks.
    fn work(first: u32, statements: u32, chunks: std::ops::Range<u8>) -> Work {
        let lines: String =
            (first..first + statements).map(|n| format!("  a[{n}] = b * {n}.5;\n")).collect();
        let source = format!("fn main() {{\n{lines}}}\n").into_bytes();
        let kernels = BTreeMap::from([("a.wgsl".to_owned(), source)]);
        let weights = chunks.map(|n| BlobHash([n; 32])).collect();
        Work { kernels, weights, checkpoint: BlobHash([1; 32]), drafter: None }
    }

    #[test]
    fn copies_are_worth_a_look_and_others_are_not() {
        let base = Work { kernels: BTreeMap::new(), ..work(0, 0, 0..10) };
        let sketch = |work: &Work| Sketch::of(work, &base);
        let whole = |work: &Work| Whole::of(work, std::slice::from_ref(&base));
        let original = work(0, 300, 10..30);
        assert_eq!(sketch(&original).kernels.len(), SKETCH);
        assert_eq!(sketch(&original).weights.len(), 20);
        // Nearly the same kernels, nearly the same weights, and neither.
        assert!(whole(&work(10, 300, 50..60)).may_repeat(&sketch(&original)));
        assert!(whole(&work(900, 300, 12..32)).may_repeat(&sketch(&original)));
        assert!(!whole(&work(900, 300, 50..60)).may_repeat(&sketch(&original)));
        assert!(!whole(&work(200, 300, 50..60)).may_repeat(&sketch(&original)));
        // What everybody has is in no sketch, and an empty one is repeated by nobody.
        assert_eq!(sketch(&base), Sketch::default());
        assert!(!whole(&original).may_repeat(&Sketch::default()));
        // What a claim builds on counts as its own here: the comparison tells it apart.
        let child = Whole::of(&work(900, 5, 50..60), std::slice::from_ref(&original));
        assert!(child.may_repeat(&sketch(&original)));
    }
}
