//! The agent over HTTP: what it is and does, and the operator's switch.

use super::Shared;
use super::reply::fault;
use super::routes::{App, submitted};
use crate::agent::Order;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use std::sync::Arc;

/// `/api/agent`; `order` is the guarded way to start and stop it.
pub(super) fn routes(order: MethodRouter<Arc<Shared>>) -> Router<Arc<Shared>> {
    Router::new().route("/api/agent", get(agent).merge(order))
}

async fn agent(State(shared): App) -> Response {
    Json(shared.view.agent()).into_response()
}

pub(super) async fn order(
    State(shared): App,
    order: Result<Json<Order>, JsonRejection>,
) -> Response {
    match order {
        Ok(Json(order)) => submitted(shared.view.order_agent(order)),
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}
