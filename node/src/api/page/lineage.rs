//! The lineage as a drawing, and how one entry came about.

use super::format::{count, interval, millionths, quoted, ratio, summary};
use super::listed::{Listed, downloads};
use super::plot::Mark;
use super::{Place, Snapshot, badge, document, peer};
use crate::api::escaped;
use crate::api::lineage::{
    CLAIMS_MAX, Fate, Graph, Layout, Node, NodeKind, Spot, Step, fits, layout, short,
};
use crate::text::{cut, line};
use assay_protocol::ids::ClaimId;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Scales in percent that the links offer.
const ZOOMS: [u32; 6] = [35, 50, 70, 100, 140, 200];
/// The scale that a drawing begins with.
const ZOOM_DEFAULT: u32 = 100;
/// Width of a node, in the drawing's own units.
const NODE_WIDTH: f64 = 176.0;
/// Height of a node.
const NODE_HEIGHT: f64 = 46.0;
/// From one column to the next.
const COLUMN: f64 = 224.0;
/// From one row to the next.
const ROW: f64 = 60.0;
/// Room around the drawing.
const MARGIN: f64 = 12.0;
/// Characters that fit into a node.
const LABEL_CHARS_MAX: usize = 27;
/// Nodes in the list below the drawing.
const LISTED_MAX: usize = 400;

/// What is shown.
pub(in crate::api) struct View {
    pub(in crate::api) graph: Graph,
    /// The way to one entry.
    pub(in crate::api) path: Option<Vec<Step>>,
    /// Words to look for.
    pub(in crate::api) words: Option<String>,
    /// Scale in percent.
    pub(in crate::api) zoom: Option<u32>,
}

impl View {
    /// The scale, one of those that the links offer.
    fn zoom(&self) -> u32 {
        let asked = self.zoom.unwrap_or(ZOOM_DEFAULT);
        ZOOMS.into_iter().min_by_key(|zoom| zoom.abs_diff(asked)).unwrap_or(ZOOM_DEFAULT)
    }

    /// The address of the same view at another scale.
    fn at(&self, zoom: u32) -> String {
        let mut url = match self.path.as_ref().and_then(|path| path.last()) {
            Some(step) => format!("/lineage/{}?zoom={zoom}", step.claim),
            None => format!("/lineage?zoom={zoom}"),
        };
        if let Some(words) = &self.words {
            url.push_str(&format!("&q={}", escaped(words)));
        }
        url
    }

    /// Ids of the nodes on the way, the base recipe first.
    fn way(&self, base: ClaimId) -> Vec<String> {
        let Some(path) = &self.path else { return Vec::new() };
        let claims = path.iter().map(|step| step.claim.to_string());
        std::iter::once(base.to_string()).chain(claims).collect()
    }
}

/// The page.
pub(in crate::api) fn lineage(snapshot: &Snapshot, view: &View) -> Markup {
    let main = html! {
        @match view.path.as_ref().and_then(|path| path.last()) {
            Some(last) => {
                nav.trail aria-label="Where you are" { a href="/lineage" { "Lineage" } " / " (last.claim.short()) }
                (how(snapshot, view.path.as_deref().unwrap_or_default(), last))
            },
            None => h1.visually-hidden { "Lineage" },
        }
        (drawing(snapshot, view))
        (list(view))
    };
    document(snapshot, Place::Lineage, "Lineage · Assay", &main)
}

/// "How did we get here", as a table.
fn how(snapshot: &Snapshot, path: &[Step], last: &Step) -> Markup {
    html! {
        section #path data-live aria-labelledby="path-title" {
            h1 #path-title { "How did we get to " (summary(&last.summary)) }
            div.scroll tabindex="0" role="region" aria-labelledby="path-title" {
                table.path {
                    thead { tr {
                        th.number scope="col" { "Step" }
                        th scope="col" { "Claim" }
                        th scope="col" { "By" }
                        th scope="col" { "What changed" }
                        th scope="col" { "Outcome" }
                        th.number scope="col" { "× parent" }
                        th.number scope="col" { "× base" }
                        th.number scope="col" { "KL to base, nat" }
                    } }
                    tbody {
                        tr {
                            th.number scope="row" { "0" }
                            td { "the base recipe of " (quoted(&snapshot.state.genesis().challenge.name)) }
                            td { "genesis" } td {} td {}
                            td.number { "–" } td.number { (ratio(1_000_000)) } td.number { "0" }
                        }
                        @for step in path { (step_line(step)) }
                    }
                }
            }
            (downloads(&format!("/api/lineage/{}", last.claim), "The steps"))
        }
    }
}

