//! The shapes of answers: pages, and refusals for programs.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use maud::Markup;
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

/// An answer for people.
pub(super) fn html(status: StatusCode, page: Markup) -> Response {
    (status, Html(page.into_string())).into_response()
}
