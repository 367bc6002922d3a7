//! Checkpoints of the ledger over HTTP: the newest one as a signed note, and proofs between two.

use super::Shared;
use super::reply::fault;
use super::routes::App;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use std::sync::Arc;

/// The addresses of this module.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/checkpoint", get(note))
        .route("/api/checkpoint/consistency", get(consistency))
        .route("/api/witnesses", get(witnesses))
}

/// A signed note or a submission, as the formats have it.
fn text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

async fn note(State(shared): App) -> Response {
    match shared.view.checkpoints().note() {
        Ok(note) => text(note.to_string()),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Which checkpoints to prove something about.
#[derive(Deserialize)]
struct Span {
    /// The size that somebody knows.
    from: u64,
    /// The size of the checkpoint; none means the one that `/api/checkpoint` shows.
    to: Option<u64>,
}

async fn consistency(State(shared): App, span: Result<Query<Span>, QueryRejection>) -> Response {
    let Query(Span { from, to }) = match span {
        Ok(span) => span,
        Err(rejection) => return fault(rejection.status(), &rejection.body_text()),
    };
    let checkpoints = shared.view.checkpoints();
    // A proof between two earlier sizes hashes every block again.
    let found = tokio::task::spawn_blocking(move || checkpoints.submission(from, to)).await;
    match found {
        Ok(Ok(Some(submission))) => text(submission.to_string()),
        Ok(Ok(None)) => {
            let message = "no proof between these sizes; `from` is at most `to`, and both at most the size of \
                 /api/checkpoint or of the ledger";
            fault(StatusCode::NOT_FOUND, message)
        }
        Ok(Err(error)) => fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn witnesses(State(shared): App) -> Response {
    match shared.view.checkpoints().row() {
        Ok(row) => Json(row).into_response(),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
