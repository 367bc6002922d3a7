//! assay-node

pub mod net;
