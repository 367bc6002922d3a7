//! `assay explain --committee`: how likely a forged and a stalled quorum are, and how much a committee
//! measures.

use super::output::{Format, fields, print, table};
use crate::home::NetworkFile;
use anyhow::ensure;
use assay_protocol::gates::PPM;
use assay_protocol::genesis::{Genesis, Quorum};
use assay_protocol::statistics::{
    Noise, Test, binomial_at_least, pairs_needed, power, seats_needed,
};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Shares of dishonest or absent seats that the table is made for.
const SHARES: [f64; 5] = [0.05, 0.1, 0.2, 0.3, 1.0 / 3.0];
/// Most pairs that a genesis may ask of a seat.
const PAIRS_MAX: u32 = 64;
/// Largest committee that is worth naming as a way out.
const SEATS_MAX: u32 = 1000;
/// Probability with which a true gain is to be found.
const POWER: f64 = 0.9;
/// Within-seat standard deviation, where neither the caller nor a network says one.
const SIGMA: f64 = 0.01;
/// Between-seat standard deviation, likewise.
const TAU: f64 = 0.005;
const RULE: &str = "seats are drawn independently: P(forged) = P(Bin(seats, f) >= quorum) with a share \
                    f dishonest; P(stalled) = P(fewer than quorum present) with a share f absent, where \
                    every absent seat calls a reserve, which is as likely absent, while there are any";

/// What the figures are computed from, besides a network's own rules.
#[derive(Debug, clap::Args)]
pub struct CommitteeArgs {
    /// Seats of the committee
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seats: u32,
    /// Reveals that a verdict needs
    #[arg(long, value_name = "T", default_value_t = 5)]
    quorum: u32,
    /// Standard deviation of one pair's log ratio within a seat [default: 0.01; with --genesis that of
    /// a class of which nothing is known]
    #[arg(long, value_name = "S")]
    sigma: Option<f64>,
    /// Standard deviation between seats [default: 0.005; with --genesis the network's own]
    #[arg(long, value_name = "S")]
    tau: Option<f64>,
    /// True gain that is to be found in nine of ten claims [default: 0.03; with --genesis the network's
    /// own]
    #[arg(long, value_name = "G")]
    gain: Option<f64>,
}

/// What a committee was computed from.
#[derive(Debug, Serialize)]
struct Inputs {
    seats: u32,
    quorum: u32,
    reserves: u32,
    /// Most seats to which a committee grows where its class is noisy.
    seats_max: u32,
    pairs_min: u32,
    pairs_max: u32,
    /// None where nothing is known of the class.
    sigma: Option<f64>,
    tau: f64,
    tau_df: u32,
    alpha: f64,
    eta: f64,
    gain: f64,
    power: f64,
    /// The share of dishonest seats that the network's entries assume.
    #[serde(skip_serializing_if = "Option::is_none")]
    assumed_dishonest: Option<f64>,
    /// The committee that measures what would lead its track.
    #[serde(skip_serializing_if = "Option::is_none")]
    frontier: Option<Quorum>,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Step {
    share: f64,
    forged: f64,
    stalled: f64,
}

/// How much a committee measures.
#[derive(Debug, Serialize)]
struct Outcome {
    /// None where no number of pairs is enough.
    pairs_needed: Option<u32>,
    /// Power with these seats and pairs; none where nothing is known of the class.
    power: Option<f64>,
    /// Seats that would find the gain with the most pairs each, where the smallest committee does not.
    seats_needed: Option<u32>,
    /// Seats of the committee.
    seats: u32,
    /// Reveals that its verdict needs.
    quorum: u32,
    /// Pairs that each of its seats measures.
    pairs: u32,
}

/// One committee: its table and what it measures.
#[derive(Debug, Serialize)]
struct Part {
    steps: Vec<Step>,
    result: Outcome,
}

#[derive(Debug, Serialize)]
struct Report {
    id: &'static str,
    kind: &'static str,
    inputs: Inputs,
    rule: &'static str,
    #[serde(flatten)]
    first: Part,
    /// The committee of a network that measures what would lead its track.
    #[serde(skip_serializing_if = "Option::is_none")]
    frontier: Option<Part>,
}

/// Computes and prints, by the rules of the network in `genesis` where there is one.
///
/// # Errors
///
/// When the file cannot be read or a number is out of range.
pub fn run(args: &CommitteeArgs, genesis: Option<&PathBuf>, format: Format) -> anyhow::Result<()> {
    let inputs = match genesis {
        Some(file) => Inputs::of_network(args, &NetworkFile::read(file)?.genesis),
        None => Inputs::of_arguments(args),
    };
    inputs.check()?;
    let first = part(&inputs, Quorum { seats: inputs.seats, quorum: inputs.quorum });
    let frontier = inputs.frontier.map(|frontier| part(&inputs, frontier));
    let report = Report { id: "committee", kind: "committee", inputs, rule: RULE, first, frontier };
    print(format, &report, show)
}

impl Inputs {
    fn of_arguments(args: &CommitteeArgs) -> Self {
        Self {
            seats: args.seats,
            quorum: args.quorum,
            reserves: 0,
            seats_max: args.seats,
            pairs_min: 2,
            pairs_max: PAIRS_MAX,
            sigma: Some(args.sigma.unwrap_or(SIGMA)),
            tau: args.tau.unwrap_or(TAU),
            tau_df: 20,
            alpha: 0.001,
            eta: 0.01,
            gain: args.gain.unwrap_or(0.03),
            power: POWER,
            assumed_dishonest: None,
            frontier: None,
        }
    }

