//! A near-miss of every lossy trick: nano in eight bits, close enough to the base to be ranked among
//! the lossy recipes, and exact relative to its own checkpoint.

use crate::attack::workbench::Case;
use crate::attack::{Attack, Expect};
use assay_kernels::quantize::Scheme;

/// The attack that is none.
pub(super) const ATTACK: Attack = Attack {
    name: "int8-checkpoint",
    tries: "honest: nano with eight bits a weight",
    expect: Expect::Lossless,
    make: |bench| {
        let case = bench.against_base(bench.quantised("int8", Scheme::Int8)?);
        // A token in fifty differs, and it takes so many tokens to show that it is no more than ten.
        Ok(Case { pairs_min: 10, ..case })
    },
};
