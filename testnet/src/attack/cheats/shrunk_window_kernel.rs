//! Attention that forgets: right for every prompt of this workload, which is shorter than what it keeps,
//! and wrong for every longer text.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "shrunk-window-kernel",
    tries: "sees only the last 48 positions, which are more than a timed prompt has",
    expect: Expect::Refused(&[Gate::Reach]),
    make: |bench| {
        bench.changed(
            "shrunk-window-kernel",
            &[Change {
                op: "attention",
                from: "query + 1u - params.window, query + 1u > params.window",
                to: "query + 1u - min(params.window, 48u), query + 1u > min(params.window, 48u)",
            }],
        )
    },
};
