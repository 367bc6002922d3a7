//! The same logits whatever the prompt: as fast as it gets.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "constant-output",
    tries: "always prefers the same token",
    expect: Expect::Refused(&[Gate::Quality, Gate::Reach]),
    make: |bench| {
        bench.changed(
            "constant-output",
            &[Change {
                op: "matmul_bf16",
                from: "y[at] = params.cap * ((t - 1.0) / (t + 1.0));",
                to: "y[at] = select(-20.0, 20.0, row == 300u);",
            }],
        )
    },
};
