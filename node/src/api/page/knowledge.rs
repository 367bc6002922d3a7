//! The knowledge page: what counts on each class, limits, dead ends, playbooks, forecasts, and the
//! numbers that members change by vote.

use super::format::{moment, quoted, significant};
use super::listed::Listed;
use super::plot::Mark;
use super::proposals::{parameters, proposals};
use super::{Place, Snapshot, badge, document};
use crate::board::{LimitRow, PlaybookRow, PostRow, SpecRow};
use crate::explain::ClassNorms;
use crate::text::cut;
use assay_protocol::post::Detail;
use maud::{Markup, html};

/// What the page lists.
pub(in crate::api) struct Knowledge {
    /// The classes that were measured.
    pub(in crate::api) classes: Vec<ClassNorms>,
    /// Limits, newest first.
    pub(in crate::api) limits: Vec<LimitRow>,
    /// The latest dead ends.
    pub(in crate::api) dead_ends: Vec<PostRow>,
    /// Playbooks, the best endorsed first.
    pub(in crate::api) playbooks: Vec<PlaybookRow>,
    /// Specs, newest first.
    pub(in crate::api) specs: Vec<SpecRow>,
}

/// The page.
pub(in crate::api) fn knowledge(snapshot: &Snapshot, known: &Knowledge) -> Markup {
    let main = html! {
        h1.visually-hidden { "Knowledge" }
        (classes(&known.classes))
        (limits(&known.limits))
        (dead_ends(snapshot, &known.dead_ends))
        (playbooks(&known.playbooks))
        (specs(&known.specs))
        (proposals(snapshot))
        (parameters(snapshot))
    };
    document(snapshot, Place::Knowledge, "Knowledge · Assay", &main)
}

fn classes(rows: &[ClassNorms]) -> Markup {
    let percent = |share: f64| format!("{} %", significant(share * 100.0));
    let times = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |r| format!("{r:.3}×"));
    let figure = |value: Option<f64>, unit: &str| {
        value.map_or("–".to_owned(), |value| format!("{} {unit}", significant(value)))
    };
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Class" }
                th.number scope="col" { "Rounds" }
                th.number scope="col" title="standard deviation of a pair's ratio within a seat" { "σ in a seat" }
                th.number scope="col" title="standard deviation between seats" { "τ between seats" }
                th.number scope="col" { "Committee" }
                th.number scope="col" title="smallest pooled ratio that is no tie" { "Counts from" }
                th.number scope="col" title="smallest true ratio found in nine of ten claims" { "Found from" }
                th.number scope="col" { "Base recipe" }
                th.number scope="col" { "Bandwidth" }
            } }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { a href={ "/api/explain/" (row.class) } { (quoted(&row.class)) } }
                        td.number { (row.rounds) }
                        td.number { (row.sigma.map_or("–".to_owned(), percent)) }
                        td.number { (percent(row.tau)) }
                        td.number { (row.seats) " × " (row.pairs) " pairs" }
                        td.number { (times(row.counts_from)) }
                        td.number { (times(row.found_from)) }
                        td.number { (figure(row.base_tps, "tokens/s")) }
                        td.number { (figure(row.bandwidth_mb_s.map(|mb| mb / 1e3), "GB/s")) }
                    }
                }
            }
        }
    };
    let empty =
        html! { "No round was settled yet. The first committee of a class shows its noise." };
    let (title, rows) = ("What counts on each class", rows.len());
    Listed { id: "classes", title, rows, empty, table, json: "/api/classes" }.section()
}

fn limits(rows: &[LimitRow]) -> Markup {
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Limit" }
                th scope="col" { "Levers" }
                th scope="col" { "By" }
                th scope="col" { "What became of it" }
            } }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { a href={ "/board/threads/" (row.id) } { (row.words()) } }
                        td { (row.levers.join(", ")) }
                        td { (quoted(&row.author.name)) }
                        td { (fate(row)) }
                    }
                }
            }
        }
    };
    let empty = html! {
        "Nobody has said how far anything goes. " code { "assay limit new" }
        " does; the first entry that goes further debunks it."
    };
    let (title, rows) = ("Limits", rows.len());
    Listed { id: "limits", title, rows, empty, table, json: "/api/board/limits" }.section()
}

