//! `assay-testnet up`: from an empty folder to an audited ledger.

use crate::claims::{DemoClaim, SCENARIOS, make, write_bundles};
use crate::layout::{self, Layout};
use crate::nodes::{self, Node, assay_program};
use crate::scenario::{Check, Desk, Play, Scenario, checks_table};
use anyhow::{Context, bail};
use assay_node::api::{ClaimRow, Claims, Status};
use assay_node::cli::claims_table;
use assay_node::cli::output::Format;
use assay_protocol::genesis::{Genesis, Member};
use assay_protocol::ids::ClaimId;
use assay_protocol::state::Phase;
use assay_protocol::verdict::Outcome;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest time for all claims together.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1_200);
/// Longest time for every node to reach the same head after the last verdict.
const CONVERGE_TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(500);
/// Lines of news that wait to be said.
const NEWS_MAX: usize = 64;

/// How the demonstration runs.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// Leave the network running until Ctrl-C.
    pub keep: bool,
    /// What it shows.
    pub scenario: Scenario,
    /// How to print the result.
    pub format: Format,
    /// Folder for everything; a fresh one in the system's temporary folder without this.
    pub dir: Option<PathBuf>,
}

/// Runs the demonstration; returns whether everything came out as it should.
///
/// # Errors
///
/// When a node, a claim or a command fails, or on Ctrl-C.
pub fn run(options: UpOptions) -> anyhow::Result<bool> {
    let scenario = options.scenario;
    let mut run = Run::new(options.dir.clone(), |members| scenario.genesis(members))?;
    let done = run.demonstrate(&options);
    run.end(done)
}

fn fresh_folder() -> PathBuf {
    let stamp = assay_node::ledger::now_ms();
    std::env::temp_dir().join(format!("assay-testnet-{}-{stamp}", std::process::id()))
}

/// A local network for a command that ends.
pub(crate) struct Run {
    pub(crate) started: Instant,
    stop: Arc<AtomicBool>,
    pub(crate) layout: Layout,
    pub(crate) program: PathBuf,
    pub(crate) nodes: Vec<Node>,
}

