//! The peers: who takes part on which machines, and where one peer's standing comes from.

use super::format::{count, interval, lasting, quoted, ratio, significant, summary};
use super::listed::Listed;
use super::{Place, Snapshot, document, peer};
use crate::api::claims::{ClaimRow, Named};
use crate::api::members::{EventRow, MemberRow, TallyRow};
use crate::api::view::PeerRow;
use crate::explain::{ClassNorms, Explanation};
use crate::roles::Role;
use assay_protocol::ids::PeerId;
use assay_protocol::state::PendingVouch;
use maud::{Markup, html};

/// Everything about one peer.
pub(in crate::api) struct PeerView {
    pub(in crate::api) row: MemberRow,
    /// What its standing started with.
    pub(in crate::api) start: u64,
    pub(in crate::api) tallies: Vec<TallyRow>,
    pub(in crate::api) events: Vec<EventRow>,
    /// The derivation, as `assay explain` prints it.
    pub(in crate::api) derivation: Explanation,
    /// Its claims, newest first.
    pub(in crate::api) claims: Vec<ClaimRow>,
    /// Who vouched for it; none for the founders.
    pub(in crate::api) voucher: Option<Named>,
}

/// The list of peers. `connections` is none when the network did not answer.
pub(in crate::api) fn peers(
    snapshot: &Snapshot,
    rows: &[MemberRow],
    classes: &[ClassNorms],
    connections: Option<&[PeerRow]>,
) -> Markup {
    let main = html! {
        h1.visually-hidden { "Peers" }
        (map(rows, classes))
        (members(snapshot, rows, connections))
        (others(snapshot, rows, connections))
        (waiting(snapshot))
    };
    document(snapshot, Place::Peers, "Peers · Assay", &main)
}

/// The hardware classes with who is of each.
fn map(rows: &[MemberRow], classes: &[ClassNorms]) -> Markup {
    let mut names: Vec<&str> = classes.iter().map(|class| class.class.as_str()).collect();
    names.extend(rows.iter().filter_map(|row| row.hardware_class.as_deref()));
    names.sort_unstable();
    names.dedup();
    let of = |class: Option<&str>| -> Vec<&MemberRow> {
        rows.iter().filter(|row| row.hardware_class.as_deref() == class && row.active).collect()
    };
    let without = of(None);
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Class" }
                th.number scope="col" { "Members" }
                th scope="col" { "Who" }
                th.number scope="col" { "Committee" }
                th.number scope="col" { "Base recipe" }
                th.number scope="col" { "Bandwidth" }
            } }
            tbody {
                @for name in &names {
                    @let members = of(Some(name));
                    @let norms = classes.iter().find(|class| class.class == *name);
                    tr {
                        th scope="row" { a href="/knowledge#classes" { (quoted(name)) } }
                        td.number { (members.len()) }
                        td { (who(&members)) }
                        td.number { @match norms { Some(n) => { (n.seats) " × " (n.pairs) " pairs" }, None => "–" } }
                        td.number { (figure(norms.and_then(|n| n.base_tps), "tokens/s")) }
                        td.number { (figure(norms.and_then(|n| n.bandwidth_mb_s).map(|mb| mb / 1e3), "GB/s")) }
                    }
                }
                @if !without.is_empty() {
                    tr {
                        th scope="row" { span.muted { "not measured yet" } }
                        td.number { (without.len()) }
                        td { (who(&without)) }
                        td.number { "–" } td.number { "–" } td.number { "–" }
                    }
                }
            }
        }
    };
    Listed {
        id: "classes",
        title: "Hardware classes",
        rows: names.len() + usize::from(!without.is_empty()),
        empty: html! { "Nobody takes part." },
        table,
        json: "/api/classes",
    }
    .section()
}

fn figure(value: Option<f64>, unit: &str) -> String {
    value.map_or("–".to_owned(), |value| format!("{} {unit}", significant(value)))
}

fn who(members: &[&MemberRow]) -> Markup {
    html! {
        @for (index, row) in members.iter().enumerate() {
            @if index > 0 { ", " }
            (peer(&Named { peer: row.peer, name: row.name.clone() }))
        }
    }
}

fn members(snapshot: &Snapshot, rows: &[MemberRow], connections: Option<&[PeerRow]>) -> Markup {
    let table = html! {
        table.members {
            thead { tr {
                th scope="col" { "Member" }
                th scope="col" { "Operator" }
                th scope="col" { "Membership" }
                th.number scope="col" { "Standing" }
                th.number scope="col" title="the weight with which it is drawn as a seat" { "Weight" }
                th scope="col" { "Class" }
                th scope="col" { "What it did" }
                th scope="col" { "Connection" }
            } }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" {
                            (peer(&Named { peer: row.peer, name: row.name.clone() }))
                            " " code.muted { (row.peer.short()) }
                        }
                        td { (quoted(&row.operator)) }
                        td {
                            (row.membership)
                            @if row.validator { span.sub { "validator" } }
                            @if let Some(height) = row.silent_since { span.sub { "silent since block " (height) } }
                        }
                        td.number { (row.standing) }
                        td.number { (row.weight) }
                        td { @match &row.hardware_class { Some(class) => (quoted(class)), None => span.muted { "not measured" } } }
                        td { (did(row)) }
                        td { (connection(snapshot, row.peer, connections)) }
                    }
                }
            }
        }
    };
    Listed {
        id: "members",
        title: "Members",
        rows: rows.len(),
        empty: html! { "Nobody is a member." },
        table,
        json: "/api/members",
    }
    .section()
}

