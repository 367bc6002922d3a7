//! Logits noted down in the rows of the output buffer that single tokens leave alone, and replayed for
//! the next prompt at the same position. An engine empties every buffer that a kernel may write before
//! each prompt, so there is nothing to replay: what is decoded is what the built-in kernels decode.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "replayed-output",
    tries: "notes logits down in spare rows and replays them for later prompts",
    expect: Expect::Lossless,
    make: |bench| {
        bench.changed(
            "replayed-output",
            &[Change {
                op: "matmul_bf16",
                from: "y[at] = params.cap * ((t - 1.0) / (t + 1.0));",
                to: logit_noted_in!("2u + step[0] % 30u"),
            }],
        )
    },
};
