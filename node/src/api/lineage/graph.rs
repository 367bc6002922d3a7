//! The nodes and edges of the lineage.

use super::super::claims::Named;
use crate::board::Board;
use crate::text::cut;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::post::{Detail, Kind};
use assay_protocol::record::Recipe;
use assay_protocol::state::{ClaimState, LinkState, State};
use assay_protocol::verdict::{Estimate, Outcome};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most claims in one graph.
pub(crate) const CLAIMS_MAX: usize = 160;
/// Most posts that are looked through for a claim's levers.
const NAMING_MAX: usize = 24;
/// Longest line that a post says of itself here, in characters.
const LINE_CHARS_MAX: usize = 120;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NodeKind {
    /// The recipe that the network began with.
    Base,
    Claim,
    Checkpoint,
    Bundle,
    Drafter,
    Spec,
    /// A failed try at running a checkpoint.
    Attempt,
    Diagnosis,
}

impl NodeKind {
    /// The kind as a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Base => "base recipe",
            Self::Claim => "claim",
            Self::Checkpoint => "checkpoint",
            Self::Bundle => "kernel bundle",
            Self::Drafter => "drafter",
            Self::Spec => "spec",
            Self::Attempt => "attempt",
            Self::Diagnosis => "diagnosis",
        }
    }
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fate {
    Accepted,
    Refuted,
    /// Nothing was decided, or its speed is pending.
    Undecided,
    /// It is being measured.
    Open,
    /// Accepted, and refuted since.
    Debunked,
    /// Accepted, on top of what was refuted since.
    Fallen,
}

impl Fate {
    pub(crate) fn of(claim: &ClaimState) -> Self {
        match claim.outcome() {
            _ if claim.debunked.is_some() => Self::Debunked,
            Some(Outcome::Accepted) if claim.descends_from_debunked.is_some() => Self::Fallen,
            Some(Outcome::Accepted) => Self::Accepted,
            Some(Outcome::Refuted) => Self::Refuted,
            Some(_) => Self::Undecided,
            None => Self::Open,
        }
    }

    /// The fate in a few words.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refuted => "refuted",
            Self::Undecided => "undecided",
            Self::Open => "being measured",
            Self::Debunked => "debunked",
            Self::Fallen => "on a debunked entry",
        }
    }
}

/// Something that a lineage goes through.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// The claim, record or manifest that it is.
    pub(crate) id: String,
    /// What it says of itself, in a line.
    pub(crate) says: String,
    pub(crate) author: Option<Named>,
    /// Height of the block that ordered it; 0 where none did.
    pub(crate) height: u64,
    /// What became of it; claims only.
    pub(crate) fate: Option<Fate>,
    pub(crate) ratio: Option<Estimate>,
    pub(crate) ratio_to_base_ppm: Option<u64>,
    /// What it turned.
    pub(crate) levers: Vec<String>,
    /// Ids of what it is made from or follows.
    pub(crate) from: Vec<String>,
    /// Its page.
    pub(crate) page: Option<String>,
}

/// From what something is made, or what it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Whether it is the step from a parent claim.
    pub(crate) is_step: bool,
}

/// A graph within bounds.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    /// Claims that are not in it.
    pub(crate) left_out: usize,
    places: BTreeMap<String, usize>,
}

/// What of a claim's recipe differs from its parent's, in words.
pub(crate) fn changes(state: &State, claim: &ClaimState) -> Vec<String> {
    let Some(parent) = state.recipe(claim.parent) else { return Vec::new() };
    let child = claim.recipe;
    let mut changed = Vec::new();
    if child.checkpoint != parent.checkpoint {
        changed.push("checkpoint".to_owned());
    }
    if child.bundle != parent.bundle {
        changed.push("kernels".to_owned());
    }
    match (parent.drafter, child.drafter) {
        (None, Some(now)) => changed.push(format!("drafts {} tokens a step", now.draft_len)),
        (Some(_), None) => changed.push("no drafter".to_owned()),
        (Some(before), Some(now)) => {
            if before.checkpoint != now.checkpoint {
                changed.push("drafter".to_owned());
            }
            if before.draft_len != now.draft_len {
                changed.push(format!("drafts {} → {} a step", before.draft_len, now.draft_len));
            }
        }
        (None, None) => {}
    }
    changed
}

