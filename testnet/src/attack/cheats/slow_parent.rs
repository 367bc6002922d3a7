//! A sandbagged parent: first claim something slow, then be fast in comparison. The slow recipe is a
//! claim like any other and gains nothing over its own parent, so nobody can ever name it as one.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "slow-parent",
    tries: "is busy in every step, to be an easy parent for the next claim",
    expect: Expect::NoGain,
    make: |bench| {
        bench.changed(
            "slow-parent",
            &[Change {
                op: "embed",
                from: "let pair = table[(token - params.first_token) * words + word];",
                to: "var busy = token + word;\n\
                         for (var i = 0u; i < 400000u; i += 1u) {\n\
                             busy = busy * 1664525u + 1013904223u;\n\
                         }\n\
                         let pair = table[(token - params.first_token) * words + word] + u32(busy == 4242u);",
            }],
        )
    },
};
