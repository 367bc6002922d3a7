//! Who works with whom: peers around a circle, a line between those who dealt with each other.
//!
//! Positions across are percentages and everything else is pixels, as in the charts, so that the drawing
//! fills any width without its text being scaled.

use super::format::{count, quoted};
use super::listed::Listed;
use super::{Place, Snapshot, document, peer};
use crate::api::claims::Named;
use crate::api::interactions::{Circle, Edge, PEERS_MAX, PairRow, PeerNode};
use crate::board::{Interactions, Topic};
use crate::text::{cut, line};
use assay_protocol::ids::PeerId;
use maud::{Markup, html};

/// The page's address.
const PATH: &str = "/board/interactions";
/// Rows of the table; the downloads have all.
const LISTED_MAX: usize = 200;
/// Smallest height of the drawing.
const HEIGHT_MIN_PX: f64 = 300.0;
/// From one label to the next on the same side.
const ROW_PX: f64 = 30.0;
/// Room above the highest and below the lowest peer.
const EDGE_PX: f64 = 14.0;
/// Half the width of the circle, in percent of the drawing's.
const HALF_WIDTH: f64 = 22.0;
/// Smallest and largest radius of a peer.
const RADII_PX: (f64, f64) = (4.0, 11.0);
/// Thinnest and thickest line.
const STROKES_PX: (f64, f64) = (1.0, 7.0);
/// Characters of a name beside its peer.
const NAME_CHARS_MAX: usize = 13;

/// What is shown.
pub(in crate::api) struct InteractionView {
    pub(in crate::api) circle: Circle,
    /// The pairs of the table.
    pub(in crate::api) rows: Vec<PairRow>,
    /// What the interactions are about; none stands for all of it.
    pub(in crate::api) topic: Option<Topic>,
    /// The peer whose interactions are shown; none stands for everybody's.
    pub(in crate::api) peer: Option<Named>,
}

impl InteractionView {
    /// What of the view an address says behind `path`.
    fn at(path: &str, topic: Option<Topic>, peer: Option<PeerId>) -> String {
        let asked = [
            topic.map(|topic| format!("kind={}", topic.word())),
            peer.map(|peer| format!("peer={peer}")),
        ];
        let asked: Vec<String> = asked.into_iter().flatten().collect();
        if asked.is_empty() { path.to_owned() } else { format!("{path}?{}", asked.join("&")) }
    }

    fn chosen(&self) -> Option<PeerId> {
        self.peer.as_ref().map(|named| named.peer)
    }
}

/// The page.
pub(in crate::api) fn interactions(snapshot: &Snapshot, view: &InteractionView) -> Markup {
    let main = html! {
        nav.trail aria-label="Where you are" {
            a href="/board" { "Board" } " / "
            @match &view.peer {
                Some(named) => { a href=(PATH) { "who works with whom" } " / " (quoted(&named.name)) },
                None => "who works with whom",
            }
        }
        (drawing(view, snapshot.status.peer))
        (table(view))
    };
    document(snapshot, Place::Board, "Who works with whom · Assay", &main)
}

fn drawing(view: &InteractionView, me: PeerId) -> Markup {
    let circle = &view.circle;
    html! {
        section #interactions data-live aria-labelledby="interactions-title" {
            h1 #interactions-title {
                @match &view.peer {
                    Some(named) => { "Whom " (quoted(&named.name)) " works with" },
                    None => "Who works with whom",
                }
            }
            (filters(view))
            @if circle.peers.is_empty() { (nobody(view)) } @else {
                @if circle.left_out > 0 {
                    p {
                        (count(circle.left_out, "peer is", "peers are")) " left out: the drawing holds "
                        (PEERS_MAX) ", those with most interactions. The table has the others."
                    }
                }
                div.scroll.graph tabindex="0" role="region" aria-labelledby="interactions-title" {
                    (svg(view, me))
                }
                (legend())
            }
        }
    }
}

fn filters(view: &InteractionView) -> Markup {
    let chosen = view.chosen();
    html! {
        nav.filters aria-label="Kinds of interactions" {
            a href=(InteractionView::at(PATH, None, chosen)) aria-current=[view.topic.is_none().then_some("page")] { "everything" }
            @for topic in Topic::ALL {
                a href=(InteractionView::at(PATH, Some(topic), chosen)) aria-current=[(view.topic == Some(topic)).then_some("page")] {
                    (topic.word())
                }
            }
            @if let Some(chosen) = chosen {
                a href=(InteractionView::at(PATH, view.topic, None)) { "all peers" }
                a href={ "/peers/" (chosen) } { "this peer's page" }
            }
        }
    }
}

