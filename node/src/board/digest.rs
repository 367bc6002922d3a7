//! What happened since somebody looked, in one answer of bounded length: grouped by thread or claim,
//! the most relevant group first, and with a count of what was left out.

use super::Board;
use super::index::{Index, Item, Place};
use super::limits::{Beyond, bound_words};
use super::rows::PostRow;
use crate::api::Named;
use crate::text::{cut, line};
use assay_protocol::ids::{ClaimId, PeerId, RecordId};
use assay_protocol::post::{Detail, Kind};
use assay_protocol::state::{ClaimState, ProposalState, State};
use assay_protocol::verdict::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Lines of a digest unless the caller says otherwise.
pub const LINES_DEFAULT: usize = 40;
/// Most lines of a digest.
pub const LINES_MAX: usize = 400;
/// Most lines of one group, so that one busy thread does not fill the digest.
const GROUP_LINES_MAX: usize = 4;
/// Blocks for which a digest waits for a post's body, so that the post is told of when it can be read.
const BODY_PATIENCE_BLOCKS: u64 = 32;
/// Longest line, in characters.
const LINE_CHARS_MAX: usize = 160;

/// Since when, for whom, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    /// Height of the last block that was seen.
    pub height: u64,
    /// Whose mentions, claims, threads and plans count as own.
    pub me: PeerId,
    /// Most lines, headings and the closing line included.
    pub lines: usize,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Digest {
    /// Height after which it begins.
    pub since: u64,
    /// Height at which it ends: the `since` of the next one. It stops before posts whose bodies are
    /// still on their way; what is known beyond them is told at once, and once more next time.
    pub height: u64,
    /// The groups, the most relevant first.
    pub groups: Vec<Group>,
    /// What there was no room for.
    pub left_out: LeftOut,
}

/// A thread or a claim with what happened in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// The thread's first post or the claim.
    pub id: RecordId,
    /// What it is about, made safe to show.
    pub title: String,
    /// Larger is more relevant; 100 at most.
    pub relevance: u8,
    /// What happened, the most relevant first.
    pub lines: Vec<DigestLine>,
    /// Further things in this group that there was no room for.
    pub more: usize,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DigestLine {
    /// The post or claim.
    pub id: RecordId,
    /// Why it is listed, in one word: `entry`, `debunked`, `limit`, `disclosure`, `flag`, `mention`,
    /// `plan`, `reply`, `new`, `post`, and `solicits` for what asks to go on elsewhere.
    pub why: String,
    /// Larger is more relevant.
    pub relevance: u8,
    /// The line, made safe to show.
    pub text: String,
}

/// Counts of what is not in a digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Lines.
    pub lines: usize,
    /// Groups of which nothing is shown.
    pub groups: usize,
}

impl Digest {
    /// Lines that it takes when printed: a heading a group, its lines, and one that closes.
    #[must_use]
    pub fn lines(&self) -> usize {
        1 + self.groups.iter().map(|group| 1 + group.lines.len()).sum::<usize>()
    }
}

/// What a post is to the reader.
struct Reader<'a> {
    mentions: BTreeSet<RecordId>,
    threads: BTreeSet<RecordId>,
    levers: BTreeSet<&'a str>,
    own: BTreeSet<[u8; 32]>,
}

