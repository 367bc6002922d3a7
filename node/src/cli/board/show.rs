//! The board in a terminal. Strangers wrote it: all of it goes through [`crate::text`].

use crate::board::{Digest, PostRow, Posts, ThreadView, Threads, bound_words};
use crate::cli::output::table;
use crate::text::{cut, line, paragraphs};
use assay_protocol::post::{Detail, Playbook, Table};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest headline in a table, in characters.
const HEADLINE_CHARS_MAX: usize = 72;

/// A Unix time to the second.
pub(in crate::cli) fn moment(time_ms: u64) -> String {
    let seconds = i64::try_from(time_ms / 1_000).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "-".to_owned())
}

pub(super) fn posts(posts: &Posts) -> String {
    if posts.posts.is_empty() {
        return "No posts. Write one: assay board post --help".to_owned();
    }
    let shown = posts.offset + posts.posts.len();
    let rest = match posts.total.saturating_sub(shown) {
        0 => String::new(),
        rest => format!("\n\n{rest} more: --offset {shown}"),
    };
    format!("{}{rest}", post_table(&posts.posts))
}

/// Posts as a table.
fn post_table(posts: &[PostRow]) -> String {
    table(
        &["post", "kind", "author", "channel", "when", "what"],
        posts.iter().map(|post| {
            vec![
                post.id.short(),
                post.kind.word().to_owned(),
                post.author.name.clone(),
                format!("#{}", post.channel),
                if post.height.is_some() { moment(post.time_ms) } else { "waiting".to_owned() },
                cut(post.headline(), HEADLINE_CHARS_MAX),
            ]
        }),
    )
}

pub(super) fn threads(threads: &Threads) -> String {
    if threads.threads.is_empty() {
        return "No threads. Begin one: assay board post --help".to_owned();
    }
    let rows = table(
        &["thread", "channel", "posts", "voices", "flags", "last", "begun by", "what"],
        threads.threads.iter().map(|thread| {
            vec![
                thread.id.short(),
                format!("#{}", thread.channel),
                thread.posts.to_string(),
                thread.voices.to_string(),
                thread.flags.to_string(),
                moment(thread.last_ms),
                thread.author.name.clone(),
                cut(&thread.title, HEADLINE_CHARS_MAX),
            ]
        }),
    );
    let shown = threads.offset + threads.threads.len();
    match threads.total.saturating_sub(shown) {
        0 => rows,
        rest => format!("{rows}\n\n{rest} more: --offset {shown}"),
    }
}

/// The line over a post.
pub(in crate::cli) fn heading(post: &PostRow) -> String {
    let place = match post.height {
        Some(height) => format!("block {height}, {}", moment(post.time_ms)),
        None => "waiting to be ordered".to_owned(),
    };
    let title = match post.title.trim() {
        "" => String::new(),
        title => format!("\n{}", line(title)),
    };
    format!(
        "{} {} by {} in #{} ({place}){title}",
        post.id.short(),
        post.kind.word(),
        line(&post.author.name),
        line(&post.channel)
    )
}

/// What a post says, indented.
pub(in crate::cli) fn body_lines(post: &PostRow) -> Vec<String> {
    if !post.complete {
        return vec!["  (no peer has given what it says yet)".to_owned()];
    }
    let text = paragraphs(&post.text);
    let mut lines: Vec<String> = text.lines().map(|text| format!("  {text}")).collect();
    lines.extend(post.detail.iter().flat_map(detail_lines));
    if !post.refs.is_empty() {
        let refs: Vec<String> = post.refs.iter().map(|id| id.short()).collect();
        lines.push(format!("  refers to {}", refs.join(", ")));
    }
    lines
}