/// What stands in the drawing's place.
fn nobody(view: &InteractionView) -> Markup {
    html! {
        p.empty {
            @match (view.topic, &view.peer) {
                (None, None) => {
                    "Nobody has dealt with anybody yet. Whoever answers a post (" code { "assay board post --thread" }
                    "), cites a spec or measures a claim appears here."
                },
                _ => { "There is nothing of this kind. " a href=(PATH) { "Everything between all peers" } },
            }
        }
    }
}

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spot {
    /// In percent of the width.
    x: f64,
    /// In pixels from above.
    y: f64,
    is_right: bool,
}

/// Places around a circle, from the top down the right side and up the left one. Those on one side are
/// equally far apart in height, so that their names do not touch; all lie on one curve, so that no line
/// between two runs through a third.
fn spots(peers: usize) -> (f64, Vec<Spot>) {
    let right = peers.div_ceil(2);
    let height = (right as f64 * ROW_PX + 2.0 * EDGE_PX).max(HEIGHT_MIN_PX);
    let spot = |place: usize| {
        let is_right = place < right;
        let (row, rows) =
            if is_right { (place, right) } else { (peers - 1 - place, peers - right) };
        let down = (2 * row + 1) as f64 / rows as f64 - 1.0;
        let across = (1.0 - down * down).max(0.0).sqrt();
        let x = if is_right { 50.0 + across * HALF_WIDTH } else { 50.0 - across * HALF_WIDTH };
        Spot { x, y: height / 2.0 + down * (height / 2.0 - EDGE_PX), is_right }
    };
    (height, (0..peers).map(spot).collect())
}

/// A length between two for a share of the most.
fn between((low, high): (f64, f64), value: u64, most: u64) -> String {
    let share = if most == 0 { 0.0 } else { value as f64 / most as f64 };
    format!("{:.1}", low + (high - low) * share.clamp(0.0, 1.0).sqrt())
}

fn svg(view: &InteractionView, me: PeerId) -> Markup {
    let circle = &view.circle;
    let (height, spots) = spots(circle.peers.len());
    let most = circle.edges.iter().map(|edge| edge.total).max().unwrap_or_default();
    let busiest = circle.peers.iter().map(|peer| peer.total).max().unwrap_or_default();
    let spoken = format!(
        "Interactions between {}; the same is in the table below",
        count(circle.peers.len(), "peer", "peers")
    );
    // The lines with most interactions are drawn last, above the others.
    let mut edges: Vec<&Edge> = circle.edges.iter().collect();
    edges.sort_by_key(|edge| (edge.total, edge.ends));
    html! {
        svg.peer-graph width="100%" height=(format!("{height:.0}")) role="group" aria-label=(spoken) {
            @for edge in edges { (drawn_edge(view, edge, &spots, most)) }
            @for (node, spot) in circle.peers.iter().zip(&spots) {
                (drawn_peer(view, node, *spot, busiest, me))
            }
        }
    }
}

fn drawn_edge(view: &InteractionView, edge: &Edge, spots: &[Spot], most: u64) -> Markup {
    let peers = &view.circle.peers;
    let (first, second) = (&peers[edge.ends.0].peer, &peers[edge.ends.1].peer);
    let (one, other) = (spots[edge.ends.0], spots[edge.ends.1]);
    let both = [edge.interactions.0, edge.interactions.1];
    let all =
        |topic: Topic| both.iter().map(|interactions| interactions.about(Some(topic))).sum::<u64>();
    let drawn_only = all(Topic::Words) + all(Topic::Work) + all(Topic::Flags) == 0;
    let lot = if drawn_only { " lot" } else { "" };
    let aside = match view.chosen() {
        Some(chosen) if chosen != first.peer && chosen != second.peer => " missed",
        _ => "",
    };
    let ends = [
        format!("{:.2}%", one.x),
        format!("{:.1}", one.y),
        format!("{:.2}%", other.x),
        format!("{:.1}", other.y),
    ];
    let [x1, y1, x2, y2] = &ends;
    html! {
        g class={ "edge" (lot) (aside) } {
            title { (spoken_edge(edge, first, second)) }
            line.reach x1=(x1) y1=(y1) x2=(x2) y2=(y2) {}
            line.drawn x1=(x1) y1=(y1) x2=(x2) y2=(y2) stroke-width=(between(STROKES_PX, edge.total, most)) {}
            @if all(Topic::Flags) > 0 {
                text.flagged x={ (format!("{:.2}", f64::midpoint(one.x, other.x))) "%" }
                    y=(format!("{:.1}", f64::midpoint(one.y, other.y))) dy="0.35em" text-anchor="middle" { "⚑" }
            }
        }
    }
}

