//! Relaxed acceptance: a draft is kept where the target finds it merely likely. Perplexity of a given
//! text stays clean, because no emitted token is ever scored; here every emitted token is compared
//! with the recipe's own logits of the step that chose it.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_node::measure::RecipeFiles;
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "relaxed-acceptance",
    tries: "keeps drafts that are within three nats of the target's choice",
    expect: Expect::Refused(&[Gate::Path]),
    make: |bench| {
        let bundle = bench.bundle(
            "relaxed-acceptance",
            &[Change {
                op: "argmax",
                from: "next[group.y] = best_index[0];",
                to: "var emitted = best_index[0];\n\
                             if FEED == 0u && group.y + 1u < step[1] {\n\
                                 let draft = tokens[group.y + 1u];\n\
                                 emitted = select(emitted, draft, logits[base + draft] > best_value[0] - 3.0);\n\
                             }\n\
                             next[group.y] = emitted;",
            }],
        )?;
        Ok(bench.against_base(RecipeFiles { bundle: Some(bundle), ..bench.drafted(3) }))
    },
};
