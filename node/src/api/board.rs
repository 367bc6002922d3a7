//! The board over HTTP.

use super::Shared;
use super::page::{self, Choice, Knowledge, Shown};
use super::reply::{fault, html};
use super::routes::{App, snapshot, submitted};
use super::view::PostRequest;
use crate::board::{Beyond, Filter, LINES_DEFAULT, POSTS_PER_ANSWER_MAX, PostRow, Setting, Since};
use crate::explain::ClassNorms;
use assay_protocol::ids::{ClaimId, PeerId, RecordId};
use assay_protocol::post::{Bound, Kind};
use assay_protocol::state::State as Ledger;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Posts in one answer unless the caller says otherwise.
const LIMIT_DEFAULT: usize = 50;
/// Fewest digits of an abbreviated key.
const KEY_DIGITS_MIN: usize = 6;
/// Longest question to the search, in bytes.
const QUESTION_BYTES_MAX: usize = 1_000;

/// Threads or posts on one page.
const PAGE_POSTS: usize = 40;
/// Lines of the digest on the page.
const PAGE_DIGEST_LINES: usize = 24;
/// Blocks that the page's digest looks back.
const PAGE_DIGEST_BLOCKS: u64 = 200;
/// Dead ends on the page of what is known.
const PAGE_DEAD_ENDS: usize = 40;
/// Flags on the page.
const PAGE_FLAGS: usize = 12;

/// Everything under `/api/board`; `speak` is the guarded way to post.
pub(super) fn routes(speak: MethodRouter<Arc<Shared>>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/board", get(posts).merge(speak))
        .route("/api/board/threads", get(threads))
        .route("/api/board/threads/{id}", get(thread))
        .route("/api/board/posts/{id}", get(post))
        .route("/api/board/search", get(search))
        .route("/api/board/mentions", get(mentions))
        .route("/api/board/digest", get(digest))
        .route("/api/board/playbooks", get(playbooks))
        .route("/api/board/playbooks/{id}", get(playbook))
        .route("/api/board/triage", get(triage))
        .route("/api/board/flags", get(flags))
        .route("/api/board/known", get(known))
        .route("/api/board/specs", get(specs))
        .route("/api/board/specs/{id}", get(spec))
        .route("/api/board/limits", get(limits))
        .route("/api/board/limits/{id}", get(limit))
        .route("/api/board/beyond", get(beyond))
}

/// Which posts to answer with.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) channel: Option<String>,
    pub(super) kind: Option<Kind>,
    pub(super) author: Option<String>,
    pub(super) peer: Option<String>,
    pub(super) q: Option<String>,
    /// On the page: only what calls this node.
    #[serde(default)]
    pub(super) mentions: bool,
    #[serde(default)]
    pub(super) offset: usize,
    pub(super) limit: Option<usize>,
}

impl Ask {
    /// The filter that is asked for.
    ///
    /// # Errors
    ///
    /// What to tell a caller who names nobody.
    pub(super) fn filter(&self, ledger: &Ledger) -> Result<Filter, String> {
        Ok(Filter {
            channel: self.channel.clone().filter(|channel| !channel.is_empty()),
            kind: self.kind,
            author: match self.author.as_deref().filter(|author| !author.is_empty()) {
                None => None,
                Some(author) => Some(find_peer(ledger, author)?),
            },
            offset: self.offset,
            limit: self.limit.unwrap_or(LIMIT_DEFAULT).min(POSTS_PER_ANSWER_MAX),
        })
    }
}

/// The member that a name, a key or the beginning of a key names.
pub(super) fn find_peer(ledger: &Ledger, text: &str) -> Result<PeerId, String> {
    let prefix = text.to_ascii_lowercase();
    let by_key = (KEY_DIGITS_MIN..=64).contains(&text.len());
    let mut found = ledger.members().iter().filter(|(peer, member)| {
        member.name == text || (by_key && peer.to_string().starts_with(&prefix))
    });
    match (found.next(), found.next()) {
        (Some((peer, _)), None) => Ok(*peer),
        (None, _) => Err(format!("no member is called {text:?}; `assay members` lists them")),
        (Some(_), Some(_)) => Err(format!("several members fit {text:?}; give more digits")),
    }
}

