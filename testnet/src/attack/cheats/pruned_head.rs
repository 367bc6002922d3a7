//! A head without its rare tokens, which the centralised event's keep-sets were. Perplexity on common
//! text does not see it; it shows itself only where a probe for the vocabulary at low positions is over.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "pruned-head",
    tries: "gives rare tokens no chance behind the twentieth position",
    expect: Expect::Refused(&[Gate::Reach]),
    make: |bench| {
        bench.changed(
            "pruned-head",
            &[Change {
                op: "matmul_bf16",
                from: "y[at] = params.cap * ((t - 1.0) / (t + 1.0));",
                to: "y[at] = select(params.cap * ((t - 1.0) / (t + 1.0)), -25.0, row >= 3800u && step[0] >= 20u);",
            }],
        )
    },
};