fn detail_lines(detail: &Detail) -> Vec<String> {
    let said = match detail {
        Detail::Plan(plan) => {
            let parent = plan.parent.map_or("the base recipe".to_owned(), |id| id.short());
            format!("turns {} on {parent}", plan.levers.join(", "))
        }
        Detail::Result(result) => {
            let ratio = result.ratio_ppm as f64 / 1e6;
            format!("{ratio:.3}× on {}", result.hardware_class)
        }
        Detail::Spec(spec) => format!("{} · {}", spec.change, spec.experiment),
        Detail::Checkpoint(built) => {
            let from = built.made_from.map_or(String::new(), |id| format!(" from {}", id.short()));
            format!("checkpoint {}{from} {}", built.manifest, built.scheme)
        }
        Detail::Attempt(attempt) if attempt.ran => format!("{} runs", attempt.checkpoint),
        Detail::Attempt(attempt) => format!("{} fails: {}", attempt.checkpoint, attempt.error),
        Detail::Diagnosis(found) => {
            let mended = found.corrected.map_or(String::new(), |id| format!("; corrected: {id}"));
            format!("attempt {}: {}{mended}", found.attempt.short(), found.codes.join(", "))
        }
        Detail::Playbook(book) => return playbook_lines(book),
        Detail::DeadEnd(end) => format!("does not pay: {}", end.levers.join(", ")),
        Detail::Flag(flag) => format!("flags {} under rule {}", flag.subject.short(), flag.rule),
        Detail::Endorsement(said) => format!("endorses {}", said.playbook.short()),
        Detail::Limit(limit) => {
            format!("{} go no further: {}", limit.levers.join(", "), bound_words(&limit.bound))
        }
    };
    vec![format!("  · {}", line(&said))]
}

fn playbook_lines(book: &Playbook) -> Vec<String> {
    let revises = book.revises.map(|id| format!("revises {}", id.short()));
    let rows: Vec<String> = match &book.table {
        None => Vec::new(),
        Some(Table::Triage(rows)) => {
            rows.iter().map(|row| format!("{}: {} → {}", row.sign, row.cause, row.remedy)).collect()
        }
        Some(Table::Levers(rows)) => rows
            .iter()
            .map(|row| {
                let claim =
                    row.claim.map_or(String::new(), |id| format!(" (claim {})", id.short()));
                format!("{}: {}{claim}", row.lever, row.note)
            })
            .collect(),
    };
    revises.into_iter().chain(rows).map(|said| format!("  · {}", line(&said))).collect()
}

pub(super) fn thread(thread: &ThreadView) -> String {
    let mut out = Vec::new();
    for view in &thread.posts {
        out.push(heading(&view.post));
        out.extend(body_lines(&view.post));
        if let Some(found) = &view.post.solicits {
            out.push(format!("  ⚑ asks to go on elsewhere: {}", line(found)));
        }
        for flag in &view.flags {
            let (rule, by) = (line(&flag.rule), line(&flag.post.author.name));
            out.push(format!("  ⚑ flagged by {by} under rule {rule} ({})", flag.post.id.short()));
        }
        out.push(String::new());
    }
    match thread.total.saturating_sub(thread.offset + thread.posts.len()) {
        0 => {
            out.pop();
        }
        rest => out.push(format!("{rest} more: --offset {}", thread.offset + thread.posts.len())),
    }
    out.join("\n")
}

pub(super) fn digest(digest: &Digest) -> String {
    let mut out = Vec::new();
    for group in &digest.groups {
        let more = match group.more {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        out.push(format!("{} {}{more}", group.id.short(), line(&group.title)));
        let told = |told: &crate::board::DigestLine| {
            format!("  {:<10} {} {}", told.why, told.id.short(), line(&told.text))
        };
        out.extend(group.lines.iter().map(told));
    }
    let range = format!("blocks {} to {}", digest.since.saturating_add(1), digest.height);
    out.push(match (digest.groups.len(), digest.left_out.lines) {
        (0, _) => format!("Nothing happened since block {}.", digest.since),
        (_, 0) => format!("{range}; nothing left out."),
        (_, lines) => format!(
            "{range}; left out: {lines} lines, {} whole threads or claims (--lines).",
            digest.left_out.groups
        ),
    });
    out.join("\n")
}
