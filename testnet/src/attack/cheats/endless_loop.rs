//! A kernel that never ends. Its loops are bounded by the harness, so that most adapters come back
//! with garbage; where one does not, the worker is killed at its deadline and its seat goes on.

use crate::attack::workbench::{Case, Change};
use crate::attack::{Attack, Expect};
use std::time::Duration;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "endless-loop",
    tries: "never comes back",
    expect: Expect::Stopped,
    make: |bench| {
        let endless = bench.changed(
            "endless-loop",
            &[Change {
                op: "embed",
                from: "let words = params.width / 2u;",
                to: "var words = params.width / 2u;\n\
                         while step[1] > 0u {\n\
                             words = words * 5u + 1u;\n\
                         }",
            }],
        )?;
        Ok(Case { deadline: Some(Duration::from_secs(20)), ..endless })
    },
};
