//! `assay-testnet sim dissent`: what dishonest seats of a committee can do to claims whose true gain is
//! known.
//!
//! Every claim is decided by the code that the network runs, on measurements as seats reveal them: a
//! first round, and another by an independent committee where the first was contested. Dishonest seats
//! are drawn into every committee, as many as the row says, and all pull the same way.

use super::noise::{Draws, Shape};
use super::{Check, Report};
use crate::layout;
use assay_node::cli::output::table;
use assay_protocol::dissent::{Committee, weigh};
use assay_protocol::gates::{Evidence, PPM};
use assay_protocol::genesis::{Genesis, Quorum};
use assay_protocol::ids::{Beacon, BlobHash, ClaimId, PeerId, RoundId};
use assay_protocol::measurement::{ArmReport, Environment, Measurement, Pair, Score};
use assay_protocol::plan::{Arm, Plan, Subject, plan};
use assay_protocol::record::Recipe;
use assay_protocol::standing::OUTLIER_SIGMAS;
use assay_protocol::verdict::{Outcome, SpeedClass, Verdict};
use serde::Serialize;

/// The hardware class of every simulated machine.
const CLASS: &str = "simulated";
/// Standard deviation of a pair's log ratio within a seat.
const SIGMA: f64 = 0.03;
/// Power that a large true gain must keep in spite of dishonest seats.
const POWER: f64 = 0.9;
/// How far inside the reach of noise those stay who do not want to be noticed.
const SHY: f64 = 0.9;
/// Nanoseconds that the parent takes for a prompt.
const PARENT_NS: f64 = 1e9;

/// What dishonest seats say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lie {
    /// The truth.
    None,
    /// That prefill and decode differ at one position.
    Break,
    /// That the child has a third of its speed.
    Slow,
    /// Ratios out of thin air, far apart.
    Wild,
    /// More than they measured, by less than would make outliers of them.
    Raise,
    /// Less than they measured, by less than would make outliers of them.
    Lower,
}

/// The network whose committees are simulated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// Claims a row.
    pub claims: u32,
    /// Seats and quorum.
    pub size: Quorum,
    /// Its rules.
    pub genesis: Genesis,
}

/// One true gain under one kind of dishonesty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What the dishonest seats say.
    pub lie: Lie,
    /// How many of every committee they are.
    pub dishonest: u32,
    /// The true gain.
    pub gain: f64,
    /// Claims measured.
    pub claims: u32,
    /// Claims whose first round was contested.
    pub contested: u32,
    /// Claims accepted in the end.
    pub accepted: u32,
    /// Mean of the accepted ratios over the truth, less one.
    pub bias: Option<f64>,
}

/// Seven seats of which five are a quorum, α = 0.001, η = 1 %, seats half a per cent apart.
#[must_use]
pub fn config(claims: u32) -> Config {
    let size = Quorum { seats: 7, quorum: 5 };
    let mut genesis = layout::genesis(Vec::new());
    genesis.time_ms = 0;
    genesis.measurement.pairs = 10;
    genesis.significance.tau_ppm = 5_000;
    Config { claims, size, genesis }
}

/// Simulates every row; `progress` hears of each before it begins.
#[must_use]
pub fn run(config: Config, seed: u64, mut progress: impl FnMut(&str)) -> Report<Config, Row> {
    let mut rows = Vec::new();
    let lies = [Lie::Break, Lie::Slow, Lie::Wild, Lie::Raise, Lie::Lower];
    let rest = lies.into_iter().flat_map(|lie| [(lie, 1), (lie, 2)]);
    for (lie, dishonest) in std::iter::once((Lie::None, 0)).chain(rest) {
        for gain in [0.0, share(config.genesis.significance.eta_ppm), 0.05] {
            progress(&format!("{dishonest} dishonest ({lie:?}), gain {gain}"));
            let stream = seed.wrapping_add(rows.len() as u64);
            rows.push(row(&config, stream, lie, dishonest, gain));
        }
    }
    let checks = rows.iter().filter_map(|row| check(&config, row)).collect();
    Report::new(config, seed, rows, checks)
}

#[allow(clippy::cast_precision_loss)]
fn share(ppm: u64) -> f64 {
    ppm as f64 / PPM
}

