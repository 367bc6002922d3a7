//! Who works with whom, over HTTP: pairs of peers with their interactions, and which of them fit into a drawing.

use super::Shared;
use super::board::find_peer;
use super::claims::Named;
use super::page::{self, InteractionView};
use super::reply::{fault, html};
use super::routes::{App, snapshot};
use crate::board::{Interactions, Pairs, Topic};
use assay_protocol::ids::PeerId;
use assay_protocol::state::State as Ledger;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most peers in one drawing.
pub(super) const PEERS_MAX: usize = 24;
/// Most pairs in one answer.
const PAIRS_MAX: usize = 10_000;

/// The addresses of this module.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/board/interactions", get(shown))
        .route("/api/board/interactions", get(listed))
}

/// Which interactions to answer with.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// Only those about this.
    kind: Option<Topic>,
    /// Only those of this peer: its name, its key or the beginning of that.
    peer: Option<String>,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

type Asked = Result<Query<Ask>, QueryRejection>;

impl Ask {
    fn chosen(&self, ledger: &Ledger) -> Result<Option<PeerId>, String> {
        let peer = self.peer.as_deref().filter(|peer| !peer.is_empty());
        peer.map(|peer| find_peer(ledger, peer)).transpose()
    }
}

/// What one peer did with another.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PairRow {
    pub(super) from: Named,
    pub(super) to: Named,
    #[serde(flatten)]
    pub(super) interactions: Interactions,
    /// Interactions of the kind that is asked for, together.
    pub(super) total: u64,
}

/// A part of the list of pairs.
#[derive(Debug, Serialize)]
struct Listing {
    /// Height of the ledger that it was read from.
    height: u64,
    /// Pairs that fit.
    total: usize,
    /// Left out before these.
    offset: usize,
    interactions: Vec<PairRow>,
}

/// The pairs that dealt with each other about a topic, those with most interactions first.
fn rows(ledger: &Ledger, pairs: &Pairs, topic: Option<Topic>, of: Option<PeerId>) -> Vec<PairRow> {
    let is_of = |from: PeerId, to: PeerId| of.is_none_or(|peer| peer == from || peer == to);
    let mut rows: Vec<PairRow> = pairs
        .iter()
        .filter(|((from, to), interactions)| interactions.about(topic) > 0 && is_of(*from, *to))
        .map(|((from, to), interactions)| PairRow {
            from: Named::new(ledger, *from),
            to: Named::new(ledger, *to),
            interactions: *interactions,
            total: interactions.about(topic),
        })
        .collect();
    rows.sort_by(|a, b| {
        let order = |row: &PairRow| (Reverse(row.total), row.from.peer, row.to.peer);
        order(a).cmp(&order(b))
    });
    rows
}

/// A peer in the drawing.
#[derive(Debug, Clone)]
pub(super) struct PeerNode {
    pub(super) peer: Named,
    /// Its interactions, those of others with it included.
    pub(super) total: u64,
    /// Peers that it deals with, those outside of the drawing included.
    pub(super) partners: usize,
}

/// Two peers of a drawing that dealt with each other, by their places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) ends: (usize, usize),
    /// What the first did with the second, and the second with the first.
    pub(super) interactions: (Interactions, Interactions),
    /// All of it together, of the kind that is asked for.
    pub(super) total: u64,
}

/// The peers with most interactions, in an order in which those who deal with each other are neighbours.
#[derive(Debug, Default)]
pub(super) struct Circle {
    pub(super) peers: Vec<PeerNode>,
    pub(super) edges: Vec<Edge>,
    /// Peers with interactions that are not in it.
    pub(super) left_out: usize,
}

impl Circle {
    /// The drawing of some pairs; `shown` is in it whatever it did, if it did anything.
    pub(super) fn new(
        pairs: &Pairs,
        topic: Option<Topic>,
        shown: Option<PeerId>,
        named: impl Fn(PeerId) -> Named,
    ) -> Self {
        let mut weights: BTreeMap<(PeerId, PeerId), u64> = BTreeMap::new();
        let mut totals: BTreeMap<PeerId, (u64, BTreeSet<PeerId>)> = BTreeMap::new();
        for ((from, to), interactions) in pairs {
            let weight = interactions.about(topic);
            if weight > 0 {
                for (one, other) in [(*from, *to), (*to, *from)] {
                    let known = totals.entry(one).or_default();
                    known.0 += weight;
                    known.1.insert(other);
                    *weights.entry((one, other)).or_default() += weight;
                }
            }
        }
        let mut ranked: Vec<PeerId> = totals.keys().copied().collect();
        ranked.sort_by_key(|peer| (shown != Some(*peer), Reverse(totals[peer].0), *peer));
        let left_out = ranked.len().saturating_sub(PEERS_MAX);
        ranked.truncate(PEERS_MAX);
        let order = neighbours(ranked, &weights);
        let node = |peer: &PeerId| PeerNode {
            peer: named(*peer),
            total: totals[peer].0,
            partners: totals[peer].1.len(),
        };
        let peers = order.iter().map(node).collect();
        let from_to = |from: usize, to: usize| {
            pairs.get(&(order[from], order[to])).copied().unwrap_or_default()
        };
        let mut edges = Vec::new();
        for second in 0..order.len() {
            for first in 0..second {
                let total =
                    weights.get(&(order[first], order[second])).copied().unwrap_or_default();
                if total > 0 {
                    let interactions = (from_to(first, second), from_to(second, first));
                    edges.push(Edge { ends: (first, second), interactions, total });
                }
            }
        }
        Self { peers, edges, left_out }
    }
}

