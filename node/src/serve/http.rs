//! The server: routes, who may use them, limits, stopping.

use super::connections;
use super::openai::{ApiError, chat_completions, completions};
use super::service::Service;
use crate::api::guard;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use serde_json::{Value, json};
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of a body that are read when it is too large.
const DISCARDED_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;
/// Longest time that a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Paths that are counted by name.
const PATHS: [&str; 5] =
    ["/v1/models", "/v1/completions", "/v1/chat/completions", "/health", "/metrics"];

/// Who may use the server.
#[derive(Clone)]
pub enum Access {
    /// Who shows this key.
    Key(blake3::Hash),
    /// Programs on this machine, but no page that a browser on it shows.
    Local,
    /// Anybody who reaches it.
    Anyone,
}

impl Access {
    /// Access for who shows `key`.
    #[must_use]
    pub fn key(key: &str) -> Self {
        Self::Key(blake3::hash(key.as_bytes()))
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let headers = request.headers();
        match self {
            Self::Anyone => Ok(()),
            // Hashes are compared in constant time.
            Self::Key(key) => match guard::bearer(headers) {
                Some(shown) if blake3::hash(shown) == *key => Ok(()),
                _ if request.uri().path() == "/health" => Ok(()),
                _ => Err(ApiError::no_key()),
            },
            Self::Local if !guard::names_loopback(headers, request.uri()) => Err(
                ApiError::forbidden("this server answers to localhost, 127.0.0.1 and [::1] only"),
            ),
            Self::Local if guard::comes_from_another_site(headers) => {
                Err(ApiError::forbidden("pages of other sites may not use this server"))
            }
            Self::Local => Ok(()),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(…)",
            Self::Local => "Local",
            Self::Anyone => "Anyone",
        })
    }
}

#[derive(Clone)]
struct Shared {
    service: Arc<Service>,
    access: Access,
}

/// All routes.
pub fn router(service: Arc<Service>, access: Access) -> Router {
    let shared = Shared { service, access };
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .route("/v1/completions", post(post_completion))
        .route("/v1/chat/completions", post(post_chat))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(shared.clone(), watch))
        .with_state(shared)
}

/// Serves until `stop` is ready; then takes no more requests and answers those it has, unless `at_once`
/// becomes ready too.
///
/// # Errors
///
/// When the engine's thread ended in a panic.
pub async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    engine: JoinHandle<()>,
    access: Access,
    stop: impl Future<Output = ()> + Send + 'static,
    at_once: impl Future<Output = ()>,
) -> io::Result<()> {
    let stopping = Arc::clone(&service);
    let server = connections::answer(listener, router(service, access), async move {
        stop.await;
        stopping.stop();
    });
    let drained = async {
        server.await;
        let ended = tokio::task::spawn_blocking(move || engine.join()).await;
        match ended {
            Ok(Ok(())) => Ok(()),
            _ => {
                Err(io::Error::other("the engine's thread ended in a panic; its message is above"))
            }
        }
    };
    tokio::select! {
        ended = drained => ended,
        () = at_once => Ok(()),
    }
}

/// Checks access before, and counts behind every request.
async fn watch(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let path = PATHS.into_iter().find(|known| *known == path).unwrap_or("other");
    let response = match shared.access.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    shared.service.metrics.answered(path, response.status().as_u16());
    response
}

/// The JSON of a request's body, within the limits.
async fn json_body(service: &Service, headers: &HeaderMap, body: Body) -> Result<Value, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    // A page of another site cannot send this type without asking first.
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::not_json());
    }
    let _place = service.place_to_read()?;
    let bytes = tokio::time::timeout(BODY_TIME_MAX, read(body)).await;
    let bytes = bytes.map_err(|_| ApiError::too_slow())??;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::bad(format!("the request's body is no JSON: {error}")))
}

/// The bytes of a body. A body that is too large is read on and thrown away for a while, because most
/// clients do not look at the answer before they have sent everything.
async fn read(body: Body) -> Result<Vec<u8>, ApiError> {
    let mut portions = body.into_data_stream();
    let (mut bytes, mut count) = (Vec::new(), 0_usize);
    while let Some(portion) = portions.next().await {
        let portion =
            portion.map_err(|error| ApiError::bad(format!("the body broke off: {error}")))?;
        count = count.saturating_add(portion.len());
        if count > DISCARDED_BYTES_MAX {
            break;
        }
        if count <= BODY_BYTES_MAX {
            bytes.extend_from_slice(&portion);
        }
    }
    if count > BODY_BYTES_MAX { Err(ApiError::too_large(BODY_BYTES_MAX)) } else { Ok(bytes) }
}

async fn post_chat(State(shared): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = json_body(&shared.service, &parts.headers, body).await?;
    chat_completions(shared.service, body).await
}

async fn post_completion(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = json_body(&shared.service, &parts.headers, body).await?;
    completions(shared.service, body).await
}

async fn models(State(shared): State<Shared>) -> Json<Value> {
    Json(json!({"object": "list", "data": [model_object(&shared.service)]}))
}

async fn model(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    match id == shared.service.name {
        true => Ok(Json(model_object(&shared.service))),
        false => Err(ApiError::no_model(&id, &shared.service.name)),
    }
}

fn model_object(service: &Service) -> Value {
    json!({
        "id": service.name,
        "object": "model",
        "created": service.created,
        "owned_by": "assay",
        "max_model_len": service.queue.context_tokens(),
    })
}

async fn health(State(shared): State<Shared>) -> Response {
    let service = &shared.service;
    let (status, word) = match (service.queue.is_closed(), service.is_stopping()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "engine gone"),
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        _ => (StatusCode::OK, "ok"),
    };
    (status, Json(json!({"status": word}))).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.service.metrics.text()).into_response()
}

async fn unknown(request: Request) -> ApiError {
    ApiError::no_path(request.method().as_str(), request.uri().path())
}

async fn wrong_method(request: Request) -> ApiError {
    ApiError::wrong_method(request.method().as_str(), request.uri().path())
}
