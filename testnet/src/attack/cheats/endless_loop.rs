//! A kernel that never ends. The worker is killed at its deadline and its seat goes on.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack.
pub const ATTACK: Attack = Attack {
    name: "endless-loop",
    tries: "never comes back",
    expect: Expect::Unmeasured,
    make: |bench| {
        bench.changed(
            "endless-loop",
            &[Change {
                op: "embed",
                from: "let words = params.width / 2u;",
                to: "var words = params.width / 2u;\n\
                         while step[1] > 0u {\n\
                             words = words * 5u + 1u;\n\
                         }",
            }],
        )
    },
};
