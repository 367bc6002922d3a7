//! The lineage over HTTP.

use super::super::Shared;
use super::super::claims;
use super::super::page::{self, View};
use super::super::reply::{fault, html};
use super::super::routes::{App, snapshot};
use super::{Graph, path};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use std::sync::Arc;

/// The addresses of this module.
pub(in crate::api) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/lineage", get(whole))
        .route("/lineage/{id}", get(of_entry))
        .route("/api/lineage", get(whole_json))
        .route("/api/lineage/{id}", get(path_json))
}

/// How to show the graph.
#[derive(Debug, Default, Deserialize)]
struct Ask {
    /// An entry whose way is shown.
    entry: Option<String>,
    /// Words to look for.
    q: Option<String>,
    /// Scale in percent.
    zoom: Option<u32>,
}

type Asked = Result<Query<Ask>, QueryRejection>;

async fn whole(State(shared): App, asked: Asked) -> Response {
    let ask = asked.map(|Query(ask)| ask).unwrap_or_default();
    let entry = ask.entry.clone().filter(|entry| !entry.is_empty());
    show(&shared, entry.as_deref(), ask)
}

async fn of_entry(State(shared): App, Path(id): Path<String>, asked: Asked) -> Response {
    show(&shared, Some(&id), asked.map(|Query(ask)| ask).unwrap_or_default())
}

fn show(shared: &Shared, entry: Option<&str>, ask: Ask) -> Response {
    let snapshot = snapshot(shared);
    let (state, board) = (snapshot.state.as_ref(), shared.view.board());
    let claim = match entry.map(|id| claims::find(state, id)).transpose() {
        Ok(claim) => claim,
        Err(message) => return html(StatusCode::NOT_FOUND, page::not_found(&snapshot, &message)),
    };
    let words = ask.q.map(|words| words.trim().chars().take(200).collect::<String>());
    let view = View {
        graph: Graph::new(state, &board, claim.map(|claim| claim.id)),
        path: claim.map(|claim| path(state, &board, claim)),
        words: words.filter(|words| !words.is_empty()),
        zoom: ask.zoom,
    };
    html(StatusCode::OK, page::lineage(&snapshot, &view))
}

async fn whole_json(State(shared): App) -> Response {
    let state = shared.view.state();
    Json(Graph::new(&state, &shared.view.board(), None).nodes).into_response()
}

async fn path_json(State(shared): App, Path(id): Path<String>) -> Response {
    let state = shared.view.state();
    match claims::find(&state, &id) {
        Ok(claim) => Json(path(&state, &shared.view.board(), claim)).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}