impl Run {
    /// Folders and keys in `dir`, or in a fresh folder, of a network with this genesis. Ctrl-C ends it.
    pub(crate) fn new(
        dir: Option<PathBuf>,
        genesis: impl FnOnce(Vec<Member>) -> Genesis,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).context("Ctrl-C handler")?;
        let program = assay_program()?;
        let layout = layout::create(&dir.unwrap_or_else(fresh_folder), genesis)?;
        Ok(Self { started: Instant::now(), stop, layout, program, nodes: Vec::new() })
    }

    /// Cleans up after `done`, or says where the logs are.
    pub(crate) fn end(&self, done: anyhow::Result<bool>) -> anyhow::Result<bool> {
        match &done {
            Ok(_) => self.tidy(),
            Err(_) => eprintln!("logs are in {}", self.layout.root.display()),
        }
        done
    }

    pub(crate) fn say(&self, what: impl std::fmt::Display) {
        eprintln!("[{:>4} s] {what}", self.started.elapsed().as_secs());
    }

    fn demonstrate(&mut self, options: &UpOptions) -> anyhow::Result<bool> {
        self.say(format!("starting {} nodes in {}", layout::NODES, self.layout.root.display()));
        self.nodes = nodes::start(&self.program, &self.layout)?;
        self.wait_for_peers()?;
        let page = self.nodes[0].client()?.url().to_owned();
        self.say(format!("all nodes are connected; page of {}: {page}", self.nodes[0].name));

        let (as_deserved, checks) = match options.scenario {
            Scenario::Claims => {
                let made = self.make_and_settle()?;
                self.converge()?;
                (self.compare(&made, &self.rows()?), Vec::new())
            }
            Scenario::Relay => {
                let checks = self.play()?;
                self.converge()?;
                (checks.iter().all(|check| check.ok), checks)
            }
        };
        let rows = self.rows()?;
        let export = self.layout.root.join("ledger.assay");
        let home = self.nodes[0].home.clone();
        let exported = self.command(&["ledger", "export", "--out"], &export, "--home", &home)?;
        let audit = self.command(&["audit"], &export, "--genesis", &self.layout.network)?;

        let ok = as_deserved && audit["ok"] == json!(true);
        match options.format {
            Format::Json => {
                let mut summary = self.summary(&rows, &exported, &audit, &export, &page);
                if options.scenario == Scenario::Relay {
                    summary["checks"] = json!(checks);
                }
                println!("{summary}");
            }
            Format::Table => {
                if options.scenario == Scenario::Relay {
                    println!("\n{}", checks_table(&checks));
                }
                self.report(&rows, &export, &page)?;
            }
        }
        if options.keep {
            self.keep(&page)?;
        }
        for node in &mut self.nodes {
            node.stop();
        }
        Ok(ok)
    }

    pub(crate) fn wait_for_peers(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + CONVERGE_TIMEOUT;
        loop {
            self.check()?;
            let mut fewest = usize::MAX;
            for node in &self.nodes {
                let peers: Vec<Value> = node.client()?.get("/api/peers")?;
                fewest = fewest.min(peers.len());
            }
            if fewest + 1 >= self.nodes.len() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the nodes do not find each other: one has only {fewest} peers");
            }
            std::thread::sleep(POLL);
        }
    }

    /// Makes every scenario's claim at once, as different people would, and waits for verdicts.
    fn make_and_settle(&mut self) -> anyhow::Result<Vec<(DemoClaim, ClaimId)>> {
        let bundles = write_bundles(&self.layout.root)?;
        let makers: Vec<_> = SCENARIOS
            .iter()
            .map(|scenario| {
                let (program, bundles) = (self.program.clone(), bundles.clone());
                let home = self.layout.nodes[scenario.author].home.clone();
                let author = &self.layout.nodes[scenario.author].name;
                let how = match scenario.invented_ratio {
                    None => "measures it first".to_owned(),
                    Some(ratio) => format!("made up {ratio}×"),
                };
                self.say(format!("{author} claims \"{}\" ({how})", scenario.summary));
                let scenario = *scenario;
                std::thread::spawn(move || {
                    make(&program, &home, &bundles, &scenario).map(|claim| (scenario, claim))
                })
            })
            .collect();
        let mut seen = Seen::default();
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let mut waiting = makers;
        let mut made = Vec::new();
        loop {
            self.check()?;
            let (done, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|m| m.is_finished());
            waiting = left;
            for maker in done {
                match maker.join() {
                    Ok(result) => made.push(result?),
                    Err(_) => bail!("a claiming thread panicked"),
                }
            }
            let rows = self.rows()?;
            for line in seen.news(&rows) {
                self.say(line);
            }
            if let Some(line) = self.doing(&mut seen)? {
                self.say(line);
            }
            if made.len() == SCENARIOS.len() && rows.len() == made.len() && rows.iter().all(is_over)
            {
                return Ok(made);
            }
            pause(deadline)?;
        }
    }

    /// Lets the peers of the relay scenario work until every claim is settled, and looks what came of it.
    fn play(&mut self) -> anyhow::Result<Vec<Check>> {
        let bundles = write_bundles(&self.layout.root)?;
        let desk = |node: &Node| Desk {
            program: self.program.clone(),
            home: node.home.clone(),
            name: node.name.clone(),
        };
        let desks = self.nodes.iter().map(desk).collect();
        let (told, news) = std::sync::mpsc::sync_channel(NEWS_MAX);
        let mut play = Play::begin(desks, &self.layout.root, &bundles, &told)?;
        let mut seen = Seen::default();
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            self.check()?;
            let rows = self.rows()?;
            let all_made = play.advance(&rows, &told)?;
            for line in news.try_iter().chain(seen.news(&rows)) {
                self.say(line);
            }
            if all_made && rows.iter().all(is_over) {
                return play.checks(&rows);
            }
            pause(deadline)?;
        }
    }

    /// A line about whichever node measures, when it is another than last time.
    fn doing(&self, seen: &mut Seen) -> anyhow::Result<Option<String>> {
        for node in &self.nodes {
            let status: Status = node.client()?.get("/api/status")?;
            let measuring = status.doing.starts_with("measuring");
            if measuring && seen.measuring != Some((node.name.clone(), status.doing.clone())) {
                seen.measuring = Some((node.name.clone(), status.doing.clone()));
                return Ok(Some(format!("{}: {}", node.name, status.doing)));
            }
        }
        Ok(None)
    }

    pub(crate) fn rows(&self) -> anyhow::Result<Vec<ClaimRow>> {
        let mut rows = self.nodes[0].client()?.get::<Claims>("/api/claims")?.claims;
        rows.sort_by_key(|row| (row.settled_at, row.docketed_at));
        Ok(rows)
    }

    /// Waits until every node has the same head.
    pub(crate) fn converge(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + CONVERGE_TIMEOUT;
        loop {
            self.check()?;
            let mut heads = Vec::new();
            for node in &self.nodes {
                let status: Status = node.client()?.get("/api/status")?;
                heads.push((status.height, status.head));
            }
            if heads.iter().all(|head| *head == heads[0]) {
                let (height, head) = heads[0];
                let count = heads.len();
                self.say(format!("all {count} nodes have height {height}, head {}", head.short()));
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the nodes do not agree on a head: {heads:?}");
            }
            std::thread::sleep(POLL);
        }
    }

    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        if self.stop.load(Ordering::SeqCst) {
            bail!("stopped");
        }
        self.nodes.iter_mut().try_for_each(Node::check_alive)
    }

    /// Runs an `assay` command on a file and reads the JSON that it prints, whatever its exit code.
    pub(crate) fn command(
        &self,
        words: &[&str],
        file: &Path,
        option: &str,
        value: &Path,
    ) -> anyhow::Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(words).arg(file).arg(option).arg(value).args(["--format", "json"]);
        let output = command.stdin(Stdio::null()).output().context("cannot run `assay`")?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!("`assay {}`: {}", words.join(" "), String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Whether every claim got the verdict that it deserves.
    fn compare(&self, made: &[(DemoClaim, ClaimId)], rows: &[ClaimRow]) -> bool {
        made.iter().all(|(scenario, claim)| {
            let row = rows.iter().find(|row| row.id == *claim);
            let outcome = row.and_then(|row| row.outcome);
            // The one real gain leads its track, so that a second committee must have confirmed it.
            let confirmed = row.is_some_and(|row| row.confirmed && row.leads);
            let fits = outcome == Some(scenario.deserves)
                && (confirmed || scenario.deserves != Outcome::Accepted);
            if !fits {
                let deserves = scenario.deserves;
                self.say(format!(
                    "\"{}\" deserved {deserves:?}, got {outcome:?}, confirmed and leading: {confirmed}",
                    scenario.summary
                ));
            }
            fits
        })
    }

    fn summary(
        &self,
        rows: &[ClaimRow],
        exported: &Value,
        audit: &Value,
        export: &Path,
        page: &str,
    ) -> Value {
        let claims: Vec<Value> = rows.iter().map(claim_json).collect();
        json!({
            "nodes": self.nodes.len(),
            "claims": claims,
            "ledger": {
                "height": exported["height"], "head": exported["head"], "export": export,
                "genesis": self.layout.network,
            },
            "audit": {
                "ok": audit["ok"], "entries": audit["entries"], "checked": audit["checked"],
                "first_fault": audit["first_fault"],
            },
            "page": page,
            "seconds": self.started.elapsed().as_secs_f64(),
        })
    }

    pub(crate) fn report(
        &self,
        rows: &[ClaimRow],
        export: &Path,
        page: &str,
    ) -> anyhow::Result<()> {
        println!("\n{}\n", claims_table(rows));
        println!("page     {page}");
        println!("ledger   {}\n", export.display());
        println!("$ assay audit {} --genesis {}", export.display(), self.layout.network.display());
        let audit = Command::new(&self.program)
            .arg("audit")
            .arg(export)
            .arg("--genesis")
            .arg(&self.layout.network)
            .status();
        audit.context("cannot run `assay audit`")?;
        Ok(())
    }

    fn keep(&mut self, page: &str) -> anyhow::Result<()> {
        let network = self.layout.network.display();
        eprintln!(
            "\nThe network goes on. In another terminal:\n\n  \
             open {page}\n  \
             assay init --home ./my-node\n  \
             assay run --home ./my-node --network {network}\n  \
             assay status --home ./my-node\n\nCtrl-C stops it."
        );
        while !self.stop.load(Ordering::SeqCst) {
            self.nodes.iter_mut().try_for_each(Node::check_alive)?;
            std::thread::sleep(POLL);
        }
        self.say("stopping");
        Ok(())
    }

    /// Leaves the ledger, the network file and the logs; removes models and databases.
    fn tidy(&self) {
        for node in &self.layout.nodes {
            for folder in ["blobs", "ledger", "consensus"] {
                // What cannot be removed is only in the way.
                let _ = std::fs::remove_dir_all(node.home.join(folder));
            }
        }
        let _ = std::fs::remove_dir_all(self.layout.root.join("bundles"));
    }
}

