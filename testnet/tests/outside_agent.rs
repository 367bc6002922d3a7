//! An agent that is no part of a node: smolagents at the MCP server of a member of a real network.
//! Opt-in: `ASSAY_PYTHON` names a Python that has the package `smolagents[mcp]`.

mod common;

use assay_node::board::SpecRow;
use assay_protocol::verdict::Outcome;
use assay_testnet::claims::write_bundles;
use assay_testnet::layout;
use assay_testnet::nodes;
use common::{ask, assay, claims, status, wait};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PYTHON: &str = "ASSAY_PYTHON";

/// `assay mcp http`, ended with the test.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(home: &Path) -> Self {
        let mut command = Command::new(assay());
        command.args(["mcp", "http", "--port", "0", "--format", "json", "--home"]).arg(home);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Self { child, url: said["url"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn token(home: &Path) -> String {
    let mut command = Command::new(assay());
    command.args(["mcp", "token", "new", "--name", "scout", "--format", "json"]);
    command.args(["--allow", "read,post,measure,claim", "--home"]).arg(home);
    let made: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

#[test]
fn an_agent_from_outside_has_its_claim_accepted() {
    let Some(python) = std::env::var_os(PYTHON) else {
        eprintln!("skipped: {PYTHON} names no Python with smolagents[mcp]");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let layout = layout::create(&folder.path().join("net"), layout::genesis).unwrap();
    let bundles = write_bundles(&layout.root).unwrap();
    let nodes = nodes::start(&assay(), &layout).unwrap();
    wait("all nodes are connected", || nodes.iter().all(|node| status(node).peers >= 4));

    let home = &layout.nodes[0].home;
    let server = Server::start(home);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside_agent.py");
    let mut command = Command::new(python);
    command.arg(script).args([&server.url, &token(home)]).arg(bundles.join("serial-rows"));
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8_lossy(&output.stdout);
    let made: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();

    let mine = || claims(&nodes[3]).into_iter().find(|row| made["claim"] == row.id.to_string());
    wait("the claim is decided", || mine().is_some_and(|row| row.outcome.is_some()));
    let row = mine().unwrap();
    assert_eq!(row.outcome, Some(Outcome::Accepted), "{row:?}");
    assert_eq!(
        (row.author.name.as_str(), row.summary.as_str()),
        ("node-1", "by an agent from outside")
    );
    let path = format!("/api/board/specs/{}", made["spec"].as_str().unwrap());
    let spec: SpecRow = ask(&nodes[3], &path);
    assert_eq!(spec.scores.len(), 1, "the claim cites the spec");
    println!("{made} {:?}", row.ratio);
}