/// What the board says that a claim turned: its author's plan behind the result that names it, or the dead
/// end that it shows.
pub(crate) fn levers(state: &State, board: &Board, claim: &ClaimState) -> Vec<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    for row in board.naming(state, claim.id.0, NAMING_MAX) {
        match &row.detail {
            Some(Detail::DeadEnd(end)) if end.claim == Some(claim.id) => {
                found.extend(end.levers.iter().cloned());
            }
            Some(Detail::Result(result))
                if result.claim == Some(claim.id) && row.author.peer == claim.author =>
            {
                for plan in row.refs.iter().chain([&row.thread]) {
                    let item = board.item(*plan).filter(|item| item.author == claim.author);
                    if let Some(Detail::Plan(plan)) = item.as_ref().and_then(|item| item.detail()) {
                        found.extend(plan.levers.iter().cloned());
                    }
                }
            }
            _ => {}
        }
    }
    found.into_iter().collect()
}

impl Graph {
    /// The graph of a ledger: the way to `shown` and to the leaders of every track first, then the latest
    /// claims, each with everything that it builds on.
    pub(crate) fn new(state: &State, board: &Board, shown: Option<ClaimId>) -> Self {
        let chosen = choose(state, shown);
        let mut graph = Self { left_out: state.claims().count() - chosen.len(), ..Self::default() };
        graph.base(state);
        let mut claims: Vec<&ClaimState> =
            chosen.iter().filter_map(|id| state.claim(*id)).collect();
        claims.sort_by_key(|claim| (claim.docketed_at, claim.id));
        for claim in claims {
            graph.claim(state, board, claim);
        }
        graph.relays(state, board);
        graph
    }

    /// A graph of nodes made by hand, each after those that it is from.
    #[cfg(test)]
    pub(crate) fn of(nodes: Vec<Node>) -> Self {
        let mut graph = Self::default();
        for node in nodes {
            let place = graph.node(Node { from: Vec::new(), ..node.clone() });
            for from in node.from.iter().filter_map(|id| graph.place(id)).collect::<Vec<_>>() {
                let is_step = graph.nodes[from].kind <= NodeKind::Claim;
                graph.edge(from, place, is_step);
            }
        }
        graph
    }

    /// Where something stands among the nodes.
    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// Adds a node unless it is there, and says where it stands.
    fn node(&mut self, node: Node) -> usize {
        if let Some(place) = self.place(&node.id) {
            return place;
        }
        self.places.insert(node.id.clone(), self.nodes.len());
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, is_step: bool) {
        let edge = Edge { from, to, is_step };
        if from != to && !self.edges.contains(&edge) {
            let id = self.nodes[from].id.clone();
            self.nodes[to].from.push(id);
            self.edges.push(edge);
        }
    }

    fn base(&mut self, state: &State) {
        let mut node = plain(NodeKind::Base, state.base_claim().to_string());
        node.says = state.genesis().challenge.name.clone();
        node.ratio_to_base_ppm = state.ratio_to_base_ppm(state.base_claim());
        self.node(node);
    }

