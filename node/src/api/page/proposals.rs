//! Proposals and parameters: the part of the knowledge page about what members change by vote.

use super::format::{moment, quoted};
use super::listed::Listed;
use super::plot::Mark;
use super::{Snapshot, badge};
use crate::api::proposals::{ParameterRow, ProposalRow};
use crate::text::cut;
use maud::{Markup, html};

/// Proposals on the page.
const PROPOSALS_MAX: usize = 20;
/// Longest reason, in characters.
const WHY_CHARS: usize = 120;

/// The latest proposals, with the votes on them.
pub(super) fn proposals(snapshot: &Snapshot) -> Markup {
    let mut rows = ProposalRow::all(&snapshot.state);
    // Whatever can still be voted on comes first, however old.
    rows.sort_by_key(|row| row.state != "open");
    rows.truncate(PROPOSALS_MAX);
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Proposal" }
                th scope="col" { "Change" }
                th scope="col" { "Why" }
                th scope="col" { "By" }
                th scope="col" title="weight of the operators; two thirds of what is cast and half of all adopt" { "Votes" }
                th scope="col" { "State" }
            } }
            tbody {
                @for row in &rows {
                    tr {
                        th scope="row" { a.id href={ "/board/threads/" (row.id) } title="its thread" { (row.id.short()) } }
                        td {
                            code { (row.parameter.path()) } " "
                            span.sub { (row.before) " → " (row.value) " " (row.unit) }
                        }
                        td { (quoted(&cut(&row.why, WHY_CHARS))) }
                        td { (quoted(&row.by.name)) }
                        td { (row.count.yes) " yes, " (row.count.no) " no " span.sub { "of " (row.count.all) } }
                        td { (state(snapshot, row)) }
                    }
                }
            }
        }
    };
    let empty = html! {
        "Nobody has proposed another rule. " code { "assay proposal new" } " does; members vote by standing."
    };
    let rows = rows.len();
    Listed { id: "proposals", title: "Proposals", rows, empty, table, json: "/api/proposals" }
        .section()
}

fn state(snapshot: &Snapshot, row: &ProposalRow) -> Markup {
    let mark = match row.state.as_str() {
        "adopted" => Mark::Accepted,
        "open" => Mark::Open,
        _ => Mark::Refuted,
    };
    html! {
        (badge(mark, &row.state))
        @if let (Some(until), "open") = (row.until_ms, row.state.as_str()) {
            " " span.sub { "ends " (moment(snapshot.now_ms, until)) }
        }
        @if let Some(height) = row.in_force_from {
            " " span.sub { "from block " (height) " on" }
        }
    }
}

/// The numbers that members may change, as they are in force.
pub(super) fn parameters(snapshot: &Snapshot) -> Markup {
    let rows = ParameterRow::all(&snapshot.state);
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Parameter" }
                th.number scope="col" { "Value" }
                th scope="col" { "Unit" }
                th scope="col" { "Since" }
                th scope="col" { "Meaning" }
            } }
            tbody {
                @for row in &rows {
                    tr {
                        th scope="row" { code { (row.parameter.path()) } }
                        td.number { (row.value) }
                        td { (row.unit) }
                        td {
                            @match row.set_by {
                                Some(id) => {
                                    "block " (row.since) " "
                                    a.id href={ "/api/proposals/" (id) } { (id.short()) }
                                    " " span.sub { (row.genesis) " at the start" }
                                }
                                None => { span.muted.nowrap { "the start" } }
                            }
                        }
                        td { (row.about) }
                    }
                }
            }
        }
    };
    let (empty, rows) = (html! {}, rows.len());
    Listed { id: "parameters", title: "Parameters", rows, empty, table, json: "/api/parameters" }
        .section()
}
