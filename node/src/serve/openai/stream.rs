//! Replies as server-sent events.

use super::ApiError;
use crate::serve::worker::{Outcome, Update};
use axum::response::sse::{Event as Sse, KeepAlive, Sse as SseReply};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::convert::Infallible;
use tokio::sync::mpsc::Receiver;

/// Writes the chunks of one kind of reply.
pub(super) trait Chunks: Send + 'static {
    /// Chunks before anything came.
    fn first(&mut self) -> Vec<Value>;
    /// Chunks for a piece of output.
    fn piece(&mut self, update: Update) -> Vec<Value>;
    /// Chunks at the end.
    fn last(&mut self, outcome: &Outcome) -> Vec<Value>;
}

/// Streams updates until the last one. Dropping the reply, as happens when the client goes away,
/// cancels the task.
pub(super) fn reply(mut updates: Receiver<Update>, mut chunks: impl Chunks) -> Response {
    let events = async_stream::stream! {
        for chunk in chunks.first() {
            yield data(&chunk);
        }
        let mut error = Some(ApiError::engine_gone());
        while let Some(update) = updates.recv().await {
            match update {
                Update::Done(outcome) => {
                    for chunk in chunks.last(&outcome) {
                        yield data(&chunk);
                    }
                    error = None;
                    break;
                }
                Update::Failed(message) => {
                    error = Some(ApiError::engine(&message));
                    break;
                }
                piece @ Update::Piece { .. } => {
                    for chunk in chunks.piece(piece) {
                        yield data(&chunk);
                    }
                }
            }
        }
        if let Some(error) = error {
            yield data(&error.body());
        }
        yield Ok(Sse::default().data("[DONE]"));
    };
    SseReply::new(events).keep_alive(KeepAlive::default()).into_response()
}

fn data(value: &Value) -> Result<Sse, Infallible> {
    Ok(Sse::default().data(value.to_string()))
}

/// Waits for a whole output.
pub(super) async fn collect(
    mut updates: Receiver<Update>,
    mut on_piece: impl FnMut(Update),
) -> Result<Outcome, ApiError> {
    loop {
        match updates.recv().await {
            None => return Err(ApiError::engine_gone()),
            Some(Update::Done(outcome)) => return Ok(outcome),
            Some(Update::Failed(message)) => return Err(ApiError::engine(&message)),
            Some(piece) => on_piece(piece),
        }
    }
}
