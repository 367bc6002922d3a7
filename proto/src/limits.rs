//! Size limits, in bytes unless named otherwise. Checked before anything is decoded.

/// A signed record on gossip or in a block.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// The packed measurement inside a reveal.
pub const MEASUREMENT_BYTES_MAX: usize = 8 * 1024;
/// A block with its records.
pub const BLOCK_BYTES_MAX: usize = 512 * 1024;
/// Records in one block.
pub const BLOCK_RECORDS_MAX: usize = 256;
/// A block with its commit certificate.
pub const LEDGER_ITEM_BYTES_MAX: usize = BLOCK_BYTES_MAX + 16 * 1024;
/// A consensus vote, proposal or certificate on gossip.
pub const CONSENSUS_BYTES_MAX: usize = 16 * 1024;
/// A blob, and so a chunk of a file.
pub const BLOB_BYTES_MAX: usize = 1024 * 1024;
/// A request for blocks or for a blob.
pub const REQUEST_BYTES_MAX: usize = 256;
/// Blocks in one answer to a sync request.
pub const SYNC_ITEMS_MAX: usize = 64;
/// An answer to a sync request.
pub const SYNC_BYTES_MAX: usize = 4 * 1024 * 1024;
/// An answer to a blob request: one blob and its framing.
pub const BLOB_RESPONSE_BYTES_MAX: usize = BLOB_BYTES_MAX + 64;
/// A manifest of a checkpoint, bundle or drafter.
pub const MANIFEST_BYTES_MAX: usize = BLOB_BYTES_MAX;
/// Files named by one manifest.
pub const MANIFEST_FILES_MAX: usize = 256;
/// The body of a post.
pub const POST_BODY_BYTES_MAX: usize = 12 * 1024;
