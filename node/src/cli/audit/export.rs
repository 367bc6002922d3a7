//! Reading an exported ledger a few items at a time, in memory that does not grow with it.
//!
//! While some items are replayed here, the signatures of those after them are checked on the other cores.

use assay_proto::limits::LEDGER_ITEM_BYTES_MAX;
use assay_proto::{decode_canonical, v1};
use assay_protocol::audit::{
    Auditor, EXPORT_HEADER_BYTES, Fault, Rule, Screened, Screener, claims_beginning,
};
use assay_protocol::ids::{ClaimId, NetworkId};
use assay_protocol::state::State;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::io::Read;

/// Items that are read together for each core, at most.
const BATCH_ITEMS: usize = 64;
/// Bytes for each core after which no further item is read together with those before.
const BATCH_BYTES: usize = 2 << 20;
/// Cores for which items are read: read items take memory, most where somebody wrote them for that.
const BATCH_CORES_MAX: usize = 8;

/// Items that are read together.
struct Batch {
    /// Height of the first of them.
    first: u64,
    items: Vec<Vec<u8>>,
    /// What comes after them: nothing, or a fault; `None` where there may be more items.
    end: Option<Result<(), Fault>>,
}

impl Batch {
    /// The items with the signatures checked, on all cores. Each core gets a share as large as can be: the
    /// more signatures are checked together, the less time one takes.
    fn screen(&self, screener: Screener) -> Vec<Screened> {
        let each = self.items.len().div_ceil(rayon::current_num_threads()).max(1);
        let shares = self.items.len().div_ceil(each);
        let firsts: Vec<u64> = (self.first..).step_by(each).take(shares).collect();
        let chunks = self.items.par_chunks(each).zip(firsts);
        chunks.flat_map_iter(|(items, first)| screener.screen(first, items)).collect()
    }
}

/// The framing of an export after its header.
struct Items<'a, R> {
    reader: &'a mut R,
    next: u64,
    count: u64,
}

impl<R: Read> Items<'_, R> {
    /// The next item's bytes; `None` after the last. The outer error is the disk's.
    fn next(&mut self) -> std::io::Result<Result<Option<Vec<u8>>, Fault>> {
        if self.next == self.count {
            let mut rest = Vec::new();
            self.reader.take(1).read_to_end(&mut rest)?;
            let message =
                format!("more bytes follow the {} entries that the header announces", self.count);
            return Ok(match rest.is_empty() {
                true => Ok(None),
                false => Err(Rule::Format.broken("end of the export", message)),
            });
        }
        self.next += 1;
        let (height, count) = (self.next, self.count);
        let cut_off = |what: &str| {
            let message = format!("{what}; the header announces {count} entries");
            Ok(Err(Rule::Format.broken(format!("entry at height {height}"), message)))
        };
        let mut length = Vec::new();
        self.reader.take(4).read_to_end(&mut length)?;
        let Ok(length) = <[u8; 4]>::try_from(length) else {
            return cut_off("the file ends before this entry");
        };
        let length = u64::from(u32::from_le_bytes(length));
        if length > LEDGER_ITEM_BYTES_MAX as u64 {
            return cut_off(&format!("an entry of {length} bytes is not allowed"));
        }
        let mut item = Vec::new();
        self.reader.take(length).read_to_end(&mut item)?;
        if item.len() as u64 != length {
            return cut_off("the file ends within this entry");
        }
        Ok(Ok(Some(item)))
    }

    /// The next items, some of them at once.
    fn batch(&mut self) -> std::io::Result<Batch> {
        let mut batch = Batch { first: self.next.saturating_add(1), items: Vec::new(), end: None };
        let cores = rayon::current_num_threads().min(BATCH_CORES_MAX);
        let (items_max, bytes_max) = (BATCH_ITEMS * cores, BATCH_BYTES * cores);
        let mut bytes = 0;
        while batch.end.is_none() && batch.items.len() < items_max && bytes < bytes_max {
            match self.next()? {
                Ok(Some(item)) => {
                    bytes += item.len();
                    batch.items.push(item);
                }
                Ok(None) => batch.end = Some(Ok(())),
                Err(fault) => batch.end = Some(Err(fault)),
            }
        }
        Ok(batch)
    }
}

/// Audits a whole export, and shows `each` item with the state after it to whoever wants to know. The
/// outer error is the disk's, the inner one the ledger's.
pub(super) fn audit(
    auditor: &mut Auditor,
    reader: &mut impl Read,
    each: impl FnMut(&v1::LedgerItem, &State),
) -> std::io::Result<Result<(), Fault>> {
    let found = audit_items(auditor, reader, each)?;
    // A claim that could not be read back looks like one that was never made.
    match auditor.archive_error() {
        Some(error) => Err(std::io::Error::other(error.clone())),
        None => Ok(found),
    }
}

/// The same without a look at the archive, but that the audit stops where that failed.
fn audit_items(
    auditor: &mut Auditor,
    reader: &mut impl Read,
    mut each: impl FnMut(&v1::LedgerItem, &State),
) -> std::io::Result<Result<(), Fault>> {
    let mut header = Vec::new();
    reader.take(EXPORT_HEADER_BYTES as u64).read_to_end(&mut header)?;
    let count = match auditor.open(&header) {
        Ok(count) => count,
        Err(fault) => return Ok(Err(fault)),
    };
    let screener = auditor.screener();
    let mut items = Items { reader, next: 0, count };
    let mut ready = Vec::new();
    loop {
        let batch = items.batch()?;
        let mut screened = Vec::new();
        let replayed = rayon::in_place_scope(|scope| {
            scope.spawn(|_| screened = batch.screen(screener));
            replay(auditor, ready, &mut each)
        });
        if let Err(fault) = replayed {
            return Ok(Err(fault));
        }
        if auditor.archive_error().is_some() {
            return Ok(Ok(()));
        }
        if let Some(end) = batch.end {
            let replayed = replay(auditor, screened, &mut each);
            return Ok(replayed.and(end).and_then(|()| auditor.close()));
        }
        ready = screened;
    }
}

fn replay(
    auditor: &mut Auditor,
    items: Vec<Screened>,
    each: &mut impl FnMut(&v1::LedgerItem, &State),
) -> Result<(), Fault> {
    items.into_iter().try_for_each(|item| {
        let item = auditor.feed_screened(item)?;
        each(&item, auditor.state());
        Ok(())
    })
}

/// The claim whose id begins with some digits. Nothing of the export is checked: the audit does.
///
/// # Errors
///
/// When the file cannot be read, or none or several begin so.
pub(super) fn find_claim(
    reader: &mut impl Read,
    network: NetworkId,
    digits: &str,
) -> anyhow::Result<ClaimId> {
    let digits = digits.to_ascii_lowercase();
    let mut header = Vec::new();
    reader.take(EXPORT_HEADER_BYTES as u64).read_to_end(&mut header)?;
    let mut items = Items { reader, next: 0, count: u64::MAX };
    let mut found = BTreeSet::new();
    while let Ok(Some(bytes)) = items.next()? {
        if let Ok(item) = decode_canonical::<v1::LedgerItem>(&bytes, LEDGER_ITEM_BYTES_MAX) {
            found.extend(claims_beginning(network, &item, &digits));
        }
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(claim), None) => Ok(claim),
        (None, _) => anyhow::bail!("no claim on this ledger begins with {digits}"),
        _ => anyhow::bail!("several claims on this ledger begin with {digits}; give more digits"),
    }
}
