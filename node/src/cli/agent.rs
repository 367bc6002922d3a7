//! `assay agent`: the switch of the node's agent, and what it does; and its part of `assay run`.

use super::board::show::moment;
use super::client::Client;
use super::engine::{NANO, resolve};
use super::output::{Format, fields, print};
use crate::agent::planner::{Choice, Entry, Transcript};
use crate::agent::{AgentStatus, Ended, Limits, Order, PolicyKind, Settings};
use crate::text::{cut, line, paragraphs};
use anyhow::bail;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks at what the agent does.
const POLL: Duration = Duration::from_millis(500);
/// Last things done that `status` prints.
const SHOWN: usize = 12;

/// The agent's part of `assay run`. What is not given stays as it was; the home folder keeps it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Agent")]
pub struct AgentArgs {
    /// Who decides what to try when no seat needs this machine; off at first, so that nothing loads it
    /// unasked. An agent that was stopped stays stopped until `assay agent start`
    #[arg(long, value_enum, value_name = "POLICY")]
    agent: Option<PolicyKind>,
    /// Folder of kernel bundles that a search may take kernels from, besides those of entries; repeat
    /// for several
    #[arg(long, value_name = "DIR")]
    agent_bundles: Vec<PathBuf>,
    /// Checkpoint that the planner asks: the folder of an instruct model, or the name of an imported
    /// one; `nano`, as at first, is inside this program and has no skill
    #[arg(long, value_name = "DIR|NAME")]
    agent_model: Option<PathBuf>,
    /// Where a search draws its lots from; this node's id at first
    #[arg(long, value_name = "N")]
    agent_seed: Option<u64>,
    /// Minutes a day that it may measure; 60 at first
    #[arg(long, value_name = "MIN")]
    agent_minutes: Option<u64>,
    /// What this machine draws while it measures, in watts, for the estimate of energy; 65 at first
    #[arg(long, value_name = "W")]
    agent_watts: Option<u64>,
    /// Watt-hours a day that it may measure, by that estimate; 65 at first
    #[arg(long, value_name = "WH")]
    agent_watt_hours: Option<u64>,
    /// Disk that its candidates may take, in MiB; 512 at first
    #[arg(long, value_name = "MIB")]
    agent_disk_mib: Option<u64>,
    /// Posts and claims a day; 24 at first
    #[arg(long, value_name = "N")]
    agent_messages: Option<u64>,
}

impl AgentArgs {
    /// Changes what a home folder keeps about its agent, and returns it.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written.
    pub fn settle(self, home: &Path) -> anyhow::Result<Settings> {
        let folder = home.join("agent");
        let before = Settings::read(&folder)?;
        let kept = before.limits;
        let model = match self.agent_model {
            None => before.model.clone(),
            Some(named) if named == Path::new(NANO) => None,
            Some(named) => Some(resolve(Some(home), &named)?),
        };
        let settings = Settings {
            policy: self.agent.unwrap_or(before.policy),
            seed: self.agent_seed.or(before.seed),
            bundles: match self.agent_bundles.is_empty() {
                true => before.bundles.clone(),
                // Kept over restarts, which may be from another folder.
                false => absolute(self.agent_bundles),
            },
            model,
            limits: Limits {
                measuring_s: self.agent_minutes.map_or(kept.measuring_s, |m| m.saturating_mul(60)),
                watts: self.agent_watts.unwrap_or(kept.watts),
                watt_hours: self.agent_watt_hours.unwrap_or(kept.watt_hours),
                disk_bytes: self
                    .agent_disk_mib
                    .map_or(kept.disk_bytes, |mib| mib.saturating_mul(1 << 20)),
                messages: self.agent_messages.unwrap_or(kept.messages),
            },
            stopped: before.stopped,
        };
        if settings != before {
            settings.write(&folder)?;
        }
        Ok(settings)
    }
}

/// Paths that mean the same from any folder.
fn absolute(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    paths.into_iter().map(absolute).collect()
}

/// `assay agent …`
#[derive(Debug, clap::Subcommand)]
pub enum AgentCommand {
    /// Let the agent of the running node act
    Start {
        /// Who decides from now on
        #[arg(long, value_enum)]
        policy: Option<PolicyKind>,
    },
    /// Stop it, a running measurement included; it stays stopped when the node starts again
    Stop,
    /// Print what it does and why, what it spent, and what it did last
    Status,
    /// Print what the planner was asked, what it answered, and what came of it
    Transcript {
        /// How many of the latest lines
        #[arg(long, default_value_t = 20)]
        lines: usize,
        /// Print whole prompts and answers
        #[arg(long)]
        whole: bool,
    },
    /// Let it act, and follow what it does until Ctrl-C
    #[command(
        after_help = "With --once the exit code is 0 where a search published what came of it, and 1 \
where it ended without: there was nothing to try, or a budget was spent. The last line says why.

Example:
  assay agent run --policy searcher --once"
    )]
    Run {
        /// Who decides from now on
        #[arg(long, value_enum)]
        policy: Option<PolicyKind>,
        /// Stop it when one search is over, or when there is nothing to do
        #[arg(long)]
        once: bool,
    },
}

