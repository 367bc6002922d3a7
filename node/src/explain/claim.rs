//! A claim or entry: every round from the raw pairs to the verdict.

use super::{Explanation, Step, dissent, name_of};
use crate::api::relay;
use crate::board::SpecScore;
use assay_protocol::gates::{Evidence, Gain, Gate, PPM, gain};
use assay_protocol::genesis::SignificanceRules;
use assay_protocol::ids::{ClaimId, PeerId};
use assay_protocol::plan::Plan;
use assay_protocol::state::{ClaimState, Round, State};
use assay_protocol::statistics::{BetweenSeats, student_t_quantile};
use serde_json::json;

const RULE: &str = "seats measure ln(parent time / child time) for every pair; the seats' means are \
    pooled with weights 1/(τ² + σ²/n); the claim is accepted when every gate but identity passes, \
    and the speed gate needs a lower bound of the pooled ratio above 1 + η and a signed-rank \
    probability of at most α";

pub(super) fn explain(state: &State, id: ClaimId) -> Result<Explanation, String> {
    let claim = state.claim(id).ok_or_else(|| format!("claim {id} is not on this ledger"))?;
    let shown = claim.shown().map(|round| state.parameters_of(round));
    let rules = &shown.unwrap_or_else(|| state.parameters()).significance;
    let mut steps = Vec::new();
    for round in &claim.rounds {
        round_steps(state, claim, round, &mut steps);
    }
    steps.extend(decision(claim));
    steps.extend(opening(claim));
    steps.extend(disclosures(state, claim));
    steps.extend(citations(state, claim));
    steps.extend(relayed(state, claim));
    let verdict = claim.verdict();
    Ok(Explanation {
        id: id.to_string(),
        kind: if claim.is_entry() { "entry" } else { "claim" }.to_owned(),
        inputs: json!({
            "summary": claim.summary,
            "author": claim.author,
            "author_name": name_of(state, claim.author),
            "recipe": claim.recipe,
            "parent": claim.parent,
            "docketed_at": claim.docketed_at,
            "alpha": rules.alpha_ppm as f64 / PPM,
            "eta": rules.eta_ppm as f64 / PPM,
        }),
        rule: RULE.to_owned(),
        steps,
        result: json!({
            "outcome": verdict.map(|verdict| verdict.outcome),
            "ratio": verdict.and_then(|verdict| verdict.ratio),
            "lossless": verdict.map(|verdict| verdict.lossless),
            "decided_by": claim.decided_by,
            "ratio_to_base_ppm": claim.ratio_to_base_ppm,
        }),
    })
}

/// The specs that a claim follows, their forecasts, and whose work it credited.
fn citations(state: &State, claim: &ClaimState) -> Option<Step> {
    let cited: Vec<_> = state.citations(claim.id).iter().filter_map(|id| state.spec(*id)).collect();
    if cited.is_empty() {
        return None;
    }
    let mut lines = Vec::new();
    let mut values = Vec::new();
    for spec in cited {
        let score = SpecScore::new(&spec.forecast, claim);
        let credit = match spec.credited == Some(claim.id) {
            true => "; its author is credited for it",
            false => "",
        };
        let by = name_of(state, spec.author);
        let words = score.words(&spec.forecast);
        lines.push(format!("spec {} by {by}: {words}{credit}", spec.id.short()));
        values.push(json!({ "spec": spec.id, "author": spec.author, "forecast": spec.forecast,
            "score": score, "credited": spec.credited == Some(claim.id) }));
    }
    lines.push(
        "a confirmed claim credits the first cited spec of another operator whose gain is within a \
         factor of two of the measured one, once a spec"
            .to_owned(),
    );
    Some(Step::new("specs followed", lines, json!(values)))
}

