//! `assay ledger`: show and export what was decided.

use super::client::Client;
use super::output::{Format, fields, print};
use super::scratch::Scratch;
use crate::checkpoints::CheckpointRow;
use crate::home::{Home, HomeError, NetworkFile, beside, write_whole};
use crate::storage::Store;
use crate::text::{line, paragraphs};
use anyhow::Context;
use assay_protocol::audit::{Auditor, export_header, export_item};
use assay_protocol::genesis::Genesis;
use assay_protocol::ids::BlockHash;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(600);

/// `assay ledger …`
#[derive(Debug, clap::Subcommand)]
pub enum LedgerCommand {
    /// Print height, head and number of records
    Show,
    /// Write the whole ledger to a file that `assay audit` checks
    #[command(after_help = "Example:\n  assay ledger export --out ledger.assay")]
    Export {
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the running node's newest checkpoint, signed and cosigned, that `assay audit` compares with
    #[command(after_help = "Examples:
  assay ledger checkpoint
  assay ledger checkpoint --out head.note")]
    Checkpoint {
        /// Also write it to this file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct Exported {
    height: u64,
    head: BlockHash,
    entries: u64,
    bytes: u64,
}

/// Runs `assay ledger …` on the home's node, or on its store when the node is not running.
///
/// # Errors
///
/// When there is no ledger or the file cannot be written.
pub fn run(home: &Path, command: LedgerCommand, format: Format) -> anyhow::Result<()> {
    match command {
        LedgerCommand::Show => {
            let genesis = NetworkFile::read(&home.join("network.json"))?.genesis;
            let mut sink = Replay::new(genesis)?;
            let bytes = write_ledger(home, &mut sink)?;
            let shown = sink.summary(bytes);
            print(format, &shown, table)
        }
        LedgerCommand::Checkpoint { out } => checkpoint(home, out.as_deref(), format),
        LedgerCommand::Export { out } => {
            let exported = export(home, &out)?;
            print(format, &exported, |exported| {
                format!(
                    "{}\n\nNext: assay audit {} --genesis {}",
                    table(exported),
                    out.display(),
                    home.join("network.json").display()
                )
            })
        }
    }
}

fn checkpoint(home: &Path, out: Option<&Path>, format: Format) -> anyhow::Result<()> {
    let row: CheckpointRow = Client::find(home, TIMEOUT)?.get("/api/witnesses")?;
    if let Some(out) = out {
        write_whole(out, row.note.as_bytes())?;
    }
    print(format, &row, |row| {
        let witnesses = row.witnesses.iter().map(|witness| {
            let state = match (&witness.conflict, &witness.trouble, witness.size) {
                (Some(size), ..) => {
                    format!("SPLIT VIEW: it cosigned another ledger of {size} blocks")
                }
                (None, Some(trouble), _) => line(trouble),
                (None, None, Some(size)) => format!("cosigned {size} blocks"),
                (None, None, None) => "not asked yet".to_owned(),
            };
            format!("witness  {}: {state}\n", line(&witness.name))
        });
        let witnesses: String = witnesses.collect();
        format!("{}\n{witnesses}key      {}", paragraphs(&row.note), row.key)
    })
}

fn table(exported: &Exported) -> String {
    fields(&[
        ("height", exported.height.to_string()),
        ("head", exported.head.to_string()),
        ("entries", exported.entries.to_string()),
        ("bytes", exported.bytes.to_string()),
    ])
}

fn export(home: &Path, out: &Path) -> anyhow::Result<Exported> {
    let genesis = NetworkFile::read(&home.join("network.json"))?.genesis;
    let out = &std::fs::canonicalize(out).unwrap_or_else(|_| out.to_owned());
    if std::fs::metadata(out).is_ok_and(|found| !found.is_file()) {
        anyhow::bail!("{} is there and is no file; give another name with --out", out.display());
    }
    let temporary = beside(out);
    let file = File::create(&temporary)
        .with_context(|| format!("cannot write {}", temporary.display()))?;
    let mut tee = Tee { file: BufWriter::new(file), replay: Replay::new(genesis)? };
    let written = write_ledger(home, &mut tee).and_then(|bytes| {
        tee.file.flush()?;
        std::fs::rename(&temporary, out)
            .with_context(|| format!("cannot write {}", out.display()))?;
        Ok(bytes)
    });
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    }
    Ok(tee.replay.summary(written?))
}

/// Writes the export of a home's ledger and returns how many bytes it has.
fn write_ledger(home: &Path, out: &mut impl Write) -> anyhow::Result<u64> {
    match Client::find(home, TIMEOUT) {
        Ok(client) => client.download("/api/ledger/export", out),
        Err(error) if matches!(error.downcast_ref(), Some(HomeError::NotRunning(_))) => {
            let home = Home::open(home)?;
            let _lock = home.lock()?;
            let network = home.join(None)?.genesis.network();
            let store = Store::open(&home.path().join("ledger"))?;
            let height = store.height()?;
            let mut bytes = 0;
            let mut write = |part: Vec<u8>| {
                bytes += part.len() as u64;
                out.write_all(&part)
            };
            write(export_header(network, height))?;
            for height in 1..=height {
                let item = store.item(height)?;
                write(export_item(&item.with_context(|| format!("block {height} is missing"))?))?;
            }
            Ok(bytes)
        }
        Err(error) => Err(error),
    }
}

/// Replays what is written, so that an export is known to be whole when it is announced.
struct Replay {
    auditor: Auditor,
    pending: Vec<u8>,
    started: bool,
}

impl Replay {
    fn new(genesis: Genesis) -> anyhow::Result<Self> {
        let auditor = Scratch::for_audit(Auditor::new(genesis))?;
        Ok(Self { auditor, pending: Vec::new(), started: false })
    }

    fn summary(&self, bytes: u64) -> Exported {
        let height = self.auditor.state().height();
        let entries = self.auditor.checked().entries;
        Exported { height, head: self.auditor.head(), entries, bytes }
    }

    /// The next piece of `bytes` bytes, once it is complete.
    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let rest = self.pending.split_off(bytes.min(self.pending.len()));
        if self.pending.len() < bytes {
            self.pending.extend(rest);
            return None;
        }
        Some(std::mem::replace(&mut self.pending, rest))
    }

    fn advance(&mut self) -> Result<(), String> {
        use assay_protocol::audit::EXPORT_HEADER_BYTES;
        if !self.started {
            let Some(header) = self.take(EXPORT_HEADER_BYTES) else { return Ok(()) };
            self.auditor.open(&header).map_err(|fault| fault.message)?;
            self.started = true;
        }
        while let Some(length) = self.pending.first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let Some(item) = self.take(length.saturating_add(4)) else { return Ok(()) };
            let fed = self.auditor.feed(&item[4..]);
            if let Some(error) = self.auditor.archive_error() {
                return Err(error.to_string());
            }
            fed.map_err(|fault| format!("{}: {}", fault.place, fault.message))?;
        }
        Ok(())
    }
}

impl Write for Replay {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.pending.extend_from_slice(data);
        self.advance().map_err(std::io::Error::other)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Tee {
    file: BufWriter<File>,
    replay: Replay,
}

impl Write for Tee {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.file.write_all(data)?;
        self.replay.write(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
