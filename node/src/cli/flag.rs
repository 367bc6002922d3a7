//! `assay flag`: accusations that name a rule and what shows that it was broken.

use super::board::{TIMEOUT, Words, body_lines, checked_id, heading, member, publish};
use super::client::Client;
use super::output::{Format, print, table};
use crate::api::Claims;
use crate::board::{FlagRow, PostView};
use assay_protocol::ids::{BlobHash, RecordId};
use assay_protocol::post::{Detail, Flag};
use assay_protocol::sighting::{Divergence, Sighting};
use std::path::Path;

/// `assay flag …`
#[derive(Debug, clap::Subcommand)]
pub enum FlagCommand {
    /// Accuse a post, claim or peer of breaking a rule
    #[command(after_help = "Examples:
  assay flag new 3fa9c0d1 --rule off-channel 'asks to go on in a private group'
  assay flag new 8be04c12 --rule duplicate --evidence 9f3c…e1 'the kernels of an earlier claim'
  assay flag new 8be04c12 --rule path --saw 17,4,2201,98 'its decode leaves its prefill'
  assay flag new 8be04c12 --rule physics 'faster than its memory'

Over the rules off-channel (a post) and duplicate (a claim; the evidence is the id of the earlier
one) a drawn committee rules, and whoever is wrong pays. A flag under path is a challenge of the
entry, and what that round finds is the ruling. Under physics the ledger rules at once, by its own
figures, which the node adds, and has the entry measured again. See `assay ruling`. Other rules are
for readers.")]
    New {
        /// Whom or what: a post or claim by its id or the first digits, a peer by its name or key
        subject: String,
        /// The rule, in one word: lower-case letters, digits and dashes
        #[arg(long, value_name = "WORD")]
        rule: String,
        /// BLAKE3 hash of whatever shows it
        #[arg(long, value_name = "HASH")]
        evidence: Option<BlobHash>,
        /// For the rule path, where it breaks: the prompt in the pool, the position, the token that the
        /// prefill chooses and the one that was decoded
        #[arg(long, value_name = "PROMPT,POSITION,EXPECTED,SEEN")]
        saw: Option<Divergence>,
        /// What to say with it
        #[command(flatten)]
        words: Words,
    },
    /// List the flags, newest first
    List,
    /// Print one flag
    Show {
        /// Its record id, or the first digits
        flag: String,
    },
}

/// Runs `assay flag …`.
///
/// # Errors
///
/// When no node runs in the home folder, or it refuses.
pub fn run(home: &Path, command: FlagCommand, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    match command {
        FlagCommand::New { subject, rule, evidence, saw, words } => {
            let subject = accused(&client, &subject)?;
            let sighting = saw.map(Sighting::Divergence);
            let detail = Detail::Flag(Flag { rule, subject, evidence, sighting });
            let body = words.body(&client, "flags", Some(detail))?;
            publish(&client, body, None, format)
        }
        FlagCommand::List => {
            let rows: Vec<FlagRow> = client.get("/api/board/flags")?;
            print(format, &rows, |rows| list(rows))
        }
        FlagCommand::Show { flag } => {
            let path = format!("/api/board/posts/{}", checked_id(&flag)?);
            let view: PostView = client.get(&path)?;
            anyhow::ensure!(
                matches!(view.post.detail, Some(Detail::Flag(_))),
                "post {} is no flag but a {}; `assay flag list` has the flags",
                view.post.id.short(),
                view.post.kind.word()
            );
            print(format, &view, |view| {
                let mut out = vec![heading(&view.post)];
                out.extend(body_lines(&view.post));
                out.join("\n")
            })
        }
    }
}

fn list(rows: &[FlagRow]) -> String {
    if rows.is_empty() {
        return "No flags.".to_owned();
    }
    table(
        &["flag", "rule", "against", "by", "evidence", "ruling", "what"],
        rows.iter().map(|row| {
            vec![
                row.post.id.short(),
                row.rule.clone(),
                row.subject.short(),
                row.post.author.name.clone(),
                shown_by(row),
                row.ruling.clone().unwrap_or_else(|| "-".to_owned()),
                crate::text::cut(row.post.headline(), 72),
            ]
        }),
    )
}

/// What shows what a flag says, in a few words.
fn shown_by(row: &FlagRow) -> String {
    match (row.sighting, row.evidence) {
        (Some(sighting), _) => sighting.to_string(),
        (None, Some(hash)) => hash.short(),
        (None, None) => "-".to_owned(),
    }
}

/// What an id or name stands for: a post, a claim or a member.
pub(crate) fn accused(client: &Client, text: &str) -> anyhow::Result<RecordId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    if let Some(peer) = member(client, text)? {
        return Ok(RecordId(peer.0));
    }
    let prefix = checked_id(text)?.to_ascii_lowercase();
    let claims: Claims = client.get("/api/claims")?;
    let mut fitting = claims.claims.iter().filter(|row| row.id.to_string().starts_with(&prefix));
    match (prefix.len() >= 6, fitting.next(), fitting.next()) {
        (true, Some(claim), None) => Ok(RecordId(claim.id.0)),
        (true, Some(_), Some(_)) => anyhow::bail!("several claims begin with {prefix}"),
        _ => super::board::posted(client, text),
    }
}
