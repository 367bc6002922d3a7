//! Synchronisation left out for speed: every sum adds in one that another workgroup is just computing,
//! without waiting for it. What is read depends on who comes first: the same prompt decodes to other tokens
//! whenever that comes out differently, which the repeat gate sees, and in a batch to others than by
//! itself, which the path gate sees every time.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "neighbour-race",
    tries: "adds up sums of two workgroups without waiting for the other",
    expect: Expect::Refused(&[Gate::Path, Gate::Quality]),
    make: |bench| {
        bench.changed(
            "neighbour-race",
            &[Change {
                op: "matmul_bf16",
                from: "    } else {\n        y[at] = a;",
                // Half of the rows away is what another thread of a software adapter has in hand.
                to: "    } else {\n\
                             let other = (row + params.rows / 2u) % params.rows;\n\
                             y[at] = a + 0.5 * y[batch * params.y_stride + params.y_at + other];",
            }],
        )
    },
};
