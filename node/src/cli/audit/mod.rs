//! `assay audit`: check an exported ledger without any node, and what else an auditor does with one.

mod checkpoint;
mod export;
mod proof;
mod report;
mod reproduce;

pub use report::AuditReport;

use super::output::{Format, print};
use super::scratch::Scratch;
use crate::home::NetworkFile;
use anyhow::{Context, ensure};
use assay_protocol::audit::{Auditor, Checkpoint, Prover, Trail};
use assay_protocol::genesis::Genesis;
use assay_protocol::ids::{BlockHash, ClaimId};
use assay_protocol::tlog::NoteKey;
use checkpoint::Held;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Arguments of `assay audit`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 everything checks, and what was measured again agrees; 1 a fault, \
which is named with the rule it breaks (protocol/LEDGER.md lists the rules with their codes), or a \
disagreement, or files that cannot be read; 2 a command line that makes no sense.

Memory hardly grows with the ledger: closed claims are kept in a temporary file, as a rule a third larger \
than the ledger, in the folder that TMPDIR names, or /tmp. Where that is in memory itself, name one on a disk.

Examples:
  assay audit ledger.assay --genesis network.json
  assay audit ledger.assay --genesis network.json --since 4000 --trust 3fa9c0d1…
  assay audit ledger.assay --genesis network.json --checkpoint head.note --witness KEY
  assay audit ledger.assay --genesis network.json --entry 9be2410c
  assay audit ledger.assay --genesis network.json --proof 9be2410c --out proof.json
  assay audit --proof-file proof.json --genesis network.json
  assay audit ledger.assay --genesis network.json --reproduce 9be2410c --home ./mine"
)]
pub struct AuditArgs {
    /// An exported ledger
    #[arg(required_unless_present = "proof_file")]
    file: Option<PathBuf>,
    /// The network file that the ledger started from
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
    /// Believe in the block at this height, whose hash --trust gives, and check signatures from there on only
    #[arg(long, value_name = "HEIGHT", requires = "trust",
        value_parser = clap::value_parser!(u64).range(1..))]
    since: Option<u64>,
    /// The hash of the block to believe in, from somebody you trust
    #[arg(long, value_name = "HASH", requires = "since")]
    trust: Option<BlockHash>,
    /// Also check that the first blocks are those of this signed checkpoint, and print who signed it
    #[arg(long, value_name = "NOTE")]
    checkpoint: Option<PathBuf>,
    /// A witness's key, as it prints it, that must have cosigned the checkpoint; repeat for several
    #[arg(long = "witness", value_name = "KEY", requires = "checkpoint")]
    witnesses: Vec<NoteKey>,
    /// Also print everything that decided this claim
    #[arg(long, value_name = "CLAIM")]
    entry: Option<String>,
    /// Also write a proof of this claim's state, for somebody who has the genesis and no ledger
    #[arg(long, value_name = "CLAIM", requires = "out")]
    proof: Option<String>,
    /// Where to write the proof
    #[arg(long, value_name = "FILE", requires = "proof")]
    out: Option<PathBuf>,
    /// Check a proof instead of a ledger
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "since", "checkpoint", "entry", "proof", "reproduce"])]
    proof_file: Option<PathBuf>,
    /// Also measure this claim against its parent on this machine, and say whether that agrees; the node
    /// running in --home measures and fetches, or else this process does, from the files in --home
    #[arg(long, value_name = "CLAIM")]
    reproduce: Option<String>,
    /// Take the files of --reproduce from this folder of blobs instead
    #[arg(long, value_name = "DIR", requires = "reproduce")]
    files: Option<PathBuf>,
    /// Measure on the adapter whose name contains this, where no node measures
    #[arg(long, value_name = "NAME", requires = "reproduce")]
    adapter: Option<String>,
}

