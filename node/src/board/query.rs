//! Questions to the board.

use super::Board;
use super::index::{Index, Item};
use super::rows::{
    Endorsed, FlagRow, PlaybookRow, PostRow, PostView, Posts, ThreadRow, ThreadView, Threads,
};
use super::tables::LeverRow;
use super::words::{handles, words};
use crate::api::Named;
use assay_protocol::ids::{BlobHash, PeerId, RecordId};
use assay_protocol::post::{Detail, Kind, PostBody};
use assay_protocol::state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most posts or threads in one answer.
pub const POSTS_PER_ANSWER_MAX: usize = 500;
/// Fewest digits of an abbreviated record id.
const PREFIX_DIGITS_MIN: usize = 6;
/// Most revisions of a playbook that are followed.
const REVISIONS_MAX: usize = 200;

/// Which posts to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In this channel.
    pub channel: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// By this peer.
    pub author: Option<PeerId>,
    /// Answers to leave out at the beginning.
    pub offset: usize,
    /// Most answers.
    pub limit: usize,
}

impl Filter {
    fn takes(&self, item: &Item) -> bool {
        let channel = || item.body.as_ref().map(|body| &body.channel);
        self.channel.as_ref().is_none_or(|wanted| channel() == Some(wanted))
            && self.kind.is_none_or(|kind| kind == item.post.kind)
            && self.author.is_none_or(|author| author == item.author)
    }

    fn part<T>(&self, all: impl Iterator<Item = T>) -> Vec<T> {
        all.skip(self.offset).take(self.limit.min(POSTS_PER_ANSWER_MAX)).collect()
    }
}

impl Index {
    pub(super) fn newest(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.order.values().rev().filter_map(|id| self.items.get(id))
    }

    /// Posts by their ids, in the common order.
    pub(super) fn ordered(&self, ids: &BTreeSet<RecordId>) -> Vec<&Arc<Item>> {
        let mut items: Vec<&Arc<Item>> = ids.iter().filter_map(|id| self.items.get(id)).collect();
        items.sort_by_key(|item| item.place);
        items
    }

    /// The posts that name something, oldest first.
    pub(super) fn naming(&self, name: [u8; 32]) -> Vec<&Arc<Item>> {
        self.backrefs.get(&name).map(|ids| self.ordered(ids)).unwrap_or_default()
    }

    /// The flags raised against something.
    pub(super) fn flags_of(&self, state: &State, name: [u8; 32]) -> Vec<FlagRow> {
        let naming = self.naming(name).into_iter();
        naming
            .filter_map(|item| flag_row(state, item))
            .filter(|flag| flag.subject.0 == name)
            .collect()
    }

    /// The posts that call a peer.
    pub(super) fn calling(&self, state: &State, peer: PeerId) -> BTreeSet<RecordId> {
        let name = state.members().get(&peer).map_or("", |member| member.name.as_str());
        let handles = handles(name, &peer.to_string());
        let called = handles.iter().filter_map(|handle| self.mentions.get(handle)).flatten();
        called.copied().collect()
    }

    fn thread_row(
        &self,
        state: &State,
        root: RecordId,
        ids: &BTreeSet<RecordId>,
    ) -> Option<ThreadRow> {
        let items = self.ordered(ids);
        let first = self.items.get(&root).or_else(|| items.first().copied())?;
        let row = PostRow::new(state, first);
        let voices: BTreeSet<PeerId> = items.iter().map(|item| item.author).collect();
        Some(ThreadRow {
            id: root,
            title: row.headline().to_owned(),
            channel: row.channel.clone(),
            kind: first.post.kind,
            author: row.author,
            posts: items.len(),
            voices: voices.len(),
            last_ms: items.last().map_or(0, |item| item.time_ms),
            flags: ids.iter().map(|id| self.flags_of(state, id.0).len()).sum(),
        })
    }
}

fn flag_row(state: &State, item: &Item) -> Option<FlagRow> {
    let Some(Detail::Flag(flag)) = item.detail() else { return None };
    Some(FlagRow {
        post: PostRow::new(state, item),
        rule: flag.rule.clone(),
        subject: flag.subject,
        ruling: state.ruling(item.id).map(|ruling| ruling.word().to_owned()),
        evidence: flag.evidence,
        sighting: flag.sighting,
    })
}

impl Board {
    /// Manifests of the checkpoints that posts offer.
    #[must_use]
    pub fn checkpoints(&self) -> BTreeSet<BlobHash> {
        let index = self.read();
        let of = |item: &Arc<Item>| match item.detail() {
            Some(Detail::Checkpoint(built)) => Some(built.manifest),
            _ => None,
        };
        index.newest().filter_map(of).collect()
    }