/// What a member did, in a line.
fn did(row: &MemberRow) -> Markup {
    let deeds = &row.deeds;
    let roles: Vec<&str> = deeds.roles().into_iter().map(Role::word).collect();
    html! {
        @if roles.is_empty() { span.muted { "nothing on the ledger yet" } } @else { (roles.join(", ")) }
        @if deeds.claims > 0 {
            span.sub { (deeds.accepted) " of " (count(deeds.claims, "claim", "claims")) " accepted" }
        }
        @if deeds.attested > 0 { span.sub { (count(deeds.attested, "measurement", "measurements")) } }
    }
}

/// How this node is connected to a peer.
pub(super) fn connection(
    snapshot: &Snapshot,
    peer: PeerId,
    connections: Option<&[PeerRow]>,
) -> Markup {
    if peer == snapshot.status.peer {
        return html! { "this node" };
    }
    let Some(connections) = connections else {
        return html! { span.muted { "unknown: the network is busy" } };
    };
    match connections.iter().find(|row| row.peer == peer) {
        None => html! { span.muted { "not connected" } },
        Some(row) => html! {
            span title=(row.address) { "for " (lasting(snapshot.now_ms, row.connected_at_ms)) }
            @if let Some(ping_us) = row.ping_us {
                span.muted { ", " (format!("{:.1}", ping_us as f64 / 1e3)) " ms" }
            }
            @if let Some(height) = row.height { span.muted { ", height " (height) } }
        },
    }
}

/// Connected peers that are no members.
fn others(snapshot: &Snapshot, rows: &[MemberRow], connections: Option<&[PeerRow]>) -> Markup {
    let is_member = |peer: PeerId| rows.iter().any(|row| row.peer == peer);
    let others: Vec<&PeerRow> =
        connections.unwrap_or_default().iter().filter(|row| !is_member(row.peer)).collect();
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Key" }
                th scope="col" { "Address" }
                th scope="col" { "Dialled by" }
                th scope="col" { "Connection" }
            } }
            tbody {
                @for row in &others {
                    tr {
                        th scope="row" { code title=(row.peer) { (row.peer.short()) } }
                        td { code { (quoted(&row.address)) } }
                        td { @if row.outbound { "this node" } @else { "the peer" } }
                        td { (connection(snapshot, row.peer, connections)) }
                    }
                }
            }
        }
    };
    Listed {
        id: "others",
        title: "Connected, not members",
        rows: others.len(),
        empty: html! {
            "Everybody connected is a member. A newcomer appears here until a member vouches for it with "
            code { "assay vouch KEY --operator … --name …" } "."
        },
        table,
        json: "/api/peers",
    }
    .section()
}

/// Newcomers that were vouched for and have not joined yet; nothing where there are none.
fn waiting(snapshot: &Snapshot) -> Markup {
    let pending = snapshot.state.pending_vouches();
    html! {
        @if !pending.is_empty() {
            section #vouched data-live aria-labelledby="vouched-title" {
                h2 #vouched-title { "Vouched for, not here yet " span.muted { (pending.len()) } }
                ul.plain {
                    @for (key, vouch) in pending { (vouched(snapshot, *key, vouch)) }
                }
            }
        }
    }
}

fn vouched(snapshot: &Snapshot, key: PeerId, vouch: &PendingVouch) -> Markup {
    html! {
        li {
            (quoted(&vouch.name)) " " code.muted title=(key) { (key.short()) } ", run by "
            (quoted(&vouch.operator)) ", vouched for by " (peer(&Named::new(&snapshot.state, vouch.by)))
        }
    }
}

/// One peer.
pub(in crate::api) fn peer_page(
    snapshot: &Snapshot,
    view: &PeerView,
    connections: Option<&[PeerRow]>,
) -> Markup {
    let row = &view.row;
    let main = html! {
        nav.trail aria-label="Where you are" { a href="/peers" { "Peers" } " / " (quoted(&row.name)) }
        (head(snapshot, view, connections))
        div.columns {
            (standing(view))
            (derivation(view))
        }
        (events(view))
        (claims(snapshot, view))
    };
    document(snapshot, Place::Peers, &format!("{} · Assay", crate::text::line(&row.name)), &main)
}

