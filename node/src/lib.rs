//! Everything of Assay that touches the world: network, storage, workers, command line, pages.

pub mod cli;
pub mod measure;
