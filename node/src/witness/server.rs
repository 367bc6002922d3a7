//! The witness over HTTP: `add-checkpoint` of `tlog-witness`, and what it cosigned and found, to be read.
//!
//! ```text
//! POST /add-checkpoint   a submission; the answer is a cosignature
//! GET  /                 name, verifier key and logs, as text
//! GET  /logs             the logs with the checkpoints cosigned last, as JSON
//! GET  /evidence         checkpoints that do not go together, as JSON
//! ```
//!
//! Nothing here is secret and nobody is trusted: what a request may change is decided by the log's signature.

use super::{Evidence, Witness, WitnessError};
use crate::ledger::now_ms;
use crate::serve::connections;
use assay_protocol::tlog::{Refusal, SUBMISSION_BYTES_MAX};
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Longest time that the body of a request may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// All routes, for a server of the caller's own.
pub fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add))
        .route("/", get(about))
        .route("/logs", get(logs))
        .route("/evidence", get(evidence))
        .with_state(witness)
}

/// Serves until `stop` is ready.
pub async fn serve(listener: TcpListener, witness: Arc<Witness>, stop: impl Future<Output = ()>) {
    connections::answer(listener, router(witness), stop).await;
}

fn text(status: StatusCode, text: impl Into<String>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, headers, text.into()).into_response()
}

async fn add(State(witness): State<Arc<Witness>>, body: Body) -> Response {
    let body = match timeout(BODY_TIME_MAX, to_bytes(body, SUBMISSION_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let most = format!("a submission has at most {SUBMISSION_BYTES_MAX} bytes\n");
            return text(StatusCode::PAYLOAD_TOO_LARGE, most);
        }
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the submission took too long\n"),
    };
    // The disk is waited for.
    let added = tokio::task::spawn_blocking(move || witness.add(&body, now_ms())).await;
    match added {
        Ok(Ok(cosignature)) => text(StatusCode::OK, cosignature.to_string()),
        Ok(Err(error)) => refusal(&error),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// Statuses as the specification gives them.
fn refusal(error: &WitnessError) -> Response {
    let status = match error {
        WitnessError::Refused(Refusal::OtherSize { kept } | Refusal::SplitView { kept }) => {
            let headers = [(header::CONTENT_TYPE, "text/x.tlog.size")];
            return (StatusCode::CONFLICT, headers, format!("{kept}\n")).into_response();
        }
        WitnessError::Malformed(_) | WitnessError::Refused(Refusal::Backwards { .. }) => {
            StatusCode::BAD_REQUEST
        }
        WitnessError::UnknownLog(_) => StatusCode::NOT_FOUND,
        WitnessError::Refused(Refusal::NotSigned) => StatusCode::FORBIDDEN,
        WitnessError::Refused(Refusal::Unproven { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
        WitnessError::Home(error) => {
            tracing::error!(%error, "a checkpoint was not cosigned");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    text(status, format!("{error}\n"))
}

async fn about(State(witness): State<Arc<Witness>>) -> Response {
    let mut lines = vec![format!("witness {}", witness.key().name()), witness.key().to_string()];
    lines.extend(witness.logs().into_iter().map(|log| match log.size {
        Some(size) => format!("{} cosigned at size {size}", log.origin),
        None => format!("{} not cosigned yet", log.origin),
    }));
    text(StatusCode::OK, lines.join("\n") + "\n")
}

async fn logs(State(witness): State<Arc<Witness>>) -> Response {
    Json(witness.logs()).into_response()
}

async fn evidence(State(witness): State<Arc<Witness>>) -> Response {
    let read = tokio::task::spawn_blocking(move || witness.files().evidence()).await;
    match read {
        Ok(Ok(evidence)) => Json::<Vec<Evidence>>(evidence).into_response(),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
