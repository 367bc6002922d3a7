//! The handlers: each gathers a snapshot and hands it to a page or to JSON.

use super::challenge::Score;
use super::claims::{self, ClaimRow};
use super::entry::Entry;
use super::members::{self, Statement};
use super::page::{self, Snapshot};
use super::reply::{fault, html};
use super::view::{ClaimRequest, FetchRequest, MeasureRequest, PeerRow, SubmitError};
use super::{Shared, csv};
use crate::explain::ClassNorms;
use assay_protocol::ids::{BlockHash, ClaimId};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Claims on one page.
const PAGE_CLAIMS: usize = 50;
/// Most claims in one answer of the API.
const API_CLAIMS_MAX: usize = 10_000;
/// How long a page waits for the list of connections before it goes without.
const PEERS_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) type App = State<Arc<Shared>>;

/// Which part of the claims to show.
#[derive(Deserialize)]
pub(super) struct Part {
    /// Claims to skip, newest first.
    #[serde(default)]
    offset: usize,
    /// Most claims to return.
    limit: Option<usize>,
    /// On the page: the hardware class whose score is shown.
    class: Option<String>,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn snapshot(shared: &Shared) -> Snapshot {
    // The counter is read before what it counts, so that a page is never older than it says.
    let version = *shared.view.changes().borrow();
    Snapshot { version, now_ms: now_ms(), state: shared.view.state(), status: shared.view.status() }
}

/// Who this node is connected to; none when the network does not answer in time.
pub(super) async fn connections(shared: &Shared) -> Option<Vec<PeerRow>> {
    tokio::time::timeout(PEERS_TIMEOUT, shared.view.peers()).await.ok()
}

pub(super) async fn home(
    State(shared): App,
    part: Result<Query<Part>, QueryRejection>,
) -> Response {
    let snapshot = snapshot(&shared);
    let Ok(Query(part)) = part else {
        let message = "The address has an offset that is no number.";
        return html(StatusCode::BAD_REQUEST, page::not_found(&snapshot, message));
    };
    let own = snapshot.status.class.as_deref();
    let score = Score::new(&snapshot.state, part.class.as_deref(), own);
    html(StatusCode::OK, page::home(&snapshot, &score, part.offset, PAGE_CLAIMS))
}

pub(super) async fn claim_page(State(shared): App, Path(id): Path<String>) -> Response {
    let snapshot = snapshot(&shared);
    match claims::find(&snapshot.state, &id) {
        Ok(claim) => {
            let entry = Entry::new(&snapshot.state, claim);
            html(StatusCode::OK, page::entry(&snapshot, &entry))
        }
        Err(message) => html(StatusCode::NOT_FOUND, page::not_found(&snapshot, &message)),
    }
}

pub(super) async fn not_found(State(shared): App, uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        return fault(
            StatusCode::NOT_FOUND,
            "no such address; there are /api/status, /api/peers, /api/genesis, /api/claims, \
             /api/claims/ID, /api/cost, /api/explain/ID, /api/members, /api/classes, /api/board, \
             /api/rulings, /api/proposals, /api/parameters, /api/ledger, /api/ledger/blocks, \
             /api/ledger/validators, /api/checkpoint, /api/checkpoint/consistency, /api/witnesses and /api/ledger/export; .csv behind the path of a list gives it as a table",
        );
    }
    let page = page::not_found(&snapshot(&shared), "There is nothing at this address.");
    html(StatusCode::NOT_FOUND, page)
}

pub(super) async fn wrong_method() -> Response {
    fault(
        StatusCode::METHOD_NOT_ALLOWED,
        "this address does not take this method; only /api/claims, /api/measurements, /api/fetches, \
         /api/statements, /api/agent and /api/board take POST, all others GET",
    )
}

pub(super) async fn health() -> &'static str {
    "ok\n"
}

pub(super) async fn status(State(shared): App) -> Response {
    Json(shared.view.status()).into_response()
}

pub(super) async fn peers(State(shared): App) -> Response {
    match connections(&shared).await {
        Some(peers) => Json(peers).into_response(),
        None => fault(StatusCode::SERVICE_UNAVAILABLE, "the network is busy; try again"),
    }
}

pub(super) async fn genesis(State(shared): App) -> Response {
    Json(shared.view.state().genesis()).into_response()
}

pub(super) async fn classes(State(shared): App) -> Response {
    Json(ClassNorms::all(&shared.view.state())).into_response()
}

