//! The node's page, its live updates and its JSON API, over HTTP on loopback.
//!
//! ```text
//! GET  /                     the page                      GET  /live          server-sent events
//! GET  /claims/{id}          everything about a claim      GET  /healthz       "ok"
//! GET  /api/status           GET /api/peers                GET  /api/genesis
//! GET  /api/claims           GET /api/claims.csv           GET  /api/claims/{id}
//! GET  /api/ledger           GET /api/ledger/export        GET  /api/members
//! GET  /api/explain/{id}     where a claim's or peer's numbers come from
//! GET  /api/cost             POST /api/claims              POST /api/statements, with the token
//!                            POST /api/measurements, with the token: measures, publishes nothing
//! GET  /api/agent            what the agent does           POST /api/agent, with the token: the switch
//!                            POST /api/fetches, with the token: brings files here from peers
//! GET  /api/rulings          GET /api/rulings/{id}         what committees said about flags
//! GET  /api/proposals        GET /api/proposals/{id}       changes of the network's numbers, by vote
//! GET  /api/parameters       those numbers, as they are in force
//! GET  /board                GET /board/threads/{id}       the board, and one thread
//! GET  /board/interactions?kind=&peer=                     who works with whom
//! GET  /knowledge            what counts on each class, limits, dead ends, playbooks, forecasts
//! GET  /ledger?from=&q=      GET /ledger/{height}          blocks, and one block
//! GET  /lineage?q=&zoom=     GET /lineage/{id}             where recipes come from; how one came about
//! GET  /peers                GET /peers/{id}               who takes part, and one of them
//! GET  /node                 this machine
//! GET  /api/ledger/blocks    GET /api/ledger/blocks/{height}, /api/ledger/validators
//! GET  /api/checkpoint       the ledger's head as a signed note, with cosignatures
//! GET  /api/checkpoint/consistency?from=&to=   the same with a proof, as a witness takes it
//! GET  /api/witnesses        that checkpoint in parts, this node's key, and its witnesses
//! GET  /api/lineage          GET /api/lineage/{id}         nodes of the graph; the steps to an entry
//! GET  /api/score?class=     GET /api/leaderboard?class=&track=, /api/best?class=
//! GET  /api/claims/{id}/{rounds, seats, gates, pairs}
//! GET  /api/members/{id}/{standing, events, claims}
//! GET  /api/board            posts                         POST /api/board, with the token
//! GET  /api/board/{…}        threads, threads/{id}, posts/{id}, search?q=, mentions?peer=,
//!                            digest?since=&as=&lines=, playbooks, flags, specs, specs/{id},
//!                            known?levers=&parent=&class=: dead ends and plans in the way,
//!                            interactions?kind=&peer=: who dealt with whom, and how often
//! ```
//!
//! The daemon implements [`View`] and calls [`serve`]; nothing here changes anything except through
//! it. `{id}` may be the unambiguous beginning of an id. Lists take `?offset=` and `?limit=`, and every
//! list is a table too, with `.csv` behind its path.
//!
//! - `view` is what is asked of the daemon, `guard` who may ask.
//! - `challenge`, `claims`, `entry`, `lineage`, `interactions`, `blocks`, `records` and `members` turn the ledger into
//!   rows; `page`, `sheet` and JSON print them, so that all of them say the same.
//! - `live` tells pages that something changed. Pages work without it, by reloading.
//!
//! Everything on the ledger was written by strangers: text reaches a page through `maud`'s escaping
//! only, pages load nothing from elsewhere, and numbers are clamped before they become geometry.

mod agent;
mod blocks;
mod board;
mod challenge;
mod checkpoint;
mod claims;
mod contest;
mod csv;
mod entry;
mod explorer;
pub(crate) mod guard;
mod interactions;
mod lineage;
mod live;
mod members;
mod page;
mod parts;
mod peering;
mod proposals;
mod records;
pub(crate) mod relay;
mod reply;
mod routes;
mod rulings;
mod sheet;
mod view;

pub(crate) use board::escaped;
pub use claims::{ClaimRow, Named, Progress, RoundRow};
pub use guard::{TOKEN_CHARS_MIN, Token, TokenError};
pub use live::LIVE_CLIENTS_MAX;
pub use members::{Deeds, MemberRow, Said, Statement};
pub use proposals::{ParameterRow, ProposalRow, VoiceRow};
pub use routes::Claims;
pub use rulings::{HearingRow, RulingRow, SeatRow};
pub use view::{
    ClaimAccepted, ClaimRequest, FetchRequest, Fetched, MeasureRequest, MeasuringLock, PeerRow,
    PostRequest, Status, SubmitError, View,
};

