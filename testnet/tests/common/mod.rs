//! What the tests of whole networks share: commands as a person types them, and waiting.
#![allow(dead_code, unreachable_pub)]

use assay_node::api::{ClaimRow, Claims, Status};
use assay_testnet::layout::Layout;
use assay_testnet::nodes::Node;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long anything may take, three rounds of measurements on a busy machine included.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// The `assay` program of the same build.
pub fn assay() -> PathBuf {
    let testnet = Path::new(env!("CARGO_BIN_EXE_assay-testnet"));
    testnet.with_file_name(format!("assay{}", std::env::consts::EXE_SUFFIX))
}

/// What a node answers; a busy machine may keep it from answering at once.
pub fn ask<T: DeserializeOwned>(node: &Node, path: &str) -> T {
    let mut answer = None;
    wait(&format!("{} answers {path}", node.name), || {
        answer = node.client().and_then(|client| client.get(path)).ok();
        answer.is_some()
    });
    answer.unwrap()
}

/// What a node says of itself.
pub fn status(node: &Node) -> Status {
    ask(node, "/api/status")
}

/// Waits until something is so.
pub fn wait(what: &str, done: impl FnMut() -> bool) {
    wait_for(PATIENCE, what, done);
}

/// Waits until something is so, for as long as this.
pub fn wait_for(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {} s", patience.as_secs());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The claims that a node knows, newest first.
pub fn claims(node: &Node) -> Vec<ClaimRow> {
    ask::<Claims>(node, "/api/claims").claims
}

/// Waits until all nodes have one head.
pub fn wait_same_head(nodes: &[Node]) {
    wait("all nodes reach one head", || {
        let heads: Vec<_> =
            nodes.iter().map(|node| (status(node).height, status(node).head)).collect();
        heads.iter().all(|head| *head == heads[0])
    });
}

/// Runs `assay`, with options that take paths; one without a name comes as it is.
pub fn run(args: &[&str], paths: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(assay());
    command.args(args);
    for (option, path) in paths {
        if !option.is_empty() {
            command.arg(option);
        }
        command.arg(path);
    }
    command.output().unwrap()
}

/// Whether `assay audit` passes, and its report.
pub fn audit(file: &Path, layout: &Layout) -> (bool, serde_json::Value) {
    let output = run(&["audit", "--format", "json"], &[("", file), ("--genesis", &layout.network)]);
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap())
}
