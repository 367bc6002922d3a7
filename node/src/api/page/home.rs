//! The page that a node opens with: the score, the claims, the docket.

use super::format::{count, interval, millionths, moment, percent, quoted, ratio, summary};
use super::plot::{Mark, Scale, from_ppm};
use super::rulings::marks;
use super::{Place, Snapshot, badge, document};
use crate::api::challenge::Score;
use crate::api::claims::{ClaimRow, outcome_word, rows};
use crate::api::entry::{SeatStage, seats};
use assay_protocol::state::{ClaimState, Phase, Round};
use assay_protocol::verdict::Estimate;
use maud::{Markup, html};

/// Claims in the chart.
const CHART_CLAIMS_MAX: usize = 24;

/// The page, with `limit` claims from `offset` on.
pub(in crate::api) fn home(
    snapshot: &Snapshot,
    score: &Score,
    offset: usize,
    limit: usize,
) -> Markup {
    let rows = rows(&snapshot.state, offset, limit);
    let total = snapshot.state.claims().count();
    let main = html! {
        h1.visually-hidden { "The challenge of " (snapshot.state.genesis().name) }
        @if offset == 0 { (super::score::score(snapshot, score)) }
        (claims(snapshot, &rows, total, offset))
        (docket(snapshot))
        (chart(snapshot, &rows))
    };
    document(
        snapshot,
        Place::Challenge,
        &format!("{} · Assay", snapshot.state.genesis().name),
        &main,
    )
}

fn claims(snapshot: &Snapshot, rows: &[ClaimRow], total: usize, offset: usize) -> Markup {
    html! {
        section #claims data-live aria-labelledby="claims-title" {
            h2 #claims-title { "Claims " span.muted { (total) } }
            @if rows.is_empty() && total == 0 {
                p.empty {
                    "No claims yet. A member makes one with " code { "assay claim new" } ", or by "
                    code { "POST /api/claims" } " with the token from its node's home folder; it appears "
                    "here as soon as the ledger has ordered it."
                }
            } @else {
                (table(snapshot, rows))
                (pager(rows.len(), total, offset))
                (super::listed::downloads(&format!("/api/claims?offset={offset}&limit={}", rows.len()), "Claims"))
            }
        }
    }
}

fn table(snapshot: &Snapshot, rows: &[ClaimRow]) -> Markup {
    let heads = [
        ("Claim", ""),
        ("Outcome", ""),
        ("Speed, × parent", "number"),
        ("Perplexity", "number"),
        ("Tokens", ""),
        ("Attested by", ""),
    ];
    html! {
        table.claims role="table" {
            thead role="rowgroup" {
                tr role="row" {
                    @for (head, class) in heads {
                        th class=(class) role="columnheader" scope="col" { (head) }
                    }
                }
            }
            tbody role="rowgroup" {
                @for row in rows { (line(snapshot.now_ms, row)) }
            }
        }
    }
}

fn line(now_ms: u64, row: &ClaimRow) -> Markup {
    html! {
        tr role="row" {
            th.what role="rowheader" scope="row" {
                a.id href={ "/claims/" (row.id) } { (row.id.short()) }
                " " span.summary { (summary(&row.summary)) }
                span.by { "by " (quoted(&row.author.name)) ", against " (parent(row)) }
                (marks(&row.upheld))
            }
            td role="cell" data-label="Outcome" { (standing(now_ms, row)) }
            td.number role="cell" data-label="Speed, × parent" { (speed(row.ratio.as_ref())) }
            td.number role="cell" data-label="Perplexity" { (perplexity(row)) }
            td role="cell" data-label="Tokens" { (tokens(row.lossless)) }
            td role="cell" data-label="Attested by" {
                @if row.attested_by.is_empty() { span.muted.none { "nobody yet" } }
                @for (index, seat) in row.attested_by.iter().enumerate() {
                    @if index > 0 { ", " }
                    span title=(seat.peer) { (quoted(&seat.name)) }
                }
            }
        }
    }
}

fn parent(row: &ClaimRow) -> Markup {
    match row.parent_is_base {
        true => html! { "the base recipe" },
        false => html! { a.id href={ "/claims/" (row.parent) } { (row.parent.short()) } },
    }
}

