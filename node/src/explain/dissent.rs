//! A divided round: which seats stand against the claim, by what, and what follows from it.

use super::claim::gate_word;
use super::{Step, name_of};
use assay_protocol::dissent::Dissent;
use assay_protocol::gates::{self, Evidence, Gate};
use assay_protocol::state::{ClaimState, Round, State};
use assay_protocol::verdict::Outcome;
use serde_json::json;

/// Tells of the dissenters of a round and why they do not decide it; nothing where there are none.
pub(super) fn step(state: &State, claim: &ClaimState, round: &Round) -> Option<Step> {
    let verdict = round.verdict.as_ref().filter(|verdict| !verdict.dissent.is_empty())?;
    let mut lines: Vec<String> = verdict
        .dissent
        .iter()
        .map(|dissent| {
            let (name, gate) = (name_of(state, dissent.seat), gate_word(dissent.gate));
            let found = found(state, claim, round, dissent);
            format!("{name} is at odds with the claim, by {gate}: {found}")
        })
        .collect();
    let others = round.reveals.len().saturating_sub(verdict.dissent.len());
    let quorum = state.quorum(claim, round).quorum;
    lines.push(format!(
        "the {others} others are a quorum (of {quorum}) and say otherwise: so few seats neither carry a \
         claim nor sink it"
    ));
    lines.push(match verdict.outcome {
        Outcome::Contested => "so nothing is decided, and an independent committee measures again; if it \
                               is divided in the same way, its quorum decides"
            .to_owned(),
        _ => format!(
            "the committee before was divided in the same way, so this verdict rests on the {others} \
             others; the dissent stays on record, and a member may challenge the entry"
        ),
    });
    let title = format!("round {}: dissent", round.number);
    Some(Step::new(title, lines, json!(verdict.dissent)))
}

/// What a dissenter's own measurement says.
fn found(state: &State, claim: &ClaimState, round: &Round, dissent: &Dissent) -> String {
    let gone = || "more than noise explains".to_owned();
    if dissent.gate == Gate::Speed {
        let fits = state.seat_fits(round.id(claim.id));
        let fit = fits.iter().find(|(seat, _)| *seat == dissent.seat).map(|(_, fit)| fit);
        return fit.map_or_else(gone, |fit| {
            let (off, reach) = (fit.mean - fit.middle, fit.reach);
            format!(
                "its mean is {off:+.5} from the median seat's, where noise explains {reach:.5}; its σ is \
                 {:.5}, the median seat's {:.5}",
                fit.sigma, fit.noise
            )
        });
    }
    let plan = state.plan(claim, round, dissent.seat);
    let (Some(plan), Some(measurement)) = (plan, round.reveals.get(&dissent.seat)) else {
        return gone();
    };
    let seat = [Evidence { plan: &plan, measurement }];
    let alone = match dissent.gate {
        Gate::Identity => gates::identity(&seat),
        Gate::Path => gates::path(&seat),
        Gate::Reach => gates::reach(&seat),
        Gate::Shape => gates::shape(&seat),
        Gate::Repeat => gates::repeat(&seat),
        Gate::Physics => gates::physics(&claim.speed_class(round), &seat),
        Gate::Quality | Gate::Speed => gates::quality(state.parameters_of(round), &seat),
    };
    alone.detail
}
