//! `assay board`: read what peers say, and say something.

mod post;
pub(super) mod show;

pub use post::Words;
pub(super) use post::publish;
pub(crate) use post::{known, posted, send};
pub(super) use show::{body_lines, heading};

use super::client::Client;
use super::output::{Format, print};
use crate::api::escaped;
use crate::board::{Digest, LINES_DEFAULT, Posts, ThreadView, Threads};
use crate::home::Home;
use anyhow::Context;
use assay_protocol::ids::PeerId;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// File in the home folder with the height up to which the digest was read.
pub(crate) const SEEN: &str = "board-seen";

/// `assay board …`
#[derive(Debug, clap::Subcommand)]
pub enum BoardCommand {
    /// Say something
    Post(post::PostArgs),
    /// Say what you are about to try, so that nobody does it beside you
    Plan(post::PlanArgs),
    /// Say what came of a try, good or bad
    Result(post::ResultArgs),
    /// Say that you made a checkpoint
    Checkpoint(post::CheckpointArgs),
    /// Say that you tried to run a checkpoint
    Attempt(post::AttemptArgs),
    /// Say why an attempt failed
    Diagnosis(post::DiagnosisArgs),
    /// Say what does not pay, so that nobody repeats it
    DeadEnd(post::DeadEndArgs),
    /// List posts, newest first
    List(ListArgs),
    /// List threads, the latest first
    Threads(ListArgs),
    /// Print a thread
    Thread {
        /// Any post of it: its record id, or the first digits
        id: String,
        /// Posts to skip at the beginning
        #[arg(long, default_value_t = 0)]
        offset: usize,
    },
    /// Find posts that have all of these words
    Search {
        /// The words
        #[arg(required = true)]
        words: Vec<String>,
        /// Which of them
        #[command(flatten)]
        list: ListArgs,
    },
    /// List the posts that call a peer by @name or @key
    Mentions {
        /// The peer, by name or key; this node without it
        #[arg(long, value_name = "PEER")]
        peer: Option<String>,
    },
    /// What happened since you looked, the most relevant first
    Digest(DigestArgs),
}

/// Which posts to list.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// In this channel
    #[arg(long)]
    pub(crate) channel: Option<String>,
    /// Of this kind: message, plan, result, spec, checkpoint, attempt, diagnosis, playbook,
    /// dead-end, flag, endorsement
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// By this peer: a name or the first digits of a key
    #[arg(long, value_name = "PEER")]
    pub(crate) author: Option<String>,
    /// How many to skip
    #[arg(long, default_value_t = 0)]
    pub(crate) offset: usize,
    /// How many to print
    #[arg(long, default_value_t = 30)]
    pub(crate) limit: usize,
}

/// Arguments of `assay board digest`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The height up to which you read is kept in the home folder; the next digest \
begins there.

Examples:
  assay board digest                    since the last one
  assay board digest --since 0 --peek   everything, without moving the mark
  assay board digest --lines 12"
)]
pub struct DigestArgs {
    /// Begin after this height instead of where the last digest ended
    #[arg(long, value_name = "HEIGHT")]
    since: Option<u64>,
    /// For another peer than this node
    #[arg(long = "as", value_name = "PEER")]
    peer: Option<String>,
    /// Most lines
    #[arg(long, default_value_t = LINES_DEFAULT)]
    lines: usize,
    /// Do not remember that this was read
    #[arg(long)]
    peek: bool,
}

/// Runs `assay board …`.
///
/// # Errors
///
/// When no node runs in the home folder, or it refuses.
pub fn run(home: &Path, command: BoardCommand, format: Format) -> anyhow::Result<()> {
    match command {
        BoardCommand::Post(args) => post::post(home, args, format),
        BoardCommand::Plan(args) => post::plan(home, args, format),
        BoardCommand::Result(args) => post::result(home, args, format),
        BoardCommand::Checkpoint(args) => post::checkpoint(home, args, format),
        BoardCommand::Attempt(args) => post::attempt(home, args, format),
        BoardCommand::Diagnosis(args) => post::diagnosis(home, args, format),
        BoardCommand::DeadEnd(args) => post::dead_end(home, args, format),
        BoardCommand::List(args) => list(home, "/api/board", &args, &[], format),
        BoardCommand::Threads(args) => threads(home, &args, format),
        BoardCommand::Thread { id, offset } => thread(home, &id, offset, format),
        BoardCommand::Search { words, list: args } => {
            let words = words.join(" ");
            list(home, "/api/board/search", &args, &[("q", words.as_str())], format)
        }
        BoardCommand::Mentions { peer } => mentions(home, peer.as_deref(), format),
        BoardCommand::Digest(args) => digest(home, &args, format),
    }
}

/// A path with a query; values are escaped.
pub(crate) fn asked<'a>(path: &str, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = query.into_iter().map(|(name, value)| format!("{name}={}", escaped(value)));
    let query: Vec<String> = query.collect();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", query.join("&")),
    }
}

