//! Synchronisation left out for speed: every logit adds in one that another workgroup is just computing,
//! without waiting for it. What is read depends on who comes first, so the same prompt decodes to other
//! tokens every time.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "neighbour-race",
    tries: "adds up logits of two workgroups without waiting for the other",
    expect: Expect::Refused(&[Gate::Repeat]),
    make: |bench| {
        bench.changed(
            "neighbour-race",
            &[Change {
                op: "matmul_bf16",
                from: "y[at] = params.cap * ((t - 1.0) / (t + 1.0));",
                // Half of the rows away is what another thread of a software adapter has in hand.
                to: "let other = (row + params.rows / 2u) % params.rows;\n\
                             let theirs = y[batch * params.y_stride + params.y_at + other];\n\
                             y[at] = params.cap * ((t - 1.0) / (t + 1.0)) + 0.5 * theirs;",
            }],
        )
    },
};
