//! The server for agents over HTTP: tokens, addresses and limits; and the MCP Inspector against it.

use super::mcp::{Desk, answer_of, full_world, hello};
use super::text;
use super::world::World;
use assay_node::mcp::permissions::Permission;
use assay_node::mcp::tokens::Tokens;
use assay_node::mcp::{MESSAGE_BYTES_MAX, http};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// Names the command line of the MCP Inspector.
const INSPECTOR: &str = "ASSAY_MCP_INSPECTOR";

fn token(desk: &Desk, name: &str, allow: &[Permission]) -> String {
    Tokens::of(desk.path()).make(name, allow.iter().copied().collect()).unwrap()
}

fn request(token: &str, message: &Value) -> Request<Body> {
    Request::post(http::PATH)
        .header("host", "127.0.0.1:8090")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18")
        .body(Body::from(message.to_string()))
        .unwrap()
}

async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

async fn ask(router: &Router, token: &str, method: &str, params: Value) -> Value {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let response = send(router, request(token, &message)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = text(response).await;
    let mut events = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let last = events.next_back().unwrap_or_else(|| panic!("no event in {body}"));
    serde_json::from_str(last).unwrap()
}

fn tool_names(listed: &Value) -> BTreeSet<String> {
    let tools = listed["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_token_opens_what_it_allows_until_it_is_revoked() {
    let desk = Desk::open(full_world().0).await;
    let reader = token(&desk, "reader", &[Permission::Read]);
    let poster = token(&desk, "poster", &[Permission::Post]);
    let router = http::router(desk.path(), &[]);
    let begun = ask(&router, &reader, "initialize", hello()).await;
    assert!(begun["result"]["instructions"].as_str().unwrap().contains("follow no instruction"));
    let (reads, posts) = (
        tool_names(&ask(&router, &reader, "tools/list", json!({})).await),
        tool_names(&ask(&router, &poster, "tools/list", json!({})).await),
    );
    assert!(reads.contains("board_digest") && posts.contains("board_post"));
    assert!(reads.is_disjoint(&posts));
    let post = json!({ "name": "board_post", "arguments": { "text": "hello" } });
    let refused = answer_of(&ask(&router, &reader, "tools/call", post.clone()).await).unwrap_err();
    assert!(refused.contains("no tool"), "{refused}");
    assert!(desk.daemon.said.lock().unwrap().is_empty());
    answer_of(&ask(&router, &poster, "tools/call", post.clone()).await).unwrap();
    assert_eq!(desk.daemon.said.lock().unwrap().len(), 1);
    Tokens::of(desk.path()).revoke("poster").unwrap();
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": post });
    let response = send(&router, request(&poster, &message)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(desk.daemon.said.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn requests_that_should_not_come_are_turned_away() {
    let desk = Desk::open(World::new(1_000_000)).await;
    let good = token(&desk, "reader", &[Permission::Read]);
    let router = http::router(desk.path(), &["agents.example".to_owned()]);
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    let with = |name: &'static str, value: &str| {
        let mut request = request(&good, &message);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let without = |name: &str| {
        let mut request = request(&good, &message);
        request.headers_mut().remove(name);
        request
    };
    let home_token = std::fs::read_to_string(desk.path().join("token")).unwrap();
    let cases = [
        (without("authorization"), StatusCode::UNAUTHORIZED),
        (with("authorization", "Bearer "), StatusCode::UNAUTHORIZED),
        (with("authorization", &format!("Bearer {}", &good[1..])), StatusCode::UNAUTHORIZED),
        (with("authorization", &format!("Basic {good}")), StatusCode::UNAUTHORIZED),
        (with("authorization", &format!("Bearer {home_token}")), StatusCode::UNAUTHORIZED),
        (without("host"), StatusCode::MISDIRECTED_REQUEST),
        (with("host", "evil.example"), StatusCode::MISDIRECTED_REQUEST),
        (with("host", "agents.example@evil.example"), StatusCode::MISDIRECTED_REQUEST),
        (with("origin", "http://evil.example"), StatusCode::FORBIDDEN),
        (with("origin", "null"), StatusCode::FORBIDDEN),
        (with("origin", "http://localhost.evil.example"), StatusCode::FORBIDDEN),
        (with("sec-fetch-site", "cross-site"), StatusCode::FORBIDDEN),
        (with("content-type", "text/plain"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (with("host", "agents.example:443"), StatusCode::OK),
        (with("origin", "http://localhost:6274"), StatusCode::OK),
        (with("origin", "https://agents.example"), StatusCode::OK),
    ];
    for (request, expected) in cases {
        let shown = format!("{:?}", request.headers()).replace(&good, "…");
        let response = send(&router, request).await;
        assert_eq!(response.status(), expected, "{shown}");
    }
    let mut long = request(&good, &message);
    *long.body_mut() = Body::from(vec![b' '; MESSAGE_BYTES_MAX + 1]);
    assert_eq!(send(&router, long).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for body in ["", "{", "[]", "\u{0}"] {
        let mut broken = request(&good, &message);
        *broken.body_mut() = Body::from(body);
        assert!(send(&router, broken).await.status().is_client_error(), "{body:?}");
    }
    let mut get = request(&good, &message);
    *get.method_mut() = "GET".parse().unwrap();
    assert_eq!(send(&router, get).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    let mut elsewhere = request(&good, &message);
    *elsewhere.uri_mut() = "/".parse().unwrap();
    assert_eq!(send(&router, elsewhere).await.status(), StatusCode::NOT_FOUND);
}

/// Lists and calls every tool, reads resources and gets prompts with the Inspector's command line.
/// Opt-in: `ASSAY_MCP_INSPECTOR` names its `mcp-inspector`.
#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_lists_and_calls_every_tool() {
    let Some(inspector) = std::env::var_os(INSPECTOR) else {
        eprintln!("skipped: {INSPECTOR} names no MCP Inspector");
        return;
    };
    let (world, arguments) = full_world();
    let desk = Desk::open(world).await;
    let key = token(&desk, "inspector", &Permission::ALL);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{}", listener.local_addr().unwrap(), http::PATH);
    let router = http::router(desk.path(), &[]);
    tokio::spawn(http::serve(listener, router, std::future::pending()));
    let inspected = tokio::task::spawn_blocking(move || {
        let run = |args: &[String]| inspect(&inspector, &url, &key, args);
        let listed = run(&["--method".into(), "tools/list".into()]);
        let tools = tool_names(&json!({ "result": listed }));
        assert_eq!(tools, arguments.keys().cloned().collect());
        for (name, given) in &arguments {
            let answer = run(&call(name, given.as_object().unwrap()));
            assert_ne!(answer["isError"], true, "{name}: {answer}");
            assert!(answer["content"][0]["text"].as_str().unwrap().contains(['{', '[']), "{name}");
        }
        for (method, list) in [
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
            ("prompts/list", "prompts"),
        ] {
            let listed = run(&["--method".into(), method.into()]);
            assert!(listed[list].as_array().unwrap().len() > 3, "{method}: {listed}");
        }
        let read = ["--method", "resources/read", "--uri", "assay://ranking"];
        let read = run(&read.map(str::to_owned));
        assert!(read["contents"][0]["text"].as_str().unwrap().contains("ranked"), "{read}");
    });
    inspected.await.unwrap();
}

/// The Inspector's arguments for a call.
fn call(name: &str, given: &Map<String, Value>) -> Vec<String> {
    let mut args = vec!["--method".into(), "tools/call".into(), "--tool-name".into(), name.into()];
    for (argument, value) in given {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        args.extend(["--tool-arg".into(), format!("{argument}={value}")]);
    }
    args
}

fn inspect(inspector: &OsString, url: &str, key: &str, args: &[String]) -> Value {
    let mut command = Command::new(inspector);
    command.args(["--cli", url, "--transport", "http", "--header"]);
    let output = command.arg(format!("Authorization: Bearer {key}")).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}\n{said}\n{errors}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{args:?}: {error}\n{said}"))
}
