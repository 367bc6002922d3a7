//! A checkpoint whose sliding layers see less than the base's, as the centralised event's fastest did.

use crate::attack::checkpoints::Edited;
use crate::attack::{Attack, Expect};
use assay_protocol::gates::Gate;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "shrunk-window",
    tries: "shrinks the sliding window from 64 to 48, more than a timed prompt has",
    expect: Expect::Refused(&[Gate::Shape]),
    make: |bench| {
        let mut edited = Edited::nano()?;
        edited.config["sliding_window"] = 48.into();
        Ok(bench.against_base(bench.checkpoint("shrunk-window", &edited.files()?)?))
    },
};
