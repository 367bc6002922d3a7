//! The plainest trick: less work.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "half-sums",
    tries: "leaves half of every sum out, always",
    expect: Expect::Refused(&[Gate::Identity, Gate::Quality, Gate::Reach]),
    make: |bench| {
        bench.changed(
            "half-sums",
            &[Change {
                op: "matmul_bf16",
                from: "chunk < params.chunks; chunk += 8u",
                to: "chunk < params.chunks; chunk += 16u",
            }],
        )
    },
};
