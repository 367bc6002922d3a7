//! `assay explain`: where a number comes from. Claims, entries and peers are derived by
//! [`crate::explain`]; committees here.

use super::audit::replay;
use super::client::Client;
use super::output::{Format, fields, print, table};
use crate::explain::{Explanation, explain};
use crate::home::NetworkFile;
use anyhow::{anyhow, ensure};
use assay_protocol::gates::PPM;
use assay_protocol::statistics::{
    Noise, Test, binomial_at_least, pairs_needed, power, seats_needed,
};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shares of dishonest or absent seats that the table is made for.
const SHARES: [f64; 5] = [0.05, 0.1, 0.2, 0.3, 1.0 / 3.0];
/// Most pairs that a genesis may ask of a seat.
const PAIRS_MAX: u32 = 64;
/// Largest committee that is worth naming as a way out.
const SEATS_MAX: u32 = 1000;
/// Probability with which a true gain is to be found.
const POWER: f64 = 0.9;
/// How long the running node may take to derive something.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
const RULE: &str = "seats are drawn independently: P(forged) = P(Bin(seats, f) >= quorum), \
                    P(stalled) = P(Bin(seats, 1 - f) < quorum), with a share f dishonest or absent";

/// Print where a number comes from.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay explain 3fa9c0d1                    a claim or entry of the running node's ledger
  assay explain carol-laptop                a peer: its standing added up
  assay explain cpu-llvmpipe-8wide          a hardware class: its noise, machines and pairs
  assay explain 3fa9c0d1 --ledger ledger.assay --genesis network.json
  assay explain --committee --genesis network.json
  assay explain --committee --seats 7 --quorum 5 --sigma 0.01 --tau 0.005 --gain 0.03")]
pub struct ExplainArgs {
    /// A claim, an entry, a peer or a hardware class: an id, its first digits, or a name
    #[arg(value_name = "ID", required_unless_present = "committee", conflicts_with = "committee")]
    id: Option<String>,
    /// Read this exported ledger, checking all of it, instead of asking the running node
    #[arg(long, value_name = "FILE", requires = "genesis", conflicts_with = "committee")]
    ledger: Option<PathBuf>,
    /// A committee: how likely a forged and a stalled quorum are, and how many pairs a seat needs
    #[arg(long)]
    committee: bool,
    /// Take the committee and the error probabilities of this network
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seats", "quorum"])]
    genesis: Option<PathBuf>,
    /// Seats of the committee
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seats: u32,
    /// Reveals that a verdict needs
    #[arg(long, value_name = "T", default_value_t = 5)]
    quorum: u32,
    /// Standard deviation of one pair's log ratio within a seat
    #[arg(long, value_name = "S", default_value_t = 0.01)]
    sigma: f64,
    /// Standard deviation between seats; the network's own where --genesis is given
    #[arg(long, value_name = "S")]
    tau: Option<f64>,
    /// True gain that is to be found in nine of ten claims
    #[arg(long, value_name = "G", default_value_t = 0.03)]
    gain: f64,
}

