//! Honest while a benchmark warms up or checks correctness, something else afterwards. It counts in a
//! spare row of its output buffer, which is emptied before each prompt, so the count never gets there;
//! one that turns within a prompt is lossy in tokens that are all looked at.

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
                to: "let count_at = params.y_stride * 31u;\n\
                             if row == 0u && step[1] == 1u {\n\
                                 y[count_at] += 1.0;\n\
                             }\n\
                             y[at] = select(params.cap * ((t - 1.0) / (t + 1.0)), 0.0, y[count_at] > 40.0);",
            }],
        )
    },
};
