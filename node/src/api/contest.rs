//! The challenge over HTTP: the score of a class and its leaderboards.

use super::Shared;
use super::challenge::{BestRow, Score};
use super::reply::fault;
use super::routes::App;
use assay_protocol::frontier::Track;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use std::sync::Arc;

/// The addresses of this module.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/score", get(claims))
        .route("/api/leaderboard", get(leaders))
        .route("/api/best", get(best))
}

/// Which part of the challenge to answer with.
#[derive(Debug, Default, Deserialize)]
struct Ask {
    class: Option<String>,
    track: Option<Track>,
}

type Asked = Result<Query<Ask>, QueryRejection>;

/// The score of the class that is asked for.
fn score(shared: &Shared, ask: &Ask) -> Score {
    let own = shared.view.status().class;
    Score::new(&shared.view.state(), ask.class.as_deref(), own.as_deref())
}

fn answer(shared: &Shared, asked: Asked, of: impl FnOnce(Score, &Ask) -> Response) -> Response {
    match asked {
        Ok(Query(ask)) => of(score(shared, &ask), &ask),
        Err(rejection) => fault(rejection.status(), &rejection.body_text()),
    }
}

async fn claims(State(shared): App, asked: Asked) -> Response {
    answer(&shared, asked, |score, _| Json(score.claims).into_response())
}

async fn best(State(shared): App, asked: Asked) -> Response {
    let of = |score: Score, _: &Ask| {
        let rows: Vec<BestRow> = score.best;
        Json(rows).into_response()
    };
    answer(&shared, asked, of)
}

async fn leaders(State(shared): App, asked: Asked) -> Response {
    answer(&shared, asked, |score, ask| {
        let rows = score
            .leaders
            .into_iter()
            .filter(|row| ask.track.is_none_or(|track| track == row.track));
        Json(rows.collect::<Vec<_>>()).into_response()
    })
}
