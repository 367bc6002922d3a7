//! A near-miss of the half sums: every term, in another order.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "reordered-sums",
    tries: "honest: adds the lanes of every sum from last to first",
    expect: Expect::Lossless,
    make: |bench| {
        bench.changed(
            "reordered-sums",
            &[
                Change {
                    op: "matmul_bf16",
                    from: "var sum = partial[row * 8u];",
                    to: "var sum = partial[row * 8u + 7u];",
                },
                Change {
                    op: "matmul_bf16",
                    from: "sum += partial[row * 8u + lane];",
                    to: "sum += partial[row * 8u + 7u - lane];",
                },
            ],
        )
    },
};
