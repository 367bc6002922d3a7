//! Logits noted down under a few signs of the hidden state that they were computed from, and replayed
//! whenever a step looks the same by them. Nothing is left of a prompt when the next one begins, so what
//! is replayed was computed for another token of the same text; prefill, which replays nothing, disagrees.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "replayed-content",
    tries: "notes logits down by a hash of their input and replays them for similar ones",
    expect: Expect::Refused(&[Gate::Path, Gate::Quality]),
    make: |bench| {
        bench.changed(
            "replayed-content",
            &[Change {
                op: "matmul_bf16",
                from: "y[at] = params.cap * ((t - 1.0) / (t + 1.0));",
                to: concat!(
                    "let ends = vec4<f32>(x[3].x, x[17].y, x[29].z, x[41].w);\n\
                     let signs = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), ends > vec4<f32>(0.0));\n\
                     let key = signs.x + signs.y + signs.z + signs.w;\n",
                    logit_noted_in!("1u + key")
                ),
            }],
        )
    },
};
