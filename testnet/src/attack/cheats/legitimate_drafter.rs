//! A near-miss of relaxed acceptance: nano's own drafter, every kept draft the target's choice.

use crate::attack::{Attack, Expect};

/// The attack that is none.
pub(super) const ATTACK: Attack = Attack {
    name: "legitimate-drafter",
    tries: "honest: drafts three tokens a step and keeps what the target chooses",
    expect: Expect::Lossless,
    make: |bench| Ok(bench.against_base(bench.drafted(3))),
};
