//! `assay audit` of a ledger that it reads in several goes.

mod common;

use assay_proto::{decode_canonical, limits, v1};
use assay_protocol::audit::{EXPORT_HEADER_BYTES, export_item};
use assay_testnet::{layout, ledger};
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

/// Entries, which take more blocks than one core reads at once.
const ENTRIES: u64 = 1_000;

/// An exported ledger.
struct Export {
    header: Vec<u8>,
    items: Vec<v1::LedgerItem>,
}

impl Export {
    fn read(bytes: &[u8]) -> Self {
        let (header, mut rest) = bytes.split_at(EXPORT_HEADER_BYTES);
        let mut items = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk::<4>() {
            let (item, more) = more.split_at(u32::from_le_bytes(*length) as usize);
            items.push(decode_canonical(item, limits::LEDGER_ITEM_BYTES_MAX).unwrap());
            rest = more;
        }
        Self { header: header.to_vec(), items }
    }

    /// The file, with one block changed.
    fn with(&self, height: usize, change: impl FnOnce(&mut v1::LedgerItem)) -> Vec<u8> {
        let mut items = self.items.clone();
        change(&mut items[height - 1]);
        self.header.iter().copied().chain(items.iter().flat_map(export_item)).collect()
    }
}

/// The report on a file, by a process that uses so many cores.
fn audit(folder: &Path, file: &[u8], cores: u8) -> serde_json::Value {
    let export = folder.join("ledger.assay");
    std::fs::write(&export, file).unwrap();
    let output = Command::new(common::assay())
        .args(["audit", "--format", "json", "--genesis"])
        .args([&folder.join("network.json"), &export])
        .env("RAYON_NUM_THREADS", cores.to_string())
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.success(), report["ok"] == true, "{report}");
    report
}

#[test]
fn the_first_fault_is_named_wherever_the_reading_paused() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = ledger::genesis(layout::genesis, 5);
    let network = assay_node::home::NetworkFile { genesis: genesis.clone(), bootstrap: Vec::new() };
    network.write(&folder.path().join("network.json")).unwrap();
    let mut file = Cursor::new(Vec::new());
    let written = ledger::write(genesis, ENTRIES, 5, &mut file, |_| {}).unwrap();
    let export = Export::read(file.get_ref());
    let last = export.items.len();
    assert!(last > 70, "{last} blocks are read at once");

    for cores in [1, 2] {
        let report = audit(folder.path(), file.get_ref(), cores);
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(report["entries"], written.entries);
        assert_eq!(report["height"], last);
    }

    let spoil = |bytes: &mut Vec<u8>| bytes[40] ^= 1;
    let of_record = |item: &mut v1::LedgerItem| {
        spoil(&mut item.block.as_mut().unwrap().records.last_mut().unwrap().signature);
    };
    let of_vote = |item: &mut v1::LedgerItem| {
        spoil(&mut item.certificate.as_mut().unwrap().signatures.last_mut().unwrap().signature);
    };
    // One core pauses after so many blocks or bytes: in the first read, around where it ends, and in the last.
    for height in [1, 30, 40, 50, 64, 65, last] {
        for (file, code, cores) in
            [(export.with(height, of_record), "S02", 1), (export.with(height, of_vote), "C01", 2)]
        {
            let fault = audit(folder.path(), &file, cores)["first_fault"].clone();
            assert_eq!(fault["where"], format!("entry at height {height}"), "{fault}");
            assert_eq!(fault["code"], code, "{fault}");
        }
    }

    let mut cut = file.get_ref().clone();
    cut.truncate(cut.len() - 10);
    let fault = audit(folder.path(), &cut, 1)["first_fault"].clone();
    assert_eq!(fault["where"], format!("entry at height {last}"), "{fault}");
    assert_eq!(fault["code"], "F01", "{fault}");
}
