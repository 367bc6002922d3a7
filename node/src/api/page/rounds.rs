//! The rounds of one claim: why each was held, how far it is, and what it decided.

use super::badge;
use super::format::{quoted, ratio};
use super::home::speed;
use super::plot::Mark;
use crate::api::claims::{ClaimRow, RoundRow, outcome_word, phase_word};
use crate::api::entry::Entry;
use assay_protocol::frontier::Track;
use assay_protocol::state::{Finding, Phase, Purpose};
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
                            th.number scope="col" { "Sat before" }
                            th scope="col" { "Blocks" }
                        }
                    }
                    tbody { @for round in &entry.rounds { (line(&round.row)) } }
                }
            }
            (super::listed::downloads(&format!("/api/claims/{}/rounds", entry.claim.id), "Rounds"))
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
                    Some(outcome) => {
                        (badge(Mark::of(Some(outcome)), outcome_word(outcome)))
                        (finding(round))
                    }
                    None => (badge(Mark::of(None), phase_word(round.phase))),
                }
            }
            td { (speed(round.ratio.as_ref())) }
            td.number { (progress.revealed) span.muted { " of " (progress.seats) } }
            td.number {
                @if round.phase == Phase::Docketed { "–" } @else { (round.pairs) }
            }
            td.number { (round.sat_before) }
            td {
                (round.opened_at) " – "
                @if let Some(height) = round.settled_at { (height) } @else { "…" }
            }
        }
    }
}

/// What an entry is worth in its track.
pub(super) fn rank(row: &ClaimRow) -> Markup {
    let (Some(track), Some(to_base), Some(rank)) = (row.track, row.ratio_to_base_ppm, row.rank)
    else {
        return html! { span.muted { "–" } };
    };
    html! {
        span.lead { (ratio(to_base)) }
        span.sub {
            @match (track, row.leads) {
                (Track::Lossless, true) => { "the published best" }
                (Track::Lossless, false) => { "rank " (rank) " of the lossless" }
                (Track::Lossy, true) => { "on the Pareto front" }
                (Track::Lossy, false) => { "behind the Pareto front" }
            }
            @if !row.confirmed { ", by one committee" }
        }
    }
}

/// What a round says about the entry, who is at odds with it, and whom it caught.
fn finding(round: &RoundRow) -> Markup {
    html! {
        @match round.finding {
            Some(Finding::Upheld) => span.sub { "the entry stands" },
            Some(Finding::Debunked) => span.sub { "the entry is refuted" },
            Some(Finding::Undecided) => span.sub { "nothing decided" },
            None => {}
        }
        @for found in &round.dissent {
            span.sub { "at odds: " span title=(found.seat.peer) { (quoted(&found.seat.name)) } }
        }
        @for seat in &round.caught {
            span.sub { "caught: " span title=(seat.peer) { (quoted(&seat.name)) } }
        }
    }
}

/// What happened to an entry after it was made.
pub(super) fn aftermath(row: &ClaimRow) -> Markup {
    html! {
        @if let Some(debunked) = row.debunked {
            p { strong { "Debunked" } " by round " (debunked.round) " in block " (debunked.height) ". "
                "The entry stays as it was made; nothing can be built on it."
                @if row.told_first { " Its author told of the trick first." } }
        }
        @if let Some(entry) = row.descends_from_debunked {
            p { strong { "Descends from a debunked entry" } ", "
                a.id href={ "/claims/" (entry) } { (entry.short()) } "." }
        }
        @if row.null == Some(true) {
            p { "A null claim: its author hid no gain in it, to see who reports one." }
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
