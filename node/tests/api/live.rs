//! Live updates reach a page when something changed, and only so many pages.

use super::daemon::Daemon;
use super::world::World;
use super::{Site, TOKEN, request, text};
use assay_node::api::{LIVE_CLIENTS_MAX, Token, View, serve};
use axum::body::{Body, BodyDataStream};
use axum::http::StatusCode;
use futures::StreamExt;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

async fn listen(site: &Site) -> BodyDataStream {
    let response = site.send(request("GET", "/live").body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

async fn next(events: &mut BodyDataStream) -> Option<String> {
    let bytes = events.next().await?.unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn an_event_follows_a_change_and_a_burst_is_one_event() {
    let site = Site::new(World::new(1_000));
    let mut events = listen(&site).await;
    assert_eq!(next(&mut events).await.unwrap(), "event: changed\ndata: 1\n\n");
    for _ in 0..3 {
        site.daemon.bump();
    }
    assert_eq!(next(&mut events).await.unwrap(), "event: changed\ndata: 4\n\n");
}

#[tokio::test]
async fn places_are_bounded_and_given_back() {
    let site = Site::new(World::new(1_000));
    let mut open = Vec::new();
    for _ in 0..LIVE_CLIENTS_MAX {
        open.push(listen(&site).await);
    }
    let refused = site.send(request("GET", "/live").body(Body::empty()).unwrap()).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(refused).await.contains("too many pages"));
    open.pop();
    let _again = listen(&site).await;
}

#[tokio::test]
async fn the_server_stops_although_a_page_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let view: Arc<dyn View> = Arc::new(Daemon::new(World::new(1_000)));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, view, Token::new(TOKEN).unwrap(), async {
        let _ = stopped.await;
    }));
    let mut page = TcpStream::connect(address).await.unwrap();
    let ask = format!("GET /live HTTP/1.1\r\nHost: {address}\r\n\r\n");
    page.write_all(ask.as_bytes()).await.unwrap();
    let mut heard = String::new();
    while !heard.contains("data: 1") {
        let mut buffer = [0; 512];
        let count = page.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "closed after {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