    fn claim(&mut self, state: &State, board: &Board, claim: &ClaimState) {
        let mut node = plain(NodeKind::Claim, claim.id.to_string());
        node.says = claim.summary.clone();
        node.author = Some(Named::new(state, claim.author));
        node.height = claim.docketed_at;
        node.fate = Some(Fate::of(claim));
        node.ratio = claim.verdict().and_then(|verdict| verdict.ratio);
        node.ratio_to_base_ppm = claim.ratio_to_base_ppm;
        node.levers = levers(state, board, claim);
        if node.levers.is_empty() {
            node.levers = changes(state, claim);
        }
        node.page = Some(format!("/claims/{}", claim.id));
        let place = self.node(node);
        if let Some(parent) = self.place(&claim.parent.to_string()) {
            self.edge(parent, place, true);
        }
        if let Some(parent) = state.recipe(claim.parent) {
            self.parts(claim, &parent, place);
        }
        for cited in state.citations(claim.id) {
            self.cited(state, board, *cited, place);
        }
    }

    /// What a claim's recipe has that its parent's has not.
    fn parts(&mut self, claim: &ClaimState, parent: &Recipe, place: usize) {
        let drafter = |recipe: &Recipe| recipe.drafter.map(|drafter| drafter.checkpoint);
        let parts = [
            (NodeKind::Checkpoint, Some(claim.recipe.checkpoint), Some(parent.checkpoint)),
            (NodeKind::Bundle, claim.recipe.bundle, parent.bundle),
            (NodeKind::Drafter, drafter(&claim.recipe), drafter(parent)),
        ];
        for (kind, own, inherited) in parts {
            if let Some(own) = own.filter(|own| Some(*own) != inherited) {
                let mut node = plain(kind, own.to_string());
                node.height = claim.docketed_at;
                let part = self.node(node);
                self.edge(part, place, false);
            }
        }
    }

    /// A spec that a claim cites. Diagnoses come with their relay.
    fn cited(&mut self, state: &State, board: &Board, cited: RecordId, place: usize) {
        if let Some(spec) = state.spec(cited) {
            let mut node = plain(NodeKind::Spec, cited.to_string());
            node.says = board
                .row(state, cited)
                .map(|row| cut(row.headline(), LINE_CHARS_MAX))
                .unwrap_or_default();
            node.author = Some(Named::new(state, spec.author));
            node.height = spec.height;
            node.page = Some(format!("/board/threads/{cited}"));
            let spec = self.node(node);
            self.edge(spec, place, false);
        }
        if state.link(cited).is_some() {
            let diagnosis = self.link(state, board, cited);
            let corrected =
                state.link(cited).and_then(|link| self.place(&link.link.manifest.to_string()));
            let leads = |from| self.edges.iter().any(|edge| edge.from == from && edge.to == place);
            // What it corrected says more where the claim runs that.
            if let Some(diagnosis) = diagnosis.filter(|_| !corrected.is_some_and(leads)) {
                self.edge(diagnosis, place, false);
            }
        }
    }

    /// The checkpoints that were built, tried and corrected, as far as they lead to what is in the graph.
    fn relays(&mut self, state: &State, board: &Board) {
        let known = |graph: &Self, link: &LinkState| {
            graph.place(&link.id.to_string()).is_some()
                || graph.place(&link.link.manifest.to_string()).is_some()
        };
        let links: Vec<RecordId> =
            state.links().filter(|link| known(self, link)).map(|link| link.id).collect();
        for id in links {
            self.link(state, board, id);
        }
    }

