//! assay-node

pub mod consensus;
