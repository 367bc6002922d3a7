//! A first token that is nobody's choice. It is part of no timed step, so that neither its logits nor its
//! agreement with the base are looked at, and what is decoded behind it is right for the text that it
//! begins. The path gate asks the recipe's own prefill for it.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "wrong-start",
    tries: "emits another token than its own choice right after the prompt, and only there",
    expect: Expect::Refused(&[Gate::Path]),
    make: |bench| {
        bench.changed(
            "wrong-start",
            &[Change {
                op: "argmax",
                from: "fold(0u, 1u, 16u);",
                // A prompt's last token is at position 24, behind BOS and the others.
                to: "fold(0u, 1u, 16u);\n\
                     if FEED == 1u && step[0] == 24u {\n\
                         best_index[0] = (best_index[0] + 1u) % params.width;\n\
                     }",
            }],
        )
    },
};