    /// A checkpoint's post, an attempt or a diagnosis with what it follows; a checkpoint stands for its
    /// manifest, and a diagnosis leads to the one that it corrected.
    fn link(&mut self, state: &State, board: &Board, id: RecordId) -> Option<usize> {
        let link = state.link(id)?;
        let known = self.place(&id.to_string());
        if known.is_some() && link.kind != Kind::Checkpoint {
            return known;
        }
        let says = board.row(state, id).map(|row| match &row.detail {
            Some(Detail::Checkpoint(built)) => built.scheme.clone(),
            Some(Detail::Diagnosis(found)) => found.codes.join(", "),
            Some(Detail::Attempt(tried)) => cut(&tried.error, LINE_CHARS_MAX),
            _ => cut(row.headline(), LINE_CHARS_MAX),
        });
        let mut node = plain(
            match link.kind {
                Kind::Checkpoint => NodeKind::Checkpoint,
                Kind::Attempt => NodeKind::Attempt,
                _ => NodeKind::Diagnosis,
            },
            match link.kind {
                Kind::Checkpoint => link.link.manifest.to_string(),
                _ => id.to_string(),
            },
        );
        node.says = says.unwrap_or_default();
        node.author = Some(Named::new(state, link.author));
        node.height = link.height;
        node.page = Some(format!("/board/threads/{id}"));
        let place = self.named(node);
        // A diagnosis follows an attempt and an attempt a checkpoint: other chains are not followed, so that
        // nobody makes one of any length.
        let wanted = match link.kind {
            Kind::Diagnosis => Some(Kind::Attempt),
            Kind::Attempt => Some(Kind::Checkpoint),
            _ => None,
        };
        let previous = link.link.previous.and_then(|id| state.link(id));
        if let Some(previous) = previous.filter(|previous| Some(previous.kind) == wanted)
            && let Some(previous) = self.link(state, board, previous.id)
        {
            self.edge(previous, place, false);
        }
        if link.kind == Kind::Diagnosis {
            let corrected = self.node(plain(NodeKind::Checkpoint, link.link.manifest.to_string()));
            self.edge(place, corrected, false);
        }
        Some(place)
    }

    /// Adds a node, or tells one that is there by its hash alone who made it.
    fn named(&mut self, node: Node) -> usize {
        let place = self.node(node.clone());
        if let Some(known) = self.nodes.get_mut(place).filter(|known| known.author.is_none()) {
            let from = std::mem::take(&mut known.from);
            *known = Node { from, ..node };
        }
        place
    }
}

fn plain(kind: NodeKind, id: String) -> Node {
    Node {
        kind,
        id,
        says: String::new(),
        author: None,
        height: 0,
        fate: None,
        ratio: None,
        ratio_to_base_ppm: None,
        levers: Vec::new(),
        from: Vec::new(),
        page: None,
    }
}

/// The claims of a graph, each with all that it builds on.
fn choose(state: &State, shown: Option<ClaimId>) -> BTreeSet<ClaimId> {
    let mut wanted: Vec<ClaimId> = shown.into_iter().collect();
    wanted.extend(
        state
            .claims()
            .filter(|claim| {
                let track = state.standing_of(claim).map(|(track, _)| track);
                track.is_some_and(|track| state.leads(claim.id, track))
            })
            .map(|claim| claim.id),
    );
    let mut latest: Vec<&ClaimState> = state.claims().collect();
    latest.sort_by_key(|claim| (std::cmp::Reverse(claim.docketed_at), claim.id));
    wanted.extend(latest.into_iter().map(|claim| claim.id));
    let mut chosen = BTreeSet::new();
    for id in wanted {
        let mut way = Vec::new();
        let mut next = Some(id);
        while let Some(claim) =
            next.filter(|id| !chosen.contains(id)).and_then(|id| state.claim(id))
        {
            if way.len() > super::path::STEPS_MAX {
                break;
            }
            way.push(claim.id);
            next = Some(claim.parent);
        }
        // A way is in whole or not at all; the first one always is.
        if chosen.is_empty() || chosen.len() + way.len() <= CLAIMS_MAX {
            chosen.extend(way);
        }
    }
    chosen
}

/// The short form of a node's id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// Whether a node has all the words that somebody looks for.
pub(crate) fn fits(node: &Node, words: &str) -> bool {
    let author = node.author.as_ref().map(|author| author.name.as_str()).unwrap_or_default();
    let fate = node.fate.map(Fate::word).unwrap_or_default();
    let text = format!(
        "{} {} {author} {fate} {} {}",
        node.kind.word(),
        node.id,
        node.says,
        node.levers.join(" ")
    );
    let text = text.to_lowercase();
    words.to_lowercase().split_whitespace().all(|word| text.contains(word))
}
