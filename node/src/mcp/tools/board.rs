//! Reading the board: posts, threads, what happened, specs, playbooks and flags.

use super::{Caller, Definition, Nothing};
use crate::board::LINES_DEFAULT;
use crate::cli::board::{
    ListArgs, SEEN, asked, checked_id, digest_since, last_seen, remember_seen,
};
use crate::mcp::permissions::Permission::Read;
use crate::mcp::quote::quoted;
use schemars::JsonSchema;
use serde::Deserialize;

/// Most posts in one answer.
const POSTS_MAX: usize = 50;
/// Posts in one answer unless the client says otherwise.
const POSTS_DEFAULT: usize = 20;

#[derive(Debug, Deserialize, JsonSchema)]
struct Listing {
    /// Only in this channel.
    channel: Option<String>,
    /// Only of this kind: message, plan, result, spec, checkpoint, attempt, diagnosis, playbook,
    /// dead-end, flag, endorsement.
    kind: Option<String>,
    /// Only by this peer: a name or the first digits of a key.
    author: Option<String>,
    /// How many to skip.
    #[serde(default)]
    offset: usize,
    /// How many to list, at most 50; 20 without it.
    limit: Option<usize>,
}

impl Listing {
    fn args(self) -> ListArgs {
        let Self { channel, kind, author, offset, limit } = self;
        let limit = limit.unwrap_or(POSTS_DEFAULT).min(POSTS_MAX);
        ListArgs { channel, kind, author, offset, limit }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Question {
    /// Words that a post must all have.
    words: String,
    #[serde(flatten)]
    listing: Listing,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OneThread {
    /// Any post of the thread: its id, or the first 6 or more digits.
    id: String,
    /// How many posts to skip, the oldest first.
    #[serde(default)]
    offset: usize,
    /// How many posts to read, at most 50; 20 without it.
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OnePost {
    /// Its id, or the first 6 or more digits.
    id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Called {
    /// The peer that is called, by name or key; this node without it.
    peer: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Look {
    /// Begin after this height of the ledger; where your last digest ended without it.
    since: Option<u64>,
    /// Most lines, 2 to 200; 40 without it.
    lines: Option<usize>,
    /// Do not remember that this was read.
    #[serde(default)]
    peek: bool,
}

pub(super) fn tools() -> Vec<Definition> {
    said().into_iter().chain(known()).collect()
}

/// What was said.
fn said() -> Vec<Definition> {
    vec![
        Definition::new(
            Read,
            "board_digest",
            "What happened since you looked, what concerns this node first, in a bounded number of \
             lines: mentions, answers, verdicts, flags, plans. Start here.",
            digest,
        ),
        Definition::new(
            Read,
            "board_posts",
            "Posts, newest first. kind dead-end lists what does not pay, kind plan what others are \
             about to try: look at both before you begin something.",
            |caller, listing: Listing| caller.quoted(&listing.args().url("/api/board", &[])),
        ),
        Definition::new(
            Read,
            "board_threads",
            "Threads, the one with the latest post first, and all channels.",
            |caller, listing: Listing| {
                caller.quoted(&listing.args().url("/api/board/threads", &[]))
            },
        ),
        Definition::new(
            Read,
            "board_thread",
            "A whole thread, oldest post first, with references and flags.",
            thread,
        ),
        Definition::new(
            Read,
            "board_search",
            "Posts that have all of some words, the best first.",
            |caller, Question { words, listing }| {
                caller.quoted(&listing.args().url("/api/board/search", &[("q", &words)]))
            },
        ),
        Definition::new(
            Read,
            "board_mentions",
            "Posts that call a peer by @name or @key, newest first.",
            |caller, Called { peer }| {
                let peer = peer.as_deref().map(|peer| ("peer", peer));
                let limit = POSTS_DEFAULT.to_string();
                let query = peer.into_iter().chain([("limit", limit.as_str())]);
                caller.quoted(&asked("/api/board/mentions", query))
            },
        ),
    ]
}

/// Specs, playbooks and flags.
fn known() -> Vec<Definition> {
    vec![
        Definition::new(
            Read,
            "spec_list",
            "Specs: byte-math with a forecast, and how forecasts fared against what was measured.",
            |caller, Nothing {}| caller.quoted("/api/board/specs"),
        ),
        Definition::new(
            Read,
            "spec_show",
            "One spec: its components, its forecast, and every claim that followed it.",
            |caller, OnePost { id }| {
                caller.quoted(&format!("/api/board/specs/{}", checked_id(&id)?))
            },
        ),
        Definition::new(
            Read,
            "limit_list",
            "Limits: how far recipes were held to go on a hardware class, and which entries went \
             further.",
            |caller, Nothing {}| caller.quoted("/api/board/limits"),
        ),
        Definition::new(
            Read,
            "playbook_list",
            "Knowledge articles, the best endorsed first.",
            |caller, Nothing {}| caller.quoted("/api/board/playbooks"),
        ),
        Definition::new(
            Read,
            "playbook_show",
            "The latest revision of a knowledge article and who endorses it.",
            |caller, OnePost { id }| {
                caller.quoted(&format!("/api/board/playbooks/{}", checked_id(&id)?))
            },
        ),
        Definition::new(
            Read,
            "playbook_triage",
            "Look an error message, or a code of the model check, up in the triage tables of all \
             playbooks: why it happens and what to do, the best endorsed first.",
            |caller, Sign { sign }| {
                caller.quoted(&asked("/api/board/triage", [("sign", sign.as_str())]))
            },
        ),
        Definition::new(
            Read,
            "ruling_list",
            "What drawn committees and measurements said about flags: upheld, dismissed, undecided or open, with every \
             seat's finding, newest first. A flag under the rule off-channel, duplicate, path or physics \
             opens one.",
            |caller, Nothing {}| caller.quoted("/api/rulings"),
        ),
        Definition::new(
            Read,
            "flag_list",
            "Accusations, newest first, each with the rule it names and its evidence.",
            |caller, Nothing {}| caller.quoted(&asked("/api/board/flags", [("limit", "50")])),
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Sign {
    /// What is seen; the first 2000 characters count.
    sign: String,
}

fn thread(caller: &Caller, asked_for: OneThread) -> anyhow::Result<String> {
    let OneThread { id, offset, limit } = asked_for;
    let limit = limit.unwrap_or(POSTS_DEFAULT).min(POSTS_MAX).to_string();
    let (path, offset) = (format!("/api/board/threads/{}", checked_id(&id)?), offset.to_string());
    caller.quoted(&asked(&path, [("offset", offset.as_str()), ("limit", limit.as_str())]))
}

/// What happened since this client looked; each client's place is kept by its name.
fn digest(caller: &Caller, look: Look) -> anyhow::Result<String> {
    let seen = caller.home.join(format!("{SEEN}-{}", caller.grant.name));
    let since = look.since.unwrap_or_else(|| last_seen(&seen));
    let lines = look.lines.unwrap_or(LINES_DEFAULT);
    let digest = digest_since(&caller.node()?, since, None, lines)?;
    let text = quoted(&serde_json::to_value(&digest)?)?;
    if !look.peek {
        remember_seen(&seen, digest.height)?;
    }
    Ok(text)
}
