//! What a node keeps: the ledger in sled, blobs as files named by their hash.

mod blobs;
mod ledger;

pub use blobs::{BlobError, Blobs};
pub use ledger::{Store, StoreError};
