//! `assay witness`: cosign the heads of ledgers, and see what came of it.

use super::board::show::moment;
use super::output::{Format, fields, print, table};
use super::run::termination;
use crate::home::{Home, HomeError, NetworkFile, write_whole};
use crate::text::line;
use crate::witness::{
    Evidence, EvidenceKind, LogRow, WITNESS_FOLDER, Witness, WitnessFiles, serve,
};
use anyhow::{Context, ensure};
use assay_protocol::ids::PeerId;
use assay_protocol::tlog::{Algorithm, NoteKey};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;

/// `assay witness …`
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "A witness keeps the last head of a ledger that it cosigned, and cosigns another one only \
with the proof that it continues that one. Whoever asks for its cosignature cannot be shown a ledger that \
differs from the one it saw. It speaks c2sp.org/tlog-witness and needs no node and no model.

Examples:
  assay witness run --home ./watch --network network.json
  assay witness status --home ./watch
  assay witness evidence --home ./watch --format json"
)]
pub enum WitnessCommand {
    /// Cosign until Ctrl-C; the first time, make a key
    #[command(after_help = "Examples:
  assay witness run --network network.json                    cosign what the genesis's members sign
  assay witness run --network network.json --accept KEY       and what a later member signs
  assay witness run --accept KEY --listen 0.0.0.0:7380        any other log, for other machines
The key of a node's checkpoints is in the last line of: assay ledger checkpoint")]
    Run(RunArgs),
    /// Print the verifier key and what was cosigned last
    Status,
    /// Print the checkpoints that do not go together; exits with 1 where a log signed two for one size
    Evidence,
}

/// Arguments of `assay witness run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The network file of the ledger to cosign; needed the first time only
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Another key to accept, of this ledger or another log; its name is the log's origin; repeat for several
    #[arg(long, value_name = "KEY")]
    accept: Vec<NoteKey>,
    /// The witness's name, a part of its verifier key that stays; a domain of yours with a path is customary
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Address to listen on; what is served is public
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7380")]
    listen: SocketAddr,
}

/// Runs `assay witness …`; returns whether nothing is wrong with what was found.
///
/// # Errors
///
/// When the folder holds no witness, or cannot be used.
pub fn run(home: &Path, command: WitnessCommand, format: Format) -> anyhow::Result<bool> {
    let folder = home.join(WITNESS_FOLDER);
    match command {
        WitnessCommand::Run(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(watch(&folder, args, format))?;
            Ok(true)
        }
        WitnessCommand::Status => status(&folder, format).map(|()| true),
        WitnessCommand::Evidence => evidence(&folder, format),
    }
}

async fn watch(folder: &Path, args: RunArgs, format: Format) -> anyhow::Result<()> {
    for key in &args.accept {
        ensure!(
            key.algorithm() == Algorithm::Ed25519,
            "--accept {key} is the key of a witness; give the one that the log signs with"
        );
    }
    let home = match Home::open(folder) {
        Err(HomeError::NoKey(_)) => {
            // Nothing is made for a command that is refused.
            check(&args)?;
            Home::create(folder)?
        }
        home => home?,
    };
    let _lock = home.lock()?;
    let mut keys = args.accept;
    match home.join(args.network.as_deref()) {
        Ok(file) => {
            let network = file.genesis.network();
            let members = file.genesis.members.iter();
            keys.extend(members.map(|member| NoteKey::of_node(network, member.peer)));
        }
        Err(HomeError::NoNetwork(_)) if !keys.is_empty() => {}
        Err(error) => return Err(error.into()),
    }
    let key = own_key(folder, home.peer(), args.name)?;
    let files = WitnessFiles::make(folder)?;
    let witness = Arc::new(Witness::open(files, key, home.key().clone(), keys)?);
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address with --listen", args.listen)
    })?;
    announce(&witness, listener.local_addr()?, format);
    serve(listener, witness, async {
        if termination().await.is_ok() {
            eprintln!("stopping");
        }
    })
    .await;
    Ok(())
}

/// Whether a witness can be begun so.
fn check(args: &RunArgs) -> anyhow::Result<()> {
    ensure!(
        args.network.is_some() || !args.accept.is_empty(),
        "name the ledger to cosign with --network FILE, or another log by its key with --accept KEY"
    );
    args.network.as_deref().map(NetworkFile::read).transpose()?;
    let name = args.name.as_deref().unwrap_or("unnamed");
    NoteKey::new(name, Algorithm::Cosignature, PeerId::default())?;
    Ok(())
}