/// Runs `assay agent …`.
///
/// # Errors
///
/// When no node runs in the home folder, or it refuses.
pub fn run(home: &Path, command: AgentCommand, format: Format) -> anyhow::Result<()> {
    // The transcript is there whether the node runs or not.
    let client = || Client::find(home, TIMEOUT);
    let order = |order: Order| -> anyhow::Result<()> {
        let status: AgentStatus = client()?.post("/api/agent", &order)?;
        print(format, &status, shown)
    };
    match command {
        AgentCommand::Start { policy } => order(Order::Start { policy, once: false }),
        AgentCommand::Stop => order(Order::Stop),
        AgentCommand::Status => {
            let status: AgentStatus = client()?.get("/api/agent")?;
            print(format, &status, shown)
        }
        AgentCommand::Transcript { lines, whole } => {
            let entries = Transcript::of(home).latest(lines)?;
            print(format, &json!({ "lines": entries }), |_| told(&entries, whole))
        }
        AgentCommand::Run { policy, once } => follow(&client()?, policy, once, format),
    }
}

/// The transcript for people. The model's words are shown as they are, but cannot command a terminal.
fn told(entries: &[Entry], whole: bool) -> String {
    if entries.is_empty() {
        return "the planner was not asked anything yet".to_owned();
    }
    let lines = entries.iter().map(|entry| match entry {
        Entry::Chosen(choice) => {
            let Choice { at_ms, seed, tokens: (asked, answered), millis, why, .. } = &**choice;
            let cost = format!("{asked} + {answered} tokens, {millis} ms, seed {seed}");
            let line = format!("{}  {} ({cost})", moment(*at_ms), line(why));
            match whole {
                true => {
                    format!(
                        "{line}\n{}\n{}",
                        paragraphs(&choice.prompt),
                        paragraphs(&choice.answer)
                    )
                }
                false => line,
            }
        }
        Entry::Outcome { at_ms, outcome } => format!("{}  → {}", moment(*at_ms), line(outcome)),
        Entry::Read { at_ms, text, reading, fault, .. } => {
            let found = match (reading, fault) {
                (Some(reading), _) => reading.text(),
                (None, fault) => line(fault.as_deref().unwrap_or("no answer")),
            };
            format!("{}  read {}: {found}", moment(*at_ms), cut(text, 8))
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Starts the agent and prints what it does as it does it.
fn follow(
    client: &Client,
    policy: Option<PolicyKind>,
    once: bool,
    format: Format,
) -> anyhow::Result<()> {
    let before: AgentStatus = client.get("/api/agent")?;
    let mut seen = before.notes.last().map_or(0, |note| note.number);
    let mut status: AgentStatus = client.post("/api/agent", &Order::Start { policy, once })?;
    let mut line = String::new();
    loop {
        for note in status.notes.iter().filter(|note| note.number > seen) {
            eprintln!("{}", note.text);
        }
        seen = status.notes.last().map_or(seen, |note| note.number);
        if std::mem::replace(&mut line, status.line()) != line {
            eprintln!("  {line}");
        }
        if !status.running {
            print(format, &status, shown)?;
            return match status.ended {
                Some(Ended { published: false, why }) => bail!("nothing was published: {why}"),
                _ => Ok(()),
            };
        }
        std::thread::sleep(POLL);
        status = client.get("/api/agent")?;
    }
}

fn shown(status: &AgentStatus) -> String {
    let (limits, spent) = (&status.limits, &status.spent);
    let minutes = |seconds: u64| seconds as f64 / 60.0;
    let id = |id: Option<String>| id.unwrap_or_else(|| "-".to_owned());
    let mut text = fields(&[
        ("agent", status.line()),
        ("search from", id(status.start.map(|start| start.claim.short()))),
        ("trials", status.trials.to_string()),
        ("plan", id(status.plan.map(|plan| plan.short()))),
        ("claim", id(status.claim.map(|claim| claim.short()))),
        (
            "measuring",
            format!(
                "{:.1} of {:.1} min today",
                minutes(spent.measuring_ms / 1_000),
                minutes(limits.measuring_s)
            ),
        ),
        (
            "energy",
            format!(
                "{:.1} of {} Wh today, estimated at {} W",
                spent.milliwatt_hours(limits) as f64 / 1e3,
                limits.watt_hours,
                limits.watts
            ),
        ),
        ("disk", format!("{} of {} MiB", spent.disk_bytes >> 20, limits.disk_bytes >> 20)),
        ("messages", format!("{} of {} today", spent.messages, limits.messages)),
    ]);
    let skipped = status.notes.len().saturating_sub(SHOWN);
    for note in status.notes.iter().skip(skipped) {
        text.push_str("\n  ");
        text.push_str(&note.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        agent: AgentArgs,
    }

    fn settle(home: &Path, words: &[&str]) -> Settings {
        let line = Line::try_parse_from([&["run"], words].concat()).unwrap();
        line.agent.settle(home).unwrap()
    }

    #[test]
    fn what_is_not_given_stays_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(settle(home.path(), &[]), Settings::default(), "off, and within bounds");
        let words = ["--agent", "searcher", "--agent-minutes", "5", "--agent-bundles", "/kernels"];
        let set = settle(home.path(), &words);
        assert!(set.runs() && set.limits.measuring_s == 300);
        assert_eq!(settle(home.path(), &["--agent-watts", "9"]).limits.watts, 9);
        let kept = settle(home.path(), &[]);
        assert_eq!(kept.bundles, [PathBuf::from("/kernels")]);
        assert_eq!((kept.limits.measuring_s, kept.limits.watts), (300, 9));
        // The switch outlives a restart, whatever the command line says.
        Settings { stopped: true, ..kept }.write(&home.path().join("agent")).unwrap();
        assert!(!settle(home.path(), &["--agent", "searcher"]).runs());
    }
}
