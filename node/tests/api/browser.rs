//! Pages in a browser: each is sound, and an open one is brought up to date. Opt-in: `ASSAY_CHROMIUM` names
//! Chromium, and `ASSAY_PYTHON` a Python that has the package `playwright`; `ASSAY_AXE` may name `axe.min.js`
//! of axe-core, and `ASSAY_SCREENSHOTS` a folder for pictures.

use super::TOKEN;
use super::board::{answer, titled};
use super::daemon::Daemon;
use super::talk::Talk;
use assay_node::api::{Token, serve};
use std::env::var;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Minutes ago, so that times read as they do on a live network.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap() - 1_800_000
}

/// A node's pages, served on loopback until `stop` is called.
struct Served {
    url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn new(daemon: Arc<Daemon>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            let _ = stopped.await;
        };
        let server = tokio::spawn(serve(listener, daemon, Token::new(TOKEN).unwrap(), stopped));
        Self { url, stop, server }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.server.await.unwrap().unwrap();
    }
}

/// The script with one of its tasks; nothing where no Chromium is named.
fn script(task: &str, url: &str) -> Option<Command> {
    let Ok(chromium) = var("ASSAY_CHROMIUM") else {
        eprintln!("skipped: ASSAY_CHROMIUM names no Chromium");
        return None;
    };
    let python = var("ASSAY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/browser.py"));
    command.args([task, &chromium, url]);
    Some(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_sound_in_chromium() {
    let Talk { world, claims, thread } = Talk::new(now_ms());
    let height = world.state.height();
    let served = Served::new(Arc::new(Daemon::new(world))).await;
    let Some(mut visit) = script("visit", &served.url) else { return served.stop().await };
    let pages = [
        "/".to_owned(),
        format!("/claims/{}", claims[2]),
        format!("/claims/{}", claims[6]),
        "/board".to_owned(),
        format!("/board/threads/{thread}"),
        "/board/interactions".to_owned(),
        "/board/interactions?kind=words&peer=curie".to_owned(),
        "/lineage".to_owned(),
        format!("/lineage/{}?q=kernel&zoom=70", claims[6]),
        "/knowledge".to_owned(),
        "/ledger".to_owned(),
        format!("/ledger/{height}"),
        "/peers".to_owned(),
        "/peers/curie".to_owned(),
        "/node".to_owned(),
    ];
    visit
        .arg(var("ASSAY_AXE").unwrap_or_default())
        .arg(var("ASSAY_SCREENSHOTS").unwrap_or_default());
    visit.args(pages);
    let output = tokio::task::spawn_blocking(move || visit.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    eprintln!("{said}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_pages_come_to_show_what_happens_in_chromium() {
    let Talk { mut world, thread, .. } = Talk::new(now_ms());
    let daemon = Arc::new(Daemon::new(world.clone()));
    let served = Served::new(Arc::clone(&daemon)).await;
    let Some(mut watch) = script("watch", &served.url) else { return served.stop().await };
    let thread_page = format!("/board/threads/{thread}");
    let block = (world.state.height() + 1).to_string();
    watch.args(["/board", "#threads", "A thread that was not there"]);
    watch.args([&thread_page, "#thread", "an answer that was not there"]);
    let told = "gauss to bell: 1 reply, 1 mention";
    watch.args(["/board/interactions", "#interactions", told]);
    watch.args(["/", "#claims", "a claim that was not there"]);
    watch.args(["/ledger", "#blocks", &block]);
    let watched = tokio::task::spawn_blocking(move || {
        let mut page = watch.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(page.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        if line == "ready\n" {
            world.post(1, &titled("A thread that was not there", "words"));
            world.post(6, &answer(thread, "@bell an answer that was not there"));
            let recipe = world.base_with_bundle(77);
            world.docket(2, recipe, None, "a claim that was not there", 1_200_000);
            daemon.show(&world);
        }
        said.read_to_string(&mut line).unwrap();
        (page.wait().unwrap(), line)
    });
    let (status, said) = watched.await.unwrap();
    assert!(status.success(), "{said}");
    eprintln!("{said}");
    served.stop().await;
}