fn head(snapshot: &Snapshot, view: &PeerView, connections: Option<&[PeerRow]>) -> Markup {
    let row = &view.row;
    html! {
        section #peer data-live aria-labelledby="peer-title" {
            h1 #peer-title { (quoted(&row.name)) }
            p.sub { code.id { (row.peer) } }
            dl.figures.large {
                div { dt { "Operator" } dd { (quoted(&row.operator)) } }
                div { dt { "Membership" } dd {
                    (row.membership)
                    @if let Some(by) = &view.voucher { span.sub { "vouched for by " (peer(by)) } }
                    @if row.joined_at > 0 { span.sub { "since block " (row.joined_at) } }
                } }
                div { dt { "Standing" } dd { (row.standing) } }
                div { dt { "Weight in draws" } dd { (row.weight) } }
                div { dt { "Validator" } dd {
                    @if row.validator { "yes" } @else { "no" }
                    @if let Some(height) = row.silent_since { span.sub { "silent since block " (height) } }
                } }
                div { dt { "Hardware class" } dd {
                    @match &row.hardware_class { Some(class) => (quoted(class)), None => span.muted { "not measured" } }
                } }
                div { dt { "What it did" } dd {
                    (did(row))
                    span.sub { a href={ "/board/interactions?peer=" (row.peer) } { "whom it works with" } }
                } }
                div { dt { "Connection" } dd { (connection(snapshot, row.peer, connections)) } }
            }
        }
    }
}

/// The sum that standing is.
fn standing(view: &PeerView) -> Markup {
    let row = &view.row;
    let json = format!("/api/members/{}/standing", row.peer);
    html! {
        section #standing data-live aria-labelledby="standing-title" {
            h2 #standing-title { "Where its standing comes from" }
            table {
                thead { tr {
                    th scope="col" { "Rule" }
                    th.number scope="col" { "Times" }
                    th.number scope="col" { "Points each" }
                    th.number scope="col" { "Points" }
                } }
                tbody {
                    tr { th scope="row" { "start" } td.number {} td.number {} td.number { (view.start) } }
                    @for tally in &view.tallies {
                        tr {
                            th scope="row" { (tally.word) }
                            td.number { (tally.count) }
                            td.number { @match tally.each { Some(each) => (format!("{each:+}")), None => "all" } }
                            td.number { (format!("{:+}", tally.points)) }
                        }
                    }
                    tr.sum { th scope="row" { "standing" } td.number {} td.number {} td.number { (row.standing) } }
                }
            }
            (super::listed::downloads(&json, "Standing"))
        }
    }
}

/// The steps of `assay explain`, but for the two that are tables here.
fn derivation(view: &PeerView) -> Markup {
    let shown = |title: &str| title != "standing" && title != "latest events";
    let steps = view.derivation.steps.iter().filter(|step| shown(&step.title));
    html! {
        section #derivation data-live aria-labelledby="derivation-title" {
            h2 #derivation-title { "How it takes part" }
            @for step in steps {
                @if !step.lines.is_empty() {
                    h3 { (step.title) }
                    ul.plain { @for line in &step.lines { li { (quoted(line)) } } }
                }
            }
            p.sub {
                (view.derivation.rule) ". The same with every number: "
                code { "assay explain " (view.row.peer.short()) } ", "
                a href={ "/api/explain/" (view.row.peer) } { "JSON" }
            }
        }
    }
}

fn events(view: &PeerView) -> Markup {
    let table = html! {
        table {
            thead { tr {
                th.number scope="col" { "Block" }
                th.number scope="col" { "Points" }
                th scope="col" { "Because it" }
                th scope="col" { "Claim" }
            } }
            tbody {
                @for event in &view.events {
                    tr {
                        th.number scope="row" { a href={ "/ledger/" (event.height) } { (event.height) } }
                        td.number { (format!("{:+}", event.points)) }
                        td { (event.word) }
                        td {
                            @if let Some(id) = event.claim { a.id href={ "/claims/" (id) } { (id.short()) } }
                            @if let Some(round) = event.round { " round " (round) }
                        }
                    }
                }
            }
        }
    };
    Listed {
        id: "events",
        title: "Latest changes of standing",
        rows: view.events.len(),
        empty: html! { "None yet. Measuring claims as a drawn seat is how standing grows." },
        table,
        json: &format!("/api/members/{}/events", view.row.peer),
    }
    .section()
}

fn claims(snapshot: &Snapshot, view: &PeerView) -> Markup {
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Claim" }
                th scope="col" { "Outcome" }
                th.number scope="col" { "Speed, × parent" }
                th.number scope="col" { "Speed, × base" }
                th.number scope="col" { "Block" }
            } }
            tbody {
                @for row in &view.claims {
                    tr {
                        th scope="row" {
                            a.id href={ "/claims/" (row.id) } { (row.id.short()) } " " (summary(&row.summary))
                        }
                        td { (super::home::standing(snapshot.now_ms, row)) }
                        td.number { @match &row.ratio {
                            Some(estimate) => { (ratio(estimate.ppm)) span.sub { (interval(estimate)) } },
                            None => span.muted { "–" },
                        } }
                        td.number { @match row.ratio_to_base_ppm { Some(ppm) => (ratio(ppm)), None => span.muted { "–" } } }
                        td.number { a href={ "/ledger/" (row.docketed_at) } { (row.docketed_at) } }
                    }
                }
            }
        }
    };
    Listed {
        id: "claims",
        title: "Claims",
        rows: view.claims.len(),
        empty: html! { "It has claimed nothing." },
        table,
        json: &format!("/api/members/{}/claims", view.row.peer),
    }
    .section()
}