use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use axum::{Router, serve as serve_http};
use std::future::Future;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Largest body of a request.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the handlers share.
struct Shared {
    view: Arc<dyn View>,
    token: Token,
    /// Places for pages with live updates.
    live: Arc<Semaphore>,
    /// Becomes true when the server stops, so that live updates end.
    closing: watch::Sender<bool>,
}

impl Shared {
    fn new(view: Arc<dyn View>, token: Token) -> Arc<Self> {
        let live = Arc::new(Semaphore::new(LIVE_CLIENTS_MAX));
        Arc::new(Self { view, token, live, closing: watch::Sender::new(false) })
    }
}

/// All routes, for a server of the caller's own.
pub fn router(view: Arc<dyn View>, token: Token) -> Router {
    routes(&Shared::new(view, token))
}

fn routes(shared: &Arc<Shared>) -> Router {
    let submit = post(routes::submit).layer(from_fn_with_state(Arc::clone(shared), guard::token));
    let speak = post(board::speak).layer(from_fn_with_state(Arc::clone(shared), guard::token));
    let measure = post(routes::measure).layer(from_fn_with_state(Arc::clone(shared), guard::token));
    let order = post(agent::order).layer(from_fn_with_state(Arc::clone(shared), guard::token));
    let fetch = post(routes::fetch).layer(from_fn_with_state(Arc::clone(shared), guard::token));
    let say = post(routes::say).layer(from_fn_with_state(Arc::clone(shared), guard::token));
    let pages = Router::new()
        .route("/", get(routes::home))
        .route("/claims/{id}", get(routes::claim_page))
        .route("/live", get(live::events))
        .route("/healthz", get(routes::health))
        .route("/api/status", get(routes::status))
        .route("/api/peers", get(routes::peers))
        .route("/api/genesis", get(routes::genesis))
        .route("/api/claims", get(routes::claims_json).merge(submit))
        .route("/api/claims.csv", get(routes::claims_csv))
        .route("/api/claims/{id}", get(routes::claim_json))
        .route("/api/cost", get(routes::cost))
        .route("/api/ledger", get(routes::ledger))
        .route("/api/explain/{id}", get(routes::explain))
        .route("/api/members", get(routes::members))
        .route("/api/classes", get(routes::classes))
        .route("/api/statements", say)
        .route("/api/rulings", get(rulings::list))
        .route("/api/rulings/{id}", get(rulings::one))
        .route("/api/proposals", get(proposals::list))
        .route("/api/proposals/{id}", get(proposals::one))
        .route("/api/parameters", get(proposals::parameters))
        .route("/api/measurements", measure)
        .route("/api/fetches", fetch)
        .merge(board::routes(speak))
        .merge(agent::routes(order))
        .merge(checkpoint::routes())
        .merge(contest::routes())
        .merge(explorer::routes())
        .merge(interactions::routes())
        .merge(lineage::routes())
        .merge(parts::routes())
        .merge(peering::routes())
        .route("/board", get(board::page))
        .route("/board/threads/{id}", get(board::thread_page))
        .route("/knowledge", get(board::knowledge_page))
        .route("/api/ledger/export", get(routes::export))
        .route("/assets/style.css", asset("text/css", include_str!("assets/style.css")))
        .route("/assets/live.js", asset("text/javascript", include_str!("assets/live.js")))
        .route("/assets/icon.svg", asset("image/svg+xml", include_str!("assets/icon.svg")))
        .fallback(routes::not_found)
        .method_not_allowed_fallback(routes::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::clone(shared));
    // Around the routes, because it changes the address that they are found by.
    Router::new()
        .fallback_service(pages)
        .layer(from_fn(sheet::tables))
        .layer(from_fn(guard::origin))
}

/// A file that is part of the program.
fn asset(content_type: &'static str, text: &'static str) -> MethodRouter<Arc<Shared>> {
    get(move || async move { ([(header::CONTENT_TYPE, content_type)], text) })
}

/// Serves until `stop` is ready, then lets requests in flight finish and ends live updates.
///
/// # Errors
///
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    view: Arc<dyn View>,
    token: Token,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let shared = Shared::new(view, token);
    let closing = Arc::clone(&shared);
    serve_http(listener, routes(&shared))
        .with_graceful_shutdown(async move {
            stop.await;
            closing.closing.send_replace(true);
        })
        .await
}