/// The outcome of a settled claim, the phase of an open one.
pub(super) fn standing(now_ms: u64, row: &ClaimRow) -> Markup {
    let progress = &row.progress;
    let word = match (row.outcome, row.phase) {
        (Some(_), _) if row.debunked.is_some() => badge(Mark::Debunked, "debunked"),
        (Some(outcome), _) => badge(Mark::of(Some(outcome)), outcome_word(outcome)),
        (None, Phase::Sealing { until_ms, .. }) => {
            phase(now_ms, "sealing", (progress.sealed, progress.seats), until_ms)
        }
        (None, Phase::Revealing { until_ms }) => {
            phase(now_ms, "revealing", (progress.revealed, progress.sealed), until_ms)
        }
        (None, _) => badge(Mark::Open, row.phase_word()),
    };
    html! {
        (word)
        @if row.is_contested() { span.sub { "contested, measured again" } }
        @if !row.dissent.is_empty() { span.sub { "with dissent" } }
    }
}

fn phase(now_ms: u64, word: &str, (done, all): (usize, usize), until_ms: u64) -> Markup {
    html! {
        (badge(Mark::Open, &format!("{word} {done}/{all}")))
        progress max=(all.max(1)) value=(done) aria-label={ (word) ", seats done" } {}
        span.sub { "ends " (moment(now_ms, until_ms)) }
    }
}

pub(super) fn speed(estimate: Option<&Estimate>) -> Markup {
    match estimate {
        Some(estimate) => html! {
            span.lead { (ratio(estimate.ppm)) }
            span.sub { (interval(estimate)) }
        },
        None => html! { span.muted.none { "–" } },
    }
}

pub(super) fn perplexity(row: &ClaimRow) -> Markup {
    match (row.perplexity_parent_ppm, row.perplexity_child_ppm) {
        (Some(parent), Some(child)) => html! {
            (millionths(parent)) span aria-label="to" { " → " } (millionths(child))
        },
        _ => html! { span.muted.none { "–" } },
    }
}

pub(super) fn tokens(lossless: Option<bool>) -> Markup {
    match lossless {
        Some(true) => html! { "lossless" },
        Some(false) => html! { span.lossy { "lossy" } },
        None => html! { span.muted.none { "–" } },
    }
}

fn pager(shown: usize, total: usize, offset: usize) -> Markup {
    if shown == total {
        return html! {};
    }
    let page = shown.max(1);
    html! {
        nav.pager aria-label="More claims" {
            @if shown == 0 {
                span { "There are no claims this far back." }
            } @else {
                span { (offset + 1) "–" (offset.saturating_add(shown)) " of " (total) }
            }
            @if offset > 0 { a href="/" { "newest" } }
            @if offset.saturating_add(shown) < total && shown > 0 {
                a href={ "/?offset=" (offset.saturating_add(page)) } { "older" }
            }
        }
    }
}

fn chart(snapshot: &Snapshot, rows: &[ClaimRow]) -> Markup {
    let measured: Vec<(&ClaimRow, &Estimate)> = rows
        .iter()
        .filter_map(|row| row.ratio.as_ref().map(|estimate| (row, estimate)))
        .take(CHART_CLAIMS_MAX)
        .collect();
    let rules = &snapshot.state.parameters().significance;
    let needed = 1.0 + from_ppm(rules.eta_ppm);
    let ends = measured.iter().flat_map(|(_, e)| [e.low_ppm, e.high_ppm]).map(from_ppm);
    let scale = Scale::over(ends.chain([needed]));
    html! {
        section #chart data-live aria-labelledby="chart-title" {
            h2 #chart-title { "Speed against the parent" }
            @if measured.is_empty() {
                p.empty {
                    "Nothing measured yet. A claim's ratio and its interval appear here when its "
                    "committee has revealed."
                }
            } @else {
                ol.plot {
                    @for (row, estimate) in &measured {
                        li {
                            span.name {
                                a.id href={ "/claims/" (row.id) } { (row.id.short()) }
                                " " (summary(&row.summary))
                            }
                            (scale.strip(needed, &spoken(row, estimate),
                                &scale.estimate(mark(row), estimate)))
                            span.value { (ratio(estimate.ppm)) }
                        }
                    }
                    li.foot aria-hidden="true" { span.name {} (scale.axis()) span.value {} }
                }
                (key(needed, rules.alpha_ppm))
            }
        }
    }
}