/// Whether nothing more is due to a claim.
fn is_over(row: &ClaimRow) -> bool {
    row.phase == Phase::Settled && row.author_ratio_ppm.is_some()
}

/// Waits a little, unless claims have taken too long.
fn pause(deadline: Instant) -> anyhow::Result<()> {
    if Instant::now() > deadline {
        bail!("no verdict on every claim after {} s", SETTLE_TIMEOUT.as_secs());
    }
    std::thread::sleep(POLL);
    Ok(())
}

pub(crate) fn claim_json(row: &ClaimRow) -> Value {
    let ratio = row.ratio.map(|ratio| ratio.ppm as f64 / 1e6);
    let interval = row.ratio.map(|r| [r.low_ppm as f64 / 1e6, r.high_ppm as f64 / 1e6]);
    let ppl = |ppm: Option<u64>| ppm.map(|ppm| ppm as f64 / 1e6);
    json!({
        "id": row.id,
        "summary": row.summary,
        "author": row.author.name,
        "parent": row.parent,
        "verdict": row.outcome,
        "lossless": row.lossless,
        "ratio": ratio,
        "ratio_ci": interval,
        "ratio_to_base": row.ratio_to_base_ppm.map(|ppm| ppm as f64 / 1e6),
        "track": row.track,
        "leads": row.leads,
        "confirmed": row.confirmed,
        "rounds": row.rounds.iter().map(|round| json!({
            "number": round.number,
            "purpose": round.purpose.word(),
            "verdict": round.outcome,
            "ratio": round.ratio.map(|ratio| ratio.ppm as f64 / 1e6),
            "attestations": round.attested_by.iter().map(|named| &named.name).collect::<Vec<_>>(),
            "sat_before": round.sat_before,
        })).collect::<Vec<_>>(),
        "author_ratio": row.author_ratio_ppm.map(|ppm| ppm as f64 / 1e6),
        "ppl_parent": ppl(row.perplexity_parent_ppm),
        "ppl_child": ppl(row.perplexity_child_ppm),
        "attestations": row.attested_by.iter().map(|named| &named.name).collect::<Vec<_>>(),
    })
}