fn step_line(step: &Step) -> Markup {
    html! {
        tr {
            th.number scope="row" { (step.step) }
            td { a.id href={ "/claims/" (step.claim) } { (step.claim.short()) } " " (summary(&step.summary)) }
            td { (peer(&step.author)) }
            td {
                (step.changed.join(", "))
                @if !step.levers.is_empty() { span.sub { (step.levers.join(", ")) } }
            }
            td { (fate(step.fate)) }
            td.number { @match &step.ratio {
                Some(estimate) => { (ratio(estimate.ppm)) span.sub { (interval(estimate)) } },
                None => span.muted { "–" },
            } }
            td.number { @match step.ratio_to_base_ppm { Some(ppm) => (ratio(ppm)), None => span.muted { "–" } } }
            td.number { @match step.kl_micronats { Some(kl) => (millionths(kl)), None => span.muted { "–" } } }
        }
    }
}

/// The sign of a fate.
pub(super) fn mark(fate: Fate) -> Mark {
    match fate {
        Fate::Accepted => Mark::Accepted,
        Fate::Refuted => Mark::Refuted,
        Fate::Undecided => Mark::Inconclusive,
        Fate::Open => Mark::Open,
        Fate::Debunked | Fate::Fallen => Mark::Debunked,
    }
}

/// A fate as a sign and a word.
pub(super) fn fate(fate: Fate) -> Markup {
    badge(mark(fate), fate.word())
}

fn drawing(snapshot: &Snapshot, view: &View) -> Markup {
    let graph = &view.graph;
    let found: Option<BTreeSet<usize>> = view.words.as_ref().map(|words| {
        let nodes = graph.nodes.iter().enumerate();
        nodes.filter(|(_, node)| fits(node, words)).map(|(place, _)| place).collect()
    });
    html! {
        section #graph data-live aria-labelledby="graph-title" {
            h2 #graph-title { "Where every recipe comes from" }
            (tools(view, found.as_ref().map(BTreeSet::len)))
            @if graph.nodes.len() <= 1 {
                p.empty {
                    "Nobody has claimed anything yet, so that there is the base recipe alone. A member claims "
                    "with " code { "assay claim new" } "."
                }
            }
            @if graph.left_out > 0 {
                p {
                    (count(graph.left_out, "claim is", "claims are")) " left out: the drawing holds "
                    (CLAIMS_MAX) ", the leaders and the latest with all that they build on. "
                    "The way to any other is at " code { "/lineage/ID" } "."
                }
            }
            div.scroll.graph tabindex="0" role="region" aria-labelledby="graph-title" {
                (svg(snapshot.state.base_claim(), view, found.as_ref()))
            }
            (legend())
        }
    }
}

fn tools(view: &View, found: Option<usize>) -> Markup {
    let now = view.zoom();
    let smaller = ZOOMS.into_iter().rev().find(|zoom| *zoom < now);
    let larger = ZOOMS.into_iter().find(|zoom| *zoom > now);
    html! {
        form.search role="search" action="/lineage" method="get" {
            label.visually-hidden for="q" { "Words to look for in the lineage" }
            input #q name="q" type="search" maxlength="200" placeholder="Technique, author, outcome or id"
                value=[view.words.as_deref().map(line)];
            @if let Some(step) = view.path.as_ref().and_then(|path| path.last()) {
                input type="hidden" name="entry" value=(step.claim);
            }
            input type="hidden" name="zoom" value=(now);
            button type="submit" { "Search" }
        }
        nav.filters aria-label="Scale" {
            @match smaller {
                Some(zoom) => a href=(view.at(zoom)) { "smaller" },
                None => span.muted { "smaller" },
            }
            span { (now) " %" }
            @match larger {
                Some(zoom) => a href=(view.at(zoom)) { "larger" },
                None => span.muted { "larger" },
            }
            @if view.path.is_some() { a href="/lineage" { "the whole lineage" } }
            @if let Some(found) = found {
                span role="status" { (count(found, "node fits", "nodes fit")) }
            }
        }
    }
}

