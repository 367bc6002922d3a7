//! What a node keeps: the ledger in sled, blobs as files named by their hash.

mod blobs;
mod ledger;
mod models;
mod posts;

pub use blobs::{BlobError, Blobs};
pub use ledger::{Store, StoreError};
pub use models::{Model, ModelError, Models};
