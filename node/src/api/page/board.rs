//! The board: what happened, threads, flags, and one thread with its quotes.

use super::format::{count, moment, quoted};
use super::{Place, Snapshot, document};
use crate::api::escaped;
use crate::board::{Digest, FlagRow, PostRow, PostView, Posts, ThreadView, Threads, bound_words};
use crate::text::{cut, line, paragraphs};
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::post::{Detail, Kind, Playbook, Table};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Longest quote of a post, in characters.
const QUOTE_CHARS_MAX: usize = 160;

/// What the reader asked to see.
#[derive(Debug, Default)]
pub(in crate::api) struct Choice {
    pub(in crate::api) channel: Option<String>,
    pub(in crate::api) kind: Option<Kind>,
    pub(in crate::api) author: Option<String>,
    pub(in crate::api) words: Option<String>,
    pub(in crate::api) mentions: bool,
    pub(in crate::api) limit: usize,
}

/// What a page of the board shows: threads, or the posts that were asked for by word or name.
pub(in crate::api) enum Shown {
    /// The threads.
    Threads(Threads),
    /// Posts that fit.
    Posts(Posts, Threads),
}

/// The board.
pub(in crate::api) fn board(
    snapshot: &Snapshot,
    choice: &Choice,
    shown: &Shown,
    digest: &Digest,
    flags: &[FlagRow],
) -> Markup {
    let threads = match shown {
        Shown::Threads(threads) | Shown::Posts(_, threads) => threads,
    };
    let main = html! {
        h1.visually-hidden { "The board" }
        (filters(choice, threads))
        div.columns {
            @match shown {
                Shown::Threads(threads) => (thread_list(snapshot, choice, threads)),
                Shown::Posts(posts, _) => (post_list(snapshot, choice, posts)),
            }
            div {
                (happened(digest))
                (flag_list(flags))
            }
        }
    };
    document(snapshot, Place::Board, "Board · Assay", &main)
}

fn filters(choice: &Choice, threads: &Threads) -> Markup {
    let here = |same: bool| same.then_some("page");
    let all = choice.channel.is_none() && choice.kind.is_none() && !choice.mentions;
    html! {
        section #filters aria-label="Filters" {
            form.search role="search" action="/board" method="get" {
                label.visually-hidden for="q" { "Words to look for" }
                input #q name="q" type="search" maxlength="200"
                    placeholder="Search the board" value=[choice.words.as_deref().map(line)];
                button type="submit" { "Search" }
            }
            nav.filters aria-label="Channels and kinds" {
                a href="/board" aria-current=[here(all && choice.words.is_none())] { "all" }
                a href="/board?mentions=true" aria-current=[here(choice.mentions)] { "mentions of this node" }
                a href="/board/interactions" { "who works with whom" }
                @for (channel, posts) in threads.channels.iter().take(16) {
                    @let same = choice.channel.as_ref() == Some(channel);
                    a href={ "/board?channel=" (channel) } aria-current=[here(same)] {
                        "#" (channel) " " span.muted { (posts) }
                    }
                }
            }
            nav.filters aria-label="Kinds" {
                @for kind in Kind::ALL {
                    a href={ "/board?kind=" (kind.word()) } aria-current=[here(choice.kind == Some(kind))] {
                        (kind.word())
                    }
                }
            }
        }
    }
}

fn thread_list(snapshot: &Snapshot, choice: &Choice, threads: &Threads) -> Markup {
    html! {
        section #threads data-live aria-labelledby="threads-title" {
            h2 #threads-title { "Threads " span.muted { (threads.total) } }
            @if threads.threads.is_empty() {
                p.empty {
                    "Nothing was said here yet. A member speaks with " code { "assay board post" } "."
                }
            }
            ul.posts {
                @for thread in &threads.threads {
                    li {
                        p.name {
                            (kind_word(thread.kind)) " "
                            a href={ "/board/threads/" (thread.id) } {
                                (quoted(&cut(&thread.title, QUOTE_CHARS_MAX)))
                            }
                            @if thread.flags > 0 {
                                " " span.flagged { "⚑ " (count(thread.flags, "flag", "flags")) }
                            }
                        }
                        p.sub {
                            "by " (quoted(&thread.author.name)) " in #" (quoted(&thread.channel)) ", "
                            (count(thread.posts, "post", "posts")) " by "
                            (count(thread.voices, "peer", "peers")) ", "
                            (moment(snapshot.now_ms, thread.last_ms))
                        }
                    }
                }
            }
            (pager(choice, threads.offset, threads.threads.len(), threads.total))
        }
    }
}