type Asked = Result<Query<Ask>, QueryRejection>;

/// Answers a question about posts, or says what is wrong with it.
fn answer<T: Serialize>(
    shared: &Shared,
    asked: Asked,
    of: impl FnOnce(&Ledger, &Ask, &Filter) -> Result<T, String>,
) -> Response {
    let Query(ask) = match asked {
        Ok(ask) => ask,
        Err(rejection) => return fault(rejection.status(), &rejection.body_text()),
    };
    let ledger = shared.view.state();
    let result = ask.filter(&ledger).and_then(|filter| of(&ledger, &ask, &filter));
    match result {
        Ok(value) => Json(value).into_response(),
        Err(message) => fault(StatusCode::UNPROCESSABLE_ENTITY, &message),
    }
}

async fn posts(State(shared): App, asked: Asked) -> Response {
    let board = shared.view.board();
    answer(&shared, asked, |ledger, _, filter| Ok(board.posts(ledger, filter)))
}

async fn threads(State(shared): App, asked: Asked) -> Response {
    let board = shared.view.board();
    answer(&shared, asked, |ledger, _, filter| Ok(board.threads(ledger, filter)))
}

async fn thread(State(shared): App, Path(id): Path<String>, asked: Asked) -> Response {
    let board = shared.view.board();
    let root = match board.find(&id) {
        Ok(item) => board.thread_of(item.id),
        // A thread whose first post is not here can be named in full.
        Err(message) => match id.parse::<RecordId>() {
            Ok(id) => id,
            Err(_) => return fault(StatusCode::NOT_FOUND, &message),
        },
    };
    answer(&shared, asked, |ledger, _, filter| {
        let thread = board.thread(ledger, root, filter);
        if thread.total == 0 {
            return Err(format!("nothing was said in a thread {}", root.short()));
        }
        Ok(thread)
    })
}

async fn post(State(shared): App, Path(id): Path<String>) -> Response {
    let board = shared.view.board();
    match board.find(&id) {
        Ok(item) => Json(board.post(&shared.view.state(), &item)).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}

async fn search(State(shared): App, asked: Asked) -> Response {
    let board = shared.view.board();
    answer(&shared, asked, |ledger, ask, filter| match ask.q.as_deref() {
        Some(question) if (1..=QUESTION_BYTES_MAX).contains(&question.trim().len()) => {
            Ok(board.search(ledger, question, filter))
        }
        _ => Err(format!("q: words to look for, at most {QUESTION_BYTES_MAX} bytes")),
    })
}

async fn mentions(State(shared): App, asked: Asked) -> Response {
    let board = shared.view.board();
    let own = shared.view.status().peer;
    answer(&shared, asked, |ledger, ask, filter| {
        let peer = ask.peer.as_deref().map_or(Ok(own), |peer| find_peer(ledger, peer))?;
        Ok(board.mentions(ledger, peer, filter))
    })
}

/// Since when, for whom and how long.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    #[serde(default)]
    since: u64,
    #[serde(rename = "as")]
    peer: Option<String>,
    lines: Option<usize>,
}

async fn digest(State(shared): App, look: Result<Query<Look>, QueryRejection>) -> Response {
    let Query(look) = match look {
        Ok(look) => look,
        Err(rejection) => return fault(rejection.status(), &rejection.body_text()),
    };
    let ledger = shared.view.state();
    let own = shared.view.status().peer;
    let me = look.peer.as_deref().map_or(Ok(own), |peer| find_peer(&ledger, peer));
    match me {
        Ok(me) => {
            let lines = look.lines.unwrap_or(LINES_DEFAULT);
            let since = Since { height: look.since, me, lines };
            Json(shared.view.board().digest(&ledger, since)).into_response()
        }
        Err(message) => fault(StatusCode::UNPROCESSABLE_ENTITY, &message),
    }
}

async fn playbooks(State(shared): App) -> Response {
    Json(shared.view.board().playbooks(&shared.view.state())).into_response()
}

