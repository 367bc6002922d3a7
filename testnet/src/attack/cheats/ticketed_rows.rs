//! A near-miss of every race: which workgroup computes which rows is decided by who comes first, as
//! kernels do whose workgroups fetch their work from a queue. What is computed does not depend on it.

use super::with_atomic_output;
use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack that is none.
pub(super) const ATTACK: Attack = Attack {
    name: "ticketed-rows",
    tries: "honest: workgroups draw a ticket for the rows that they compute",
    expect: Expect::Lossless,
    make: |bench| {
        bench.changed(
            "ticketed-rows",
            &[
                with_atomic_output(Change {
                    op: "matmul_bf16",
                    from: "y[at] = params.cap * ((t - 1.0) / (t + 1.0));",
                    to: "let logit = params.cap * ((t - 1.0) / (t + 1.0));\n\
                                 atomicStore(&y[at], bitcast<u32>(logit));",
                }),
                vec![Change {
                    op: "matmul_bf16",
                    from: "@compute @workgroup_size(64)\n\
                           fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {",
                    to: "var<workgroup> turn: u32;\n\
                         \n\
                         @compute @workgroup_size(64)\n\
                         fn main(@builtin(workgroup_id) came: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,\n\
                                 @builtin(local_invocation_index) local: u32) {\n\
                             var group = came;\n\
                             if EPILOGUE == 1u && step[1] == 1u {\n\
                                 if local == 0u {\n\
                                     turn = atomicAdd(&y[params.y_stride * 31u], 1u) % groups.x;\n\
                                 }\n\
                                 group.x = workgroupUniformLoad(&turn);\n\
                             }",
                }],
            ]
            .concat(),
        )
    },
};