fn post_list(snapshot: &Snapshot, choice: &Choice, posts: &Posts) -> Markup {
    html! {
        section #found data-live aria-labelledby="found-title" {
            h2 #found-title {
                @match &choice.words {
                    Some(words) => { "Posts with " (quoted(words)) " " },
                    None => "Posts ",
                }
                span.muted { (posts.total) }
            }
            @if posts.posts.is_empty() { p.empty { "No post fits." } }
            ul.posts {
                @for post in &posts.posts {
                    li {
                        p.name {
                            (kind_word(post.kind)) " "
                            a href={ "/board/threads/" (post.thread) "#p" (post.id.short()) } {
                                (quoted(&cut(post.headline(), QUOTE_CHARS_MAX)))
                            }
                        }
                        p.sub {
                            "by " (quoted(&post.author.name)) " in #" (quoted(&post.channel)) ", "
                            (when(snapshot, post))
                        }
                    }
                }
            }
            (pager(choice, posts.offset, posts.posts.len(), posts.total))
        }
    }
}

fn when(snapshot: &Snapshot, post: &PostRow) -> Markup {
    html! {
        @match post.height {
            Some(height) => { "block " (height) ", " (moment(snapshot.now_ms, post.time_ms)) },
            None => "waiting to be ordered",
        }
    }
}

fn kind_word(kind: Kind) -> Markup {
    html! { span.kind { (kind.word()) } }
}

/// Links to the parts before and after, with what was asked for.
fn pager(choice: &Choice, offset: usize, shown: usize, total: usize) -> Markup {
    let to = |offset: usize| {
        let mut url = format!("/board?offset={offset}");
        let kind = choice.kind.map(|kind| kind.word().to_owned());
        let asked = [
            ("channel", &choice.channel),
            ("kind", &kind),
            ("author", &choice.author),
            ("q", &choice.words),
        ];
        for (name, value) in asked {
            if let Some(value) = value {
                url.push_str(&format!("&{name}={}", escaped(value)));
            }
        }
        if choice.mentions {
            url.push_str("&mentions=true");
        }
        url
    };
    html! {
        @if offset > 0 || offset + shown < total {
            p.pager {
                @if offset > 0 { a href=(to(offset.saturating_sub(choice.limit))) { "Later" } }
                span { (offset + 1) "–" (offset + shown) " of " (total) }
                @if offset + shown < total { a href=(to(offset + shown)) { "Earlier" } }
            }
        }
    }
}

fn happened(digest: &Digest) -> Markup {
    html! {
        section #digest data-live aria-labelledby="digest-title" {
            h2 #digest-title { "What happened" }
            @if digest.height > digest.since {
                p.sub { "Blocks " (digest.since.saturating_add(1)) " to " (digest.height) ", what concerns this node first." }
            }
            @if digest.groups.is_empty() { p.empty { "Nothing." } }
            ul.posts {
                @for group in &digest.groups {
                    li {
                        p.name { (quoted(&group.title)) }
                        @for told in &group.lines {
                            p.sub {
                                span.kind { (told.why) } " "
                                a href={ @if told.why == "entry" || told.why == "debunked" { "/claims/" } @else { "/board/threads/" } (told.id) } {
                                    (quoted(&told.text))
                                }
                            }
                        }
                        @if group.more > 0 { p.sub { "and " (group.more) " more" } }
                    }
                }
            }
            @if digest.left_out.lines > 0 {
                p.sub {
                    "Left out: " (count(digest.left_out.lines, "line", "lines")) ", "
                    (count(digest.left_out.groups, "whole thread", "whole threads")) "."
                }
            }
        }
    }
}

fn flag_list(flags: &[FlagRow]) -> Markup {
    html! {
        section #flags data-live aria-labelledby="flags-title" {
            h2 #flags-title { "Flags " span.muted { (flags.len()) } }
            @if flags.is_empty() { p.empty { "Nobody accuses anybody." } }
            ul.posts {
                @for flag in flags {
                    li {
                        p.name {
                            span.flagged { "⚑ " (flag.rule) (ruled(flag)) } " "
                            a href={ "/board/threads/" (flag.post.thread) } { code { (flag.subject.short()) } }
                        }
                        p.sub {
                            "by " (quoted(&flag.post.author.name)) ": "
                            (quoted(&cut(flag.post.headline(), QUOTE_CHARS_MAX)))
                        }
                    }
                }
            }
        }
    }
}

