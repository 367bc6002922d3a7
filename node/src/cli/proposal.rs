//! `assay proposal`: changes of the network's numbers, by vote.

use super::board::{TIMEOUT, checked_id};
use super::client::Client;
use super::member::say;
use super::output::{Format, fields, print, table};
use crate::api::{ParameterRow, ProposalRow, Statement};
use crate::ledger::now_ms;
use crate::text::{cut, line};
use anyhow::anyhow;
use assay_protocol::parameter::Parameter;
use indicatif::HumanDuration;
use std::path::Path;
use std::time::Duration;

/// Longest reason in a list.
const WHY_CHARS: usize = 60;

/// `assay proposal …`
#[derive(Debug, clap::Subcommand)]
pub enum ProposalCommand {
    /// List the proposals, newest first
    List,
    /// Print one proposal with everybody's vote
    Show {
        /// The proposal's id; the first 6 or more digits are enough
        id: String,
    },
    /// List the numbers that can be changed, as they are in force
    Parameters,
    /// Propose another value for one of the network's numbers
    #[command(
        after_help = "The members vote until the network's window is over. An operator has one voice, as heavy as
its best member, and never heavier than a third of all. Two thirds of the weight that was
cast and half of all there is adopt; rounds that were called before are judged as before.

Examples:
  assay proposal new significance.gain_ppm 40000 'fewer pairs a claim'
  assay proposal new null_ppm 100000 'seats that do not measure are caught too late'"
    )]
    New {
        /// What to change, as `assay proposal parameters` names it
        parameter: String,
        /// Its value afterwards, in the unit that is shown there
        value: u64,
        /// Why, in one line
        why: String,
    },
    /// Vote on a proposal, for your operator; a vote is final
    #[command(after_help = "Examples:
  assay proposal vote 3fa9c0d1 yes
  assay board post 'why not 30000?' --thread 3fa9c0d1    # what is said about it is in its thread")]
    Vote {
        /// The proposal's id; the first 6 or more digits are enough
        id: String,
        /// What you say
        answer: Answer,
    },
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Answer {
    /// In favour
    Yes,
    /// Against
    No,
}

/// Runs `assay proposal …`.
///
/// # Errors
///
/// When no node runs in the home folder, it refuses, or no parameter has the name.
pub fn run(home: &Path, command: ProposalCommand, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    match command {
        ProposalCommand::List => {
            let rows: Vec<ProposalRow> = client.get("/api/proposals")?;
            print(format, &rows, |rows| list(rows))
        }
        ProposalCommand::Show { id } => print(format, &found(&client, &id)?, show),
        ProposalCommand::Parameters => {
            let rows: Vec<ParameterRow> = client.get("/api/parameters")?;
            print(format, &rows, |rows| parameters(rows))
        }
        ProposalCommand::New { parameter, value, why } => {
            let parameter = Parameter::named(&parameter).ok_or_else(|| {
                anyhow!(
                    "{:?} is none of the numbers that can be changed; `assay proposal parameters` lists \
                     them",
                    cut(&parameter, 80)
                )
            })?;
            say(home, &Statement::Propose { parameter, value, why }, format, "proposal")
        }
        ProposalCommand::Vote { id, answer } => {
            let proposal = found(&client, &id)?.id;
            let yes = answer == Answer::Yes;
            say(home, &Statement::Vote { proposal, yes }, format, "vote")
        }
    }
}

/// The proposal that an id, or the beginning of one, names.
fn found(client: &Client, id: &str) -> anyhow::Result<ProposalRow> {
    client.get(&format!("/api/proposals/{}", checked_id(id)?))
}

fn change(row: &ProposalRow) -> String {
    let ProposalRow { before, value, unit, .. } = row;
    format!("{before} → {value} {unit}").trim_end().to_owned()
}

fn votes(row: &ProposalRow) -> String {
    let count = row.count;
    format!("{} yes, {} no of {}", count.yes, count.no, count.all)
}

fn state(row: &ProposalRow) -> String {
    match row.in_force_from {
        Some(height) => format!("{} from block {height} on", row.state),
        None => row.state.clone(),
    }
}

/// How long voting goes on.
fn ends(until_ms: u64) -> String {
    match until_ms.checked_sub(now_ms()).map(Duration::from_millis) {
        Some(left) => format!(", for {} more", HumanDuration(left)),
        None => ", to be counted with the next block".to_owned(),
    }
}

fn list(rows: &[ProposalRow]) -> String {
    if rows.is_empty() {
        return "No proposals. `assay proposal new` makes one.".to_owned();
    }
    table(
        &["proposal", "parameter", "change", "by", "why", "votes", "state"],
        rows.iter().map(|row| {
            vec![
                row.id.short(),
                row.parameter.path().to_owned(),
                change(row),
                line(&row.by.name),
                line(&cut(&row.why, WHY_CHARS)),
                votes(row),
                state(row),
            ]
        }),
    )
}

fn show(row: &ProposalRow) -> String {
    let until = row.until_ms.filter(|_| row.state == "open").map_or_else(String::new, ends);
    let mut out = vec![fields(&[
        ("proposal", row.id.to_string()),
        ("parameter", row.parameter.path().to_owned()),
        ("meaning", row.parameter.about().to_owned()),
        ("change", change(row)),
        ("why", line(&row.why)),
        ("by", line(&row.by.name)),
        ("ordered", format!("block {}", row.opened_at)),
        ("state", format!("{}{until}", state(row))),
        ("votes", votes(row)),
    ])];
    out.extend(row.voices.iter().map(|voice| {
        let word = if voice.yes { "yes" } else { "no" };
        let (operator, by) = (line(&voice.operator), line(&voice.by.name));
        format!("  {word}  {operator} by {by}, weight {}", voice.weight)
    }));
    if row.state == "open" {
        out.push(format!("\nNext: assay proposal vote {} yes", row.id.short()));
        out.push(format!(
            "      assay board post 'what I think of it' --thread {}",
            row.id.short()
        ));
    }
    out.join("\n")
}

fn parameters(rows: &[ParameterRow]) -> String {
    table(
        &["parameter", "value", "unit", "genesis", "since", "meaning"],
        rows.iter().map(|row| {
            vec![
                row.parameter.path().to_owned(),
                row.value.to_string(),
                row.unit.clone(),
                row.genesis.to_string(),
                match row.set_by {
                    Some(id) => format!("block {}, {}", row.since, id.short()),
                    None => "the start".to_owned(),
                },
                row.about.clone(),
            ]
        }),
    )
}
