//! The rounds of one claim: why each was held, how far it is, and what it decided.

use super::badge;
use super::format::{quoted, significant};
use super::home::speed;
use super::plot::Mark;
use crate::api::claims::{RoundRow, outcome_word, phase_word};
use crate::api::entry::Entry;
use assay_protocol::state::{Phase, Purpose};
use maud::{Markup, html};

/// The table of all rounds.
pub(super) fn rounds(entry: &Entry) -> Markup {
    html! {
        section #rounds data-live aria-labelledby="rounds-title" {
            h2 #rounds-title { "Rounds " span.muted { (entry.rounds.len()) } }
            div.scroll tabindex="0" role="region" aria-labelledby="rounds-title" {
                table.rounds {
                    thead {
                        tr {
                            th.number scope="col" { "Round" }
                            th scope="col" { "Held because" }
                            th scope="col" { "Result" }
                            th scope="col" { "Speed, × parent" }
                            th.number scope="col" { "Revealed" }
                            th.number scope="col" { "Pairs a seat" }
                            th scope="col" { "Blocks" }
                        }
                    }
                    tbody { @for round in &entry.rounds { (line(&round.row)) } }
                }
            }
        }
    }
}

fn line(round: &RoundRow) -> Markup {
    let progress = &round.progress;
    html! {
        tr {
            th.number scope="row" { (round.number) }
            td { (reason(round)) }
            td {
                @match round.outcome {
                    Some(outcome) => (badge(Mark::of(Some(outcome)), outcome_word(outcome))),
                    None => (badge(Mark::of(None), phase_word(round.phase))),
                }
            }
            td { (speed(round.ratio.as_ref())) }
            td.number { (progress.revealed) span.muted { " of " (progress.seats) } }
            td.number {
                @if round.phase == Phase::Docketed { "–" } @else { (significant(f64::from(round.pairs))) }
            }
            td {
                (round.opened_at) " – "
                @if let Some(height) = round.settled_at { (height) } @else { "…" }
            }
        }
    }
}

/// Why a round is held.
fn reason(round: &RoundRow) -> Markup {
    match round.purpose {
        Purpose::First => html! { "nobody measured the claim before" },
        Purpose::Frontier => html! { "it beat the best of its track; others confirm the number" },
        Purpose::Challenge { by, .. } => {
            html! { "challenged by " code title=(by) { (quoted(&by.short())) } }
        }
        Purpose::Audit => html! { "drawn by lot for a second look" },
    }
}