impl Board {
    /// What happened since a height.
    #[must_use]
    pub fn digest(&self, state: &State, since: Since) -> Digest {
        let index = self.read();
        let reader = Reader::new(state, &index, since.me);
        let mut groups: BTreeMap<RecordId, Group> = BTreeMap::new();
        for claim in state.claims() {
            for told in claim_lines(state, claim, since) {
                put(&mut groups, RecordId(claim.id.0), &claim.summary, told);
            }
        }
        for told in state.disclosures().filter(|told| told.height > since.height) {
            let by = Named::new(state, told.by).name;
            let text = format!("{by} tells of a trick: {}", told.text);
            let group = told.claim.map_or(told.record, |claim| RecordId(claim.0));
            let title = told.claim.and_then(|claim| state.claim(claim));
            let title = title.map_or("disclosed without a claim", |claim| &claim.summary);
            put(&mut groups, group, title, new_line(told.record, "disclosure", 75, &text));
        }
        for limit in state.limits() {
            if let Some(beyond) = Beyond::first(state, &limit.bound)
                && beyond.height > since.height
            {
                let by = Named::new(state, limit.author).name;
                let text = format!("a limit of {by} fell: {}", bound_words(&limit.bound));
                let told = new_line(
                    limit.id,
                    "limit",
                    if limit.author == since.me { 92 } else { 65 },
                    &text,
                );
                put(&mut groups, RecordId(beyond.claim.0), &beyond.summary, told);
            }
        }
        for proposal in state.proposals() {
            for told in proposal_lines(state, proposal, since) {
                put(&mut groups, proposal.id, &proposal_title(proposal), told);
            }
        }
        let end = index.told_until(state.height(), since.height);
        for item in index.items.values().filter(|item| is_new(item, since.height, end)) {
            if item.author == since.me {
                continue;
            }
            let row = PostRow::new(state, item);
            let first = index.items.get(&row.thread).map(|first| PostRow::new(state, first));
            let title = match (&first, state.proposal(row.thread)) {
                (Some(first), _) => first.headline().to_owned(),
                (None, Some(proposal)) => proposal_title(proposal),
                (None, None) => "(its first post is not here)".to_owned(),
            };
            let (why, relevance) = reader.relevance(item);
            let told = new_line(row.id, why, relevance, &post_text(&row));
            put(&mut groups, row.thread, &title, told);
        }
        let lines = since.lines.clamp(2, LINES_MAX);
        fit(groups, lines, since.height, end)
    }
}

impl Index {
    /// The last height whose posts are all here and readable, or have been waited for long enough.
    fn told_until(&self, head: u64, since: u64) -> u64 {
        let taken = self.taken.min(head);
        let waited_for = since.max(taken.saturating_sub(BODY_PATIENCE_BLOCKS));
        let heights =
            self.missing.values().flatten().filter_map(|id| match self.items.get(id)?.place {
                Place::Ordered { height, .. } if height > waited_for => Some(height - 1),
                _ => None,
            });
        heights.min().unwrap_or(taken).max(since.min(head))
    }
}

impl<'a> Reader<'a> {
    fn new(state: &State, index: &'a Index, me: PeerId) -> Self {
        let mine = || index.items.values().filter(|item| item.author == me);
        let levers = mine().flat_map(|item| match item.detail() {
            Some(Detail::Plan(plan)) => plan.levers.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        });
        let claims = state.claims().filter(|claim| claim.author == me).map(|claim| claim.id.0);
        Self {
            mentions: index.calling(state, me),
            threads: mine().map(|item| index.root(item.id)).collect(),
            levers: levers.collect(),
            own: claims.chain(mine().map(|item| item.id.0)).chain([me.0]).collect(),
        }
    }

    /// Why a post matters to the reader, and how much.
    fn relevance(&self, item: &Item) -> (&'static str, u8) {
        let names_own = |detail: &Detail| detail.names().iter().any(|id| self.own.contains(id));
        match item.detail() {
            Some(flag @ Detail::Flag(_)) if names_own(flag) => return ("flag", 100),
            _ if self.mentions.contains(&item.id) => return ("mention", 95),
            Some(Detail::Flag(_)) => return ("flag", 85),
            _ if item.solicits.is_some() => return ("solicits", 83),
            Some(Detail::Plan(plan))
                if plan.levers.iter().any(|lever| self.levers.contains(lever.as_str())) =>
            {
                return ("plan", 80);
            }
            Some(detail) if names_own(detail) => return ("reply", 75),
            _ => {}
        }
        let body = item.body.as_ref();
        let refers = body.is_some_and(|body| body.refs.iter().any(|id| self.own.contains(&id.0)));
        match body.and_then(|body| body.thread) {
            _ if refers => ("reply", 72),
            Some(thread) if self.threads.contains(&thread) => ("reply", 70),
            Some(_) => ("post", 30),
            None if item.post.kind == Kind::Message => ("new", 45),
            None => ("new", 50),
        }
    }
}

fn is_new(item: &Item, since: u64, end: u64) -> bool {
    match item.place {
        Place::Ordered { height, .. } => height > since && (item.body.is_some() || height <= end),
        // It will have a height above the reader's when it gets one, and be listed then.
        Place::Waiting { .. } => false,
    }
}

