//! `assay members`, `vouch`, `leave` and `disclose`: who takes part, and owning up.

use super::client::Client;
use super::output::{Format, fields, print, table};
use crate::api::{MemberRow, Said, Statement};
use assay_protocol::ids::{BlobHash, ClaimId, PeerId};
use std::path::Path;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `assay vouch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The newcomer sends you its key, operator and name; `assay init` prints \
them. You answer for the key with your standing.

Example:
  assay vouch 9f3c…e1 --operator carol --name carol-laptop")]
pub struct VouchArgs {
    /// The newcomer's key, 64 hexadecimal digits
    peer: PeerId,
    /// Who runs it; one seat per operator
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// A name for people, its own in the network
    #[arg(long, value_name = "NAME")]
    name: String,
}

/// Arguments of `assay disclose`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Whoever discloses a trick in its own claim before somebody finds it pays \
no penalty for it.

Example:
  assay disclose --claim 3fa9c0d1… 'the kernel skips the window on the last layer'")]
pub struct DiscloseArgs {
    /// What the trick is and how it works, at most 1 KiB
    text: String,
    /// The claim that uses it
    #[arg(long, value_name = "CLAIM")]
    claim: Option<ClaimId>,
    /// BLAKE3 hash of whatever shows it
    #[arg(long, value_name = "HASH")]
    evidence: Option<BlobHash>,
}

/// Vouches for a newcomer in this node's name.
///
/// # Errors
///
/// When no node runs in the home folder or the ledger refuses the vouch.
pub fn vouch(home: &Path, args: VouchArgs, format: Format) -> anyhow::Result<()> {
    let VouchArgs { peer, operator, name } = args;
    say(home, &Statement::Vouch { peer, operator, name }, format, "vouch")
}

/// Leaves the network in this node's name.
///
/// # Errors
///
/// When no node runs in the home folder or the network cannot spare it.
pub fn leave(home: &Path, format: Format) -> anyhow::Result<()> {
    say(home, &Statement::Leave, format, "leave")
}

/// Discloses a trick in this node's name.
///
/// # Errors
///
/// When no node runs in the home folder or the ledger refuses the disclosure.
pub fn disclose(home: &Path, args: DiscloseArgs, format: Format) -> anyhow::Result<()> {
    let DiscloseArgs { text, claim, evidence } = args;
    say(home, &Statement::Disclose { claim, text, evidence }, format, "disclosure")
}

pub(super) fn say(
    home: &Path,
    statement: &Statement,
    format: Format,
    word: &str,
) -> anyhow::Result<()> {
    let said: Said = Client::find(home, TIMEOUT)?.post("/api/statements", statement)?;
    print(format, &said, |said| fields(&[(word, said.record.to_string())]))
}

/// Lists the members.
///
/// # Errors
///
/// When no node runs in the home folder.
pub fn members(home: &Path, format: Format) -> anyhow::Result<()> {
    let members: Vec<MemberRow> = Client::find(home, TIMEOUT)?.get("/api/members")?;
    print(format, &members, |members| {
        table(
            &["peer", "name", "operator", "membership", "standing", "weight", "validator"],
            members.iter().map(|row| {
                vec![
                    row.peer.short(),
                    row.name.clone(),
                    row.operator.clone(),
                    row.membership.clone(),
                    row.standing.to_string(),
                    row.weight.to_string(),
                    match (row.silent_since, row.validator) {
                        (Some(height), _) => format!("silent since block {height}"),
                        (None, true) => "yes".to_owned(),
                        (None, false) => "no".to_owned(),
                    },
                ]
            }),
        )
    })
}