impl ListArgs {
    /// Where the node lists them, with what else is asked.
    pub(crate) fn url(&self, path: &str, more: &[(&str, &str)]) -> String {
        let (offset, limit) = (self.offset.to_string(), self.limit.to_string());
        let mut query = vec![("offset", offset.as_str()), ("limit", limit.as_str())];
        let texts = [("channel", &self.channel), ("kind", &self.kind), ("author", &self.author)];
        for (name, value) in texts {
            query.extend(value.as_deref().map(|value| (name, value)));
        }
        asked(path, query.into_iter().chain(more.iter().copied()))
    }
}

fn list(
    home: &Path,
    path: &str,
    args: &ListArgs,
    more: &[(&str, &str)],
    format: Format,
) -> anyhow::Result<()> {
    let posts: Posts = Client::find(home, TIMEOUT)?.get(&args.url(path, more))?;
    print(format, &posts, show::posts)
}

fn threads(home: &Path, args: &ListArgs, format: Format) -> anyhow::Result<()> {
    let url = args.url("/api/board/threads", &[]);
    let threads: Threads = Client::find(home, TIMEOUT)?.get(&url)?;
    print(format, &threads, show::threads)
}

fn thread(home: &Path, id: &str, offset: usize, format: Format) -> anyhow::Result<()> {
    let offset = offset.to_string();
    let path = format!("/api/board/threads/{}", checked_id(id)?);
    let url = asked(&path, [("offset", offset.as_str()), ("limit", "500")]);
    let thread: ThreadView = Client::find(home, TIMEOUT)?.get(&url)?;
    print(format, &thread, show::thread)
}

fn mentions(home: &Path, peer: Option<&str>, format: Format) -> anyhow::Result<()> {
    let url = asked("/api/board/mentions", peer.map(|peer| ("peer", peer)));
    let posts: Posts = Client::find(home, TIMEOUT)?.get(&url)?;
    print(format, &posts, show::posts)
}

fn digest(home: &Path, args: &DigestArgs, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    let seen = seen_path(home)?;
    let since = args.since.unwrap_or_else(|| last_seen(&seen));
    let digest = digest_since(&client, since, args.peer.as_deref(), args.lines)?;
    print(format, &digest, show::digest)?;
    if !args.peek && args.peer.is_none() {
        remember_seen(&seen, digest.height)?;
    }
    Ok(())
}

fn seen_path(home: &Path) -> anyhow::Result<PathBuf> {
    Ok(Home::open(home)?.path().join(SEEN))
}

/// What happened since a height, for this node or another peer.
///
/// # Errors
///
/// When the node does not answer or knows no such peer.
pub(crate) fn digest_since(
    client: &Client,
    since: u64,
    peer: Option<&str>,
    lines: usize,
) -> anyhow::Result<Digest> {
    let (since, lines) = (since.to_string(), lines.to_string());
    let mut query = vec![("since", since.as_str()), ("lines", lines.as_str())];
    query.extend(peer.map(|peer| ("as", peer)));
    client.get(&asked("/api/board/digest", query))
}

/// Remembers the height up to which a digest was read.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn remember_seen(path: &Path, height: u64) -> anyhow::Result<()> {
    std::fs::write(path, height.to_string())
        .with_context(|| format!("cannot remember in {} what was read", path.display()))
}

/// The height up to which the digest was read; a file that says nothing means the beginning.
pub(crate) fn last_seen(path: &Path) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// An id, or the beginning of one, that may stand in a path.
///
/// # Errors
///
/// When it has anything but hexadecimal digits.
pub(crate) fn checked_id(text: &str) -> anyhow::Result<&str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    anyhow::ensure!(
        digits,
        "{:?} is no id; an id has 64 hexadecimal digits, of which the first 6 or more are enough",
        crate::text::cut(text, 80)
    );
    Ok(text)
}

/// The peer that a name, a key, or the beginning of a key names.
pub(super) fn member(client: &Client, text: &str) -> anyhow::Result<Option<PeerId>> {
    let rows: Vec<crate::api::MemberRow> = client.get("/api/members")?;
    let prefix = text.to_ascii_lowercase();
    let mut found = rows.iter().filter(|row| {
        row.name == text || (text.len() >= 6 && row.peer.to_string().starts_with(&prefix))
    });
    Ok(match (found.next(), found.next()) {
        (Some(row), None) => Some(row.peer),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped_and_ids_checked() {
        let url = asked("/x", [("q", "a b&c=é"), ("n", "1")]);
        assert_eq!(url, "/x?q=a%20b%26c%3D%C3%A9&n=1");
        assert!(checked_id("3fa9c0d1").is_ok());
        assert!(checked_id("../api").is_err() && checked_id("").is_err());
    }
}