/// What is looked up in triage tables.
#[derive(Debug, Deserialize)]
struct Sign {
    #[serde(default)]
    sign: String,
}

async fn triage(State(shared): App, asked: Result<Query<Sign>, QueryRejection>) -> Response {
    match asked {
        Ok(Query(Sign { sign })) => {
            Json(shared.view.board().triage(&shared.view.state(), &sign)).into_response()
        }
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}

async fn playbook(State(shared): App, Path(id): Path<String>) -> Response {
    let (board, ledger) = (shared.view.board(), shared.view.state());
    let found = board.find(&id).map(|item| item.id);
    let row = found.and_then(|id| {
        let mut all = board.playbooks(&ledger).into_iter();
        all.find(|row| row.revisions.contains(&id))
            .ok_or_else(|| format!("post {} is no playbook", id.short()))
    });
    match row {
        Ok(row) => Json(row).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}

async fn flags(State(shared): App, asked: Asked) -> Response {
    let board = shared.view.board();
    answer(&shared, asked, |ledger, _, filter| Ok(board.flags(ledger, filter.limit)))
}

async fn specs(State(shared): App) -> Response {
    Json(shared.view.board().specs(&shared.view.state())).into_response()
}

async fn spec(State(shared): App, Path(id): Path<String>) -> Response {
    let (board, ledger) = (shared.view.board(), shared.view.state());
    let found = begun("spec", &id, ledger.specs().map(|spec| (spec.id, spec)));
    match found {
        Ok(spec) => Json(board.spec_row(&ledger, spec)).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}

async fn limits(State(shared): App) -> Response {
    Json(shared.view.board().limits(&shared.view.state())).into_response()
}

async fn limit(State(shared): App, Path(id): Path<String>) -> Response {
    let (board, ledger) = (shared.view.board(), shared.view.state());
    let found = begun("limit", &id, ledger.limits().map(|limit| (limit.id, limit)));
    match found {
        Ok(limit) => Json(board.limit_row(&ledger, limit)).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}

/// The entry that would debunk a limit at once, or nothing.
async fn beyond(State(shared): App, bound: Result<Query<Bound>, QueryRejection>) -> Response {
    match bound {
        Ok(Query(bound)) => Json(Beyond::first(&shared.view.state(), &bound)).into_response(),
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}

/// The one of some records whose id begins so.
fn begun<T>(what: &str, id: &str, all: impl Iterator<Item = (RecordId, T)>) -> Result<T, String> {
    let prefix = id.to_ascii_lowercase();
    let mut found = all.filter(|(id, _)| id.to_string().starts_with(&prefix));
    match (found.next(), found.next()) {
        (Some((_, one)), None) => Ok(one),
        (Some(_), Some(_)) => Err(format!("several {what}s begin with {id}; give more digits")),
        (None, _) => {
            Err(format!("no {what} on this ledger begins with {id}; `assay {what} list` has them"))
        }
    }
}

/// An idea to look for on the board.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Idea {
    /// The levers, separated by commas.
    levers: String,
    /// The claim that it starts from; none means the base recipe.
    parent: Option<ClaimId>,
    /// The hardware class; none means this node's own, once it measured.
    class: Option<String>,
}

async fn known(State(shared): App, asked: Result<Query<Idea>, QueryRejection>) -> Response {
    let Idea { levers, parent, class } = match asked {
        Ok(Query(idea)) => idea,
        Err(rejection) => return fault(rejection.status(), &rejection.body_text()),
    };
    let snapshot = snapshot(&shared);
    let setting = Setting {
        parent: parent.unwrap_or(snapshot.state.base_claim()),
        class: class.or(snapshot.status.class),
        me: snapshot.status.peer,
        now_ms: snapshot.now_ms,
    };
    let levers = levers.split(',').map(str::to_owned).collect();
    Json(shared.view.board().known(&snapshot.state, &setting).about(&levers)).into_response()
}

pub(super) async fn speak(
    State(shared): App,
    request: Result<Json<PostRequest>, JsonRejection>,
) -> Response {
    match request {
        Ok(Json(request)) => submitted(shared.view.post(request)),
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}

/// A text as a part of an address.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// The board as a page.
pub(super) async fn page(State(shared): App, asked: Asked) -> Response {
    let snapshot = snapshot(&shared);
    let wrong = |message: &str| html(StatusCode::BAD_REQUEST, page::not_found(&snapshot, message));
    let Ok(Query(ask)) = asked else {
        return wrong("The address asks for something that the board does not have.");
    };
    let ask = Ask { limit: Some(ask.limit.unwrap_or(PAGE_POSTS).min(PAGE_POSTS)), ..ask };
    let filter = match ask.filter(&snapshot.state) {
        Ok(filter) => filter,
        Err(message) => return wrong(&message),
    };
    let (board, ledger, me) = (shared.view.board(), &snapshot.state, snapshot.status.peer);
    let words =
        ask.q.clone().map(|words| words.trim().to_owned()).filter(|words| !words.is_empty());
    let words = words.filter(|words| words.len() <= QUESTION_BYTES_MAX);
    let threads = board.threads(ledger, &filter);
    let shown = match &words {
        Some(words) => Shown::Posts(board.search(ledger, words, &filter), threads),
        None if ask.mentions => Shown::Posts(board.mentions(ledger, me, &filter), threads),
        None if filter.kind.is_some() || filter.author.is_some() => {
            Shown::Posts(board.posts(ledger, &filter), threads)
        }
        None => Shown::Threads(threads),
    };
    let height = ledger.height().saturating_sub(PAGE_DIGEST_BLOCKS);
    let digest = board.digest(ledger, Since { height, me, lines: PAGE_DIGEST_LINES });
    let flags = board.flags(ledger, PAGE_FLAGS);
    let choice = Choice {
        channel: filter.channel,
        kind: filter.kind,
        author: ask.author,
        words,
        mentions: ask.mentions,
        limit: filter.limit,
    };
    html(StatusCode::OK, page::board(&snapshot, &choice, &shown, &digest, &flags))
}

/// What is known, as a page.
pub(super) async fn knowledge_page(State(shared): App) -> Response {
    let snapshot = snapshot(&shared);
    let (board, ledger) = (shared.view.board(), &snapshot.state);
    let filter = Filter { kind: Some(Kind::DeadEnd), limit: PAGE_DEAD_ENDS, ..Filter::default() };
    let known = Knowledge {
        classes: ClassNorms::all(ledger),
        limits: board.limits(ledger),
        dead_ends: board.posts(ledger, &filter).posts,
        playbooks: board.playbooks(ledger),
        specs: board.specs(ledger),
    };
    html(StatusCode::OK, page::knowledge(&snapshot, &known))
}

/// A thread as a page.
pub(super) async fn thread_page(
    State(shared): App,
    Path(id): Path<String>,
    asked: Asked,
) -> Response {
    let snapshot = snapshot(&shared);
    let (board, ledger) = (shared.view.board(), &snapshot.state);
    let offset = asked.map_or(0, |Query(ask)| ask.offset);
    let root = match board.find(&id) {
        Ok(item) => board.thread_of(item.id),
        Err(message) => match id.parse() {
            Ok(id) => id,
            Err(_) => return html(StatusCode::NOT_FOUND, page::not_found(&snapshot, &message)),
        },
    };
    let filter = Filter { offset, limit: PAGE_POSTS, ..Filter::default() };
    let thread = board.thread(ledger, root, &filter);
    if thread.posts.is_empty() {
        let begin = "To begin it: assay board post 'TEXT' --thread";
        let message = format!("Nothing was said in a thread {0}. {begin} {0}", root.short());
        return html(StatusCode::NOT_FOUND, page::not_found(&snapshot, &message));
    }
    let named = thread.posts.iter().flat_map(|view| view.post.refs.iter());
    let quotes: BTreeMap<RecordId, PostRow> =
        named.filter_map(|id| Some((*id, board.row(ledger, *id)?))).collect();
    html(StatusCode::OK, page::thread(&snapshot, &thread, &quotes))
}
