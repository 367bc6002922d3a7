//! `assay-testnet search`: a network whose base recipe is deliberately poor, and a node whose agent finds
//! something better, claims it, and gets it on the ledger.

use crate::claims::write_bundles;
use crate::layout;
use crate::nodes;
use crate::up::{Run, Seen, claim_json};
use anyhow::{Context, bail};
use assay_kernels::compose::Files;
use assay_node::agent::{AgentStatus, Limits, PolicyKind, Settings};
use assay_node::api::ClaimRow;
use assay_node::cli::output::Format;
use assay_node::embedded::Embedded;
use assay_node::storage::Blobs;
use assay_protocol::genesis::Genesis;
use assay_protocol::ids::BlobHash;
use assay_protocol::manifest::{Kind, Manifest};
use assay_protocol::record::Recipe;
use assay_protocol::verdict::Outcome;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The bundle of the base recipe.
const POOR: &str = "poor";
/// The bundles that the searcher may take kernels from: a fast one, and one that is fast and wrong.
const SHELF: [&str; 2] = ["serial-rows", "half-dot"];
const POLL: Duration = Duration::from_millis(500);

/// How the search runs.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// Minutes until a claim of the agent must be accepted.
    pub minutes: u64,
    /// Where the search draws its lots from.
    pub seed: u64,
    /// How to print the result.
    pub format: Format,
    /// Folder for everything; a fresh one in the system's temporary folder without this.
    pub dir: Option<PathBuf>,
}

/// Runs the search; returns whether a gain was found, claimed and accepted, and the ledger checks.
///
/// # Errors
///
/// When a node or a command fails, when the time is over, or on Ctrl-C.
pub fn run(options: &SearchOptions) -> anyhow::Result<bool> {
    let poor = files_of_poor()?;
    let named = poor.iter().map(|(name, data)| (name.as_str(), data.as_slice()));
    let bundle = Manifest::describe(Kind::Bundle, named).hash();
    let mut run =
        Run::new(options.dir.clone(), |members| on_poor(layout::genesis(members), bundle))?;
    let done = prepare(&run, &poor, options).and_then(|()| search(&mut run, options));
    run.end(done)
}

/// The files of the poor bundle, as they are part of this program.
fn files_of_poor() -> anyhow::Result<Files> {
    let folder =
        crate::claims::bundle_dir(POOR).context("the poor bundle is part of this program")?;
    let named = folder.files().filter_map(|file| {
        let name = file.path().file_name()?.to_str()?.to_owned();
        Some((name, file.contents().to_vec()))
    });
    Ok(named.collect())
}

fn on_poor(genesis: Genesis, bundle: BlobHash) -> Genesis {
    let base = Recipe { bundle: Some(bundle), ..Embedded::names().base() };
    let challenge = assay_protocol::genesis::Challenge { base, ..genesis.challenge.clone() };
    Genesis { challenge, ..genesis }
}

/// Gives every node the base's kernels, and the first an agent.
fn prepare(run: &Run, poor: &Files, options: &SearchOptions) -> anyhow::Result<()> {
    for node in &run.layout.nodes {
        let blobs = Blobs::open(&node.home.join("blobs"), u64::MAX)?;
        blobs.import(Kind::Bundle, poor.iter().map(|(n, data)| (n.as_str(), data.as_slice())))?;
    }
    let bundles = write_bundles(&run.layout.root)?;
    let settings = Settings {
        policy: PolicyKind::Searcher,
        seed: Some(options.seed),
        bundles: SHELF.map(|name| bundles.join(name)).to_vec(),
        // Time alone bounds this search.
        limits: Limits {
            measuring_s: options.minutes * 60,
            watt_hours: 10_000,
            ..Limits::default()
        },
        ..Settings::default()
    };
    let first = run.layout.nodes.first().context("a network has nodes")?;
    settings.write(&first.home.join("agent"))?;
    Ok(())
}

