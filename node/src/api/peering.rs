//! Peers over HTTP: who takes part, and one of them with the derivation of its standing.

use super::claims::{ClaimRow, Named};
use super::page::{self, PeerView};
use super::reply::{fault, html};
use super::routes::{App, connections, snapshot};
use super::{Shared, board, members};
use crate::explain::{ClassNorms, explain};
use assay_protocol::ids::PeerId;
use assay_protocol::state::{MemberState, State as Ledger};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use std::sync::Arc;

/// Claims of a peer on its page and in one answer.
const CLAIMS_MAX: usize = 200;

/// The addresses of this module.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/peers", get(list))
        .route("/peers/{id}", get(one))
        .route("/node", get(node))
        .route("/api/members/{id}/standing", get(standing))
        .route("/api/members/{id}/events", get(events))
        .route("/api/members/{id}/claims", get(claims_of))
}

async fn list(State(shared): App) -> Response {
    let (snapshot, connections) = (snapshot(&shared), connections(&shared).await);
    let rows = members::rows(&snapshot.state);
    let classes = ClassNorms::all(&snapshot.state);
    html(StatusCode::OK, page::peers(&snapshot, &rows, &classes, connections.as_deref()))
}

async fn node(State(shared): App) -> Response {
    html(StatusCode::OK, page::node(&snapshot(&shared), &shared.view.agent()))
}

async fn one(State(shared): App, Path(id): Path<String>) -> Response {
    let (snapshot, connections) = (snapshot(&shared), connections(&shared).await);
    match view(&snapshot.state, &id) {
        Ok(view) => html(StatusCode::OK, page::peer_page(&snapshot, &view, connections.as_deref())),
        Err(message) => html(StatusCode::NOT_FOUND, page::not_found(&snapshot, &message)),
    }
}

fn view(state: &Ledger, text: &str) -> Result<PeerView, String> {
    let (peer, member) = find(state, text)?;
    let row = members::rows(state).into_iter().find(|row| row.peer == peer);
    Ok(PeerView {
        row: row.ok_or("this peer was never a member")?,
        start: member.account.start(),
        tallies: members::tallies(member),
        events: members::events(member),
        derivation: explain(state, &peer.to_string())?,
        claims: own_claims(state, peer),
        voucher: member.admission.map(|admission| Named::new(state, admission.by)),
    })
}

fn find<'a>(state: &'a Ledger, text: &str) -> Result<(PeerId, &'a MemberState), String> {
    let peer = board::find_peer(state, text)?;
    let member = state.members().get(&peer).ok_or("this peer was never a member")?;
    Ok((peer, member))
}

fn own_claims(state: &Ledger, author: PeerId) -> Vec<ClaimRow> {
    let mut own: Vec<_> = state.claims().filter(|claim| claim.author == author).collect();
    own.sort_by(|a, b| b.docketed_at.cmp(&a.docketed_at).then(a.id.cmp(&b.id)));
    own.into_iter().take(CLAIMS_MAX).map(|claim| ClaimRow::new(state, claim)).collect()
}

/// Answers about one member, or says that there is none.
fn about<T: Serialize>(
    shared: &Shared,
    id: &str,
    of: impl FnOnce(&Ledger, PeerId, &MemberState) -> T,
) -> Response {
    let state = shared.view.state();
    match find(&state, id) {
        Ok((peer, member)) => Json(of(&state, peer, member)).into_response(),
        Err(message) => fault(StatusCode::NOT_FOUND, &message),
    }
}

async fn standing(State(shared): App, Path(id): Path<String>) -> Response {
    about(&shared, &id, |_, _, member| members::tallies(member))
}

async fn events(State(shared): App, Path(id): Path<String>) -> Response {
    about(&shared, &id, |_, _, member| members::events(member))
}

async fn claims_of(State(shared): App, Path(id): Path<String>) -> Response {
    about(&shared, &id, |state, peer, _| own_claims(state, peer))
}