fn row(config: &Config, seed: u64, lie: Lie, dishonest: u32, gain: f64) -> Row {
    let mut draws = Draws::seeded(seed);
    let (mut contested, mut accepted, mut bias) = (0, 0, 0.0);
    for claim in 0..config.claims {
        let mut round = |number: u32| {
            let id = RoundId { claim: claim_id(claim), number };
            let seats = seats(config, &mut draws, id, lie, dishonest, gain);
            decide(config, &seats, number > 1)
        };
        let mut verdict = round(1);
        if verdict.outcome == Outcome::Contested {
            contested += 1;
            verdict = round(2);
        }
        if let (Outcome::Accepted, Some(ratio)) = (verdict.outcome, verdict.ratio) {
            accepted += 1;
            bias += share(ratio.ppm) / (1.0 + gain) - 1.0;
        }
    }
    let bias = (accepted > 0).then(|| bias / f64::from(accepted));
    Row { lie, dishonest, gain, claims: config.claims, contested, accepted, bias }
}

fn claim_id(claim: u32) -> ClaimId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&claim.to_le_bytes());
    ClaimId(id)
}

fn decide(config: &Config, seats: &[(PeerId, Plan, Measurement)], again: bool) -> Verdict {
    let evidence: Vec<(PeerId, Evidence<'_>)> = seats
        .iter()
        .map(|(seat, plan, measurement)| (*seat, Evidence { plan, measurement }))
        .collect();
    let class = SpeedClass::unmeasured(CLASS);
    let committee = Committee { genesis: &config.genesis, size: config.size, class };
    weigh(&committee, &evidence, again, |verdict| verdict.outcome == Outcome::Refuted)
}

/// What one committee reveals; its first `dishonest` seats say what `lie` is.
fn seats(
    config: &Config,
    draws: &mut Draws,
    round: RoundId,
    lie: Lie,
    dishonest: u32,
    gain: f64,
) -> Vec<(PeerId, Plan, Measurement)> {
    let genesis = &config.genesis;
    let tau = share(genesis.significance.tau_ppm);
    let pairs = genesis.measurement.pairs;
    let reach = OUTLIER_SIGMAS * libm::sqrt(tau * tau + SIGMA * SIGMA / f64::from(pairs));
    let parent = genesis.challenge.base;
    let child = Recipe { bundle: Some(BlobHash([1; 32])), ..parent };
    let subject = Subject { beacon: Beacon(round.claim.0), round, pairs, parent, child };
    let seat = |index: u32| {
        let mut peer = [0; 32];
        peer[0] = u8::try_from(index).unwrap_or(u8::MAX);
        let plan = plan(genesis, &subject, PeerId(peer));
        let centre = libm::log1p(gain) + tau * draws.normal();
        let measured =
            (0..pairs).map(|_| centre + SIGMA * draws.variate(Shape::Normal)).collect::<Vec<_>>();
        let lie = if index < dishonest { lie } else { Lie::None };
        let logs = measured.into_iter().enumerate().map(|(index, log)| match lie {
            Lie::None | Lie::Break => log,
            Lie::Slow => log - 3.0_f64.ln(),
            Lie::Wild if index % 2 == 0 => 2.0,
            Lie::Wild => -2.0,
            Lie::Raise => log + SHY * reach,
            Lie::Lower => log - SHY * reach,
        });
        let mut measurement = measurement(genesis, &plan, logs);
        if lie == Lie::Break {
            let child = match plan.child {
                Arm::X => &mut measurement.x,
                Arm::Y => &mut measurement.y,
            };
            child.path_breaks = 1;
        }
        (PeerId(peer), plan, measurement)
    };
    (0..config.size.seats).map(seat).collect()
}

/// A measurement without any fault whose pairs have these log ratios.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn measurement(genesis: &Genesis, plan: &Plan, logs: impl Iterator<Item = f64>) -> Measurement {
    let scope = genesis.scope(&plan.prompts);
    let agreements = scope.decode_tokens;
    let score = Score { kl_micronats: 0, agreements, nll_micronats: 1_000_000 };
    let pair = |(prompt, log): (&u32, f64)| {
        // Times of the order of a second; a cast of what is no number gives zero, which is not used.
        let (parent_ns, child_ns) = (PARENT_NS as u64, (PARENT_NS / libm::exp(log)) as u64);
        let (x_ns, y_ns) = match plan.child {
            Arm::X => (child_ns, parent_ns),
            Arm::Y => (parent_ns, child_ns),
        };
        Pair {
            prompt: *prompt,
            x_ns,
            y_ns,
            x_prefill_us: 1_000,
            y_prefill_us: 1_000,
            x_tokens: [0; 16],
            y_tokens: [0; 16],
            x_score: score,
            y_score: score,
            base_nll_micronats: score.nll_micronats,
        }
    };
    let count = plan.prompts.len() as u64;
    let arm = ArmReport {
        decoded_tokens: count * u64::from(scope.decode_tokens),
        scored_tokens: count * u64::from(scope.scored_tokens),
        path_positions: count * u64::from(scope.decode_tokens),
        repeat_positions: u64::from(scope.decode_tokens) + 1,
        reach_positions: u64::from(scope.reach_tokens),
        ..ArmReport::default()
    };
    let environment = Environment { hardware_class: CLASS.to_owned(), ..Environment::default() };
    let pairs = plan.prompts.iter().zip(logs).map(pair).collect();
    Measurement { pairs, x: arm.clone(), y: arm, environment }
}

