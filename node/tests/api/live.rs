//! Live updates reach a page when something changed, and only so many pages.

use super::board::titled;
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

/// The part of a page with this id, up to the end of its section: what the script replaces.
fn part<'a>(page: &'a str, id: &str) -> &'a str {
    let begin = page.find(&format!("id=\"{id}\" data-live")).unwrap();
    page[begin..].split("</section>").next().unwrap()
}

#[tokio::test]
async fn what_the_ledger_orders_is_announced_and_is_in_the_part_that_is_asked_for() {
    let mut world = World::new(1_000_000);
    world.post(1, &titled("The first thread", "words"));
    let site = Site::new(world.clone());
    let mut events = listen(&site).await;
    next(&mut events).await.unwrap();
    let parts = [("/board", "threads"), ("/", "claims"), ("/ledger", "blocks")];
    let mut before = Vec::new();
    for (path, id) in parts {
        let (_, page) = site.get(path).await;
        assert!(page.contains("data-version=\"1\""), "{path}");
        before.push(part(&page, id).to_owned());
    }
    world.post(2, &titled("A new thread", "more words"));
    let claim = world.docket(3, world.base_with_bundle(1), None, "a new claim", 1_300_000);
    site.daemon.show(&world);
    assert_eq!(next(&mut events).await.unwrap(), "event: changed\ndata: 2\n\n");
    for ((path, id), before) in parts.into_iter().zip(before) {
        let (_, page) = site.get(path).await;
        assert!(page.contains("data-version=\"2\""), "{path}: the version that was announced");
        let row = match id {
            "threads" => "A new thread".to_owned(),
            "claims" => format!("/claims/{claim}"),
            _ => format!("/ledger/{}", world.state.height()),
        };
        assert!(part(&page, id).contains(&row) && !before.contains(&row), "{path}: {row}");
    }
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