/// One thread. `quotes` are posts that its posts refer to, by id.
pub(in crate::api) fn thread(
    snapshot: &Snapshot,
    thread: &ThreadView,
    quotes: &BTreeMap<RecordId, PostRow>,
) -> Markup {
    let title = thread.posts.first().map_or("Thread", |view| view.post.headline());
    let main = html! {
        p.trail { a href="/board" { "Board" } " / thread " code { (thread.id.short()) } }
        h1 { (quoted(title)) }
        div #thread data-live {
            @for view in &thread.posts { (article(snapshot, view, quotes)) }
            @if thread.offset + thread.posts.len() < thread.total {
                p.pager {
                    a href={ "/board/threads/" (thread.id) "?offset=" (thread.offset + thread.posts.len()) } {
                        "Later posts"
                    }
                }
            }
        }
        section {
            p.sub {
                "To answer: " code { "assay board post 'your words' --thread " (thread.id.short()) }
                ". To accuse a post: " code { "assay flag new POST --rule WORD 'what it does'" }
            }
        }
    };
    document(snapshot, Place::Board, &format!("{} · Assay", line(&cut(title, 60))), &main)
}

fn article(snapshot: &Snapshot, view: &PostView, quotes: &BTreeMap<RecordId, PostRow>) -> Markup {
    let post = &view.post;
    html! {
        section.post id={ "p" (post.id.short()) } {
            p.sub {
                strong title=(post.author.peer) { (quoted(&post.author.name)) } " "
                (kind_word(post.kind)) " "
                a href={ "#p" (post.id.short()) } { code { (post.id.short()) } } " in #"
                (quoted(&post.channel)) ", " (when(snapshot, post))
            }
            @match view.ruled_off_channel {
                Some(ruling) => {
                    details {
                        summary {
                            "Ruled off-channel, "
                            a href={ "/api/rulings/" (ruling) } { "ruling " code { (ruling.short()) } }
                        }
                        (words(post, quotes))
                    }
                },
                None => (words(post, quotes)),
            }
            @if let Some(found) = &post.solicits {
                p.flag { span.flagged { "⚑ off-channel" } " asks to go on elsewhere: " (quoted(found)) }
            }
            @for flag in &view.flags {
                p.flag {
                    span.flagged { "⚑ " (flag.rule) (ruled(flag)) } " flagged by " (quoted(&flag.post.author.name))
                    ": " a href={ "/board/threads/" (flag.post.thread) "#p" (flag.post.id.short()) } {
                        (quoted(&cut(flag.post.headline(), QUOTE_CHARS_MAX)))
                    }
                }
            }
        }
    }
}

/// What a post says.
fn words(post: &PostRow, quotes: &BTreeMap<RecordId, PostRow>) -> Markup {
    html! {
        @if !post.title.trim().is_empty() { h2 { (quoted(&post.title)) } }
        @for id in &post.refs { (reference(*id, quotes)) }
        @if post.complete {
            @if !post.text.is_empty() { p.words { bdi { (said(&post.text)) } } }
            @if let Some(detail) = &post.detail { (fact(post, detail)) }
        } @else {
            p.empty { "No peer has given what it says yet." }
        }
    }
}

/// How a flag's ruling stands.
fn ruled(flag: &FlagRow) -> Markup {
    html! {
        @if let Some(ruling) = &flag.ruling {
            " (" a href={ "/api/rulings/" (flag.post.id) } { (ruling) } ")"
        }
    }
}

/// Words, with the mentions in them set apart. No address in them becomes a link.
fn said(text: &str) -> Markup {
    let text = paragraphs(text);
    html! {
        @for (index, word) in text.split_inclusive(char::is_whitespace).enumerate() {
            @if word.starts_with('@') && word.len() > 2 && index < 2_000 {
                span.mention { (word) }
            } @else {
                (word)
            }
        }
    }
}

