//! `assay playbook`: knowledge articles, their revisions, and support for them.

use super::board::{TIMEOUT, Words, body_lines, checked_id, heading, posted, publish};
use super::client::Client;
use super::output::{Format, print, table};
use crate::api::escaped;
use crate::board::{PlaybookRow, PostRow, PostView, Remedy};
use crate::text::{cut, line};
use anyhow::{Context, ensure};
use assay_protocol::post::{
    Detail, Endorsement, Lever, Playbook, PostBody, ROWS_MAX, TEXT_BYTES_MAX, Table, Triage,
};
use std::io::Read;
use std::path::{Path, PathBuf};

/// `assay playbook …`
#[derive(Debug, clap::Subcommand)]
pub enum PlaybookCommand {
    /// Publish an article, a triage table or a lever map
    #[command(
        after_help = "The files of --triage and --levers have a row a line, its columns parted by tabs; lines that begin
with # are left out.

Examples:
  assay playbook new - --title 'Quantising the head' < head.md
  assay playbook new --title 'Checkpoints that do not load' --triage load.tsv
  assay playbook new --title 'What pays on llvmpipe' --levers llvmpipe.tsv

load.tsv:      CK001 <tab> the config contradicts itself about the head <tab> set tie_word_embeddings
llvmpipe.tsv:  matmul-bf16 <tab> two rows a lane <tab> 3fa9c0d1…64 digits of the claim, or nothing"
    )]
    New {
        /// What it says
        #[command(flatten)]
        words: Words,
        /// What programs may look up in it
        #[command(flatten)]
        table: TableFile,
    },
    /// Publish the next revision of your article
    #[command(after_help = "Example:
  assay playbook revise 3fa9c0d1 - < head.md")]
    Revise {
        /// The revision to replace: its record id, or the first digits
        playbook: String,
        /// What it says instead
        #[command(flatten)]
        words: Words,
        /// What programs may look up in it instead; the table before it goes on without this
        #[command(flatten)]
        table: TableFile,
    },
    /// Look an error, or a code of `assay model check`, up in all triage tables
    #[command(after_help = "Examples:
  assay playbook triage CK001
  assay playbook triage \"$(assay model check broken/ 2>&1)\"
  assay playbook triage                    every row, the best endorsed tables first")]
    Triage {
        /// What is seen
        #[arg(default_value = "", hide_default_value = true)]
        sign: String,
    },
    /// List the articles, the best endorsed first
    List,
    /// Print the latest revision of an article and who endorses it
    Show {
        /// Any revision: its record id, or the first digits
        playbook: String,
    },
    /// Say that you followed an article and it holds
    #[command(after_help = "Endorsements weigh as much as the standing of who gives them, each \
operator's once; an author's own do not count.

Example:
  assay playbook endorse 3fa9c0d1 'held on llvmpipe'")]
    Endorse {
        /// The revision: its record id, or the first digits
        playbook: String,
        /// What to say with it
        #[command(flatten)]
        words: Words,
    },
}

/// The table of an article.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TableFile {
    /// Triage table: what is seen, why, and what to do
    #[arg(long, value_name = "FILE", conflicts_with = "levers")]
    triage: Option<PathBuf>,
    /// Lever map: what is turned, what it does, and the claim that shows it
    #[arg(long, value_name = "FILE")]
    levers: Option<PathBuf>,
}

impl TableFile {
    fn read(&self) -> anyhow::Result<Option<Table>> {
        Ok(match (&self.triage, &self.levers) {
            (Some(file), _) => Some(Table::Triage(rows_of(file, triage_row)?)),
            (None, Some(file)) => Some(Table::Levers(rows_of(file, lever_row)?)),
            (None, None) => None,
        })
    }
}

/// The rows of a file; more than any post can hold is not read.
fn rows_of<Row>(file: &Path, row: fn(&[&str]) -> anyhow::Result<Row>) -> anyhow::Result<Vec<Row>> {
    let mut text = String::new();
    let open = std::fs::File::open(file).with_context(|| format!("{}", file.display()))?;
    let bytes_max = 4 * TEXT_BYTES_MAX as u64;
    open.take(bytes_max + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("{}", file.display()))?;
    ensure!(text.len() as u64 <= bytes_max, "{} has more than {bytes_max} bytes", file.display());
    let lines = text.lines().enumerate();
    let said = lines.filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#'));
    let rows = said.map(|(at, text)| {
        let columns: Vec<&str> = text.split('\t').map(str::trim).collect();
        row(&columns).with_context(|| format!("{}, line {}", file.display(), at + 1))
    });
    let rows = rows.collect::<anyhow::Result<Vec<Row>>>()?;
    ensure!(!rows.is_empty(), "{} has no rows", file.display());
    ensure!(
        rows.len() <= ROWS_MAX,
        "{} has {} rows; at most {ROWS_MAX}",
        file.display(),
        rows.len()
    );
    Ok(rows)
}

fn triage_row(columns: &[&str]) -> anyhow::Result<Triage> {
    let &[sign, cause, remedy] = columns else {
        anyhow::bail!(
            "{} columns; a row has sign, cause and remedy, parted by tabs",
            columns.len()
        );
    };
    Ok(Triage { sign: sign.to_owned(), cause: cause.to_owned(), remedy: remedy.to_owned() })
}

