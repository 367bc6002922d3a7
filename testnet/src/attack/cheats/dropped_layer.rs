//! A checkpoint with a layer left out, as 37 of 42 were in the centralised event, and a configuration
//! that says so, because nothing else loads.

use crate::attack::checkpoints::Edited;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "dropped-layer",
    tries: "leaves the fifth layer out of the checkpoint",
    expect: Expect::Refused(&[Gate::Shape, Gate::Quality]),
    make: |bench| {
        let mut edited = Edited::nano()?;
        edited.drop_layer(4)?;
        Ok(bench.against_base(bench.checkpoint("dropped-layer", &edited.files()?)?))
    },
};
