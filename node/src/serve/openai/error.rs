//! Refusals as OpenAI's clients expect them.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Seconds after which a client may try again when the queue is full.
const RETRY_AFTER_S: u64 = 1;

/// Why a request gets no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct ApiError {
    status: StatusCode,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// 400: something is wrong with the field `param`.
    pub(in crate::serve) fn field(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::bad(message) }.code("invalid_value")
    }

    /// 400: the field `param` asks for what this server does not do.
    pub(in crate::serve) fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::bad(message) }.code("unsupported_value")
    }

    /// 400.
    pub(in crate::serve) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400: prompt and answer do not fit.
    pub(in crate::serve) fn too_long(param: &str, message: String) -> Self {
        Self { param: Some(param.to_owned()), ..Self::bad(message) }.code("context_length_exceeded")
    }

    /// 401.
    pub(in crate::serve) fn no_key() -> Self {
        let message = "this server needs its API key, as `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key")
    }

    /// 403.
    pub(in crate::serve) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: no such model.
    pub(in crate::serve) fn no_model(asked: &str, served: &str) -> Self {
        let message = format!("the model `{asked}` is not served here; ask for `{served}`");
        let error = Self::new(StatusCode::NOT_FOUND, message).code("model_not_found");
        Self { param: Some("model".to_owned()), ..error }
    }

    /// 404: no such path.
    pub(in crate::serve) fn no_path(method: &str, path: &str) -> Self {
        let message = format!(
            "there is no {method} {path}; there are GET /v1/models, POST /v1/completions, \
             POST /v1/chat/completions, GET /health and GET /metrics"
        );
        Self::new(StatusCode::NOT_FOUND, message).code("unknown_url")
    }

    /// 405.
    pub(in crate::serve) fn wrong_method(method: &str, path: &str) -> Self {
        let message = format!("{path} does not take {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    /// 408.
    pub(in crate::serve) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time")
    }

    /// 413.
    pub(in crate::serve) fn too_large(most_bytes: usize) -> Self {
        let message = format!("the request's body is larger than {most_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// 415.
    pub(in crate::serve) fn not_json() -> Self {
        let message = "send the request with the header `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// 429.
    pub(in crate::serve) fn queue_full() -> Self {
        let message = "as many requests wait for the engine as may; try again shortly";
        Self::new(StatusCode::TOO_MANY_REQUESTS, message).code("queue_full")
    }

    /// 500.
    pub(in crate::serve) fn engine(message: &str) -> Self {
        let message = format!("the engine failed: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 503: nothing will answer any more.
    pub(in crate::serve) fn engine_gone() -> Self {
        let message =
            "the engine ended unexpectedly; its log says why, and the server must be restarted";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).code("engine_gone")
    }

    /// 503.
    pub(in crate::serve) fn stopping() -> Self {
        let message = "this server is stopping and takes no more requests";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).code("server_stopping")
    }

    /// The body of the answer.
    pub(in crate::serve) fn body(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {
            "message": self.message, "type": kind, "param": self.param, "code": self.code,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
