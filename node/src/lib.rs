//! Everything of Assay that touches the world: network, storage, workers, command line, pages.

pub mod api;
pub mod cli;
