//! Work where the clock does not run. The prefill is not part of the ratio but is measured, and a child
//! whose prefill takes far longer than its parent's is flagged on the entry.

use crate::attack::workbench::{Case, Change};
use crate::attack::{Attack, Expect};
use assay_protocol::gates::FlagKind;
use std::time::Duration;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "untimed-work",
    tries: "is busy for a long time while the prompt is processed",
    expect: Expect::Flagged(FlagKind::Prefill),
    make: |bench| {
        let case = bench.changed(
            "untimed-work",
            &[Change {
                op: "embed",
                from: "let pair = table[(token - params.first_token) * words + word];",
                // Software adapters end the loops of a shader after some 65,000 rounds, so each does much.
                to: "var busy = token + word;\n\
                         if step[1] > 1u {\n\
                             for (var i = 0u; i < 60000u; i += 1u) {\n\
                                 busy = (busy ^ (busy >> 7u)) * 1664525u + 1013904223u;\n\
                                 busy = (busy ^ (busy >> 7u)) * 1664525u + 1013904223u;\n\
                                 busy = (busy ^ (busy >> 7u)) * 1664525u + 1013904223u;\n\
                                 busy = (busy ^ (busy >> 7u)) * 1664525u + 1013904223u;\n\
                                 busy = (busy ^ (busy >> 7u)) * 1664525u + 1013904223u;\n\
                                 busy = (busy ^ (busy >> 7u)) * 1664525u + 1013904223u;\n\
                                 busy = (busy ^ (busy >> 7u)) * 1664525u + 1013904223u;\n\
                                 busy = (busy ^ (busy >> 7u)) * 1664525u + 1013904223u;\n\
                             }\n\
                         }\n\
                         let pair = table[(token - params.first_token) * words + word] + u32(busy == 4242u);",
            }],
        )?;
        // So many pairs convict one seat alone, though a busy machine spoils a few.
        // Nor does what is slow on purpose run out of time there.
        Ok(Case { pairs_min: 16, deadline: Some(Duration::from_secs(1800)), ..case })
    },
};
