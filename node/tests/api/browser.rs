//! Every page in a browser. Opt-in: `ASSAY_CHROMIUM` names Chromium, and `ASSAY_PYTHON` a Python that has the
//! package `playwright`; `ASSAY_AXE` may name `axe.min.js` of axe-core, and `ASSAY_SCREENSHOTS` a folder for
//! pictures.

use super::TOKEN;
use super::daemon::Daemon;
use super::talk::Talk;
use assay_node::api::{Token, View, serve};
use std::env::var;
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// Minutes ago, so that times read as they do on a live network.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap() - 1_800_000
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_sound_in_chromium() {
    let Ok(chromium) = var("ASSAY_CHROMIUM") else {
        eprintln!("skipped: ASSAY_CHROMIUM names no Chromium");
        return;
    };
    let python = var("ASSAY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let Talk { world, claims, thread } = Talk::new(now_ms());
    let height = world.state.height();
    let view: Arc<dyn View> = Arc::new(Daemon::new(world));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async move {
        let _ = stopped.await;
    };
    let server = tokio::spawn(serve(listener, view, Token::new(TOKEN).unwrap(), stopped));
    let pages = [
        "/".to_owned(),
        format!("/claims/{}", claims[2]),
        format!("/claims/{}", claims[6]),
        "/board".to_owned(),
        format!("/board/threads/{thread}"),
        "/lineage".to_owned(),
        format!("/lineage/{}?q=kernel&zoom=70", claims[6]),
        "/knowledge".to_owned(),
        "/ledger".to_owned(),
        format!("/ledger/{height}"),
        "/peers".to_owned(),
        "/peers/curie".to_owned(),
        "/node".to_owned(),
    ];
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/browser.py");
    let mut visit = Command::new(python);
    visit.arg(script).arg(chromium).arg(url);
    visit
        .arg(var("ASSAY_AXE").unwrap_or_default())
        .arg(var("ASSAY_SCREENSHOTS").unwrap_or_default());
    visit.args(pages);
    let output = tokio::task::spawn_blocking(move || visit.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    eprintln!("{said}");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
