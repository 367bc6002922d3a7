//! The pages: plain HTML that reads without JavaScript.

mod board;
mod chart;
mod disclosures;
mod dissent;
mod entry;
mod format;
mod home;
mod interactions;
mod knowledge;
mod ledger;
mod lineage;
mod listed;
mod node;
mod peers;
mod plot;
mod proposals;
mod recipe;
mod relay;
mod rounds;
mod rulings;
mod score;
mod witnesses;

pub(super) use board::{Choice, Shown, board, thread};
pub(super) use entry::entry;
pub(super) use home::home;
pub(super) use interactions::{InteractionView, interactions};
pub(super) use knowledge::{Knowledge, knowledge};
pub(super) use ledger::{block, ledger};
pub(super) use lineage::{View, lineage};
pub(super) use node::node;
pub(super) use peers::{PeerView, peer_page, peers};

use super::claims::Named;
use super::view::Status;
use assay_protocol::state::State;
use format::{count, moment, quoted};
use indicatif::HumanBytes;
use maud::{DOCTYPE, Markup, html};
use plot::Mark;
use std::sync::Arc;

/// What a page shows, taken at one moment.
pub(super) struct Snapshot {
    /// The change counter before the rest was read.
    pub(super) version: u64,
    /// Unix time.
    pub(super) now_ms: u64,
    /// The ledger's state.
    pub(super) state: Arc<State>,
    /// The node.
    pub(super) status: Status,
}

/// Which of the pages one is, or belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Challenge,
    Board,
    Lineage,
    Knowledge,
    Ledger,
    Peers,
    Node,
    /// None of them.
    Elsewhere,
}

impl Place {
    /// The pages in the order of the navigation, each with its address and name.
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Challenge, "/", "Challenge"),
        (Self::Board, "/board", "Board"),
        (Self::Lineage, "/lineage", "Lineage"),
        (Self::Knowledge, "/knowledge", "Knowledge"),
        (Self::Ledger, "/ledger", "Ledger"),
        (Self::Peers, "/peers", "Peers"),
        (Self::Node, "/node", "Node"),
    ];
}

/// A whole page. Parts marked `data-live` are what the script brings up to date.
fn document(snapshot: &Snapshot, place: Place, title: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/live.js" defer {}
            }
            body data-version=(snapshot.version) {
                a.skip href="#main" { "Skip to the content" }
                (header(snapshot, place))
                main #main tabindex="-1" { (main) }
                (footer(snapshot))
            }
        }
    }
}

/// The node's roles, each with its reason on pointing at it.
fn duties(status: &Status) -> Markup {
    html! {
        @for (index, duty) in status.roles.iter().enumerate() {
            @if index > 0 { ", " }
            span title=(duty.reason) { (duty.role.word()) }
        }
        @if status.roles.is_empty() { "not known yet" }
    }
}

fn header(snapshot: &Snapshot, place: Place) -> Markup {
    let (state, status) = (&snapshot.state, &snapshot.status);
    html! {
        header {
            div.masthead {
                p.brand {
                    a href="/" { "Assay" }
                    span.network { (quoted(&state.genesis().name)) }
                }
                nav.site aria-label="Pages" {
                    @for (page, path, name) in Place::ALL {
                        a href=(path) aria-current=[(page == place).then_some("page")] { (name) }
                    }
                }
                p.link-state role="status" {
                    span.when-off { "reload to update" }
                    span.when-on { "live" }
                    span.when-lost { "reconnecting" }
                }
            }
            div #now data-live {
                p.now {
                    strong { (quoted(&status.doing)) }
                    @if !status.reason.is_empty() { " " span.why { (quoted(&status.reason)) } }
                }
                @if status.agent != "off" { p.now { "Agent: " (quoted(&status.agent)) } }
                dl.figures {
                    div { dt { "Height" } dd { (state.height()) } }
                    div { dt { "Head" } dd { (head(state)) } }
                    div { dt { "Last block" } dd { (last_block(snapshot)) } }
                    div { dt { "Peers" } dd { (status.peers) " connected" } }
                    div { dt { "Node" } dd { (quoted(&status.name)) } }
                    div { dt { "Standing" } dd {
                        @match status.standing {
                            Some(standing) => (standing),
                            None => "not a member",
                        }
                    } }
                    div { dt { "Hardware class" } dd {
                        @match &status.class {
                            Some(class) => (quoted(class)),
                            None => span.muted { "not measured" },
                        }
                    } }
                    div { dt { "Good for" } dd { (duties(status)) } }
                    div { dt { "Measuring lock" } dd { (status.measuring_lock.word()) } }
                    div { dt { "Disk" } dd { (HumanBytes(status.disk_bytes)) } }
                }
            }
        }
    }
}

fn head(state: &State) -> Markup {
    let head = state.head();
    match state.height() {
        0 => html! { span.muted { "none" } },
        _ => html! { code title=(head) { (head.short()) } },
    }
}

fn last_block(snapshot: &Snapshot) -> Markup {
    match snapshot.state.height() {
        0 => html! { span.muted { "none" } },
        _ => moment(snapshot.now_ms, snapshot.state.time_ms()),
    }
}

fn footer(snapshot: &Snapshot) -> Markup {
    let records = usize::try_from(snapshot.state.records()).unwrap_or(usize::MAX);
    html! {
        footer {
            p {
                "Network " code.id { (snapshot.state.network()) }
            }
            p {
                "The claims as " a href="/api/claims.csv" { "CSV" }
                " or " a href="/api/claims" { "JSON" }
                ". The ledger, " (count(records, "record", "records")) ", for an offline audit: "
                a href="/api/ledger/export" { "export" } " and "
                a href="/api/genesis" { "genesis" } "."
            }
            p { "assay " (snapshot.status.version) }
        }
    }
}

/// The page for addresses that lead nowhere.
pub(super) fn not_found(snapshot: &Snapshot, message: &str) -> Markup {
    let main = html! {
        section {
            h1 { "Not found" }
            p { (quoted(message)) }
            form.search role="search" action="/ledger" method="get" {
                label.visually-hidden for="q" { "Height, hash, claim, record or peer to look for" }
                input #q name="q" type="search" maxlength="100"
                    placeholder="Height, hash, claim, record or peer";
                button type="submit" { "Search" }
            }
            p { "The pages of this node:" }
            ul.plain {
                @for (_, path, name) in Place::ALL { li { a href=(path) { (name) } } }
                li { a href="/api/status" { "This node's status as JSON" } }
            }
        }
    };
    document(snapshot, Place::Elsewhere, "Not found · Assay", &main)
}

/// A peer's name, linked to its page.
fn peer(named: &Named) -> Markup {
    html! { a.peer href={ "/peers/" (named.peer) } title=(named.peer) { (quoted(&named.name)) } }
}

/// An outcome or a phase as a sign and a word.
fn badge(mark: Mark, word: &str) -> Markup {
    html! { span class={ "badge " (mark.class()) } { (mark.icon()) (word) } }
}

/// A part of a page with every element on a line of its own, as snapshots show it.
#[cfg(test)]
fn in_lines(part: &Markup) -> String {
    part.0.replace("><", ">\n<").replace(">\n</", "></")
}
