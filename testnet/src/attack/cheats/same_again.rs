//! A null claim, and what a lying author with nothing to show publishes: other bytes, the same work.
//! The author's own number is sealed and no input of the verdict, so neither a boast nor a throttled
//! run of its own changes what is found here.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "same-again",
    tries: "is the built-in kernel with a comment, claimed to be twice as fast",
    expect: Expect::NoGain,
    make: |bench| {
        bench.changed(
            "same-again",
            &[Change {
                op: "embed",
                from: "let words = params.width / 2u;",
                to: "// Tuned.\n\
                         let words = params.width / 2u;",
            }],
        )
    },
};