fn lever_row(columns: &[&str]) -> anyhow::Result<Lever> {
    let (lever, note, claim) = match *columns {
        [lever, note] | [lever, note, ""] => (lever, note, None),
        [lever, note, claim] => (lever, note, Some(claim)),
        _ => anyhow::bail!(
            "{} columns; a row has lever, note and perhaps a claim, parted by tabs",
            columns.len()
        ),
    };
    let claim = claim.map(|claim| claim.parse().ok().context("a claim has 64 hexadecimal digits"));
    Ok(Lever { lever: lever.to_owned(), note: note.to_owned(), claim: claim.transpose()? })
}

/// Runs `assay playbook …`.
///
/// # Errors
///
/// When no node runs in the home folder, or it refuses.
pub fn run(home: &Path, command: PlaybookCommand, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    match command {
        PlaybookCommand::New { words, table } => {
            let detail = Detail::Playbook(Playbook { revises: None, table: table.read()? });
            let body = titled(words.body(&client, "knowledge", Some(detail))?)?;
            publish(&client, body, None, format)
        }
        PlaybookCommand::Revise { playbook, words, table } => {
            let (revised, table) = (revised(&client, &playbook)?, table.read()?);
            let detail = revision_of(&revised, table);
            let body = words.body(&client, &revised.channel, Some(detail))?;
            let body = continued(body, revised);
            publish(&client, body, None, format)
        }
        PlaybookCommand::Triage { sign } => {
            let path = format!("/api/board/triage?sign={}", escaped(&sign));
            let found: Vec<Remedy> = client.get(&path)?;
            print(format, &found, |found| remedies(found))
        }
        PlaybookCommand::List => list(&client, format),
        PlaybookCommand::Show { playbook } => {
            let path = format!("/api/board/playbooks/{}", checked_id(&playbook)?);
            let row: PlaybookRow = client.get(&path)?;
            print(format, &row, show)
        }
        PlaybookCommand::Endorse { playbook, words } => {
            let playbook = posted(&client, &playbook)?;
            let detail = Detail::Endorsement(Endorsement { playbook });
            let mut body = words.body(&client, "knowledge", Some(detail))?;
            body.thread = body.thread.or(Some(playbook));
            publish(&client, body, None, format)
        }
    }
}

/// An article, which needs a title.
///
/// # Errors
///
/// When it has none.
pub(crate) fn titled(body: PostBody) -> anyhow::Result<PostBody> {
    anyhow::ensure!(
        !body.title.trim().is_empty(),
        "an article is listed by its title; give one with --title"
    );
    Ok(body)
}

/// The revision that an id, or the beginning of one, names.
///
/// # Errors
///
/// When there is none, or several.
pub(crate) fn revised(client: &Client, id: &str) -> anyhow::Result<PostRow> {
    let view: PostView = client.get(&format!("/api/board/posts/{}", checked_id(id)?))?;
    Ok(view.post)
}

/// What makes a post the next revision of another, with its table unless it has another.
pub(crate) fn revision_of(revised: &PostRow, table: Option<Table>) -> Detail {
    let before = match &revised.detail {
        Some(Detail::Playbook(book)) => book.table.clone(),
        _ => None,
    };
    Detail::Playbook(Playbook { revises: Some(revised.id), table: table.or(before) })
}

/// A revision in the thread of the one before it, and under its title unless it has another.
pub(crate) fn continued(body: PostBody, revised: PostRow) -> PostBody {
    let title = if body.title.is_empty() { revised.title } else { body.title };
    PostBody { title, thread: Some(revised.thread), ..body }
}

fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let rows: Vec<PlaybookRow> = client.get("/api/board/playbooks")?;
    print(format, &rows, |rows| {
        if rows.is_empty() {
            return "No playbooks. Write one: assay playbook new --help".to_owned();
        }
        table(
            &["playbook", "title", "author", "revisions", "endorsed by", "weight"],
            rows.iter().map(|row| {
                vec![
                    row.latest.id.short(),
                    cut(row.latest.headline(), 72),
                    row.latest.author.name.clone(),
                    row.revisions.len().to_string(),
                    row.endorsed.len().to_string(),
                    row.weight.to_string(),
                ]
            }),
        )
    })
}

fn remedies(found: &[Remedy]) -> String {
    if found.is_empty() {
        return "No triage table knows it. Once you do: assay playbook new --triage FILE"
            .to_owned();
    }
    table(
        &["sign", "cause", "remedy", "playbook", "author", "weight"],
        found.iter().map(|found| {
            vec![
                line(&found.row.sign),
                line(&found.row.cause),
                line(&found.row.remedy),
                found.playbook.short(),
                line(&found.author.name),
                found.weight.to_string(),
            ]
        }),
    )
}

fn show(row: &PlaybookRow) -> String {
    let mut out = vec![heading(&row.latest)];
    out.extend(body_lines(&row.latest));
    if !row.levers.is_empty() {
        out.push("what the ledger says:".to_owned());
        out.extend(
            row.levers
                .iter()
                .map(|lever| format!("  {}: {}", line(&lever.row.lever), lever.words())),
        );
    }
    out.push(format!(
        "revisions: {}; endorsed with a standing of {} by {} operators",
        row.revisions.len(),
        row.weight,
        row.endorsed.len()
    ));
    for endorsed in &row.endorsed {
        let (by, revision) = (line(&endorsed.by.name), endorsed.revision.short());
        out.push(format!("  {by} ({}) for revision {revision}", endorsed.standing));
    }
    out.join("\n")
}