    /// The post that an id, or the unambiguous beginning of one, names.
    ///
    /// # Errors
    ///
    /// What to tell the reader.
    pub fn find(&self, text: &str) -> Result<Arc<Item>, String> {
        let prefix = text.to_ascii_lowercase();
        let digits = prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits || !(PREFIX_DIGITS_MIN..=64).contains(&prefix.len()) {
            return Err(format!(
                "a record id has 64 hexadecimal digits; its first {PREFIX_DIGITS_MIN} or more also do"
            ));
        }
        let index = self.read();
        let mut found =
            index.items.values().filter(|item| item.id.to_string().starts_with(&prefix));
        match (found.next(), found.next()) {
            (Some(item), None) => Ok(Arc::clone(item)),
            (None, _) => Err(format!("no post begins with {prefix}; `assay board list` has them")),
            (Some(_), Some(_)) => {
                Err(format!("several posts begin with {prefix}; give more digits"))
            }
        }
    }

    /// The thread that a post with this id belongs to.
    #[must_use]
    pub fn thread_of(&self, id: RecordId) -> RecordId {
        self.read().root(id)
    }

    /// One post by its record.
    #[must_use]
    pub fn item(&self, id: RecordId) -> Option<Arc<Item>> {
        self.read().items.get(&id).cloned()
    }

    /// The posts that ask to go on elsewhere, by record.
    #[must_use]
    pub fn soliciting(&self) -> Vec<Arc<Item>> {
        let index = self.read();
        index.items.values().filter(|item| item.solicits.is_some()).cloned().collect()
    }

    /// The posts that fit, newest first.
    #[must_use]
    pub fn posts(&self, state: &State, filter: &Filter) -> Posts {
        let index = self.read();
        let fitting = || index.newest().filter(|item| filter.takes(item));
        let posts = filter.part(fitting());
        Posts {
            total: fitting().count(),
            offset: filter.offset,
            posts: posts.into_iter().map(|item| PostRow::new(state, item)).collect(),
        }
    }

    /// The threads whose first post fits, the one with the latest post first.
    #[must_use]
    pub fn threads(&self, state: &State, filter: &Filter) -> Threads {
        let index = self.read();
        let fits = |root: &RecordId, ids: &BTreeSet<RecordId>| {
            let first = index.items.get(root).or_else(|| index.items.get(ids.first()?));
            first.is_some_and(|item| filter.takes(item))
        };
        let latest = |ids: &BTreeSet<RecordId>| index.ordered(ids).last().map(|item| item.place);
        let mut found: Vec<_> =
            index.threads.iter().filter(|(root, ids)| fits(root, ids)).collect();
        found.sort_by_cached_key(|(_, ids)| std::cmp::Reverse(latest(ids)));
        let total = found.len();
        let part = filter.part(found.into_iter());
        let rows = part.into_iter().filter_map(|(root, ids)| index.thread_row(state, *root, ids));
        let mut channels: BTreeMap<String, usize> = BTreeMap::new();
        for body in index.items.values().filter_map(|item| item.body.as_ref()) {
            *channels.entry(body.channel.clone()).or_default() += 1;
        }
        let mut channels: Vec<(String, usize)> = channels.into_iter().collect();
        channels.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        channels.truncate(POSTS_PER_ANSWER_MAX);
        Threads { total, offset: filter.offset, threads: rows.collect(), channels }
    }

    /// One post, if it is here.
    #[must_use]
    pub fn row(&self, state: &State, id: RecordId) -> Option<PostRow> {
        self.read().items.get(&id).map(|item| PostRow::new(state, item))
    }

    /// One post with what refers to it.
    #[must_use]
    pub fn post(&self, state: &State, item: &Item) -> PostView {
        PostView::new(state, &self.read(), item)
    }

    /// A whole thread, oldest first.
    #[must_use]
    pub fn thread(&self, state: &State, root: RecordId, filter: &Filter) -> ThreadView {
        let index = self.read();
        let ids = index.threads.get(&root).cloned().unwrap_or_default();
        let items = index.ordered(&ids);
        let total = items.len();
        let part = filter.part(items.into_iter());
        let posts = part.into_iter().map(|item| PostView::new(state, &index, item)).collect();
        ThreadView { id: root, total, offset: filter.offset, posts }
    }

