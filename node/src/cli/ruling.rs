//! `assay ruling`: what drawn committees and measurements said about flags, and appeals.

use super::board::{TIMEOUT, checked_id};
use super::client::Client;
use super::member::say;
use super::output::{Format, fields, print, table};
use crate::api::{RulingRow, Statement};
use crate::text::line;
use assay_protocol::ruling::Decision;
use std::path::Path;

/// `assay ruling …`
#[derive(Debug, clap::Subcommand)]
pub enum RulingCommand {
    /// List the rulings, newest first: on posts (off-channel) and claims (duplicate, path, physics)
    List,
    /// Print one ruling with what every seat found
    Show {
        /// The flag's id, or that of what it accuses; the first 6 or more digits are enough
        id: String,
    },
    /// Have another committee look, once; for the side that lost
    #[command(
        after_help = "If the other committee finds the same, the appeal costs standing as well; if it finds the
opposite, what the first took is given back.

Example:
  assay ruling appeal 3fa9c0d1"
    )]
    Appeal {
        /// The flag's id, or that of what it accuses; the first 6 or more digits are enough
        id: String,
    },
}

/// Runs `assay ruling …`.
///
/// # Errors
///
/// When no node runs in the home folder, or it refuses.
pub fn run(home: &Path, command: RulingCommand, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    match command {
        RulingCommand::List => {
            let rows: Vec<RulingRow> = client.get("/api/rulings")?;
            print(format, &rows, |rows| list(rows))
        }
        RulingCommand::Show { id } => {
            let row = found(&client, &id)?;
            print(format, &row, show)
        }
        RulingCommand::Appeal { id } => {
            let ruling = found(&client, &id)?.id;
            say(home, &Statement::Appeal { ruling }, format, "appeal")
        }
    }
}

/// The ruling that an id, or the beginning of one, names.
///
/// # Errors
///
/// When there is none, or several.
pub(crate) fn found(client: &Client, id: &str) -> anyhow::Result<RulingRow> {
    client.get(&format!("/api/rulings/{}", checked_id(id)?))
}

fn list(rows: &[RulingRow]) -> String {
    if rows.is_empty() {
        return "No rulings.".to_owned();
    }
    table(
        &["ruling", "rule", "about", "accused", "by", "block", "state"],
        rows.iter().map(|row| {
            vec![
                row.id.short(),
                row.rule.word().to_owned(),
                row.subject.short(),
                line(&row.accused.name),
                line(&row.by.name),
                row.opened_at.to_string(),
                row.state.clone(),
            ]
        }),
    )
}

/// What shows what the flag says.
fn evidence(row: &RulingRow) -> String {
    match (row.sighting, row.evidence) {
        (Some(sighting), _) => sighting.to_string(),
        (None, Some(hash)) => hash.to_string(),
        (None, None) => "-".to_owned(),
    }
}

fn show(row: &RulingRow) -> String {
    let mut out = vec![fields(&[
        ("ruling", row.id.to_string()),
        ("rule", row.rule.word().to_owned()),
        ("about", row.subject.to_string()),
        ("evidence", evidence(row)),
        ("flagged by", line(&row.by.name)),
        ("accused", line(&row.accused.name)),
        ("state", row.state.clone()),
    ])];
    for (hearing, name) in row.hearings.iter().zip(["first hearing", "appeal"]) {
        let decision = hearing.decision.as_deref().unwrap_or("open");
        let at =
            hearing.decided_at.map_or_else(String::new, |height| format!(" at block {height}"));
        let seats = hearing.seats.len();
        out.push(format!(
            "{name}: {decision}{at}, {seats} seats of which {} decide, {} points lost",
            hearing.quorum, hearing.lost
        ));
        for seat in &hearing.seats {
            let said = seat.vote.map_or_else(
                || "nothing".to_owned(),
                |vote| format!("{} ({})", vote.finding.word(), vote.digest.short()),
            );
            out.push(format!("  {}: {said}", line(&seat.peer.name)));
        }
    }
    if let Some(measured) = row.measured {
        let decision = measured.decision.map_or("open", Decision::word);
        let at =
            measured.decided_at.map_or_else(String::new, |height| format!(" at block {height}"));
        let (number, subject) = (measured.round, row.subject.short());
        out.push(format!("{decision}{at}; measured in round {number} of claim {subject}"));
    }
    if let Some(until) = row.appeal_until {
        out.push(format!(
            "the side that lost may appeal until block {until}: assay ruling appeal {}",
            row.id.short()
        ));
    }
    out.join("\n")
}
