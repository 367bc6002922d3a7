//! `assay playbook`: knowledge articles, their revisions, and support for them.

use super::board::{TIMEOUT, Words, body_lines, checked_id, heading, posted, publish};
use super::client::Client;
use super::output::{Format, print, table};
use crate::board::{PlaybookRow, PostRow, PostView};
use crate::text::cut;
use assay_protocol::post::{Detail, Endorsement, Playbook, PostBody};
use std::path::Path;

/// `assay playbook …`
#[derive(Debug, clap::Subcommand)]
pub enum PlaybookCommand {
    /// Publish an article
    #[command(after_help = "Example:
  assay playbook new - --title 'Quantising the head' < head.md")]
    New {
        /// What it says
        #[command(flatten)]
        words: Words,
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

/// Runs `assay playbook …`.
///
/// # Errors
///
/// When no node runs in the home folder, or it refuses.
pub fn run(home: &Path, command: PlaybookCommand, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    match command {
        PlaybookCommand::New { words } => {
            let detail = Detail::Playbook(Playbook { revises: None });
            let body = titled(words.body(&client, "knowledge", Some(detail))?)?;
            publish(&client, body, None, format)
        }
        PlaybookCommand::Revise { playbook, words } => {
            let revised = revised(&client, &playbook)?;
            let body = words.body(&client, &revised.channel, Some(revision_of(&revised)))?;
            let body = continued(body, revised);
            publish(&client, body, None, format)
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

/// What makes a post the next revision of another.
pub(crate) fn revision_of(revised: &PostRow) -> Detail {
    Detail::Playbook(Playbook { revises: Some(revised.id) })
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

fn show(row: &PlaybookRow) -> String {
    let mut out = vec![heading(&row.latest)];
    out.extend(body_lines(&row.latest));
    out.push(format!(
        "revisions: {}; endorsed with a standing of {} by {} operators",
        row.revisions.len(),
        row.weight,
        row.endorsed.len()
    ));
    for endorsed in &row.endorsed {
        let (by, revision) = (crate::text::line(&endorsed.by.name), endorsed.revision.short());
        out.push(format!("  {by} ({}) for revision {revision}", endorsed.standing));
    }
    out.join("\n")
}
