//! Answers that are no pages: JSON objects and refusals.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A refusal as JSON, for programs.
#[derive(Serialize)]
struct Fault<'a> {
    error: &'a str,
}

/// An answer of the shape `{"error": message}`.
pub(super) fn fault(status: StatusCode, message: &str) -> Response {
    (status, Json(Fault { error: message })).into_response()
}
