//! `assay explain`: where a number comes from. Claims, entries and peers are derived by
//! [`crate::explain`], committees by [`super::committee`].

use super::audit::{intact, replay};
use super::client::Client;
use super::committee::{self, CommitteeArgs};
use super::output::{Format, print};
use crate::explain::{Explanation, explain};
use anyhow::{anyhow, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the running node may take to derive something.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Print where a number comes from.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay explain 3fa9c0d1                    a claim or entry of the running node's ledger
  assay explain carol-laptop                a peer: its standing added up
  assay explain cpu-llvmpipe-8wide          a hardware class: its noise, machines and pairs
  assay explain 3fa9c0d1 --ledger ledger.assay --genesis network.json
  assay explain --committee --genesis network.json
  assay explain --committee --seats 7 --quorum 5 --sigma 0.01 --tau 0.005 --gain 0.03")]
pub struct ExplainArgs {
    /// A claim, an entry, a peer or a hardware class: an id, its first digits, or a name
    #[arg(value_name = "ID", required_unless_present = "committee", conflicts_with = "committee")]
    id: Option<String>,
    /// Read this exported ledger, checking all of it, instead of asking the running node
    #[arg(long, value_name = "FILE", requires = "genesis", conflicts_with = "committee")]
    ledger: Option<PathBuf>,
    /// A committee: how likely a forged and a stalled quorum are, and how many pairs a seat needs
    #[arg(long)]
    committee: bool,
    /// Take the committees and rules of this network
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seats", "quorum"])]
    genesis: Option<PathBuf>,
    #[command(flatten)]
    sizes: CommitteeArgs,
}

/// Computes and prints. `home` finds the node to ask.
///
/// # Errors
///
/// When no node runs or a file cannot be read, the id names nothing, or a number is out of range.
pub fn run(
    home: impl FnOnce() -> anyhow::Result<PathBuf>,
    args: &ExplainArgs,
    format: Format,
) -> anyhow::Result<()> {
    let Some(id) = &args.id else {
        return committee::run(&args.sizes, args.genesis.as_ref(), format);
    };
    let explanation = match (&args.ledger, &args.genesis) {
        (Some(ledger), Some(genesis)) => {
            let auditor = replay(ledger, genesis)?;
            let explanation = explain(auditor.state(), id);
            intact(&auditor)?;
            explanation.map_err(|reason| anyhow!(reason))?
        }
        _ => ask(&home()?, id)?,
    };
    print(format, &explanation, derivation)
}

fn ask(home: &Path, id: &str) -> anyhow::Result<Explanation> {
    let path = path_of(id)?;
    Client::find(home, ASK_TIMEOUT)?.get(&path)
}

/// Where the running node explains something.
///
/// # Errors
///
/// When it cannot be asked for by this name.
pub(crate) fn path_of(id: &str) -> anyhow::Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ensure!(
        !id.is_empty() && id.chars().all(plain),
        "{id:?} cannot be asked for by name; give the first digits of its id"
    );
    Ok(format!("/api/explain/{id}"))
}

/// The derivation as text.
pub(super) fn derivation(explanation: &Explanation) -> String {
    let mut out = vec![format!("{} {}", explanation.kind, explanation.id)];
    let pairs = |value: &serde_json::Value| -> Vec<String> {
        let fields = value.as_object().into_iter().flatten();
        fields.map(|(name, value)| format!("  {name}: {}", plain_text(value))).collect()
    };
    out.extend(pairs(&explanation.inputs));
    out.push(format!("rule: {}", explanation.rule));
    for (step, number) in explanation.steps.iter().zip(1..) {
        out.push(format!("\n{number}. {}", step.title));
        out.extend(step.lines.iter().map(|line| format!("   {line}")));
    }
    out.push("\nresult".to_owned());
    out.extend(pairs(&explanation.result));
    out.join("\n")
}

fn plain_text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
