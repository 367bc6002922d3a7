//! The ledger's blocks over HTTP: the list, one block, validators, and the search for either.

use super::blocks::{self, BlockRow, readable};
use super::page;
use super::reply::{fault, html};
use super::routes::{App, snapshot};
use super::view::View;
use super::{Shared, board, claims};
use assay_protocol::block::header_hash;
use assay_protocol::state::State as Ledger;
use assay_protocol::wire;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Blocks on one page.
const PAGE_BLOCKS: u64 = 40;
/// Most blocks in one answer of the API.
const API_BLOCKS_MAX: u64 = 1_000;
/// Most blocks that a search for a hash looks through, the newest first.
const SEARCHED_BLOCKS: u64 = 20_000;
/// Fewest digits of an abbreviated hash.
const DIGITS_MIN: usize = 6;

/// The addresses of this module.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/ledger", get(list))
        .route("/ledger/{height}", get(one))
        .route("/api/ledger/blocks", get(list_json))
        .route("/api/ledger/blocks/{height}", get(one_json))
        .route("/api/ledger/validators", get(validators))
}

/// Which blocks to show, or what to look for.
#[derive(Debug, Default, Deserialize)]
struct Ask {
    /// The newest height to show; none means the head.
    from: Option<u64>,
    limit: Option<u64>,
    q: Option<String>,
}

type Asked = Result<Query<Ask>, QueryRejection>;

async fn list(State(shared): App, asked: Asked) -> Response {
    let Ok(Query(ask)) = asked else {
        let message = "The address names a height that is no number.";
        return html(StatusCode::BAD_REQUEST, page::not_found(&snapshot(&shared), message));
    };
    let words = ask.q.as_deref().map(str::trim).filter(|words| !words.is_empty());
    if let Some(words) = words {
        return match find(&shared, words).await {
            Ok(path) => Redirect::to(&path).into_response(),
            Err(message) => {
                html(StatusCode::NOT_FOUND, page::not_found(&snapshot(&shared), &message))
            }
        };
    }
    let snapshot = snapshot(&shared);
    let (view, state) = (shared.view.as_ref(), snapshot.state.as_ref());
    let from = ask.from.unwrap_or(state.height());
    let rows = blocks::rows(view, state, from, PAGE_BLOCKS);
    let validators = blocks::validators(view, state);
    let checkpoint = view
        .checkpoints()
        .row()
        .inspect_err(|error| tracing::warn!(%error, "the page shows no checkpoint"))
        .ok();
    html(StatusCode::OK, page::ledger(&snapshot, &rows, &validators, checkpoint.as_ref()))
}

async fn one(State(shared): App, Path(height): Path<String>) -> Response {
    let snapshot = snapshot(&shared);
    let found =
        number(&height).and_then(|n| blocks::block(shared.view.as_ref(), &snapshot.state, n));
    match found {
        Ok(block) => html(StatusCode::OK, page::block(&snapshot, &block)),
        Err(message) => html(StatusCode::NOT_FOUND, page::not_found(&snapshot, &message)),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        format!("{:?} is no height; heights are numbers from 1", crate::text::cut(text, 80))
    })
}

/// A part of the list of blocks.
#[derive(Serialize)]
struct Blocks {
    height: u64,
    /// The next older height, to ask for with `from`; none at the end.
    next: Option<u64>,
    blocks: Vec<BlockRow>,
}

async fn list_json(State(shared): App, asked: Asked) -> Response {
    let Query(ask) = match asked {
        Ok(ask) => ask,
        Err(rejection) => return fault(rejection.status(), &rejection.body_text()),
    };
    let state = shared.view.state();
    let limit = ask.limit.unwrap_or(PAGE_BLOCKS).clamp(1, API_BLOCKS_MAX);
    let from = ask.from.unwrap_or(state.height());
    let blocks = blocks::rows(shared.view.as_ref(), &state, from, limit);
    let next = blocks.last().and_then(|block| block.height.checked_sub(1)).filter(|n| *n > 0);
    Json(Blocks { height: state.height(), next, blocks }).into_response()
}

async fn one_json(State(shared): App, Path(height): Path<String>) -> Response {
    let state = shared.view.state();
    let found = number(&height).and_then(|n| blocks::block(shared.view.as_ref(), &state, n));
    match found {
        Ok(block) => Json(block).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}

async fn validators(State(shared): App) -> Response {
    Json(blocks::validators(shared.view.as_ref(), &shared.view.state())).into_response()
}

/// The page of what a height, hash, claim, post, peer or name stands for.
async fn find(shared: &Arc<Shared>, words: &str) -> Result<String, String> {
    let state = shared.view.state();
    if words.parse::<u64>().is_ok_and(|height| (1..=state.height()).contains(&height)) {
        return Ok(format!("/ledger/{words}"));
    }
    if let Ok(peer) = board::find_peer(&state, words) {
        return Ok(format!("/peers/{peer}"));
    }
    if let Ok(claim) = claims::find(&state, words) {
        return Ok(format!("/claims/{}", claim.id));
    }
    if let Ok(post) = shared.view.board().find(words) {
        return Ok(format!(
            "/board/threads/{}#p{}",
            shared.view.board().thread_of(post.id),
            post.id.short()
        ));
    }
    let prefix = words.to_ascii_lowercase();
    let digits = prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    let nothing = format!(
        "nothing on this ledger is called {:?}; give a height, or the first {DIGITS_MIN} or more digits \
         of a block, record, claim or peer",
        crate::text::cut(words, 80)
    );
    if !digits || !(DIGITS_MIN..=64).contains(&prefix.len()) {
        return Err(nothing);
    }
    let view = Arc::clone(&shared.view);
    // Reading and hashing thousands of blocks would hold up other requests.
    let found = tokio::task::spawn_blocking(move || search(view.as_ref(), &state, &prefix)).await;
    let found = found.map_err(|error| format!("the search did not end: {error}"))?;
    found.map(|height| format!("/ledger/{height}")).ok_or(nothing)
}

/// The newest block whose hash, or one of whose records' ids, begins so.
fn search(view: &dyn View, state: &Ledger, prefix: &str) -> Option<u64> {
    let newest = state.height();
    let mut heights = (newest.saturating_sub(SEARCHED_BLOCKS) + 1..=newest).rev();
    heights.find(|height| {
        let block = readable(view, *height).and_then(|item| item.block);
        block.is_some_and(|block| {
            let hash = block.header.as_ref().map(|header| header_hash(header).to_string());
            let ids = block.records.iter().filter_map(|one| wire::id_of(state.network(), one));
            hash.is_some_and(|hash| hash.starts_with(prefix))
                || ids.into_iter().any(|id| id.to_string().starts_with(prefix))
        })
    })
}
