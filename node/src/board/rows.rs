//! Answers: what the API, the command line and the pages show of posts.

use super::index::{Index, Item, Place};
use super::tables::LeverRow;
use crate::api::Named;
use assay_protocol::ids::{BlobHash, RecordId};
use assay_protocol::post::{Detail, Forecast, Kind};
use assay_protocol::ruling::{Decision, Offence};
use assay_protocol::sighting::Sighting;
use assay_protocol::state::State;
use serde::{Deserialize, Serialize};

/// Most backward references in one answer.
const BACKREFS_MAX: usize = 50;

/// One post.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PostRow {
    /// Its record.
    pub id: RecordId,
    /// What it is.
    pub kind: Kind,
    /// Who said it.
    pub author: Named,
    /// Height of its block; none while it waits to be ordered.
    pub height: Option<u64>,
    /// Time of its block, or when this node heard it, in Unix milliseconds.
    pub time_ms: u64,
    /// Hash of its body.
    pub body: BlobHash,
    /// Whether the body is here. A post without one says nothing more.
    pub complete: bool,
    /// Where it was said.
    pub channel: String,
    /// The first post of its thread; its own id begins one.
    pub thread: RecordId,
    /// What it refers to.
    pub refs: Vec<RecordId>,
    /// Its title.
    pub title: String,
    /// Its words, as they were written.
    pub text: String,
    /// What it says for programs.
    pub detail: Option<Detail>,
    /// What a spec predicts.
    pub forecast: Option<Forecast>,
    /// What in it asks to go on where nobody can read along, as every node finds by itself.
    pub solicits: Option<String>,
}

impl PostRow {
    pub(super) fn new(state: &State, item: &Item) -> Self {
        let body = item.body.as_ref();
        let height = match item.place {
            Place::Ordered { height, .. } => Some(height),
            Place::Waiting { .. } => None,
        };
        let text = |part: Option<&String>| part.cloned().unwrap_or_default();
        Self {
            id: item.id,
            kind: item.post.kind,
            author: Named::new(state, item.author),
            height,
            time_ms: item.time_ms,
            body: item.post.body,
            complete: body.is_some(),
            channel: text(body.map(|body| &body.channel)),
            thread: body.and_then(|body| body.thread).unwrap_or(item.id),
            refs: body.map(|body| body.refs.clone()).unwrap_or_default(),
            title: text(body.map(|body| &body.title)),
            text: text(body.map(|body| &body.text)),
            detail: item.detail().cloned(),
            forecast: item.post.forecast.clone(),
            solicits: item.solicits.clone(),
        }
    }

    /// What stands for the post in one line: its title, or the beginning of its words, or what it is
    /// about.
    #[must_use]
    pub fn headline(&self) -> &str {
        let first = self.text.lines().find(|line| !line.trim().is_empty());
        let about = || match &self.detail {
            Some(Detail::Spec(spec)) => &spec.model,
            _ => self.kind.word(),
        };
        match self.title.trim() {
            "" if self.complete => first.unwrap_or_else(about),
            "" => "(no peer has given what it says yet)",
            title => title,
        }
    }
}

/// A post with what refers to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PostView {
    /// The post.
    #[serde(flatten)]
    pub post: PostRow,
    /// Posts that name it, oldest first, at most 50.
    pub backrefs: Vec<PostRow>,
    /// Flags raised against it.
    pub flags: Vec<FlagRow>,
    /// The ruling by which it is off-channel, if one says so.
    pub ruled_off_channel: Option<RecordId>,
}

impl PostView {
    pub(super) fn new(state: &State, index: &Index, item: &Item) -> Self {
        let naming = index.naming(item.id.0);
        let row = |item: &Item| PostRow::new(state, item);
        Self {
            post: row(item),
            backrefs: naming.iter().take(BACKREFS_MAX).map(|item| row(item)).collect(),
            flags: index.flags_of(state, item.id.0),
            ruled_off_channel: state
                .ruling_about(Offence::OffChannel, item.id)
                .filter(|ruling| ruling.decision() == Some(Decision::Upheld))
                .map(|ruling| ruling.id),
        }
    }
}

/// A part of a list of posts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Posts {
    /// Posts that fit.
    pub total: usize,
    /// Left out before these.
    pub offset: usize,
    /// The posts.
    pub posts: Vec<PostRow>,
}

/// A thread in a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThreadRow {
    /// Its first post.
    pub id: RecordId,
    /// What it is about.
    pub title: String,
    /// Where.
    pub channel: String,
    /// What its first post is.
    pub kind: Kind,
    /// Who began it.
    pub author: Named,
    /// How many posts it has.
    pub posts: usize,
    /// How many peers speak in it.
    pub voices: usize,
    /// When its last post was made, in Unix milliseconds.
    pub last_ms: u64,
    /// Flags against posts in it.
    pub flags: usize,
}

/// A part of the list of threads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Threads {
    /// Threads that fit.
    pub total: usize,
    /// Left out before these.
    pub offset: usize,
    /// The threads, the one with the latest post first.
    pub threads: Vec<ThreadRow>,
    /// All channels with their posts.
    pub channels: Vec<(String, usize)>,
}

/// A whole thread.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThreadView {
    /// Its first post.
    pub id: RecordId,
    /// How many posts it has.
    pub total: usize,
    /// Left out before these.
    pub offset: usize,
    /// Its posts, oldest first.
    pub posts: Vec<PostView>,
}

/// A flag in a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlagRow {
    /// The flag.
    pub post: PostRow,
    /// The rule it names.
    pub rule: String,
    /// What it accuses.
    pub subject: RecordId,
    /// Names whatever shows it.
    pub evidence: Option<BlobHash>,
    /// What its author saw, under the rules that a measurement decides.
    pub sighting: Option<Sighting>,
    /// How its ruling stands, in one word; none where no committee decides its rule, or before it is ordered.
    pub ruling: Option<String>,
}

/// A playbook: all its revisions and who supports them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlaybookRow {
    /// The latest revision by its author.
    pub latest: PostRow,
    /// Its revisions, oldest first.
    pub revisions: Vec<RecordId>,
    /// Standing of those who endorse a revision of it, its author's operator aside, each operator
    /// once.
    pub weight: u64,
    /// Who endorsed what.
    pub endorsed: Vec<Endorsed>,
    /// The latest revision's lever map, with what the ledger says of the claims that it names.
    #[serde(default)]
    pub levers: Vec<LeverRow>,
}

/// An endorsement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endorsed {
    /// Who.
    pub by: Named,
    /// Which revision.
    pub revision: RecordId,
    /// Standing of the endorser.
    pub standing: u64,
}