fn svg(base: ClaimId, view: &View, found: Option<&BTreeSet<usize>>) -> Markup {
    let graph = &view.graph;
    let times: Vec<u64> = graph.nodes.iter().map(|node| node.height).collect();
    let edges: Vec<(usize, usize)> = graph.edges.iter().map(|edge| (edge.from, edge.to)).collect();
    let Layout { spots, lanes } = layout(&times, &edges);
    let spots: Vec<(f64, f64)> = spots.into_iter().map(corner).collect();
    let passed = lanes.iter().flatten().map(|spot| corner(*spot));
    let corners: Vec<(f64, f64)> = spots.iter().copied().chain(passed).collect();
    let extent = |ends: &mut dyn Iterator<Item = f64>| ends.fold(0.0, f64::max) + MARGIN;
    let width = extent(&mut corners.iter().map(|(x, _)| x + NODE_WIDTH));
    let height = extent(&mut corners.iter().map(|(_, y)| y + NODE_HEIGHT));
    let scale = f64::from(view.zoom()) / 100.0;
    let way = view.way(base);
    let step = |place: usize| way.iter().position(|id| graph.place(id) == Some(place));
    html! {
        svg.lineage-graph viewBox={ "0 0 " (px(width)) " " (px(height)) }
            width=(px(width * scale)) height=(px(height * scale)) role="group"
            aria-label="The lineage as a drawing; the same is in the table below" {
            @for (edge, lane) in graph.edges.iter().zip(lanes) {
                @let on_way = step(edge.from).is_some() && step(edge.to).is_some() && edge.is_step;
                @let class = match (on_way, edge.is_step) {
                    (true, _) => "edge way",
                    (false, true) => "edge",
                    (false, false) => "edge part",
                };
                @if let (Some(from), Some(to)) = (spots.get(edge.from), spots.get(edge.to)) {
                    path class=(class) d=(route(*from, &lane, *to)) {}
                }
            }
            @for (place, (node, at)) in graph.nodes.iter().zip(&spots).enumerate() {
                (drawn(node, *at, step(place), found.map(|found| found.contains(&place))))
            }
        }
    }
}

/// The upper left corner of a node.
fn corner(spot: Spot) -> (f64, f64) {
    (MARGIN + spot.column as f64 * COLUMN, MARGIN + spot.row * ROW)
}

/// A length in the drawing.
fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// From the right side of one node to the left side of another, straight through the columns in between.
fn route(from: (f64, f64), lane: &[Spot], to: (f64, f64)) -> String {
    let mut at = (from.0 + NODE_WIDTH, from.1 + NODE_HEIGHT / 2.0);
    let mut path = format!("M{:.1} {:.1}", at.0, at.1);
    let passed = lane.iter().map(|spot| corner(*spot)).map(|at| (at, true));
    for (corner, passes) in passed.chain([(to, false)]) {
        let next = (corner.0, corner.1 + NODE_HEIGHT / 2.0);
        path.push_str(&curve(at, next));
        at = next;
        if passes {
            at.0 += NODE_WIDTH;
            path.push_str(&format!("H{:.1}", at.0));
        }
    }
    path
}

