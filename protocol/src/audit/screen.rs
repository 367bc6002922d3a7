//! Checking signatures ahead of the replay.
//!
//! A record carries the key that signed it, so that its signature can be checked without any state: before its
//! turn, on another thread. Everything else about an item needs what came before it.

use crate::ids::NetworkId;
use crate::wire;
use assay_proto::{DecodeError, decode_canonical, limits, v1};

/// Checks signatures of records, on any thread.
#[derive(Debug, Clone, Copy)]
pub struct Screener {
    network: NetworkId,
    /// Height of the first block whose signatures count.
    from: u64,
}

/// An item of a ledger, and whether all its records are properly signed.
#[derive(Debug)]
pub struct Screened {
    pub(super) item: Result<v1::LedgerItem, DecodeError>,
    /// Whether every signature verifies. Where one does not, or none was checked, the replay says what is
    /// wrong, in the order in which it finds it.
    pub(super) signed: bool,
}

impl Screener {
    pub(super) fn new(network: NetworkId, from: u64) -> Self {
        Self { network, from }
    }

    /// Reads the item at a height and checks its records' signatures.
    #[must_use]
    pub fn screen(&self, height: u64, bytes: &[u8]) -> Screened {
        let item: Result<v1::LedgerItem, _> =
            decode_canonical(bytes, limits::LEDGER_ITEM_BYTES_MAX);
        let records = item.iter().filter_map(|item| item.block.as_ref());
        let mut records = records.flat_map(|block| &block.records);
        let signed =
            height >= self.from && records.all(|signed| wire::is_signed(self.network, signed));
        Screened { item, signed }
    }
}