/// What a committee was computed from.
#[derive(Debug, Serialize)]
struct Inputs {
    seats: u32,
    quorum: u32,
    sigma: f64,
    tau: f64,
    tau_df: u32,
    alpha: f64,
    eta: f64,
    gain: f64,
    power: f64,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Step {
    share: f64,
    forged: f64,
    stalled: f64,
}

#[derive(Debug, Serialize)]
struct Outcome {
    /// None where no number of pairs up to 64 is enough.
    pairs_needed: Option<u32>,
    /// Power at that number, or at 64.
    power: f64,
    /// Seats that would find it with 64 pairs each, where these seats do not.
    seats_needed: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Report {
    id: &'static str,
    kind: &'static str,
    inputs: Inputs,
    rule: &'static str,
    steps: Vec<Step>,
    result: Outcome,
}

/// Computes and prints. `home` finds the node to ask.
///
/// # Errors
///
/// When no node runs or a file cannot be read, the id names nothing, or a number is out of range.
pub fn run(
    home: impl FnOnce() -> anyhow::Result<PathBuf>,
    args: &ExplainArgs,
    format: Format,
) -> anyhow::Result<()> {
    let Some(id) = &args.id else { return committee(args, format) };
    let explanation = match (&args.ledger, &args.genesis) {
        (Some(ledger), Some(genesis)) => {
            explain(&replay(ledger, genesis)?, id).map_err(|reason| anyhow!(reason))?
        }
        _ => ask(&home()?, id)?,
    };
    print(format, &explanation, derivation)
}

fn ask(home: &Path, id: &str) -> anyhow::Result<Explanation> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ensure!(
        !id.is_empty() && id.chars().all(plain),
        "{id:?} cannot be asked for by name; give the first digits of its id"
    );
    Client::find(home, ASK_TIMEOUT)?.get(&format!("/api/explain/{id}"))
}

/// The derivation as text.
fn derivation(explanation: &Explanation) -> String {
    let mut out = vec![format!("{} {}", explanation.kind, explanation.id)];
    let pairs = |value: &serde_json::Value| -> Vec<String> {
        let fields = value.as_object().into_iter().flatten();
        fields.map(|(name, value)| format!("  {name}: {}", plain_text(value))).collect()
    };
    out.extend(pairs(&explanation.inputs));
    out.push(format!("rule: {}", explanation.rule));
    for (step, number) in explanation.steps.iter().zip(1..) {
        out.push(format!("\n{number}. {}", step.title));
        out.extend(step.lines.iter().map(|line| format!("   {line}")));
    }
    out.push("\nresult".to_owned());
    out.extend(pairs(&explanation.result));
    out.join("\n")
}

fn plain_text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn committee(args: &ExplainArgs, format: Format) -> anyhow::Result<()> {
    let inputs = inputs(args)?;
    let Inputs { seats, quorum, .. } = inputs;
    let steps = SHARES
        .into_iter()
        .map(|share| Step {
            share,
            forged: binomial_at_least(seats, quorum, share),
            // Fewer than `quorum` present is at least seats − quorum + 1 absent.
            stalled: binomial_at_least(seats, seats - quorum + 1, share),
        })
        .collect();
    let noise = Noise { sigma: inputs.sigma, tau: inputs.tau, tau_df: f64::from(inputs.tau_df) };
    let test =
        Test { alpha: inputs.alpha, eta: inputs.eta, gain: inputs.gain, power: inputs.power };
    let pairs_needed = pairs_needed(seats, PAIRS_MAX, noise, test);
    let power = power(seats, pairs_needed.unwrap_or(PAIRS_MAX), noise, test);
    let seats_needed = match pairs_needed {
        Some(_) => None,
        None => seats_needed(PAIRS_MAX, SEATS_MAX, noise, test),
    };
    let result = Outcome { pairs_needed, power, seats_needed };
    let report = Report { id: "committee", kind: "committee", inputs, rule: RULE, steps, result };
    print(format, &report, show)
}

fn inputs(args: &ExplainArgs) -> anyhow::Result<Inputs> {
    let mut inputs = Inputs {
        seats: args.seats,
        quorum: args.quorum,
        sigma: args.sigma,
        tau: args.tau.unwrap_or(0.005),
        tau_df: 20,
        alpha: 0.001,
        eta: 0.01,
        gain: args.gain,
        power: POWER,
    };
    if let Some(file) = &args.genesis {
        let genesis = NetworkFile::read(file)?.genesis;
        let share = |ppm: u64| ppm as f64 / PPM;
        let rules = &genesis.significance;
        inputs.seats = genesis.committee.seats;
        inputs.quorum = genesis.committee.quorum;
        inputs.alpha = share(rules.alpha_ppm);
        inputs.eta = share(rules.eta_ppm);
        inputs.tau = args.tau.unwrap_or(share(rules.tau_ppm));
        inputs.tau_df = rules.tau_df;
    }
    ensure!(
        (1..=inputs.seats).contains(&inputs.quorum),
        "--quorum {}: must be 1 to the {} seats",
        inputs.quorum,
        inputs.seats
    );
    for (name, value) in [("sigma", inputs.sigma), ("tau", inputs.tau), ("gain", inputs.gain)] {
        ensure!((0.0..=10.0).contains(&value), "--{name} {value}: must be 0 to 10");
    }
    Ok(inputs)
}

fn show(report: &Report) -> String {
    let Report { inputs, steps, result, .. } = report;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let chance = |p: f64| format!("{p:.2e}");
    let steps = table(
        &["share", "forged if dishonest", "stalled if absent"],
        steps.iter().map(|s| vec![percent(s.share), chance(s.forged), chance(s.stalled)]),
    );
    let pairs = match result.pairs_needed {
        Some(pairs) => {
            format!("{pairs} a seat, which find it in {} of claims", percent(result.power))
        }
        None => {
            let seats = match result.seats_needed {
                Some(seats) => format!("{seats} seats would"),
                None => format!("nor would {SEATS_MAX} seats"),
            };
            let found = percent(result.power);
            format!("{PAIRS_MAX} a seat find it in only {found} of claims; {seats}")
        }
    };
    let found = fields(&[
        ("committee", format!("{} seats, quorum {}", inputs.seats, inputs.quorum)),
        ("rule", report.rule.to_owned()),
        (
            "noise",
            format!(
                "{} within a seat, {} between seats",
                percent(inputs.sigma),
                percent(inputs.tau)
            ),
        ),
        ("test", format!("gain above {}, error probability {}", percent(inputs.eta), inputs.alpha)),
        ("to find", format!("a true gain of {}", percent(inputs.gain))),
        ("pairs", pairs),
    ]);
    format!("{found}\n\n{steps}")
}