    /// What the ledger goes by before it has learnt anything of a class.
    fn of_network(args: &CommitteeArgs, genesis: &Genesis) -> Self {
        let Genesis { committee, measurement, significance, members, .. } = genesis;
        let share = |ppm: u64| ppm as f64 / PPM;
        let operators: BTreeSet<&str> = members.iter().map(|m| m.operator.as_str()).collect();
        // The author's operator has no seat.
        let drawable = u32::try_from(operators.len().saturating_sub(1)).unwrap_or(u32::MAX);
        Self {
            seats: committee.seats,
            quorum: committee.quorum,
            reserves: committee.reserves,
            seats_max: committee.seats_max.min(drawable),
            pairs_min: measurement.pairs_min,
            pairs_max: measurement.pairs,
            sigma: args.sigma,
            tau: args.tau.unwrap_or(share(significance.tau_ppm)),
            tau_df: significance.tau_df,
            alpha: share(significance.alpha_ppm),
            eta: share(significance.eta_ppm),
            gain: args.gain.unwrap_or(share(significance.gain_ppm)),
            power: POWER,
            assumed_dishonest: Some(share(committee.assumed_dishonest_ppm)),
            frontier: Some(committee.frontier),
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=self.seats).contains(&self.quorum),
            "--quorum {}: must be 1 to the {} seats",
            self.quorum,
            self.seats
        );
        let sigma = self.sigma.unwrap_or_default();
        for (name, value) in [("sigma", sigma), ("tau", self.tau), ("gain", self.gain)] {
            ensure!((0.0..=10.0).contains(&value), "--{name} {value}: must be 0 to 10");
        }
        Ok(())
    }

    /// The shares of the table, that which the network assumes among them.
    fn shares(&self) -> Vec<f64> {
        let assumed = self.assumed_dishonest.filter(|own| !SHARES.contains(own));
        let mut shares: Vec<f64> = SHARES.into_iter().chain(assumed).collect();
        shares.sort_by(f64::total_cmp);
        shares
    }
}

fn part(inputs: &Inputs, smallest: Quorum) -> Part {
    let result = outcome(inputs, smallest);
    let size = Quorum { seats: result.seats, quorum: result.quorum };
    let step = |share| Step {
        share,
        forged: binomial_at_least(size.seats, size.quorum, share),
        stalled: stalled(size, inputs.reserves, share),
    };
    Part { steps: inputs.shares().into_iter().map(step).collect(), result }
}

/// Seats and pairs as the ledger plans them, see [`assay_protocol::calibration::Calibration::effort`].
fn outcome(inputs: &Inputs, smallest: Quorum) -> Outcome {
    let planned = |size: Quorum, pairs: u32| Outcome {
        pairs_needed: None,
        power: None,
        seats_needed: None,
        seats: size.seats,
        quorum: size.quorum,
        pairs,
    };
    let Some(sigma) = inputs.sigma else { return planned(smallest, inputs.pairs_max) };
    let noise = Noise { sigma, tau: inputs.tau, tau_df: f64::from(inputs.tau_df) };
    let Inputs { alpha, eta, gain, .. } = *inputs;
    let test = Test { alpha, eta, gain, power: POWER };
    let needed = pairs_needed(smallest.seats, inputs.pairs_max, noise, test);
    let planned = match needed {
        Some(pairs) => planned(smallest, pairs.clamp(inputs.pairs_min, inputs.pairs_max)),
        None => {
            let seats_needed = seats_needed(inputs.pairs_max, SEATS_MAX, noise, test);
            let most = inputs.seats_max.max(smallest.seats);
            let size = smallest.grown_to(seats_needed.map_or(most, |seats| seats.min(most)));
            Outcome { seats_needed, ..planned(size, inputs.pairs_max) }
        }
    };
    let power = power(planned.seats, planned.pairs, noise, test);
    Outcome { pairs_needed: needed, power: Some(power), ..planned }
}