/// What was already told about the claims.
#[derive(Default)]
pub(crate) struct Seen {
    told: std::collections::BTreeSet<(ClaimId, String)>,
    measuring: Option<(String, String)>,
}

impl Seen {
    /// Lines about what changed since the last look.
    pub(crate) fn news(&mut self, rows: &[ClaimRow]) -> Vec<String> {
        let mut lines = Vec::new();
        for row in rows {
            let claim = match row.rounds.last() {
                Some(round) if round.number > 1 => {
                    format!("{} ({} round)", row.id.short(), round.purpose.word())
                }
                _ => row.id.short(),
            };
            let progress = &row.progress;
            let news = match row.phase {
                Phase::Docketed => format!("claim {claim} by {} is docketed", row.author.name),
                Phase::Sealing { .. } => {
                    format!("claim {claim}: {} of {} seats sealed", progress.sealed, progress.seats)
                }
                Phase::Revealing { .. } => format!(
                    "claim {claim}: {} of {} measurements revealed",
                    progress.revealed, progress.sealed
                ),
                Phase::Settled => {
                    let outcome = row.outcome.unwrap_or(Outcome::Inconclusive);
                    format!("claim {claim} is {}", format!("{outcome:?}").to_lowercase())
                }
            };
            if self.told.insert((row.id, news.clone())) {
                lines.push(news);
            }
        }
        lines
    }
}
