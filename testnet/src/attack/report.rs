//! What came out of the attacks.

use super::drafting::Passes;
use super::workbench::Found;
use super::{Attack, Expect};
use crate::sim::{Check, Report};
use assay_node::cli::output::table;
use assay_protocol::gates::{FlagKind, Gate, GateResult};
use serde::Serialize;
use std::time::Duration;

/// How much is measured of every attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Seats, all of which must answer.
    pub seats: u32,
    /// Pairs a seat.
    pub pairs: u32,
    /// Tokens decoded a prompt and arm.
    pub decode_tokens: u32,
    /// Positions of the reach probe.
    pub reach_tokens: u32,
    /// Tokens of text before them.
    pub context_tokens: u32,
    /// Longest time for one seat, in seconds.
    pub deadline_s: u64,
}

impl Config {
    /// One seat and few pairs, because most gates need no more to convict; or the testnet's
    /// committee.
    #[must_use]
    pub fn new(long: bool) -> Self {
        let (seats, pairs) = if long { (3, 12) } else { (1, 4) };
        Self {
            seats,
            pairs,
            // With prompt and BOS 48 positions, which is what the shrunken windows still see.
            decode_tokens: 23,
            reach_tokens: 12,
            context_tokens: 96,
            // Long enough for a machine that does much else besides.
            deadline_s: 600,
        }
    }
}

/// What became of one attack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub tries: &'static str,
    /// What must become of it.
    pub expect: Expect,
    /// Every gate with its numbers; none without a measurement.
    pub gates: Vec<GateResult>,
    /// Flags raised.
    pub flags: Vec<FlagKind>,
    /// Child speed over parent speed, in millionths.
    pub ratio_ppm: Option<u64>,
    /// How well it drafts, where that matters.
    pub passes: Option<Passes>,
    /// Why there was no measurement.
    pub error: Option<String>,
    /// Time for making and measuring it.
    pub seconds: f64,
}

impl Row {
    pub(super) fn new(attack: &Attack, found: &Found, took: Duration) -> Self {
        let (verdict, passes, error) = match found {
            Found::Verdict(verdict, passes) => (Some(verdict), *passes, None),
            Found::Nothing(reason) => (None, None, Some(reason.clone())),
        };
        let flags = verdict.map_or(&[][..], |verdict| &verdict.flags);
        Self {
            name: attack.name,
            tries: attack.tries,
            expect: attack.expect,
            gates: found.gates().to_vec(),
            flags: flags.iter().map(|flag| flag.kind).collect(),
            ratio_ppm: verdict.and_then(|verdict| verdict.ratio).map(|ratio| ratio.ppm),
            passes,
            error,
            seconds: took.as_secs_f64(),
        }
    }
}

/// Everything that the command prints.
pub type AttackReport = Report<Config, Row>;

/// The report as a table: a line an attack.
#[must_use]
pub fn show(report: &AttackReport) -> String {
    let rows = report.rows.iter().zip(&report.checks).map(|(row, check)| {
        let refused: Vec<String> =
            row.gates.iter().filter(|gate| !gate.pass).map(|gate| name(gate.gate)).collect();
        let refused = match &row.error {
            Some(_) => "no measurement".to_owned(),
            None if refused.is_empty() => "none".to_owned(),
            None => refused.join(" "),
        };
        vec![
            if check.ok { "ok" } else { "FAILED" }.to_owned(),
            row.name.to_owned(),
            refused,
            row.flags
                .iter()
                .map(|flag| format!("{flag:?}").to_lowercase())
                .collect::<Vec<_>>()
                .join(" "),
            format!("{:.0} s", row.seconds),
        ]
    });
    let text = table(&["", "attack", "refused by", "flags", "took"], rows);
    let failed: Vec<String> = report
        .checks
        .iter()
        .filter(|check| !check.ok)
        .map(|Check { name, detail, .. }| format!("\n{name}: {detail}"))
        .collect();
    text + &failed.concat()
}

/// A gate's name as people read it.
pub(super) fn name(gate: Gate) -> String {
    format!("{gate:?}").to_lowercase()
}