/// Audits a file; returns whether everything checks, and what was measured agrees.
///
/// # Errors
///
/// When a file cannot be read at all, a claim is not there, or nothing can be measured.
pub fn run(
    home: impl FnOnce() -> anyhow::Result<PathBuf>,
    args: &AuditArgs,
    format: Format,
) -> anyhow::Result<bool> {
    let genesis = NetworkFile::read(&args.genesis)?.genesis;
    let file = match (&args.proof_file, &args.file) {
        (Some(file), _) => return proof::check(file, &genesis, format),
        (None, Some(file)) => file,
        (None, None) => anyhow::bail!("name an exported ledger, or a proof with --proof-file"),
    };
    let find = |digits: &Option<String>| -> anyhow::Result<Option<ClaimId>> {
        let Some(digits) = digits else { return Ok(None) };
        export::find_claim(&mut open(file)?, genesis.network(), digits).map(Some)
    };
    let (entry, proven, reproduce) =
        (find(&args.entry)?, find(&args.proof)?, find(&args.reproduce)?);
    let mut held = held(args)?;
    let mut auditor = Scratch::for_audit(auditor(genesis, args))?;
    let mut trail = entry.map(Trail::new);
    let mut prover = proven.map(|claim| Prover::new(claim, auditor.state()));
    let started = Instant::now();
    let progress = progress(file)?;
    let mut reader = progress.wrap_read(open(file)?);
    let outcome = export::audit(&mut auditor, &mut reader, |item, state| {
        progress.set_message(format!("height {}", state.height()));
        if let Some(held) = &mut held {
            held.observe(state);
        }
        if let Some(trail) = &mut trail {
            trail.observe(item, state);
        }
        if let Some(prover) = &mut prover {
            prover.observe(item, state);
        }
    })?;
    progress.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let trusted = args.since.zip(args.trust);
    let mut report = AuditReport::new(&auditor, outcome.err(), trusted, seconds);
    if let Some(held) = held.filter(|_| report.is_ok()) {
        report.take_checkpoint(held.compare(auditor.state()));
    }
    if let (Some(claim), Some(trail)) = (entry, &trail) {
        report.take_entry(claim, trail, auditor.state());
    }
    intact(&auditor)?;
    if report.is_ok() {
        if let (Some(prover), Some(out)) = (prover, &args.out) {
            report.take_proof(proof::write(prover, out)?);
        }
        if let Some(claim) = reproduce {
            let with = reproduce::With { files: args.files.clone(), adapter: args.adapter.clone() };
            let reproduction = reproduce::run(home, with, auditor.state(), claim);
            intact(&auditor)?;
            report.take_reproduction(reproduction?);
        }
    }
    print(format, &report, report::table)?;
    Ok(report.is_ok())
}

/// Whether everything that the audit put into its temporary file came back, so that what its state says
/// follows from the ledger.
///
/// # Errors
///
/// Why it did not.
pub(super) fn intact(auditor: &Auditor) -> anyhow::Result<()> {
    auditor.archive_error().map_or(Ok(()), |error| Err(error.clone().into()))
}

fn auditor(genesis: Genesis, args: &AuditArgs) -> Auditor {
    match (args.since, args.trust) {
        (Some(height), Some(hash)) => Auditor::trusting(genesis, Checkpoint { height, hash }),
        _ => Auditor::new(genesis),
    }
}

fn held(args: &AuditArgs) -> anyhow::Result<Option<Held>> {
    checkpoint::only_witnesses(&args.witnesses)?;
    args.checkpoint.as_deref().map(|file| Held::read(file, args.witnesses.clone())).transpose()
}

fn open(file: &Path) -> anyhow::Result<BufReader<File>> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(BufReader::with_capacity(256 * 1024, opened))
}

fn progress(file: &Path) -> anyhow::Result<ProgressBar> {
    let bytes =
        std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    let style = ProgressStyle::with_template("{bar:32} {percent:>3} % · {msg} · {eta} left")?;
    Ok(ProgressBar::new(bytes).with_style(style))
}

/// The audit of a whole export, every block of which was checked.
///
/// # Errors
///
/// When a file cannot be read or the audit finds a fault.
pub(super) fn replay(file: &Path, genesis: &Path) -> anyhow::Result<Auditor> {
    let mut auditor = Scratch::for_audit(Auditor::new(NetworkFile::read(genesis)?.genesis))?;
    let fault = export::audit(&mut auditor, &mut open(file)?, |_, _| {})?.err();
    ensure!(
        fault.is_none(),
        "{}: {}",
        file.display(),
        fault
            .map(|f| format!("{} {} at {}: {}", f.code, f.rule, f.place, f.message))
            .unwrap_or_default()
    );
    Ok(auditor)
}