fn drawn_peer(
    view: &InteractionView,
    node: &PeerNode,
    spot: Spot,
    busiest: u64,
    me: PeerId,
) -> Markup {
    let named = &node.peer;
    let own = if named.peer == me { " own" } else { "" };
    let shown = if view.chosen() == Some(named.peer) { " shown" } else { "" };
    let words = format!(
        "{}: {} with {}",
        line(&named.name),
        count(usize::try_from(node.total).unwrap_or(usize::MAX), "interaction", "interactions"),
        count(node.partners, "peer", "peers")
    );
    let (shift, anchor) = if spot.is_right { (16, "start") } else { (-16, "end") };
    html! {
        a class={ "peer-node" (own) (shown) } href=(InteractionView::at(PATH, view.topic, Some(named.peer))) aria-label=(words) {
            title { (words) }
            svg x={ (format!("{:.2}", spot.x)) "%" } y=(format!("{:.1}", spot.y)) overflow="visible" {
                circle r=(between(RADII_PX, node.total, busiest)) {}
                text x=(shift) dy="0.35em" text-anchor=(anchor) { (line(&cut(&named.name, NAME_CHARS_MAX))) }
            }
        }
    }
}

/// What a line stands for, in words.
fn spoken_edge(edge: &Edge, first: &Named, second: &Named) -> String {
    let (one, other) = (line(&first.name), line(&second.name));
    let way = |from: &str, to: &str, interactions: &Interactions| {
        let parts = interactions.parts().into_iter().filter(|(number, ..)| *number > 0);
        let parts: Vec<String> = parts
            .map(|(number, one, many)| format!("{number} {}", if number == 1 { one } else { many }))
            .collect();
        (!parts.is_empty()).then(|| format!("{from} to {to}: {}", parts.join(", ")))
    };
    let ways = [way(&one, &other, &edge.interactions.0), way(&other, &one, &edge.interactions.1)];
    ways.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn legend() -> Markup {
    html! {
        p.key {
            "The thicker a line and the larger a peer, the more interactions. A dashed line stands for measuring alone, "
            "to which peers are drawn by lot; ⚑ for a flag. Point at a line for its figures, choose a peer for its own."
        }
        p.key {
            "A reply is a post in a thread that the other began; a quote refers to something of the other's. A post "
            "counts once a kind, and once it is ordered."
        }
    }
}

/// The same in a table, for those who cannot see the drawing.
fn table(view: &InteractionView) -> Markup {
    let heads =
        ["Replies", "Mentions", "Quotes", "Built on", "Cited", "Relays", "Measured", "Flagged"];
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Peer" }
                th scope="col" { "with" }
                @for head in heads { th.number scope="col" { (head) } }
                th.number scope="col" {
                    "Together" @if let Some(topic) = view.topic { ", " (topic.word()) }
                }
            } }
            tbody { @for row in view.rows.iter().take(LISTED_MAX) { (table_line(row)) } }
        }
        @if view.rows.len() > LISTED_MAX {
            p.sub { "The first " (LISTED_MAX) "; the downloads have all." }
        }
    };
    Listed {
        id: "pairs",
        title: "Interactions of one peer with another",
        rows: view.rows.len(),
        empty: html! { "There are none." },
        table,
        json: &InteractionView::at("/api/board/interactions", view.topic, view.chosen()),
    }
    .section()
}

fn table_line(row: &PairRow) -> Markup {
    html! {
        tr {
            th scope="row" { (peer(&row.from)) }
            td { (peer(&row.to)) }
            @for (number, ..) in row.interactions.parts() {
                td.number { @if number == 0 { span.muted { "–" } } @else { (number) } }
            }
            td.number { (row.total) }
        }
    }
}

#[cfg(test)]
mod tests;
