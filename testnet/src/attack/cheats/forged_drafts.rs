//! Forged drafts: after the target has run, the drafts are overwritten with its choices, as if all of
//! them had been right. What is emitted was chosen behind other tokens than it claims to follow.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_node::measure::RecipeFiles;
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "forged-drafts",
    tries: "overwrites refused drafts so that they look accepted",
    expect: Expect::Refused(&[Gate::Path]),
    make: |bench| {
        let bundle = bench.bundle(
            "forged-drafts",
            &[Change {
                op: "argmax",
                from: "next[group.y] = best_index[0];",
                to: "next[group.y] = best_index[0];\n\
                             if FEED == 0u && group.y + 1u < step[1] {\n\
                                 tokens[group.y + 1u] = best_index[0];\n\
                             }",
            }],
        )?;
        Ok(bench.against_base(RecipeFiles { bundle: Some(bundle), ..bench.drafted(3) }))
    },
};
