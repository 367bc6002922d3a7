//! Divided rounds, told to people: who is at odds with a claim, and what follows.

use super::format::quoted;
use crate::api::claims::{Dissenter, RoundRow};
use crate::api::entry::Entry;
use assay_protocol::gates::Gate;
use assay_protocol::verdict::Outcome;
use maud::{Markup, html};

/// The paragraphs on the deciding round's dissent, and on a round that waits for another committee.
pub(super) fn divided(entry: &Entry) -> Markup {
    let rounds = || entry.rounds.iter().map(|round| &round.row);
    let deciding = rounds().find(|round| Some(round.number) == entry.ledger.decided_by);
    let latest = rounds().rfind(|round| round.outcome.is_some());
    html! {
        @if let Some(round) = deciding.filter(|round| !round.dissent.is_empty()) { (decided(round)) }
        @if let Some(round) = latest.filter(|round| round.outcome == Some(Outcome::Contested)) {
            (contested(round))
        }
    }
}

fn decided(round: &RoundRow) -> Markup {
    html! {
        p.dissent {
            strong { "Decided with dissent" } " in round " (round.number) ": " (seats(&round.dissent))
            ". Two committees in turn were divided like this, so the verdict rests on the other "
            (round.attested_by.len()) " seats. The dissent stays on record; any full member may "
            "challenge the entry."
        }
    }
}

fn contested(round: &RoundRow) -> Markup {
    let others = round.progress.revealed.saturating_sub(round.dissent.len());
    html! {
        p.dissent {
            strong { "Contested" } " in round " (round.number) ": " (seats(&round.dissent))
            ", and the other " (others) ", enough for a quorum of " (round.progress.quorum)
            ", found otherwise. So few seats neither carry a claim nor sink it: an independent "
            "committee measures again, and if it is divided in the same way its quorum decides."
        }
    }
}

/// The dissenters with what each found.
fn seats(dissent: &[Dissenter]) -> Markup {
    html! {
        @for (index, found) in dissent.iter().enumerate() {
            @if index > 0 { ", " }
            span title=(found.seat.peer) { (quoted(&found.seat.name)) } " found that " (says(found.gate))
        }
    }
}

/// What a seat says against the claim, as a clause.
pub(super) fn says(gate: Gate) -> &'static str {
    match gate {
        Gate::Identity => "other tokens come out than from the built-in kernels",
        Gate::Path => "prefill and decode disagree",
        Gate::Quality => "the quality lies beyond the bounds",
        Gate::Reach => "a part of the vocabulary or context is missing",
        Gate::Shape => "the model has another shape",
        Gate::Physics => "the machine cannot be that fast",
        Gate::Speed => "the speed is another than noise explains",
        Gate::Repeat => "the same prompt decodes to other tokens again",
    }
}
