//! A near-miss of every precision trick: what goes into a product is rounded to the weights' own
//! precision, which may turn a near-tie and leaves the distribution where it was.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack that is none.
pub(super) const ATTACK: Attack = Attack {
    name: "rounded-activations",
    tries: "honest: rounds the input of every product to bf16, sixteen bits less",
    expect: Expect::Close,
    make: |bench| {
        bench.changed(
            "rounded-activations",
            &[Change {
                op: "matmul_bf16",
                from: "fn dot8(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, sum: f32) -> f32 {",
                to: "fn rounded(v: vec4<f32>) -> vec4<f32> {\n\
                         let bits = bitcast<vec4<u32>>(v) + vec4<u32>(0x8000u);\n\
                         return bitcast<vec4<f32>>(bits & vec4<u32>(0xffff0000u));\n\
                     }\n\
                     fn dot8(a: vec4<f32>, b: vec4<f32>, c_in: vec4<f32>, d_in: vec4<f32>, sum: f32) -> f32 {\n\
                         let c = rounded(c_in);\n\
                         let d = rounded(d_in);",
            }],
        )
    },
};
