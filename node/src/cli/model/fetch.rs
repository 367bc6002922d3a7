//! `assay model fetch`: a checkpoint from peers, by the hash of its manifest.

use super::{check_disk, partial, sized};
use crate::api::{FetchRequest, Fetched};
use crate::cli::client::Client;
use crate::cli::engine::spinner;
use crate::cli::output::{Format, fields, print};
use anyhow::{Context, ensure};
use assay_protocol::ids::BlobHash;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Fetching whole checkpoints takes as long as the network does.
const TIMEOUT: Duration = Duration::from_secs(24 * 3_600);

/// Bring a checkpoint here from peers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  assay model fetch 9f3c…e1 --out ./theirs
  assay model check ./theirs

The running node asks its peers for the files by their hashes, within its disk quota. A later
try goes on where an interrupted one stopped.")]
pub struct FetchArgs {
    /// The manifest, as a checkpoint's or diagnosis's post names it
    manifest: BlobHash,
    /// Folder to write; must not exist yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Written {
    manifest: BlobHash,
    kind: String,
    bytes: u64,
    out: PathBuf,
}

/// Runs the command.
pub(super) fn run(home: &Path, args: FetchArgs, format: Format) -> anyhow::Result<()> {
    let FetchArgs { manifest, out } = args;
    ensure!(!out.exists(), "{} exists already; name a folder that does not", out.display());
    let client = Client::find(home, TIMEOUT)?;
    let busy = spinner("fetching");
    let fetched: anyhow::Result<Fetched> = client.post("/api/fetches", &FetchRequest { manifest });
    busy.finish_and_clear();
    let Fetched { kind, folder, bytes, .. } = fetched?;
    check_disk(&out, bytes)?;
    copy(&folder, &out)?;
    print(format, &Written { manifest, kind, bytes, out }, |written| {
        fields(&[
            (written.kind.as_str(), written.manifest.to_string()),
            ("size", sized(written.bytes)),
            ("out", written.out.display().to_string()),
        ])
    })
}

/// Copies the files of a folder, which holds no other folders, so that `out` is there whole or not at all.
fn copy(folder: &Path, out: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", out.display());
    let partial = partial(out);
    if partial.exists() {
        std::fs::remove_dir_all(&partial).with_context(failed)?;
    }
    std::fs::create_dir_all(&partial).with_context(failed)?;
    let read = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(read)? {
        let entry = entry.with_context(read)?;
        std::fs::copy(entry.path(), partial.join(entry.file_name())).with_context(failed)?;
    }
    std::fs::rename(&partial, out).with_context(failed)
}