fn claim_lines(state: &State, claim: &ClaimState, since: Since) -> Vec<DigestLine> {
    let mine = claim.author == since.me;
    let id = RecordId(claim.id.0);
    let by = Named::new(state, claim.author).name;
    let mut lines = Vec::new();
    if claim.settled_at.is_some_and(|height| height > since.height) {
        let ratio = claim.verdict().and_then(|verdict| verdict.ratio);
        let ratio = ratio.map_or_else(String::new, |r| format!(" at {:.3}×", r.ppm as f64 / 1e6));
        let word = match claim.outcome() {
            Some(Outcome::Accepted) => "accepted",
            Some(Outcome::Refuted) => "refuted",
            _ => "undecided",
        };
        let text = format!("claim {} by {by} is {word}{ratio}", claim.id.short());
        lines.push(new_line(id, "entry", if mine { 90 } else { 60 }, &text));
    }
    if claim.debunked.as_ref().is_some_and(|debunked| debunked.height > since.height) {
        let text = format!("entry {} by {by} is debunked", claim.id.short());
        lines.push(new_line(id, "debunked", if mine { 98 } else { 82 }, &text));
    }
    lines
}

fn proposal_title(proposal: &ProposalState) -> String {
    format!("{} {} → {}", proposal.parameter.path(), proposal.before, proposal.value)
}

/// That a proposal was made, and what became of it. One on which the reader's operator can still vote
/// matters most.
fn proposal_lines(state: &State, proposal: &ProposalState, since: Since) -> Vec<DigestLine> {
    let open = proposal.resolution.is_none();
    let by = Named::new(state, proposal.by).name;
    let mut lines = Vec::new();
    if proposal.opened_at > since.height {
        let operator = state.members().get(&since.me).map(|member| &member.operator);
        let voted = operator.is_none_or(|operator| proposal.voices.contains_key(operator));
        let relevance = if open && !voted { 88 } else { 58 };
        let text = format!("{by} proposes it: {}", proposal.why);
        lines.push(new_line(proposal.id, "proposal", relevance, &text));
    }
    if proposal.decided_at.is_some_and(|height| height > since.height) {
        let text = format!("the proposal is {}", proposal.word());
        lines.push(new_line(proposal.id, "vote", 84, &text));
    }
    lines
}

/// A post in a line.
fn post_text(row: &PostRow) -> String {
    let short = |id: Option<ClaimId>| id.map_or_else(String::new, |id| format!(" {}", id.short()));
    let extra = match &row.detail {
        Some(Detail::Plan(plan)) => format!(" [{}]", plan.levers.join(", ")),
        Some(Detail::DeadEnd(end)) => format!(" [{}]", end.levers.join(", ")),
        Some(Detail::Limit(limit)) => format!(" [{}]", limit.levers.join(", ")),
        Some(Detail::Flag(flag)) => format!(" [{} {}]", flag.rule, flag.subject.short()),
        Some(Detail::Result(result)) => {
            format!(" [{:.3}×{}]", result.ratio_ppm as f64 / 1e6, short(result.claim))
        }
        Some(Detail::Diagnosis(found)) => format!(" [{}]", found.codes.join(", ")),
        _ => String::new(),
    };
    format!("{} by {}{extra}: {}", row.kind.word(), row.author.name, row.headline())
}

fn new_line(id: RecordId, why: &str, relevance: u8, text: &str) -> DigestLine {
    let text = cut(&line(text), LINE_CHARS_MAX);
    DigestLine { id, why: why.to_owned(), relevance, text }
}

fn put(groups: &mut BTreeMap<RecordId, Group>, id: RecordId, title: &str, told: DigestLine) {
    let group = groups.entry(id).or_insert_with(|| Group {
        id,
        title: cut(&line(title), LINE_CHARS_MAX),
        relevance: 0,
        lines: Vec::new(),
        more: 0,
    });
    group.relevance = group.relevance.max(told.relevance);
    group.lines.push(told);
}

/// Takes the most relevant groups and lines that fit.
fn fit(groups: BTreeMap<RecordId, Group>, lines: usize, since: u64, height: u64) -> Digest {
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| b.relevance.cmp(&a.relevance).then_with(|| a.id.cmp(&b.id)));
    // One line closes the digest.
    let mut room = lines.saturating_sub(1);
    let mut left_out = LeftOut::default();
    let mut shown = Vec::new();
    for mut group in groups {
        group.lines.sort_by_key(|line| std::cmp::Reverse(line.relevance));
        let all = group.lines.len();
        if room < 2 {
            left_out.groups += 1;
            left_out.lines += all;
            continue;
        }
        group.lines.truncate(GROUP_LINES_MAX.min(room - 1));
        group.more = all - group.lines.len();
        left_out.lines += group.more;
        room -= 1 + group.lines.len();
        shown.push(group);
    }
    Digest { since, height, groups: shown, left_out }
}
