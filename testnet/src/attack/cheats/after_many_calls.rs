//! Honest while a benchmark warms up or checks correctness, something else afterwards. It counts in a
//! spare row of its output buffer, which is emptied before each prompt, so the count never gets there;
//! after-ten-calls does.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "after-many-calls",
    tries: "counts its calls in a spare row and stops computing after forty",
    expect: Expect::Lossless,
    make: |bench| {
        bench.changed(
            "after-many-calls",
            &[Change {
                op: "matmul_bf16",
                from: "y[at] = params.cap * ((t - 1.0) / (t + 1.0));",
                to: logit_until!("40.0"),
            }],
        )
    },
};