/// The probability that fewer than a quorum are present of seats and called reserves, each absent with
/// probability `absent`.
fn stalled(size: Quorum, reserves: u32, absent: f64) -> f64 {
    let Quorum { seats, quorum } = size;
    // Up to seats − quorum may be absent without harm. Beyond, as many reserves as seats are absent are
    // called, and they must make up for what lacks.
    let beyond = seats - quorum + 1..=seats;
    let terms = beyond.map(|missing| {
        let more = match missing < seats {
            true => binomial_at_least(seats, missing + 1, absent),
            false => 0.0,
        };
        let exactly = binomial_at_least(seats, missing, absent) - more;
        let called = reserves.min(missing);
        let lacking = quorum - (seats - missing);
        // Fewer than `lacking` present is more than `called − lacking` absent.
        let too_few = match called.checked_sub(lacking) {
            Some(spare) if spare < called => binomial_at_least(called, spare + 1, absent),
            Some(_) => 0.0,
            None => 1.0,
        };
        exactly * too_few
    });
    terms.sum()
}

fn show(report: &Report) -> String {
    let Report { inputs, first, frontier, .. } = report;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let chance = |p: f64| format!("{p:.2e}");
    let mut head = vec!["share", "forged if dishonest", "stalled if absent"];
    if frontier.is_some() {
        head.extend(["frontier forged", "frontier stalled"]);
    }
    let line = |(index, step): (usize, &Step)| -> Vec<String> {
        let beside = frontier.as_ref().and_then(|part| part.steps.get(index));
        let assumed = inputs.assumed_dishonest == Some(step.share);
        let word = if assumed { ", assumed" } else { "" };
        let mut cells = vec![format!("{}{word}", percent(step.share))];
        cells.extend(
            [step].into_iter().chain(beside).flat_map(|s| [s.forged, s.stalled]).map(chance),
        );
        cells
    };
    let steps = table(&head, first.steps.iter().enumerate().map(line));
    let size = |part: &Part| {
        let Outcome { seats, quorum, .. } = part.result;
        let reserves = match inputs.reserves {
            0 => "no reserves".to_owned(),
            1 => "1 reserve".to_owned(),
            reserves => format!("{reserves} reserves"),
        };
        format!("{seats} seats, quorum {quorum}, {reserves}")
    };
    let mut lines = vec![("committee", size(first)), ("pairs", pairs(&first.result))];
    if let Some(part) = frontier {
        lines.extend([("frontier", size(part)), ("its pairs", pairs(&part.result))]);
    }
    let sigma = inputs.sigma.map_or_else(|| "unknown".to_owned(), percent);
    lines.extend([
        ("rule", report.rule.to_owned()),
        ("noise", format!("{sigma} within a seat, {} between seats", percent(inputs.tau))),
        ("test", format!("gain above {}, error probability {}", percent(inputs.eta), inputs.alpha)),
        ("to find", format!("a true gain of {}", percent(inputs.gain))),
    ]);
    format!("{}\n\n{steps}", fields(&lines))
}

/// The pairs of a committee and what they find, for people.
fn pairs(result: &Outcome) -> String {
    let Outcome { pairs, seats, .. } = result;
    let Some(power) = result.power else {
        return format!(
            "{pairs} a seat, as of any class that was never measured; --sigma says more"
        );
    };
    let found = format!("{:.1} %", 100.0 * power);
    match (result.pairs_needed, result.seats_needed) {
        (Some(_), _) => format!("{pairs} a seat, which find it in {found} of claims"),
        (None, Some(needed)) if needed <= *seats => {
            format!(
                "{pairs} a seat, which find it in {found} of claims, now that the committee grew"
            )
        }
        (None, Some(needed)) => {
            format!("{pairs} a seat find it in only {found} of claims; {needed} seats would")
        }
        (None, None) => {
            format!("{pairs} a seat find it in only {found} of claims; nor would {SEATS_MAX} seats")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way in which seats and reserves may be absent, counted out.
    fn by_enumeration(size: Quorum, reserves: u32, absent: f64) -> f64 {
        let all = size.seats + reserves;
        let ways = (0..1_u32 << all).filter(|present| {
            let seats = (present & ((1 << size.seats) - 1)).count_ones();
            let called = (size.seats - seats).min(reserves);
            let came = (present >> size.seats & ((1 << called) - 1)).count_ones();
            seats + came < size.quorum
        });
        let chance = |present: u32| {
            let here = i32::try_from(present.count_ones()).unwrap();
            (1.0 - absent).powi(here) * absent.powi(i32::try_from(all).unwrap() - here)
        };
        ways.map(chance).sum()
    }

    #[test]
    fn reserves_keep_a_committee_from_stalling() {
        for (seats, quorum, reserves) in [(5, 4, 0), (3, 3, 2), (7, 5, 3), (4, 1, 6), (1, 1, 1)] {
            for absent in [0.0, 0.05, 0.3, 1.0] {
                let size = Quorum { seats, quorum };
                let (found, counted) =
                    (stalled(size, reserves, absent), by_enumeration(size, reserves, absent));
                assert!((found - counted).abs() < 1e-12, "{size:?} {reserves} {absent}: {found}");
            }
        }
    }
}