/// Who built, tried, diagnosed and shipped the checkpoint, and who is credited for it.
fn relayed(state: &State, claim: &ClaimState) -> Option<Step> {
    let parts = relay::parts(state, claim);
    let mut lines: Vec<String> = parts
        .iter()
        .map(|part| {
            let post = part.post.map_or_else(|| "by this claim".to_owned(), |id| id.short());
            let credit = if part.credited { "; credited for it" } else { "" };
            format!("{} by {} ({post}){credit}", part.role.word(), part.by.name)
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    lines.push(
        "a confirmed claim credits whoever built, tried and diagnosed the checkpoint that it runs, each \
         operator and each post once, and with them its author"
            .to_owned(),
    );
    Some(Step::new("relay", lines, json!(parts)))
}

/// A seat, its plan and its pairs' log ratios.
type SeatLogs = (PeerId, Plan, Vec<f64>);

/// Everything about one round.
fn round_steps(state: &State, claim: &ClaimState, round: &Round, steps: &mut Vec<Step>) {
    steps.push(draw(state, claim, round));
    let seats: Vec<SeatLogs> = round
        .reveals
        .iter()
        .filter_map(|(seat, measurement)| {
            let plan = state.plan(claim, round, *seat)?;
            let logs = Evidence { plan: &plan, measurement }.log_ratios();
            Some((*seat, plan, logs))
        })
        .collect();
    if seats.is_empty() {
        return;
    }
    steps.push(seat_means(state, claim, round, &seats));
    steps.extend(shadows(state, round));
    speed_steps(state, claim, round, &seats, steps);
    steps.extend(dissent::step(state, claim, round));
    steps.extend(gates_step(round));
}

/// What every gate found, and the verdict.
fn gates_step(round: &Round) -> Option<Step> {
    let verdict = round.verdict.as_ref()?;
    let mut lines: Vec<String> = verdict
        .gates
        .iter()
        .map(|gate| {
            let word = if gate.pass { "passes" } else { "FAILS" };
            format!("{} {word}: {}", gate_word(gate.gate), gate.detail)
        })
        .collect();
    let outcome = format!("{:?}", verdict.outcome).to_lowercase();
    lines.push(format!("so the round's verdict is {outcome}"));
    let values = json!({ "gates": verdict.gates, "outcome": verdict.outcome });
    Some(Step::new(format!("round {}: gates", round.number), lines, values))
}

pub(super) fn gate_word(gate: Gate) -> String {
    format!("{gate:?}").to_lowercase()
}

/// How the ratio was pooled, where the ledger gives one: from the seats that its verdict rests on, of
/// the claim's class. Machines of other classes speak about the quality only.
fn speed_steps(
    state: &State,
    claim: &ClaimState,
    round: &Round,
    seats: &[SeatLogs],
    steps: &mut Vec<Step>,
) {
    let Some(verdict) = round.verdict.as_ref().filter(|verdict| verdict.ratio.is_some()) else {
        return;
    };
    let class = claim.speed_class(round);
    let speaks = |seat: &PeerId| {
        let shown = round.reveals.get(seat);
        verdict.attested_by.contains(seat)
            && shown.is_some_and(|measurement| class.fits(&measurement.environment))
    };
    let timed: Vec<&SeatLogs> = seats.iter().filter(|(seat, ..)| speaks(seat)).collect();
    let evidence: Vec<Evidence<'_>> = timed
        .iter()
        .filter_map(|(seat, plan, _)| {
            let measurement = round.reveals.get(seat)?;
            Some(Evidence { plan, measurement })
        })
        .collect();
    let rules = &state.parameters_of(round).significance;
    let known = class.calibration.between(rules);
    if let Some(gain) = gain(rules, known, &evidence) {
        steps.push(pooling(state, round.number, &gain, known, &timed));
        steps.push(interval(rules, round.number, &gain));
    }
}

fn draw(state: &State, claim: &ClaimState, round: &Round) -> Step {
    let size = state.quorum(claim, round);
    let names = |peers: &[PeerId]| {
        peers.iter().map(|peer| name_of(state, *peer)).collect::<Vec<_>>().join(", ")
    };
    let beacon = round.beacon.map_or_else(|| "not fixed yet".to_owned(), |b| b.to_string());
    let mut lines = vec![
        format!("purpose: {}; opened at height {}", round.purpose.word(), round.opened_at),
        format!("beacon: {beacon}"),
        format!("seats drawn ({} wanted): {}", size.seats, names(&round.committee.seats)),
        format!(
            "reserves: {}; called: {}",
            names(&round.committee.reserves),
            round.reserves_called
        ),
        format!(
            "{} sealed, {} revealed, {} are a quorum",
            round.seals.len(),
            round.reveals.len(),
            size.quorum
        ),
    ];
    if let Some(verdict) = &round.verdict {
        lines.push(format!(
            "dishonest seats alone fill this quorum with probability {:.2e}, if {} of a hundred \
             peers are dishonest",
            verdict.forged_quorum_ppb as f64 / 1e9,
            state.parameters_of(round).committee.assumed_dishonest_ppm as f64 / 1e4,
        ));
    }
    let values = json!({
        "purpose": round.purpose,
        "beacon": round.beacon,
        "committee": round.committee,
        "reserves_called": round.reserves_called,
        "seats": size.seats,
        "quorum": size.quorum,
        "revealed": round.reveals.len(),
    });
    Step::new(format!("round {}: committee", round.number), lines, values)
}

fn seat_means(state: &State, claim: &ClaimState, round: &Round, seats: &[SeatLogs]) -> Step {
    let fits = state.seat_fits(round.id(claim.id));
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    for (seat, _, logs) in seats {
        let n = logs.len().max(1) as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let squares: f64 = logs.iter().map(|log| (log - mean) * (log - mean)).sum();
        let sigma = (squares / (n - 1.0).max(1.0)).sqrt();
        let pairs = logs.iter().map(|log| format!("{log:+.4}")).collect::<Vec<_>>().join(" ");
        let name = name_of(state, *seat);
        lines.push(format!("{name}: {pairs}"));
        let fit = fits.iter().find(|(peer, _)| peer == seat).map(|(_, fit)| fit);
        let place = fit.map_or_else(String::new, |fit| {
            let off = mean - fit.middle;
            let word = if fit.in_range { "in range" } else { "an outlier" };
            let reach = fit.reach;
            format!("; {off:+.5} from the median seat, noise explains {reach:.5}: {word}")
        });
        let ratio = mean.exp();
        lines.push(format!("  n {n}, mean {mean:+.5} (ratio {ratio:.4}), σ {sigma:.5}{place}"));
        rows.push(json!({
            "seat": seat, "name": name, "log_ratios": logs, "mean": mean, "sigma": sigma, "fit": fit,
        }));
    }
    let title = format!("round {}: log ratios of the seats", round.number);
    Step::new(title, lines, json!(rows))
}

/// The newcomers beside the seats, who count for nothing here.
fn shadows(state: &State, round: &Round) -> Option<Step> {
    if round.shadows.is_empty() {
        return None;
    }
    let lines = round.shadows.iter().map(|(peer, shadow)| {
        let word = match (shadow.agreed, shadow.seal) {
            (Some(true), _) => "agreed with the seats",
            (Some(false), _) => "did not agree, and starts over",
            (None, Some(_)) => "sealed; nothing to compare it with yet",
            (None, None) => "did not seal in time, which costs nothing",
        };
        format!("{}: {word}", name_of(state, *peer))
    });
    let title = format!("round {}: newcomers on probation", round.number);
    Some(Step::new(title, lines.collect(), json!(round.shadows)))
}

fn pooling(
    state: &State,
    number: u32,
    gain: &Gain,
    known: BetweenSeats,
    seats: &[&SeatLogs],
) -> Step {
    let pooled = &gain.pooled;
    let (k1, own, df) = (pooled.own_tau_df, pooled.own_tau_squared, pooled.df);
    let tau_squared = pooled.tau * pooled.tau;
    let BetweenSeats { tau: known, df: known_df } = known;
    let mut lines = vec![
        format!(
            "σ = {:.5}, pooled over the seats with {} degrees of freedom",
            pooled.sigma, pooled.within_df
        ),
        format!(
            "τ₀ = {known:.5} with d₀ = {known_df} is what was known of the class when the committee was \
             drawn"
        ),
        format!(
            "τ² = (d₀·τ₀² + (k−1)·τ̂²)/(d₀ + k−1) = ({known_df}·{known:.5}² + {k1}·{own:.3e})/{df} \
             = {tau_squared:.3e}, so τ = {:.5}",
            pooled.tau
        ),
    ];
    let mut sum = 0.0;
    for (seat, _, logs) in seats {
        let n = logs.len().max(1) as f64;
        let weight = 1.0 / (tau_squared + pooled.sigma * pooled.sigma / n);
        let mean = logs.iter().sum::<f64>() / n;
        sum += weight;
        let name = name_of(state, *seat);
        lines.push(format!("{name}: weight 1/(τ² + σ²/{n}) = {weight:.1}, mean {mean:+.5}"));
    }
    lines.push(format!(
        "pooled mean Σ weight·mean / {sum:.1} = {:+.5}, standard error 1/√{sum:.1} = {:.5}",
        pooled.mean, pooled.standard_error
    ));
    let values = json!({
        "sigma": pooled.sigma, "within_df": pooled.within_df, "tau_known": known,
        "tau_known_df": known_df, "tau_squared_own": own, "tau_own_df": k1, "tau": pooled.tau,
        "mean": pooled.mean, "standard_error": pooled.standard_error, "df": df,
    });
    Step::new(format!("round {number}: pooling"), lines, values)
}

fn interval(rules: &SignificanceRules, number: u32, gain: &Gain) -> Step {
    let (alpha, eta) = (rules.alpha_ppm as f64 / PPM, rules.eta_ppm as f64 / PPM);
    let pooled = &gain.pooled;
    let quantile = student_t_quantile(alpha, pooled.df);
    let (low, high) = pooled.bounds(alpha);
    let (ratio, low_ratio, high_ratio) = (pooled.mean.exp(), low.exp(), high.exp());
    let lines = vec![
        format!(
            "t quantile at one-sided α = {alpha} and {} degrees of freedom: {quantile:.4}",
            pooled.df
        ),
        format!(
            "bounds {:+.5} ± {quantile:.4}·{:.5} = [{low:+.5}, {high:+.5}]",
            pooled.mean, pooled.standard_error
        ),
        format!("as ratios e^x: {ratio:.4} [{low_ratio:.4}, {high_ratio:.4}]"),
        format!("signed ranks of all pairs against ln(1 + {eta}): p = {:.3e}", gain.rank_p),
    ];
    let values = json!({
        "alpha": alpha, "eta": eta, "df": pooled.df, "t_quantile": quantile, "low": low, "high": high,
        "ratio": ratio, "ratio_low": low_ratio, "ratio_high": high_ratio, "rank_p": gain.rank_p,
    });
    Step::new(format!("round {number}: interval and rank test"), lines, values)
}

/// Which round speaks for the claim.
fn decision(claim: &ClaimState) -> Option<Step> {
    let number = claim.decided_by?;
    let purpose = claim.round(number)?.purpose.word();
    let mut lines = vec![format!("the entry's verdict is that of round {number} ({purpose})")];
    if let Some(ppm) = claim.ratio_to_base_ppm {
        let ratio = ppm as f64 / PPM;
        lines.push(format!("product of the ratios along its lineage: {ratio:.4} times the base"));
    }
    let values = json!({ "decided_by": number, "ratio_to_base_ppm": claim.ratio_to_base_ppm });
    Some(Step::new("entry", lines, values))
}

/// What the author had sealed, beside what was found.
fn opening(claim: &ClaimState) -> Option<Step> {
    let opening = claim.opening.as_ref()?;
    let own = opening.ratio_ppm as f64 / PPM;
    let mut lines = vec![format!("the author sealed a ratio of {own:.4}")];
    let found =
        claim.verdict().and_then(|verdict| verdict.ratio).map(|ratio| ratio.ppm as f64 / PPM);
    if let Some(found) = found {
        let over = 100.0 * (own / found - 1.0);
        lines.push(format!("that is {over:+.1} % of what the committee found"));
    }
    Some(Step::new("author's own result", lines, json!({ "sealed": own, "found": found })))
}

fn disclosures(state: &State, claim: &ClaimState) -> Option<Step> {
    let told: Vec<_> = state.disclosures_of(claim.id).collect();
    if told.is_empty() {
        return None;
    }
    let lines = told.iter().map(|told| {
        let who = match told.by == claim.author {
            true => "its author".to_owned(),
            false => name_of(state, told.by),
        };
        format!("height {}, {who}: {}", told.height, told.text.replace('\n', " "))
    });
    Some(Step::new("disclosures", lines.collect(), json!(told)))
}