fn mark(row: &ClaimRow) -> Mark {
    if row.debunked.is_some() { Mark::Debunked } else { Mark::of(row.outcome) }
}

/// What the lines and bars of a plot mean.
pub(super) fn key(needed: f64, alpha_ppm: u64) -> Markup {
    html! {
        p.key {
            "Bars are one-sided bounds at α = " (percent(alpha_ppm)) ". Solid line: no gain. "
            "Dashed line: a lower bound above " (format!("{needed:.2}×")) " is accepted as faster."
        }
    }
}

fn spoken(row: &ClaimRow, estimate: &Estimate) -> String {
    let outcome = row.outcome.map_or("open", outcome_word);
    format!("{outcome}: ratio {}, interval {}", ratio(estimate.ppm), interval(estimate))
}

fn docket(snapshot: &Snapshot) -> Markup {
    let open: Vec<(&ClaimState, &Round)> = snapshot.state.open_rounds().collect();
    html! {
        section #docket data-live aria-labelledby="docket-title" {
            h2 #docket-title { "Docket " span.muted { (open.len()) } }
            @if open.is_empty() {
                p.empty {
                    "Nothing waits for measurement. A new claim is measured a few blocks after it "
                    "is docketed."
                }
            }
            ol.docket {
                @for (claim, round) in open { (waiting(snapshot, claim, round)) }
            }
        }
    }
}

fn waiting(snapshot: &Snapshot, claim: &ClaimState, round: &Round) -> Markup {
    let row = ClaimRow::new(&snapshot.state, claim);
    let progress = &row.progress;
    let at = match row.phase {
        Phase::Docketed => 0,
        Phase::Sealing { .. } => 1,
        Phase::Revealing { .. } => 2,
        Phase::Settled => 3,
    };
    let sealing = match at {
        0 => "sealing".to_owned(),
        _ => format!("sealing {}/{}", progress.sealed, progress.seats),
    };
    let revealing = match at {
        0 | 1 => "revealing".to_owned(),
        _ => format!("revealing {}/{}", progress.revealed, progress.sealed),
    };
    let steps = ["docketed".to_owned(), sealing, revealing, "settled".to_owned()];
    html! {
        li {
            p.name {
                a.id href={ "/claims/" (row.id) } { (row.id.short()) } " " (summary(&row.summary))
                @if round.number > 1 {
                    " " span.muted { (round.purpose.word()) " round " (round.number) }
                }
            }
            ol.steps {
                @for (index, step) in steps.iter().enumerate() {
                    @let class = if index < at { "done" } else if index == at { "here" } else { "" };
                    li class=(class) aria-current=[(index == at).then_some("step")] { (step) }
                }
            }
            p.sub { (what_next(snapshot, round)) }
            @if at > 0 { (seat_list(snapshot, claim, round)) }
        }
    }
}

/// What an open round waits for.
fn what_next(snapshot: &Snapshot, round: &Round) -> Markup {
    let moment = |until_ms| moment(snapshot.now_ms, until_ms);
    match round.phase {
        Phase::Docketed if let Some(at) = round.called_at => html! {
            "Its turn came at block " (at) ". Waits for its beacon, two blocks later."
        },
        Phase::Docketed => html! { "Waits until a measuring place is free." },
        Phase::Sealing { reserves_at_ms, until_ms } => html! {
            @if round.reserves_called > 0 {
                (count(round.reserves_called, "reserve", "reserves")) " called. "
            } @else if reserves_at_ms > snapshot.now_ms && !round.committee.reserves.is_empty() {
                "Reserves are called " (moment(reserves_at_ms)) ". "
            }
            "Sealing ends " (moment(until_ms)) "."
        },
        Phase::Revealing { until_ms } => html! { "Revealing ends " (moment(until_ms)) "." },
        Phase::Settled => html! {},
    }
}

fn seat_list(snapshot: &Snapshot, claim: &ClaimState, round: &Round) -> Markup {
    let seats = seats(&snapshot.state, claim, round);
    html! {
        ul.seats {
            @for seat in seats.iter().filter(|seat| seat.stage != SeatStage::Uncalled) {
                li { (quoted(&seat.seat.name)) " " span.muted { (seat.stage.word()) } }
            }
        }
    }
}

#[cfg(test)]
mod tests;
