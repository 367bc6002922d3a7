//! Connections: how many, how long each may take to ask, and how they end.

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Longest time that the head of a request may take, and that a connection may wait for its next request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Most connections at one time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;
/// Pause after the system refused a connection, as it does when a process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers connections of `listener` until `stop` is ready; then takes no more and returns when those that
/// are there have been answered. One that asks for nothing ends after [`HEAD_TIME_MAX`].
pub(crate) async fn answer(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = pin!(stop);
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Tokens are small and shall not wait for more; a system that refuses merely sends later.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            // A client that breaks off is no fault of this server.
            let _ = connection.await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
