//! `assay audit`: check an exported ledger without any node.

use super::output::{Format, fields, print};
use crate::home::NetworkFile;
use anyhow::Context;
use assay_proto::limits::LEDGER_ITEM_BYTES_MAX;
use assay_protocol::audit::{Auditor, Checked, EXPORT_HEADER_BYTES, Fault};
use assay_protocol::ids::BlockHash;
use assay_protocol::state::State;
use indicatif::ProgressBar;
use serde::Serialize;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Arguments of `assay audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 0 only if everything checks.

Example:
  assay audit ledger.assay --genesis network.json")]
pub struct AuditArgs {
    /// An exported ledger
    file: PathBuf,
    /// The network file that the ledger started from
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
}

/// What an audit found.
#[derive(Debug, Serialize)]
pub struct AuditReport {
    ok: bool,
    height: u64,
    head: BlockHash,
    entries: u64,
    checked: Checked,
    first_fault: Option<Fault>,
    seconds: f64,
}

/// Audits a file; returns whether everything checks.
///
/// # Errors
///
/// When a file cannot be read at all.
pub fn run(args: &AuditArgs, format: Format) -> anyhow::Result<bool> {
    let genesis = NetworkFile::read(&args.genesis)?.genesis;
    let file =
        File::open(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let progress = ProgressBar::new(file.metadata()?.len());
    let started = Instant::now();
    let mut auditor = Auditor::new(genesis);
    let mut reader = progress.wrap_read(BufReader::new(file));
    let first_fault = audit(&mut auditor, &mut reader)?.err();
    progress.finish_and_clear();
    let report = AuditReport {
        ok: first_fault.is_none(),
        height: auditor.state().height(),
        head: auditor.head(),
        entries: auditor.checked().entries,
        checked: auditor.checked(),
        first_fault,
        seconds: started.elapsed().as_secs_f64(),
    };
    print(format, &report, table)?;
    Ok(report.ok)
}

/// The state after a whole export, every block of which was checked.
///
/// # Errors
///
/// When a file cannot be read or the audit finds a fault.
pub(super) fn replay(file: &Path, genesis: &Path) -> anyhow::Result<State> {
    let mut auditor = Auditor::new(NetworkFile::read(genesis)?.genesis);
    let export = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    audit(&mut auditor, &mut BufReader::new(export))?.map_err(|fault| {
        anyhow::anyhow!("{}: {} at {}: {}", file.display(), fault.rule, fault.place, fault.message)
    })?;
    Ok(auditor.state().clone())
}

/// Reads a whole export. The outer error is the disk's, the inner one the ledger's.
fn audit(auditor: &mut Auditor, reader: &mut impl Read) -> std::io::Result<Result<(), Fault>> {
    let mut header = Vec::new();
    reader.take(EXPORT_HEADER_BYTES as u64).read_to_end(&mut header)?;
    let items = match auditor.open(&header) {
        Ok(items) => items,
        Err(fault) => return Ok(Err(fault)),
    };
    for index in 0..items {
        let cut_off = |what: &str| Fault {
            place: format!("entry at height {}", index + 1),
            rule: "format".to_owned(),
            message: format!("{what}; the header announces {items} entries"),
        };
        let mut length = Vec::new();
        reader.take(4).read_to_end(&mut length)?;
        let Ok(length) = <[u8; 4]>::try_from(length) else {
            return Ok(Err(cut_off("the file ends before this entry")));
        };
        let length = u64::from(u32::from_le_bytes(length));
        if length > LEDGER_ITEM_BYTES_MAX as u64 {
            return Ok(Err(cut_off(&format!("an entry of {length} bytes is not allowed"))));
        }
        let mut item = Vec::new();
        reader.take(length).read_to_end(&mut item)?;
        if item.len() as u64 != length {
            return Ok(Err(cut_off("the file ends within this entry")));
        }
        if let Err(fault) = auditor.feed(&item) {
            return Ok(Err(fault));
        }
    }
    let mut rest = Vec::new();
    reader.take(1).read_to_end(&mut rest)?;
    Ok(if rest.is_empty() {
        Ok(())
    } else {
        Err(Fault {
            place: "end of the export".to_owned(),
            rule: "format".to_owned(),
            message: format!("more bytes follow the {items} entries that the header announces"),
        })
    })
}

fn rounds(checked: &Checked) -> String {
    format!(
        "{} of {} entries: {} confirming, {} challenging, {} by lot; {} debunked",
        checked.rounds,
        checked.entries,
        checked.frontier_rounds,
        checked.challenges,
        checked.reaudits,
        checked.debunked
    )
}

fn table(report: &AuditReport) -> String {
    let checked = &report.checked;
    let counts = fields(&[
        ("blocks", format!("{} to head {}", checked.blocks, report.head.short())),
        ("records", format!("{} signatures", checked.records)),
        ("certificates", format!("{} signatures", checked.certificate_signatures)),
        ("beacon", format!("{} random outputs", checked.random_outputs)),
        ("committees", format!("{} drawn again", checked.committees)),
        ("seals", format!("{} opened", checked.seals)),
        ("rounds", rounds(checked)),
        ("verdicts", format!("{} computed again from raw samples", checked.verdicts)),
        ("time", format!("{:.2} s", report.seconds)),
    ]);
    match &report.first_fault {
        None => format!("{counts}\n\nEverything checks."),
        Some(fault) => format!(
            "{counts}\n\nFAULT at {}\n  rule     {}\n  message  {}\n\
             Nothing from there on can be relied on.",
            fault.place, fault.rule, fault.message
        ),
    }
}