/// What a row must show: dishonest seats that a quorum can do without neither sink a large gain nor
/// carry a claim that has none.
fn check(config: &Config, row: &Row) -> Option<Check> {
    let rules = &config.genesis.significance;
    let (claims, accepted) = (f64::from(row.claims), f64::from(row.accepted));
    let (name, ok) = if row.gain == 0.0 {
        ("null claims are accepted at most at alpha", accepted <= share(rules.alpha_ppm) * claims)
    } else if row.gain > share(rules.gain_ppm) && row.lie != Lie::Lower {
        ("a large gain is found all the same", accepted >= POWER * claims)
    } else {
        return None;
    };
    let Row { lie, dishonest, gain, .. } = row;
    let detail = format!(
        "{} of {} accepted, {} contested ({dishonest} dishonest, {lie:?}, gain {gain})",
        row.accepted, row.claims, row.contested
    );
    Some(Check { name: name.to_owned(), ok, detail })
}

/// The report for people.
#[must_use]
pub fn show(report: &Report<Config, Row>) -> String {
    let rows = report.rows.iter().map(|row| {
        let of_all = |count: u32| format!("{:.4}", f64::from(count) / f64::from(row.claims));
        vec![
            format!("{:?}", row.lie).to_lowercase(),
            row.dishonest.to_string(),
            format!("{:.1} %", 100.0 * row.gain),
            of_all(row.contested),
            of_all(row.accepted),
            row.bias.map_or("-".to_owned(), |bias| format!("{:+.2} %", 100.0 * bias)),
        ]
    });
    let Config { claims, size, genesis } = &report.config;
    let rules = &genesis.significance;
    let heading = format!(
        "{claims} claims a row, {} seats, {} a quorum, {} pairs, sigma {SIGMA}, tau {}, alpha {}, eta {}, seed {}",
        size.seats,
        size.quorum,
        genesis.measurement.pairs,
        share(rules.tau_ppm),
        share(rules.alpha_ppm),
        share(rules.eta_ppm),
        report.seed
    );
    let header = ["lie", "dishonest", "gain", "contested", "accepted", "bias"];
    format!("{heading}\n\n{}\n\n{}", table(&header, rows), super::verdicts(&report.checks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_quorum_can_do_without_neither_sinks_nor_carries() {
        let config = config(60);
        for (lie, gain) in [(Lie::Break, 0.05), (Lie::Wild, 0.05), (Lie::Raise, 0.0)] {
            let row = row(&config, 3, lie, 2, gain);
            assert!(check(&config, &row).unwrap().ok, "{row:?}");
            assert_eq!(row.contested == 60, lie != Lie::Raise, "{row:?}");
        }
    }

    #[test]
    fn three_of_seven_decide() {
        let row = row(&config(20), 4, Lie::Break, 3, 0.05);
        assert_eq!((row.contested, row.accepted), (0, 0));
    }

    #[test]
    fn a_seed_gives_the_same_table() {
        let report = run(config(2), 4, |_| {});
        assert_eq!(report, run(config(2), 4, |_| {}));
        assert!(show(&report).contains("DISHONEST"));
    }
}