fn search(run: &mut Run, options: &SearchOptions) -> anyhow::Result<bool> {
    run.say(format!("starting {} nodes on a poor base recipe", layout::NODES));
    run.nodes = nodes::start(&run.program, &run.layout)?;
    run.wait_for_peers()?;
    let searcher = run.nodes[0].name.clone();
    run.say(format!("all nodes are connected; the agent of {searcher} searches"));
    let (found, trials) = until_accepted(run, options)?;
    let seconds = run.started.elapsed().as_secs_f64();
    let status: AgentStatus = run.nodes[0].client()?.get("/api/agent")?;
    run.converge()?;
    let rows = run.rows()?;
    let export = run.layout.root.join("ledger.assay");
    let home = run.nodes[0].home.clone();
    run.command(&["ledger", "export", "--out"], &export, "--home", &home)?;
    let audit = run.command(&["audit"], &export, "--genesis", &run.layout.network)?;
    let ok = audit["ok"] == json!(true);
    match options.format {
        Format::Json => println!("{}", summary(&found, trials, &status, seconds, &audit, &export)),
        Format::Table => {
            let page = run.nodes[0].client()?.url().to_owned();
            run.report(&rows, &export, &page)?;
            println!("\n{trials} trials, accepted after {seconds:.0} s");
        }
    }
    for node in &mut run.nodes {
        node.stop();
    }
    Ok(ok)
}

/// Waits until a claim of the first node is an accepted entry, and tells what happens meanwhile. Gives the
/// claim and the trials that led to it: the agent counts afresh for its next search.
fn until_accepted(run: &mut Run, options: &SearchOptions) -> anyhow::Result<(ClaimRow, usize)> {
    let deadline = Instant::now() + Duration::from_secs(options.minutes * 60);
    let (mut seen, mut told, mut trials) = (Seen::default(), 0, 0);
    loop {
        run.check()?;
        let status: AgentStatus = run.nodes[0].client()?.get("/api/agent")?;
        for note in status.notes.iter().filter(|note| note.number > told) {
            run.say(&note.text);
        }
        told = status.notes.last().map_or(told, |note| note.number);
        trials = trials.max(status.trials);
        let rows = run.rows()?;
        for line in seen.news(&rows) {
            run.say(line);
        }
        let mine = |row: &&ClaimRow| row.author.name == run.nodes[0].name;
        if let Some(row) = rows.iter().find(mine) {
            match row.outcome {
                Some(Outcome::Accepted) => return Ok((row.clone(), trials)),
                Some(outcome) => bail!("the agent's claim is {outcome:?}, not accepted"),
                None => {}
            }
        }
        if Instant::now() > deadline {
            bail!("no claim of the agent is accepted after {} minutes", options.minutes);
        }
        std::thread::sleep(POLL);
    }
}

fn summary(
    found: &ClaimRow,
    trials: usize,
    status: &AgentStatus,
    seconds: f64,
    audit: &Value,
    export: &Path,
) -> Value {
    json!({
        "claim": claim_json(found),
        "seconds": seconds,
        "trials": trials,
        "measured_seconds": status.spent.measuring_ms as f64 / 1e3,
        "messages": status.spent.messages,
        "notes": status.notes.iter().map(|note| &note.text).collect::<Vec<_>>(),
        "audit": { "ok": audit["ok"], "first_fault": audit["first_fault"] },
        "export": export,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_kernels::Bundle;

    #[test]
    fn a_network_may_start_from_the_poor_bundle() {
        let poor = files_of_poor().unwrap();
        let ops: Vec<_> =
            Bundle::from_files(poor.clone()).unwrap().replaced_ops().map(str::to_owned).collect();
        assert_eq!(ops, ["matmul_bf16"]);
        let folder = tempfile::tempdir().unwrap();
        let on_it = |members| on_poor(layout::genesis(members), BlobHash([5; 32]));
        layout::create(&folder.path().join("net"), on_it).unwrap();
    }
}
