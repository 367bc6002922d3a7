//! Where every recipe comes from: the graph of claims with what they are made of and what they follow.
//!
//! - `graph` finds the nodes and edges on the ledger and the board, within bounds.
//! - `layout` gives each a place, from the base recipe on the left.
//! - `path` is how one entry came about, from the base recipe step by step.

mod graph;
mod layout;
mod path;
mod serve;

pub(super) use graph::{CLAIMS_MAX, Fate, Graph, Node, NodeKind, fits, short};
pub(super) use layout::{Layout, Spot, layout};
pub(super) use path::{Step, path};
pub(super) use serve::routes;