    /// The posts that have every word of a question, those with more of them in the title first,
    /// then the newest.
    #[must_use]
    pub fn search(&self, state: &State, question: &str, filter: &Filter) -> Posts {
        let index = self.read();
        let asked = words(question);
        let mut found: Option<BTreeSet<RecordId>> = None;
        for word in &asked {
            let with = index.words.get(word).cloned().unwrap_or_default();
            found = Some(match found {
                None => with,
                Some(found) => found.intersection(&with).copied().collect(),
            });
        }
        let in_title = |item: &Item| {
            let title = item.body.as_ref().map(|body| words(&body.title)).unwrap_or_default();
            asked.intersection(&title).count()
        };
        let mut items = index.ordered(&found.unwrap_or_default());
        items.retain(|item| filter.takes(item));
        items.sort_by_cached_key(|item| std::cmp::Reverse((in_title(item), item.place)));
        let total = items.len();
        let posts = filter.part(items.into_iter().map(|item| PostRow::new(state, item)));
        Posts { total, offset: filter.offset, posts }
    }

    /// The posts that call a peer, newest first.
    #[must_use]
    pub fn mentions(&self, state: &State, peer: PeerId, filter: &Filter) -> Posts {
        let index = self.read();
        let mut items = index.ordered(&index.calling(state, peer));
        items.retain(|item| filter.takes(item));
        let total = items.len();
        let posts = filter.part(items.into_iter().rev().map(|item| PostRow::new(state, item)));
        Posts { total, offset: filter.offset, posts }
    }

    /// What others said last, at most `most`, newest first.
    #[must_use]
    pub fn latest_of_others(&self, me: PeerId, most: usize) -> Vec<PostBody> {
        let index = self.read();
        let others = index.newest().filter(|item| item.author != me);
        others.filter_map(|item| item.body.clone()).take(most).collect()
    }

    /// The flags, newest first, at most `limit`.
    #[must_use]
    pub fn flags(&self, state: &State, limit: usize) -> Vec<FlagRow> {
        let index = self.read();
        index.newest().filter_map(|item| flag_row(state, item)).take(limit).collect()
    }

    /// The flags raised against a record, claim or peer.
    #[must_use]
    pub fn flags_of(&self, state: &State, name: [u8; 32]) -> Vec<FlagRow> {
        self.read().flags_of(state, name)
    }

    /// The posts that name something, oldest first, at most `limit`.
    #[must_use]
    pub fn naming(&self, state: &State, name: [u8; 32], limit: usize) -> Vec<PostRow> {
        let index = self.read();
        let rows = index.naming(name).into_iter().take(limit);
        rows.map(|item| PostRow::new(state, item)).collect()
    }

    /// The playbooks, the best endorsed first.
    #[must_use]
    pub fn playbooks(&self, state: &State) -> Vec<PlaybookRow> {
        let index = self.read();
        let begins = |item: &&Arc<Item>| matches!(item.detail(), Some(Detail::Playbook(playbook)) if playbook.revises.is_none());
        let first = index.newest().filter(begins);
        let mut rows: Vec<PlaybookRow> =
            first.map(|item| playbook(state, &index, item)).take(POSTS_PER_ANSWER_MAX).collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.weight, row.latest.time_ms)));
        rows
    }
}

/// A playbook from its first revision on. Only its author revises it: what others write instead is a
/// playbook of their own.
fn playbook(state: &State, index: &Index, first: &Arc<Item>) -> PlaybookRow {
    let mut revisions = vec![Arc::clone(first)];
    while let Some(last) = revisions.last().filter(|_| revisions.len() < REVISIONS_MAX) {
        let next = index.naming(last.id.0).into_iter().find(|item| {
            let revises = |detail: &Detail| {
                matches!(detail, Detail::Playbook(book) if book.revises == Some(last.id))
            };
            item.author == first.author && item.detail().is_some_and(revises)
        });
        match next.cloned() {
            Some(next) => revisions.push(next),
            None => break,
        }
    }
    let operator = |peer: PeerId| state.members().get(&peer).map(|m| m.operator.as_str());
    let mut endorsed: BTreeMap<&str, Endorsed> = BTreeMap::new();
    for revision in &revisions {
        for item in index.naming(revision.id.0) {
            let Some(Detail::Endorsement(said)) = item.detail() else { continue };
            let member = state.active_member(item.author);
            let (Some(by), Some(member)) = (operator(item.author), member) else { continue };
            if said.playbook == revision.id && operator(first.author) != Some(by) {
                let standing = member.standing;
                let row = Endorsed {
                    by: Named::new(state, item.author),
                    revision: revision.id,
                    standing,
                };
                let known = endorsed.get(by).map_or(0, |known| known.standing);
                if standing >= known {
                    endorsed.insert(by, row);
                }
            }
        }
    }
    let latest = revisions.last().unwrap_or(first);
    PlaybookRow {
        latest: PostRow::new(state, latest),
        revisions: revisions.iter().map(|item| item.id).collect(),
        weight: endorsed.values().map(|row| row.standing).sum(),
        endorsed: endorsed.into_values().collect(),
        levers: LeverRow::all(state, latest.detail()),
    }
}