/// The witness's key by the name that it was given the first time.
fn own_key(folder: &Path, peer: PeerId, given: Option<String>) -> anyhow::Result<NoteKey> {
    let path = folder.join("name");
    let kept = match std::fs::read_to_string(&path) {
        Ok(name) => Some(name.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    };
    if let (Some(kept), Some(given)) = (&kept, &given) {
        ensure!(
            kept == given,
            "this witness is called {kept}, and whoever relies on it knows it so; for another name use \
             another --home"
        );
    }
    let known = kept.is_some();
    let name = kept.or(given).unwrap_or_else(|| format!("witness/{}", peer.short()));
    let key = NoteKey::new(&name, Algorithm::Cosignature, peer)?;
    if !known {
        write_whole(&path, format!("{name}\n").as_bytes())?;
    }
    Ok(key)
}

fn announce(witness: &Witness, address: SocketAddr, format: Format) {
    let url = format!("http://{address}");
    let (key, logs) = (witness.key(), witness.logs());
    match format {
        Format::Json => println!(
            "{}",
            serde_json::json!({"name": key.name(), "key": key.to_string(), "url": url, "logs": logs})
        ),
        Format::Table => {
            println!("witness  {}", key.name());
            println!("key      {key}");
            for log in logs {
                let since = log.size.map_or_else(
                    || "nothing cosigned yet".to_owned(),
                    |size| format!("cosigned at size {size}"),
                );
                println!("log      {}, {} keys, {since}", line(&log.origin), log.keys.len());
            }
            println!("listen   {url}");
            println!("A node has its ledger cosigned with: assay run --witness {url}={key}");
            println!("Ctrl-C stops the witness.");
        }
    }
}

/// What a witness is and cosigned.
#[derive(Serialize)]
struct Status {
    folder: PathBuf,
    name: String,
    key: String,
    logs: Vec<LogRow>,
    split_views: usize,
    unproven: usize,
}

/// The key of the witness in a folder, which may be running.
fn key_in(folder: &Path) -> anyhow::Result<NoteKey> {
    let home = match Home::open(folder) {
        Err(HomeError::NoKey(_)) => anyhow::bail!(
            "{} holds no witness; start one with `assay witness run --network FILE`",
            folder.display()
        ),
        home => home?,
    };
    let name = std::fs::read_to_string(folder.join("name"))
        .with_context(|| format!("cannot read {}", folder.join("name").display()))?;
    Ok(NoteKey::new(name.trim(), Algorithm::Cosignature, home.peer())?)
}

fn status(folder: &Path, format: Format) -> anyhow::Result<()> {
    let key = key_in(folder)?;
    let files = WitnessFiles::at(folder);
    let evidence = files.evidence()?;
    let of = |kind| evidence.iter().filter(|one| one.kind == kind).count();
    let status = Status {
        folder: folder.to_owned(),
        name: key.name().to_owned(),
        key: key.to_string(),
        logs: files.logs(&key)?,
        split_views: of(EvidenceKind::SplitView),
        unproven: of(EvidenceKind::Unproven),
    };
    print(format, &status, |status| {
        let about = fields(&[
            ("witness", status.name.clone()),
            ("key", status.key.clone()),
            ("folder", status.folder.display().to_string()),
            ("split views", found(status.split_views)),
            ("unproven", found(status.unproven)),
        ]);
        if status.logs.is_empty() {
            return format!("{about}\n\nIt cosigned nothing yet.");
        }
        let rows = status.logs.iter().map(|log| {
            let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let short = |root: &String| root.get(..8).unwrap_or_default().to_owned();
            let when = log.cosigned_at_s.map(|time_s| moment(time_s.saturating_mul(1_000)));
            vec![
                log.origin.clone(),
                text(log.size.map(|size| size.to_string())),
                text(log.root.as_ref().map(short)),
                text(when),
            ]
        });
        format!("{about}\n\n{}", table(&["log", "size", "root", "cosigned"], rows))
    })
}

fn found(count: usize) -> String {
    match count {
        0 => "none".to_owned(),
        _ => format!("{count}, see `assay witness evidence`"),
    }
}

fn evidence(folder: &Path, format: Format) -> anyhow::Result<bool> {
    key_in(folder)?;
    let evidence = WitnessFiles::at(folder).evidence()?;
    print(format, &evidence, |evidence| match evidence.is_empty() {
        true => "No evidence: every checkpoint that came continues the one before.".to_owned(),
        false => evidence.iter().map(shown).collect::<Vec<_>>().join("\n\n"),
    })?;
    Ok(evidence.iter().all(|one| one.kind != EvidenceKind::SplitView))
}

fn shown(evidence: &Evidence) -> String {
    let meaning = match evidence.kind {
        EvidenceKind::SplitView => {
            "The log signed two roots for one size. These two checkpoints prove it to anybody:"
        }
        EvidenceKind::Unproven => {
            "The second checkpoint came without proof that it continues the first. The log forked, or \
             somebody sent a false proof:"
        }
    };
    let when = moment(evidence.found_at_ms);
    let note = |note: &str| {
        let lines = note.lines().map(|text| format!("  {}", line(text)));
        lines.collect::<Vec<_>>().join("\n")
    };
    format!(
        "{}, {when}, {}\n{meaning}\n\n{}\n\n{}",
        evidence.kind.words().to_uppercase(),
        line(&evidence.origin),
        note(&evidence.kept),
        note(&evidence.received)
    )
}
