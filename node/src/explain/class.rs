//! What the ledger has learned about a hardware class, and what follows from it.

use super::{ClassNorms, Explanation, Step, name_of};
use assay_protocol::calibration::Effort;
use assay_protocol::gates::PPM;
use assay_protocol::genesis::Quorum;
use assay_protocol::ids::PeerId;
use assay_protocol::state::State;
use assay_protocol::statistics::median;
use assay_protocol::verdict::Outcome;
use serde_json::json;
use std::collections::BTreeMap;

const RULE: &str = "every round that a quorum of the class measured adds its seats' own squares: \
                    sigma² = Σ squares / Σ degrees of freedom, tau² likewise with what the genesis \
                    assumes; a seat measures the fewest pairs with which its committee finds the \
                    planned gain in nine of ten claims, and where no number of pairs does, the \
                    committee grows";

/// Derives noise, figures and pairs of a class.
pub(super) fn explain(state: &State, class: &str) -> Explanation {
    let (rules, counts) = (&state.parameters().significance, &state.parameters().measurement);
    let committee = &state.parameters().committee;
    let known = state.classes().calibration(class);
    let between = known.between(rules);
    let Effort { size: Quorum { seats, quorum }, pairs } = state.planned_effort(class);
    let share = |ppm: u64| ppm as f64 / PPM;
    let sigma = known.sigma();
    let mut noise = vec![
        match sigma {
            Some(sigma) => format!("sigma = {sigma:.5}, of a pair's log ratio within a seat"),
            None => "no round has shown how much pairs scatter within a seat".to_owned(),
        },
        format!(
            "tau = {:.5} between seats, worth {} degrees of freedom; the genesis assumes {:.5}",
            between.tau,
            between.df,
            share(rules.tau_ppm)
        ),
        format!(
            "a committee of {seats} (of {} to {}), {quorum} of them a quorum, measures {pairs} pairs a \
             seat ({} to {}) to find a gain of {}",
            committee.seats,
            committee.seats_max,
            counts.pairs_min,
            counts.pairs,
            share(rules.gain_ppm)
        ),
    ];
    let norms = ClassNorms::of(state, class);
    if let Some(counts_from) = norms.counts_from {
        let found = norms.found_from.map_or_else(
            || "and even three times the speed may be missed".to_owned(),
            |found| format!("and a true ratio from {found:.4} is found in nine of ten claims"),
        );
        noise.push(format!(
            "so a pooled ratio counts from {counts_from:.4}, where its lower bound is above a tie, {found}"
        ));
    }
    let noise_values = json!({
        "sigma": sigma, "tau": between.tau, "tau_df": between.df, "seats": seats,
        "pairs": pairs, "counts_from": norms.counts_from, "found_from": norms.found_from,
    });
    let result = json!({
        "sigma": sigma, "tau": between.tau, "pairs": pairs, "base_tps": known.base_tps(),
    });
    Explanation {
        id: class.to_owned(),
        kind: "class".to_owned(),
        inputs: json!({
            "rounds": known.rounds(), "tau_assumed": share(rules.tau_ppm), "tau_df": rules.tau_df,
            "alpha": share(rules.alpha_ppm), "eta": share(rules.eta_ppm),
            "gain": share(rules.gain_ppm),
        }),
        rule: RULE.to_owned(),
        steps: vec![
            Step::new(format!("noise, from {} rounds", known.rounds()), noise, noise_values),
            machines(state, class),
            base(state, class),
        ],
        result,
    }
}

/// What its machines deliver, and whose they are.
fn machines(state: &State, class: &str) -> Step {
    let (bandwidth_mb_s, compute_mflop_s) = state.classes().calibration(class).figures();
    let figure = |name: &str, value: Option<f64>, unit: &str| match value {
        Some(value) => format!("{name}: {:.1} {unit}", value / 1e3),
        None => format!("{name}: not measured yet"),
    };
    let of_class = |peer: &&PeerId| state.classes().of(**peer) == Some(class);
    let members: Vec<String> =
        state.members().keys().filter(of_class).map(|peer| name_of(state, *peer)).collect();
    let lines = vec![
        figure("memory bandwidth", bandwidth_mb_s, "GB/s"),
        figure("arithmetic", compute_mflop_s, "GFLOP/s"),
        format!("members that attested it: {}", members.join(", ")),
    ];
    let values = json!({
        "bandwidth_mb_s": bandwidth_mb_s, "compute_mflop_s": compute_mflop_s, "members": members,
    });
    Step::new("machines, by their geometric means", lines, values)
}

/// The base recipe's own figures: its speed on this class, and its perplexity over the texts that seats
/// of this class scored.
fn base(state: &State, class: &str) -> Step {
    let tps = state.classes().calibration(class).base_tps();
    let scored = base_scores(state, class);
    let tokens: u64 = scored.values().map(|score| score.tokens).sum();
    let perplexity = median(scored.values().map(Scored::mean_nll)).map(f64::exp);
    let lines = vec![
        match tps {
            Some(tps) => format!("decodes {tps:.1} tokens/s, by the geometric mean of its seats"),
            None => "speed: no claim on the base recipe was measured yet".to_owned(),
        },
        match perplexity {
            Some(perplexity) => format!(
                "perplexity {perplexity:.3}, the median of what {} seats found over {tokens} tokens",
                scored.len()
            ),
            None => "perplexity: no settled round has scored anything yet".to_owned(),
        },
    ];
    let values = json!({
        "base_tps": tps, "base_perplexity": perplexity, "seats": scored.len(),
        "scored_tokens": tokens,
    });
    Step::new("the base recipe", lines, values)
}

/// What one seat said of the base over all its rounds.
#[derive(Default)]
struct Scored {
    micronats: u64,
    tokens: u64,
}

impl Scored {
    /// Nats a token.
    fn mean_nll(&self) -> f64 {
        self.micronats as f64 / PPM / self.tokens.max(1) as f64
    }
}

/// By seat, what it said of the base in the rounds that decided something, unless the round was decided
/// against it or caught it reporting a gain that was not there.
fn base_scores(state: &State, class: &str) -> BTreeMap<PeerId, Scored> {
    let each = u64::from(state.genesis().challenge.pool.scored_tokens);
    let undecided = [Outcome::Inconclusive, Outcome::Contested];
    let mut seats: BTreeMap<PeerId, Scored> = BTreeMap::new();
    let rounds = state.claims().flat_map(|claim| &claim.rounds);
    for round in rounds.filter(|r| r.outcome().is_some_and(|found| !undecided.contains(&found))) {
        for (seat, measurement) in &round.reveals {
            let of_class = measurement.environment.hardware_class == class;
            if !of_class || round.caught.contains(seat) || round.has_dissent_of(*seat) {
                continue;
            }
            let score = seats.entry(*seat).or_default();
            for pair in &measurement.pairs {
                score.micronats = score.micronats.saturating_add(pair.base_nll_micronats);
                score.tokens = score.tokens.saturating_add(each);
            }
        }
    }
    seats
}
