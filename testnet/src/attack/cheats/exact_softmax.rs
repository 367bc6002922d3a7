//! A near-miss of the cheap softmax: another way to the same exponential.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "exact-softmax",
    tries: "honest: puts exp2(z / ln 2) for exp(z) in attention",
    expect: Expect::Lossless,
    make: |bench| {
        bench.changed(
            "exact-softmax",
            &[Change {
                op: "attention",
                from: "shares[lane] = exp(max(score - tile_highest, -80.0));",
                to: "shares[lane] = exp2(1.4426950408889634 * max(score - tile_highest, -80.0));",
            },
            Change {
                op: "attention",
                from: "let fade = exp(max(highest - tile_highest, -80.0));",
                to: "let fade = exp2(1.4426950408889634 * max(highest - tile_highest, -80.0));",
            }],
        )
    },
};
