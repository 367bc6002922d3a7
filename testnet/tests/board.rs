//! The board on a real network of processes: what one says all find, restarts and latecomers
//! included, and hostile posts cost their sender.

mod common;

use assay_node::home::{Home, NetworkFile};
use assay_node::net::{self, NetConfig, NetEvent, NetHandle, Topic, Verdict};
use assay_protocol::ids::NetworkId;
use assay_protocol::post::PostBody;
use assay_protocol::wire;
use assay_testnet::layout::{self, Layout};
use assay_testnet::nodes::{self, Node};
use common::{PATIENCE, assay, status, wait};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

fn wait_connected(nodes: &[Node]) {
    wait("all nodes are connected", || nodes.iter().all(|node| status(node).peers >= 4));
}

fn run(home: &Path, args: &[&str]) -> Output {
    common::run(args, &[("--home", home)])
}

/// Runs a command that must succeed and reads the JSON that it prints.
fn json(home: &Path, args: &[&str]) -> Value {
    let output = run(home, &[args, &["--format", "json"]].concat());
    assert!(output.status.success(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn record(said: &Value) -> String {
    said["record"].as_str().unwrap().to_owned()
}

fn total(home: &Path, args: &[&str]) -> u64 {
    json(home, args)["total"].as_u64().unwrap()
}

/// Whether a node has these posts in this order, each complete and on the ledger.
fn has_thread(home: &Path, root: &str, posts: &[&str]) -> bool {
    let output = run(home, &["board", "thread", root, "--format", "json"]);
    let Ok(thread) = serde_json::from_slice::<Value>(&output.stdout) else { return false };
    let found: Vec<&Value> = thread["posts"].as_array().into_iter().flatten().collect();
    let whole = |post: &&Value| post["complete"] == true && post["height"].is_u64();
    found.iter().all(whole) && found.iter().map(|post| &post["id"]).eq(posts.iter())
}

#[test]
fn what_one_node_says_every_node_finds() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout::create(&folder.path().join("net"), layout::genesis).unwrap();
    let mut nodes = nodes::start(&assay(), &layout).unwrap();
    let homes: Vec<PathBuf> = layout.nodes.iter().map(|node| node.home.clone()).collect();
    wait_connected(&nodes);

    // Node 5 is away while the others talk.
    nodes[4].kill().unwrap();
    let hostile = "numbers for int4? \u{202e}evil\u{2066} @node-2";
    let question = json(&homes[0], &["board", "post", hostile, "--title", "Int4 on llvmpipe"]);
    let root = record(&question);
    wait("node 2 finds the question", || total(&homes[1], &["board", "mentions"]) == 1);
    let answer =
        json(&homes[1], &["board", "post", "1.31 with the fused head", "--thread", &root[..8]]);
    let posts = [root.as_str(), &record(&answer)];
    for home in &homes[..4] {
        wait("everyone has the thread", || has_thread(home, &root, &posts));
        assert_eq!(total(home, &["board", "search", "fused", "head"]), 1);
    }

    let digest = json(&homes[1], &["board", "digest"]);
    assert_eq!(digest["groups"][0]["lines"][0]["why"], "mention", "{digest}");
    assert!(json(&homes[1], &["board", "digest"])["groups"].as_array().unwrap().is_empty());
    assert!(
        !json(&homes[1], &["board", "digest", "--since", "0"])["groups"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    // Nothing that commands a terminal comes out of a command.
    let shown = run(&homes[2], &["board", "thread", &root]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("Int4 on llvmpipe") && shown.contains('\u{fffd}'), "{shown}");
    assert!(!shown.chars().any(|c| c != '\n' && assay_node::text::commands(c)), "{shown:?}");

    // A latecomer gets the bodies by hash, a restarted node has them still.
    nodes[4] = nodes::spawn(&assay(), &layout.nodes[4], &layout.network).unwrap();
    nodes[4].wait_until_up().unwrap();
    wait("the latecomer has the thread", || has_thread(&homes[4], &root, &posts));
    nodes[2].kill().unwrap();
    nodes[2] = nodes::spawn(&assay(), &layout.nodes[2], &layout.network).unwrap();
    nodes[2].wait_until_up().unwrap();
    wait("the restarted node has the thread", || has_thread(&homes[2], &root, &posts));
    assert_eq!(total(&homes[2], &["board", "search", "fused"]), 1);

    wait_connected(&nodes);
    knowledge_and_accusations(&homes, &root);
    what_solicits_is_ruled_upon(&homes);
    refusals_name_the_thing(&homes[0]);
    hostile_posts_cost_their_sender(&layout, &homes);
}

fn knowledge_and_accusations(homes: &[PathBuf], root: &str) {
    let book = ["playbook", "new", "Keep the head in bf16.", "--title", "Quantising"];
    let book = record(&json(&homes[0], &book));
    wait("node 3 has the playbook", || {
        run(&homes[2], &["playbook", "show", &book]).status.success()
    });
    json(&homes[2], &["playbook", "endorse", &book[..10], "holds here"]);
    json(&homes[0], &["playbook", "revise", &book[..10], "Keep it in int8."]);
    wait("the revision is endorsed", || {
        let books = json(&homes[3], &["playbook", "list"]);
        books[0]["weight"] == 10 && books[0]["revisions"].as_array().is_some_and(|r| r.len() == 2)
    });
    json(&homes[3], &["flag", "new", root, "--rule", "off-channel", "asks to go elsewhere"]);
    wait("the flag is seen", || json(&homes[1], &["flag", "list"])[0]["rule"] == "off-channel");

    let class = ["--class", "test-class", "--bandwidth", "20", "--weights", "int4-g32"];
    let spec =
        record(&json(&homes[2], &[&["spec", "new", "--model", "nano"], &class[..]].concat()));
    let mut shown = Value::Null;
    wait("the spec is on the ledger", || {
        let output = run(&homes[0], &["spec", "show", &spec[..8], "--format", "json"]);
        shown = serde_json::from_slice(&output.stdout).unwrap_or_default();
        shown["post"]["complete"] == true
    });
    let ratio = shown["forecast"]["ratio_ppm"].as_u64().unwrap();
    assert!((1_200_000..4_000_000).contains(&ratio), "{shown}");
    let parts = shown["post"]["detail"]["spec"]["parts"].as_array().unwrap();
    assert!(parts.iter().any(|part| part["name"] == "mlp"), "{shown}");
}

/// A node notices the post by itself, the others are drawn and judge it, and all come to one ruling.
fn what_solicits_is_ruled_upon(homes: &[PathBuf]) {
    let words = ["board", "post", "Join our private group: discord.gg/abcdef"];
    let post = record(&json(&homes[0], &words));
    for home in homes {
        let mut shown = Value::Null;
        wait("the post is ruled off-channel", || {
            let output = run(home, &["ruling", "show", &post[..12], "--format", "json"]);
            shown = serde_json::from_slice(&output.stdout).unwrap_or_default();
            shown["state"] == "upheld"
        });
        assert_eq!(shown["accused"]["name"], "node-1", "{shown}");
        assert_eq!(shown["hearings"][0]["lost"], 3, "{shown}");
        assert_eq!(shown["hearings"][0]["seats"].as_array().unwrap().len(), 3, "{shown}");
    }
    let listed = String::from_utf8(run(&homes[1], &["ruling", "list"]).stdout).unwrap();
    assert!(listed.contains("upheld") && listed.contains("node-1"), "{listed}");
    let explained = run(&homes[2], &["explain", "node-1"]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("a committee upheld a flag against it"), "{explained}");
    // What was decided is not charged again, by whomever.
    let again = run(&homes[3], &["flag", "new", &post, "--rule", "off-channel", "again"]);
    let error = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && error.contains("is upheld"), "{error}");
}

fn refusals_name_the_thing(home: &Path) {
    let long = "x".repeat(9_000);
    for (args, words) in [
        (&["board", "post", ""][..], "text"),
        (&["board", "post", &long], "text"),
        (&["board", "post", "x", "--channel", "No Such"], "channel"),
        (&["board", "post", "x", "--thread", "abcdef99"], "no post begins"),
        (&["board", "thread", "../../etc"], "no id"),
        (&["flag", "new", "nobody", "--rule", "x", "y"], "no id"),
        (&["spec", "new", "--model", "nano", "--class", "c", "--bandwidth", "1"], "--weights"),
        (&["spec", "new", "--model", "nano", "--class", "c", "--head", "int8"], "--bandwidth"),
        (&["spec", "show", "abcdef99"], "assay spec list"),
        (
            &[
                "claim",
                "new",
                "--drafter",
                "nano",
                "--draft-len",
                "1",
                "--summary",
                "x",
                "--ratio",
                "2",
                "--cite",
                &"ab".repeat(32),
            ],
            "is no spec",
        ),
    ] {
        let output = run(home, args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(words), "{args:?}: {error}");
    }
}

/// A peer that is connected like any other, and says what no honest peer says.
fn hostile_posts_cost_their_sender(layout: &Layout, homes: &[PathBuf]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let network = NetworkFile::read(&layout.network).unwrap().genesis.network();
    let home = Home::open(&homes[0]).unwrap();
    let said = |text: String| -> PostBody {
        serde_json::from_value(serde_json::json!({ "channel": "general", "text": text })).unwrap()
    };
    // Signed for another network, which is no signature here; and longer than a post may be.
    let unsigned = |number: usize| {
        let body = said(format!("unsigned {number}"));
        wire::sign_post(NetworkId([1; 32]), home.key(), &body, 0, None).to_gossip()
    };
    let oversized = |number: usize| {
        let body = said(format!("{number}{}", "x".repeat(9_000)));
        wire::sign_post(network, home.key(), &body, 0, None).to_gossip()
    };
    let before = total(&homes[1], &["board", "list"]);
    for (seed, bad) in [(91, &unsigned as &dyn Fn(usize) -> Vec<u8>), (92, &oversized)] {
        let blocked =
            runtime.block_on(says_until_blocked(seed, network, &layout.nodes[1].listen, bad));
        assert!(blocked, "peer {seed} was not blocked");
    }
    assert_eq!(total(&homes[1], &["board", "list"]), before);
}

/// Connects to one node, sends bad posts, and says whether the node has enough of it.
async fn says_until_blocked(
    seed: u8,
    network: NetworkId,
    listen: &[String],
    bad: &dyn Fn(usize) -> Vec<u8>,
) -> bool {
    let mut config = NetConfig::new([seed; 32], network.0);
    config.bootstrap = vec![listen[0].parse().unwrap()];
    let (handle, mut events, _task) = net::start(config).await.unwrap();
    let judge = handle.clone();
    let drain = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let NetEvent::Message { token, .. } = event {
                judge.report(token, Verdict::Ignore).await;
            }
        }
    });
    let connected = async |handle: &NetHandle| !handle.peers().await.is_empty();
    let deadline = Instant::now() + PATIENCE;
    while !connected(&handle).await && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(connected(&handle).await, "the hostile peer is not connected");
    // Gossip needs a moment to learn who listens to what.
    let (mut blocked, mut number) = (false, 0);
    while Instant::now() < deadline {
        number += 1;
        let _ = handle.publish(Topic::Record, bad(number)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !connected(&handle).await {
            blocked = true;
            break;
        }
    }
    handle.stop().await;
    drain.abort();
    blocked
}