/// A part of the list of claims.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Height of the ledger that it was read from.
    pub height: u64,
    /// Claims on the ledger.
    pub total: usize,
    /// Claims left out before these.
    pub offset: usize,
    /// The claims, newest first.
    pub claims: Vec<ClaimRow>,
}

fn part_of(shared: &Shared, part: &Part) -> Claims {
    let state = shared.view.state();
    let limit = part.limit.unwrap_or(API_CLAIMS_MAX).min(API_CLAIMS_MAX);
    Claims {
        height: state.height(),
        total: state.claims().count(),
        offset: part.offset,
        claims: claims::rows(&state, part.offset, limit),
    }
}

pub(super) async fn claims_json(
    State(shared): App,
    part: Result<Query<Part>, QueryRejection>,
) -> Response {
    match part {
        Ok(Query(part)) => Json(part_of(&shared, &part)).into_response(),
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}

pub(super) async fn claims_csv(
    State(shared): App,
    part: Result<Query<Part>, QueryRejection>,
) -> Response {
    let Query(part) = match part {
        Ok(part) => part,
        Err(rejection) => return fault(rejection.status(), &rejection.body_text()),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"claims.csv\""),
    ];
    (headers, csv::table(&part_of(&shared, &part).claims)).into_response()
}

pub(super) async fn claim_json(State(shared): App, Path(id): Path<String>) -> Response {
    let state = shared.view.state();
    match claims::find(&state, &id) {
        Ok(claim) => Json(Entry::new(&state, claim)).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}

/// What a claim would be built on.
#[derive(Deserialize)]
pub(super) struct On {
    /// The parent; none means the base recipe.
    parent: Option<ClaimId>,
    /// The hardware class; none means this node's own.
    class: Option<String>,
}

pub(super) async fn cost(State(shared): App, on: Result<Query<On>, QueryRejection>) -> Response {
    match on {
        Ok(Query(On { parent, class })) => {
            let state = shared.view.state();
            let class = class.or_else(|| shared.view.status().class);
            let parent = parent.unwrap_or(state.base_claim());
            Json(state.estimated_cost(parent, class.as_deref())).into_response()
        }
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}

#[derive(Serialize)]
struct Ledger {
    network: String,
    height: u64,
    head: BlockHash,
    time_ms: u64,
    records: u64,
    claims: usize,
}

pub(super) async fn ledger(State(shared): App) -> Response {
    let state = shared.view.state();
    Json(Ledger {
        network: state.network().to_string(),
        height: state.height(),
        head: state.head(),
        time_ms: state.time_ms(),
        records: state.records(),
        claims: state.claims().count(),
    })
    .into_response()
}

pub(super) async fn export(State(shared): App) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"ledger.bin\""),
    ];
    (headers, Body::from_stream(shared.view.export())).into_response()
}

pub(super) async fn submit(
    State(shared): App,
    request: Result<Json<ClaimRequest>, JsonRejection>,
) -> Response {
    let Json(request) = match request {
        Ok(request) => request,
        Err(rejection) => return fault(rejection.status(), &rejection.body_text()),
    };
    let result = match request.check() {
        Ok(()) => shared.view.submit_claim(request).await,
        Err(error) => Err(error),
    };
    submitted(result)
}

pub(super) async fn measure(
    State(shared): App,
    request: Result<Json<MeasureRequest>, JsonRejection>,
) -> Response {
    match request {
        Ok(Json(request)) => submitted(shared.view.measure(request).await),
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}

pub(super) async fn fetch(
    State(shared): App,
    request: Result<Json<FetchRequest>, JsonRejection>,
) -> Response {
    match request {
        Ok(Json(request)) => submitted(shared.view.fetch(request).await),
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}

pub(super) async fn explain(State(shared): App, Path(id): Path<String>) -> Response {
    match crate::explain::explain(&shared.view.state(), &id) {
        Ok(explanation) => Json(explanation).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}

pub(super) async fn members(State(shared): App) -> Response {
    Json(members::rows(&shared.view.state())).into_response()
}

pub(super) async fn say(
    State(shared): App,
    statement: Result<Json<Statement>, JsonRejection>,
) -> Response {
    match statement {
        Ok(Json(statement)) => submitted(shared.view.say(statement)),
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}

/// The answer to whoever made the node say something.
pub(super) fn submitted(result: Result<impl Serialize, SubmitError>) -> Response {
    match result {
        Ok(accepted) => (StatusCode::CREATED, Json(accepted)).into_response(),
        Err(error @ (SubmitError::Refused(_) | SubmitError::Later(_))) => {
            fault(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string())
        }
        Err(error @ SubmitError::Unavailable(_)) => {
            fault(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
    }
}
