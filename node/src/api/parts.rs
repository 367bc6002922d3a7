//! The tables of one claim: its rounds, seats, gates and pairs, each a list of its own.

use super::Shared;
use super::claims::{self, Named};
use super::entry::{Entry, SeatStage};
use super::reply::fault;
use super::routes::App;
use assay_protocol::gates::GateResult;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use std::sync::Arc;

/// The addresses of this module.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/claims/{id}/rounds", get(rounds))
        .route("/api/claims/{id}/seats", get(seats))
        .route("/api/claims/{id}/gates", get(gates))
        .route("/api/claims/{id}/pairs", get(pairs))
}

/// One prompt on one seat.
#[derive(Serialize)]
struct PairLine {
    round: u32,
    seat: Named,
    prompt: u32,
    parent_ns: u64,
    child_ns: u64,
    /// Child speed over parent speed.
    ratio: f64,
    same_tokens: bool,
}

/// One seat of one round.
#[derive(Serialize)]
struct SeatLine {
    round: u32,
    seat: Named,
    reserve: bool,
    stage: SeatStage,
    ratio: Option<f64>,
    parent_tps: Option<f64>,
    child_tps: Option<f64>,
    /// What decoding took of its machine's time, both arms together.
    decoding_ns: u64,
    adapter: Option<String>,
    bandwidth_mb_s: Option<u64>,
}

/// One gate of one round.
#[derive(Serialize)]
struct GateLine {
    round: u32,
    #[serde(flatten)]
    gate: GateResult,
}

fn of<T: Serialize>(shared: &Shared, id: &str, rows: impl FnOnce(&Entry) -> Vec<T>) -> Response {
    let state = shared.view.state();
    match claims::find(&state, id) {
        Ok(claim) => Json(rows(&Entry::new(&state, claim))).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}

async fn rounds(State(shared): App, Path(id): Path<String>) -> Response {
    of(&shared, &id, |entry| entry.rounds.iter().map(|round| round.row.clone()).collect())
}

async fn gates(State(shared): App, Path(id): Path<String>) -> Response {
    of(&shared, &id, |entry| {
        let lines = entry.ledger.rounds.iter().flat_map(|round| {
            let gates = round.verdict.iter().flat_map(|verdict| verdict.gates.clone());
            gates.map(|gate| GateLine { round: round.number, gate })
        });
        lines.collect()
    })
}

async fn seats(State(shared): App, Path(id): Path<String>) -> Response {
    of(&shared, &id, |entry| {
        let lines = entry.rounds.iter().flat_map(|round| {
            round.seats.iter().map(|seat| {
                let samples = seat.samples.as_ref();
                SeatLine {
                    round: round.row.number,
                    seat: seat.seat.clone(),
                    reserve: seat.reserve,
                    stage: seat.stage,
                    ratio: samples.map(|samples| samples.ratio),
                    parent_tps: samples.map(|samples| samples.parent_tps),
                    child_tps: samples.map(|samples| samples.child_tps),
                    decoding_ns: seat.decoding_ns(),
                    adapter: samples.map(|samples| samples.environment.adapter.clone()),
                    bandwidth_mb_s: samples.map(|samples| samples.environment.bandwidth_mb_s),
                }
            })
        });
        lines.collect()
    })
}

async fn pairs(State(shared): App, Path(id): Path<String>) -> Response {
    of(&shared, &id, |entry| {
        let mut lines = Vec::new();
        for round in &entry.rounds {
            for seat in &round.seats {
                for pair in seat.samples.iter().flat_map(|samples| &samples.pairs) {
                    lines.push(PairLine {
                        round: round.row.number,
                        seat: seat.seat.clone(),
                        prompt: pair.prompt,
                        parent_ns: pair.parent_ns,
                        child_ns: pair.child_ns,
                        ratio: pair.ratio,
                        same_tokens: pair.same_tokens,
                    });
                }
            }
        }
        lines
    })
}