/// Some peers in an order in which each is followed by the one left that it deals with most; `ranked`
/// decides who comes first and what is equal.
fn neighbours(ranked: Vec<PeerId>, weights: &BTreeMap<(PeerId, PeerId), u64>) -> Vec<PeerId> {
    let mut left = ranked;
    let mut order: Vec<PeerId> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let with = |peer: PeerId| order.last().and_then(|last| weights.get(&(*last, peer)));
        let best = (0..left.len()).max_by_key(|place| (with(left[*place]), Reverse(*place)));
        order.push(left.remove(best.unwrap_or_default()));
    }
    order
}

async fn shown(State(shared): App, asked: Asked) -> Response {
    let snapshot = snapshot(&shared);
    let wrong = |message: &str| html(StatusCode::BAD_REQUEST, page::not_found(&snapshot, message));
    let Ok(Query(ask)) = asked else {
        let kinds = Topic::ALL.map(Topic::word).join(", ");
        return wrong(&format!(
            "The address asks for something else than a peer or a kind: {kinds}."
        ));
    };
    let ledger = &snapshot.state;
    let chosen = match ask.chosen(ledger) {
        Ok(chosen) => chosen,
        Err(message) => return wrong(&message),
    };
    let pairs = shared.view.board().interactions(ledger);
    let view = InteractionView {
        circle: Circle::new(&pairs, ask.kind, chosen, |peer| Named::new(ledger, peer)),
        rows: rows(ledger, &pairs, ask.kind, chosen),
        topic: ask.kind,
        peer: chosen.map(|peer| Named::new(ledger, peer)),
    };
    html(StatusCode::OK, page::interactions(&snapshot, &view))
}

async fn listed(State(shared): App, asked: Asked) -> Response {
    let Query(ask) = match asked {
        Ok(ask) => ask,
        Err(rejection) => return fault(rejection.status(), &rejection.body_text()),
    };
    let ledger = shared.view.state();
    let board = shared.view.board();
    match ask.chosen(&ledger) {
        Ok(chosen) => {
            let rows = rows(&ledger, &board.interactions(&ledger), ask.kind, chosen);
            let limit = ask.limit.unwrap_or(PAIRS_MAX).min(PAIRS_MAX);
            Json(Listing {
                height: ledger.height(),
                total: rows.len(),
                offset: ask.offset,
                interactions: rows.into_iter().skip(ask.offset).take(limit).collect(),
            })
            .into_response()
        }
        Err(message) => fault(StatusCode::UNPROCESSABLE_ENTITY, &message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(index: u8) -> PeerId {
        PeerId([index; 32])
    }

    #[test]
    fn the_drawing_holds_the_busiest_and_whoever_is_asked_for() {
        let replies = |count: u8| Interactions { replies: u64::from(count), ..Default::default() };
        let pairs: Pairs = (1..40).map(|index| ((peer(0), peer(index)), replies(index))).collect();
        let named = |peer: PeerId| Named { peer, name: String::new() };
        let circle = Circle::new(&pairs, None, None, named);
        assert_eq!((circle.peers.len(), circle.edges.len(), circle.left_out), (24, 23, 16));
        let is_in = |circle: &Circle, index: u8| {
            circle.peers.iter().any(|node| node.peer.peer == peer(index))
        };
        assert!(is_in(&circle, 39) && !is_in(&circle, 1));
        assert_eq!(circle.peers.iter().map(|node| node.partners).max(), Some(39));
        assert!(is_in(&Circle::new(&pairs, None, Some(peer(1)), named), 1));
        assert!(Circle::new(&pairs, Some(Topic::Work), Some(peer(1)), named).peers.is_empty());
    }

    #[test]
    fn each_is_followed_by_whom_it_deals_with_most() {
        let weight = |a: u8, b: u8, weight: u64| {
            [((peer(a), peer(b)), weight), ((peer(b), peer(a)), weight)]
        };
        let weights = [weight(1, 2, 1), weight(1, 3, 9), weight(3, 4, 2), weight(2, 4, 2)];
        let weights = weights.into_iter().flatten().collect();
        let ranked = [1, 2, 3, 4].map(peer).to_vec();
        assert_eq!(neighbours(ranked, &weights), [1, 3, 4, 2].map(peer));
        // Whoever deals with nobody that is left is followed by the next in rank.
        let ranked = [5, 6, 1, 2].map(peer).to_vec();
        assert_eq!(neighbours(ranked, &weights), [5, 6, 1, 2].map(peer));
    }
}
