//! Clean prefill, lossy decode: whoever looks at perplexity by prefill sees nothing.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "lossy-decode",
    tries: "leaves half of every sum out, but only where a single token is run",
    expect: Expect::Refused(&[Gate::Identity, Gate::Path, Gate::Quality]),
    make: |bench| {
        bench.changed(
            "lossy-decode",
            &[Change {
                op: "matmul_bf16",
                from: "chunk < params.chunks; chunk += 8u",
                to: "chunk < params.chunks; chunk += select(8u, 16u, step[1] == 1u)",
            }],
        )
    },
};
