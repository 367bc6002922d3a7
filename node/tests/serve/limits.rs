//! Who may ask, how much, and what happens when a client or the server goes away.

use super::scripted::{FAILS, PANICS, Scripted, checkpoint};
use super::server::Server;
use assay_node::serve::{Access, BODY_BYTES_MAX};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LONG: &[(&str, &str)] = &[("long", include_str!("gemma4.jinja"))];
const JSON: (&str, &str) = ("content-type", "application/json");

/// So slow that a thousand tokens outlast whatever a busy machine does meanwhile.
fn slow() -> Scripted {
    Scripted::new(LONG).at_pace(Duration::from_millis(40))
}

/// Begins a streamed completion and waits for its first token.
fn begin(server: &Server, tokens: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let body = json!({"prompt": "long", "max_tokens": tokens, "stream": true}).to_string();
    write!(
        stream,
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("data: ") {
        let mut portion = [0; 256];
        let read = stream.read(&mut portion).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&portion[..read]);
    }
    stream
}

fn wait_for(server: &Server, line: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !server.get("/metrics", &[]).text.contains(line) {
        assert!(Instant::now() < patience, "{}", server.get("/metrics", &[]).text);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_client_that_leaves_frees_the_engine() {
    let model = slow();
    let seen = model.seen();
    let server = Server::start(&checkpoint(), model);
    drop(begin(&server, 1000));
    wait_for(&server, "assay_generations_total{reason=\"cancelled\"} 1");
    wait_for(&server, "assay_running 0");
    assert!(*seen.tokens.lock().unwrap() < 900);
}

#[test]
fn a_full_queue_refuses_with_a_hint() {
    let server = Server::with(&checkpoint(), slow(), Access::Local, 1);
    let running = begin(&server, 1000);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| server.complete("short", json!({"max_tokens": 2})));
        wait_for(&server, "assay_queue_depth 1");
        let refused = server.complete("short", json!({"max_tokens": 2}));
        assert_eq!((refused.status, refused.retry_after.as_deref()), (429, Some("1")));
        assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
        drop(running);
        assert_eq!(waits.join().unwrap().status, 200);
    });
}

#[test]
fn a_server_that_stops_answers_what_was_asked() {
    let mut server = Server::with(&checkpoint(), slow(), Access::Local, 4);
    let mut running = begin(&server, 80);
    server.stop();
    let mut rest = String::new();
    let url = server.url.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // New connections are refused while the old one is served to its end.
            while TcpStream::connect(url.trim_start_matches("http://")).is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let mut portion = [0; 4096];
        while !rest.contains("[DONE]") {
            let read = running.read(&mut portion).unwrap();
            assert!(read > 0, "{rest}");
            rest.push_str(&String::from_utf8_lossy(&portion[..read]));
        }
    });
    assert!(rest.contains("\"finish_reason\":\"length\"") || rest.contains("\"stop\""), "{rest}");
    server.join();
}

#[test]
fn half_a_request_does_not_hold_up_the_end() {
    let mut server = Server::start(&checkpoint(), slow());
    let connect = || TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let (mut half, mut silent) = (connect(), connect());
    half.write_all(b"POST /v1/completions HTTP/1.1\r\nHost: local").unwrap();
    assert_eq!(server.complete("long", json!({"max_tokens": 3})).status, 200);
    server.join();
    for connection in [&mut half, &mut silent] {
        // The server has closed it, whatever it said before.
        let _ = connection.read_to_end(&mut Vec::new());
    }
    assert!(TcpStream::connect(server.url.trim_start_matches("http://")).is_err());
}

#[test]
fn an_engine_that_fails_or_ends_is_told() {
    let model = Scripted::new(&[("breaks", FAILS), ("bursts", PANICS)]);
    let server = Server::start(&checkpoint(), model);
    let failed = server.complete("breaks", json!({}));
    assert_eq!(failed.status, 500);
    let events = server.complete("breaks", json!({"stream": true})).events();
    assert_eq!(events[0]["error"]["type"], "server_error");
    assert_eq!(server.get("/health", &[]).status, 200);
    for _ in 0..2 {
        let gone = server.complete("bursts", json!({}));
        assert_eq!((gone.status, &gone.json()["error"]["code"]), (503, &json!("engine_gone")));
    }
    assert_eq!(server.get("/health", &[]).status, 503);
    server.abandon();
}

#[test]
fn a_key_is_needed_where_there_is_one() {
    let model = Scripted::new(LONG);
    let server = Server::with(&checkpoint(), model, Access::key("sesame"), 4);
    for headers in [&[][..], &[("authorization", "Bearer no")], &[("authorization", "sesame")]] {
        for path in ["/v1/models", "/metrics"] {
            let reply = server.get(path, headers);
            assert_eq!(
                (reply.status, &reply.json()["error"]["code"]),
                (401, &json!("invalid_api_key"))
            );
        }
    }
    assert_eq!(server.get("/v1/models", &[("authorization", "Bearer sesame")]).status, 200);
    assert_eq!(server.get("/health", &[]).status, 200);
}

#[test]
fn pages_of_other_sites_are_refused() {
    let server = Server::start(&checkpoint(), Scripted::new(LONG));
    for headers in [&[("host", "evil.example")][..], &[("sec-fetch-site", "cross-site")]] {
        assert_eq!(server.get("/v1/models", headers).status, 403, "{headers:?}");
    }
    let body = json!({"prompt": "x", "max_tokens": 1}).to_string();
    let plain = server.send("/v1/completions", &body, &[("content-type", "text/plain")]);
    assert_eq!(plain.status, 415);
    let typed = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(server.send("/v1/completions", &body, &typed).status, 200);
}

#[test]
fn what_is_no_request_is_refused() {
    let server = Server::start(&checkpoint(), Scripted::new(LONG));
    let huge = " ".repeat(BODY_BYTES_MAX + 1);
    for (body, status) in [("", 400), ("{", 400), ("[]", 400), ("\u{0}", 400), (huge.as_str(), 413)]
    {
        let reply = server.send("/v1/completions", body, &[JSON]);
        assert_eq!(reply.status, status);
        assert!(reply.json()["error"]["message"].is_string());
    }
    let deep = format!("{{\"prompt\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(server.send("/v1/completions", &deep, &[JSON]).status, 400);
    assert_eq!(server.get("/v1/nothing", &[]).status, 404);
    assert_eq!(server.get("/v1/completions", &[]).status, 405);
    let long = "word ".repeat(20_000);
    let reply = server.complete(&long, json!({}));
    assert_eq!(reply.json()["error"]["code"], "context_length_exceeded");
}
