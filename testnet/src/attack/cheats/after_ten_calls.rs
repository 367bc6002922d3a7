//! Honest for the first calls of every prompt, something else afterwards. Every timed token is scored, so
//! it does not matter when a kernel turns; and prefill has only a few large calls.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "after-ten-calls",
    tries: "counts its calls in a spare row and stops computing after ten",
    expect: Expect::Refused(&[Gate::Path, Gate::Quality]),
    make: |bench| {
        bench.changed(
            "after-ten-calls",
            &[Change {
                op: "matmul_bf16",
                from: "y[at] = params.cap * ((t - 1.0) / (t + 1.0));",
                to: logit_until!("10.0"),
            }],
        )
    },
};
