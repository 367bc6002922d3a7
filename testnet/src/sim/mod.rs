//! Simulations of the rules: what they let pass and what they miss, over many claims from one seed.

pub mod dissent;
pub mod gate;
mod noise;

use serde::Serialize;

/// Something that a simulation must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Whether it held.
    pub ok: bool,
    /// The figures behind it.
    pub detail: String,
}

/// What became of each check, a line each.
pub(crate) fn verdicts(checks: &[Check]) -> String {
    let lines = checks.iter().map(|check| {
        let mark = if check.ok { "ok  " } else { "FAIL" };
        format!("{mark}  {}: {}", check.name, check.detail)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Everything that a simulation prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report<C, R> {
    /// What was simulated.
    pub config: C,
    /// Where its random numbers started.
    pub seed: u64,
    /// The table.
    pub rows: Vec<R>,
    /// What the table must show.
    pub checks: Vec<Check>,
    /// Whether every check held.
    pub ok: bool,
}

impl<C, R> Report<C, R> {
    pub(crate) fn new(config: C, seed: u64, rows: Vec<R>, checks: Vec<Check>) -> Self {
        let ok = checks.iter().all(|check| check.ok);
        Self { config, seed, rows, checks, ok }
    }
}