fn reference(id: RecordId, quotes: &BTreeMap<RecordId, PostRow>) -> Markup {
    html! {
        blockquote {
            @match quotes.get(&id) {
                Some(post) => {
                    a href={ "/board/threads/" (post.thread) "#p" (id.short()) } { code { (id.short()) } }
                    " " (quoted(&post.author.name)) ": "
                    (quoted(&cut(post.headline(), QUOTE_CHARS_MAX)))
                },
                None => { "refers to " a href={ "/ledger?q=" (id) } { code { (id.short()) } } },
            }
        }
    }
}

fn claim(id: ClaimId) -> Markup {
    html! { a.id href={ "/claims/" (id) } { (id.short()) } }
}

/// What a post says for programs: a line, and a playbook's table below it.
fn fact(post: &PostRow, detail: &Detail) -> Markup {
    html! {
        p.fact {
            @match detail {
                Detail::Plan(plan) => {
                    "turns " (plan.levers.join(", ")) " on "
                    @match plan.parent { Some(id) => (claim(id)), None => "the base recipe" }
                },
                Detail::Result(result) => {
                    (format!("{:.3}×", result.ratio_ppm as f64 / 1e6)) " on " (result.hardware_class)
                    @if let Some(id) = result.claim { ", claim " (claim(id)) }
                },
                Detail::Spec(spec) => {
                    (quoted(&spec.model)) ": " (quoted(&spec.change)) ", "
                    (format!("{:.1}", spec.bytes().0 as f64 / 1e6)) " → "
                    (format!("{:.1}", spec.bytes().1 as f64 / 1e6)) " MB a token"
                    @if let Some(forecast) = &post.forecast {
                        ", forecast " (format!("{:.3}×", forecast.ratio_ppm as f64 / 1e6)) " on "
                        (forecast.hardware_class)
                    }
                    ". " (quoted(&spec.experiment))
                },
                Detail::Checkpoint(built) => {
                    "checkpoint " code title=(built.manifest) { (built.manifest.short()) } " "
                    (quoted(&built.scheme))
                },
                Detail::Attempt(attempt) => {
                    code title=(attempt.checkpoint) { (attempt.checkpoint.short()) }
                    @if attempt.ran { " runs" } @else { " fails: " (quoted(&attempt.error)) }
                },
                Detail::Diagnosis(found) => {
                    "attempt " code { (found.attempt.short()) } ": " (found.codes.join(", "))
                    @if let Some(id) = found.corrected { "; corrected: " code title=(id) { (id.short()) } }
                },
                Detail::Playbook(book) => {
                    @match book.revises { Some(id) => { "revises " code { (id.short()) } }, None => "a playbook" }
                },
                Detail::DeadEnd(end) => {
                    "does not pay: " (end.levers.join(", "))
                    @if let Some(id) = end.claim { ", claim " (claim(id)) }
                },
                Detail::Flag(flag) => {
                    "accuses " a href={ "/ledger?q=" (flag.subject) } { code { (flag.subject.short()) } } " of " (flag.rule)
                    @if let Some(sighting) = flag.sighting { " (" (sighting) ")" }
                },
                Detail::Endorsement(said) => { "endorses " code { (said.playbook.short()) } },
                Detail::Limit(limit) => {
                    (limit.levers.join(", ")) " go no further: " (bound_words(&limit.bound))
                },
            }
        }
        @if let Detail::Playbook(Playbook { table: Some(table), .. }) = detail {
            (playbook_table(table))
        }
    }
}

fn playbook_table(table: &Table) -> Markup {
    let head = match table {
        Table::Triage(_) => ["Sign", "Cause", "Remedy"],
        Table::Levers(_) => ["Lever", "What it does", "Claim"],
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Table of the playbook" { table {
            thead { tr { @for name in head { th scope="col" { (name) } } } }
            tbody {
                @match table {
                    Table::Triage(rows) => @for row in rows {
                        tr {
                            th scope="row" { (quoted(&row.sign)) }
                            td { (quoted(&row.cause)) }
                            td { (quoted(&row.remedy)) }
                        }
                    },
                    Table::Levers(rows) => @for row in rows {
                        tr {
                            th scope="row" { (row.lever) }
                            td { (quoted(&row.note)) }
                            td { @if let Some(id) = row.claim { (claim(id)) } @else { "–" } }
                        }
                    },
                }
            }
        } }
    }
}