/// On to a point, leaving and arriving level.
fn curve((x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> String {
    let bend = ((x2 - x1) / 2.0).max(20.0);
    format!("C{:.1} {y1:.1} {:.1} {y2:.1} {x2:.1} {y2:.1}", x1 + bend, x2 - bend)
}

/// A node: a box with two lines, linked to its page. `found` says whether it fits what is looked for.
fn drawn(node: &Node, at: (f64, f64), step: Option<usize>, found: Option<bool>) -> Markup {
    let fate = node.fate.map_or("", fate_class);
    let kind = match node.kind {
        NodeKind::Base => "base",
        NodeKind::Claim => "claim",
        _ => "part",
    };
    let searched = match found {
        Some(true) => " found",
        Some(false) => " missed",
        None => "",
    };
    let way = if step.is_some() { " way" } else { "" };
    let inside = html! {
        title { (spoken(node)) }
        rect.box x="0" y="0" width=(NODE_WIDTH) height=(NODE_HEIGHT) rx=(if node.kind == NodeKind::Claim { 6 } else { 1 }) {}
        @if matches!(node.fate, Some(Fate::Debunked | Fate::Fallen)) {
            rect.inner x="3" y="3" width=(NODE_WIDTH - 6.0) height=(NODE_HEIGHT - 6.0) rx="4" {}
        }
        @if let Some(fate) = node.fate { svg class={ "estimate " (mark(fate).class()) } x="14" y="15" overflow="visible" { (mark(fate).shape()) } }
        text.first x=(if node.fate.is_some() { 25 } else { 9 }) y="19" { (first_line(node, step)) }
        text.second x="9" y="36" { (line(&cut(&second_line(node), LABEL_CHARS_MAX))) }
    };
    html! {
        g class={ "node " (kind) " " (fate) (way) (searched) } transform={ "translate(" (px(at.0)) " " (px(at.1)) ")" } {
            @match &node.page {
                Some(page) => a href=(page) { (inside) },
                None => (inside),
            }
        }
    }
}

fn fate_class(fate: Fate) -> &'static str {
    match fate {
        Fate::Accepted => "accepted",
        Fate::Refuted => "refuted",
        Fate::Undecided => "inconclusive",
        Fate::Open => "open",
        Fate::Debunked | Fate::Fallen => "debunked",
    }
}

/// What a node is, and how it fared.
fn first_line(node: &Node, step: Option<usize>) -> String {
    let number = step.map(|step| format!("{step}. ")).unwrap_or_default();
    let what = match (node.kind, node.fate, &node.ratio) {
        (NodeKind::Claim, Some(Fate::Fallen), _) => "on a debunked entry".to_owned(),
        (NodeKind::Claim, Some(fate), Some(estimate)) => {
            format!("{} {}", fate.word(), ratio(estimate.ppm))
        }
        (NodeKind::Claim, Some(fate), None) => fate.word().to_owned(),
        (NodeKind::Base, ..) => "base recipe 1.000×".to_owned(),
        (kind, ..) => format!("{} {}", kind.word(), short(&node.id)),
    };
    format!("{number}{what}")
}

/// The techniques where they are known, else what the node says of itself.
fn second_line(node: &Node) -> String {
    let by = node.author.as_ref().map(|author| author.name.clone());
    match node.kind {
        NodeKind::Claim if !node.levers.is_empty() => node.levers.join(", "),
        _ if !node.says.trim().is_empty() => node.says.clone(),
        _ => by.map(|by| format!("by {by}")).unwrap_or_default(),
    }
}

/// A node in words.
fn spoken(node: &Node) -> String {
    let mut words = format!("{} {}", node.kind.word(), short(&node.id));
    if let Some(fate) = node.fate {
        words.push_str(&format!(", {}", fate.word()));
    }
    if let Some(estimate) = &node.ratio {
        words.push_str(&format!(", {} its parent, {}", ratio(estimate.ppm), interval(estimate)));
    }
    if !node.says.trim().is_empty() {
        words.push_str(&format!(": {}", node.says.trim()));
    }
    if !node.levers.is_empty() {
        words.push_str(&format!("; turns {}", node.levers.join(", ")));
    }
    if let Some(author) = &node.author {
        words.push_str(&format!("; by {}", author.name));
    }
    line(&words)
}

fn legend() -> Markup {
    let fates = [Fate::Accepted, Fate::Refuted, Fate::Undecided, Fate::Open, Fate::Debunked];
    html! {
        p.key.legend {
            @for one in fates { (fate(one)) " " }
        }
        p.key {
            "Each claim stands to the right of its parent, in the order of the ledger from top to bottom. Its "
            "second line names what it turned. Thin boxes are what it is made of or follows: checkpoints, "
            "kernel bundles, drafters, specs, attempts and diagnoses."
        }
    }
}

/// The same in a table, for those who cannot see the drawing.
fn list(view: &View) -> Markup {
    let graph = &view.graph;
    let wanted = |node: &&Node| view.words.as_ref().is_none_or(|words| fits(node, words));
    let nodes: Vec<&Node> = graph.nodes.iter().filter(wanted).collect();
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "What" }
                th scope="col" { "Says" }
                th scope="col" { "Turns" }
                th scope="col" { "By" }
                th scope="col" { "Outcome" }
                th.number scope="col" { "× parent" }
                th.number scope="col" { "× base" }
                th scope="col" { "From" }
            } }
            tbody { @for node in nodes.iter().take(LISTED_MAX) { (list_line(graph, node)) } }
        }
    };
    Listed {
        id: "nodes",
        title: if view.words.is_some() { "What fits" } else { "All of it" },
        rows: nodes.len(),
        empty: html! { "Nothing in the lineage has all these words. " a href="/lineage" { "The whole lineage" } },
        table,
        json: "/api/lineage",
    }
    .section()
}

fn list_line(graph: &Graph, node: &Node) -> Markup {
    html! {
        tr {
            th scope="row" {
                (node.kind.word()) " "
                @match &node.page {
                    Some(page) => a.id href=(page) { (short(&node.id)) },
                    None => code title=(node.id) { (short(&node.id)) },
                }
            }
            td { @if node.says.trim().is_empty() { span.muted { "–" } } @else { (quoted(&cut(&node.says, 80))) } }
            td { (node.levers.join(", ")) }
            td { @if let Some(author) = &node.author { (peer(author)) } }
            td { @match node.fate {
                Some(one) => { (fate(one)) span.sub { a href={ "/lineage/" (node.id) } { "how it came about" } } },
                None => {},
            } }
            td.number { @match &node.ratio {
                Some(estimate) => { (ratio(estimate.ppm)) span.sub { (interval(estimate)) } },
                None => "",
            } }
            td.number { @if let Some(ppm) = node.ratio_to_base_ppm { (ratio(ppm)) } }
            td {
                @for (index, id) in node.from.iter().enumerate() {
                    @if index > 0 { ", " }
                    @match graph.place(id).and_then(|place| graph.nodes.get(place)) {
                        Some(from) => { (from.kind.word()) " " code title=(id) { (short(id)) } },
                        None => code { (short(id)) },
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
