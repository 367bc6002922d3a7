//! A softmax that is no softmax: a straight line for the exponential.

use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "cheap-softmax",
    tries: "puts 1 + z/2 for exp(z) in attention",
    expect: Expect::Refused(&[Gate::Quality]),
    make: |bench| {
        bench.changed(
            "cheap-softmax",
            &[
                Change {
                    op: "attention",
                    from: "shares[lane] = exp(max(score - tile_highest, -80.0));",
                    to: "let line = max(1.0 + 0.5 * (score - tile_highest), 0.0);\n\
                             shares[lane] = line;",
                },
                Change {
                    op: "attention",
                    from: "let fade = exp(max(highest - tile_highest, -80.0));",
                    to: "let fading = max(1.0 + 0.5 * (highest - tile_highest), 0.0);\n\
                             let fade = fading;",
                },
            ],
        )
    },
};
