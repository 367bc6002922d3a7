//! The node's page and JSON API, asked as a browser or a program would.

mod board;
mod browser;
mod challenge;
#[path = "../agent/corpus.rs"]
mod corpus;
mod daemon;
mod explained;
mod explorer;
mod interactions;
mod known;
mod limits;
mod lineage;
mod live;
mod mcp;
mod mcp_http;
mod mcp_injections;
mod pages;
mod peering;
mod proposals;
mod routes;
mod samples;
mod security;
mod snapshots;
mod tables;
mod talk;
mod watch;
mod witness;
mod world;

use assay_node::api::{Token, View, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use daemon::Daemon;
use std::sync::Arc;
use tower::ServiceExt;
use world::World;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A browser and the node it talks to.
struct Site {
    daemon: Arc<Daemon>,
    router: Router,
}

impl Site {
    fn new(world: World) -> Self {
        let daemon = Arc::new(Daemon::new(world));
        let view: Arc<dyn View> = daemon.clone();
        Self { daemon, router: router(view, Token::new(TOKEN).unwrap()) }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.send(request("GET", path).body(Body::empty()).unwrap()).await;
        let status = response.status();
        (status, text(response).await)
    }

    async fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:7070")
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 16 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}
