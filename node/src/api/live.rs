//! Live updates: server-sent events that say only that something changed. The page then asks for
//! itself again.

use super::Shared;
use super::reply::fault;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Most pages that get live updates at once.
pub const LIVE_CLIENTS_MAX: usize = 32;
/// Shortest time between two events to one page: a burst of changes becomes one event.
const PAUSE: Duration = Duration::from_millis(250);
/// How often a silent connection is tried, which is also how long a page that went away holds its
/// place.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Streams `changed` events, the first at once; their data is the change counter.
pub(super) async fn events(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(place) = Arc::clone(&shared.live).try_acquire_owned() else {
        let mut response = fault(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages get live updates; close one, or reload this one by hand",
        );
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        return response;
    };
    let mut changes = shared.view.changes();
    let mut closing = shared.closing.subscribe();
    let stream = async_stream::stream! {
        let _place = place;
        loop {
            let version = *changes.borrow_and_update();
            yield Ok::<_, Infallible>(Event::default().event("changed").data(version.to_string()));
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => break,
                () = tokio::time::sleep(PAUSE) => {}
            }
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => break,
                changed = changes.changed() => if changed.is_err() { break },
            }
        }
    };
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