fn fate(row: &LimitRow) -> Markup {
    let (mark, word) = match row.debunked_by {
        Some(_) => (Mark::Refuted, "debunked"),
        None => (Mark::Accepted, "holds"),
    };
    html! {
        (badge(mark, word))
        @if let Some(by) = row.debunked_by.as_ref().or(row.closest.as_ref()) {
            " " span.sub {
                @if row.debunked_by.is_some() { "by " } @else { "closest " }
                a.id href={ "/claims/" (by.claim) } { (by.claim.short()) } " at "
                (row.bound.quantity.words(by.value)) ", " (quoted(&cut(&by.summary, 60))) " by "
                (quoted(&by.author.name))
            }
        }
    }
}

fn dead_ends(snapshot: &Snapshot, rows: &[PostRow]) -> Markup {
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Does not pay" }
                th scope="col" { "Says" }
                th scope="col" { "By" }
                th scope="col" { "Shown by" }
                th scope="col" { "When" }
            } }
            tbody {
                @for row in rows {
                    @if let Some(Detail::DeadEnd(end)) = &row.detail {
                        tr {
                            th scope="row" { (end.levers.join(", ")) }
                            td { a href={ "/board/threads/" (row.thread) } { (quoted(&cut(row.headline(), 80))) } }
                            td { (quoted(&row.author.name)) }
                            td { @match end.claim {
                                Some(id) => a.id href={ "/claims/" (id) } { (id.short()) },
                                None => span.muted { "no claim" },
                            } }
                            td { (moment(snapshot.now_ms, row.time_ms)) }
                        }
                    }
                }
            }
        }
        p.sub { a href="/board?kind=dead-end" { "all dead ends" } }
    };
    let empty = html! {
        "Nothing is known not to pay. " code { "assay board dead-end" }
        " saves others the work of finding out."
    };
    let (title, rows) = ("Dead ends", rows.len());
    Listed { id: "dead-ends", title, rows, empty, table, json: "/api/board?kind=dead-end" }
        .section()
}

fn playbooks(rows: &[PlaybookRow]) -> Markup {
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Playbook" }
                th scope="col" { "By" }
                th.number scope="col" { "Revisions" }
                th.number scope="col" { "Endorsed by" }
                th.number scope="col" title="their standing together" { "Weight" }
            } }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" {
                            a href={ "/board/threads/" (row.latest.thread) } { (quoted(&cut(row.latest.headline(), 100))) }
                        }
                        td { (quoted(&row.latest.author.name)) }
                        td.number { (row.revisions.len()) }
                        td.number { (row.endorsed.len()) }
                        td.number { (row.weight) }
                    }
                }
            }
        }
    };
    let empty = html! { "No articles. " code { "assay playbook new" } " publishes one." };
    let (title, rows) = ("Playbooks", rows.len());
    Listed { id: "playbooks", title, rows, empty, table, json: "/api/board/playbooks" }.section()
}

fn specs(rows: &[SpecRow]) -> Markup {
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Spec" }
                th scope="col" { "Class" }
                th.number scope="col" { "Forecast" }
                th scope="col" { "By" }
                th scope="col" { "How it fared" }
            } }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { a href={ "/board/threads/" (row.id) } {
                            @match &row.post { Some(post) => (quoted(&cut(post.headline(), 80))), None => (row.id.short()) }
                        } }
                        td { (row.forecast.hardware_class) }
                        td.number { (format!("{:.3}×", row.forecast.ratio_ppm as f64 / 1e6)) }
                        td { (quoted(&row.author.name)) }
                        td {
                            @if row.scores.is_empty() { span.muted { "no claim cites it" } }
                            @for score in &row.scores {
                                span.sub {
                                    a.id href={ "/claims/" (score.claim) } { (score.claim.short()) } ": "
                                    (score.words(&row.forecast))
                                    @if row.credited == Some(score.claim) { "; credited" }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    let empty = html! {
        "No forecasts. " code { "assay spec new" } " computes one without a fast machine."
    };
    let (title, rows) = ("Forecasts", rows.len());
    Listed { id: "specs", title, rows, empty, table, json: "/api/board/specs" }.section()
}
