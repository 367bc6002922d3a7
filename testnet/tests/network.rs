//! A real network of processes: kills, restarts, newcomers, exports, damage, lots.

mod common;

use assay_node::api::{ClaimAccepted, ClaimRow, MemberRow, Status};
use assay_node::cli::claims_table;
use assay_node::home::Home;
use assay_protocol::genesis::{Genesis, Member};
use assay_protocol::state::Phase;
use assay_testnet::claims::{DemoClaim, SCENARIOS, make, write_bundles};
use assay_testnet::layout::{self, Layout, NodeLayout};
use assay_testnet::nodes::{self, Node};
use common::{ask, assay, audit, claims, run, status, wait, wait_for, wait_same_head};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// For claims that seats really measure, one after the other, on a machine that may be busy.
const MEASURING_PATIENCE: Duration = Duration::from_secs(900);

/// Deadlines so short that nobody measures in time: claims pass through every phase in seconds.
fn hasty(members: Vec<Member>) -> Genesis {
    let mut genesis = layout::genesis(members);
    genesis.committee.seal_ms = 3_000;
    genesis.committee.reveal_ms = 1_000;
    genesis
}

/// Few and short pairs: what is measured is the same, only less of it.
fn brief(members: Vec<Member>) -> Genesis {
    let mut genesis = layout::genesis(members);
    genesis.measurement.pairs = 4;
    genesis.measurement.pairs_min = 4;
    genesis.measurement.decode_tokens = 8;
    genesis
}

/// Makes a claim whose result was made up, so that nothing is measured beforehand.
fn claim(layout: &Layout, bundles: &Path, author: usize, bundle: &'static str) {
    let invented_ratio = Some("1.5");
    let scenario = DemoClaim { author, bundle, invented_ratio, ..SCENARIOS[1] };
    make(&assay(), &layout.nodes[author].home, bundles, &scenario).unwrap();
}

fn wait_settled(node: &Node, claims: usize) {
    wait("claims settle", || {
        let all = common::claims(node);
        all.iter().filter(|row| row.phase == Phase::Settled).count() == claims
    });
}

#[test]
fn killed_nodes_catch_up_and_newcomers_join() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout::create(&folder.path().join("net"), hasty).unwrap();
    let bundles = write_bundles(&layout.root).unwrap();
    let mut nodes = nodes::start(&assay(), &layout).unwrap();

    // Node 5 dies once while others order a claim, once right after, and once while idle.
    for (round, bundle) in ["half-dot", "same-again", "serial-rows"].into_iter().enumerate() {
        claim(&layout, &bundles, round, bundle);
        std::thread::sleep(Duration::from_millis(700 * round as u64));
        nodes[4].kill().unwrap();
        wait_settled(&nodes[0], round + 1);
        nodes[4] = nodes::spawn(&assay(), &layout.nodes[4], &layout.network).unwrap();
        nodes[4].wait_until_up().unwrap();
        wait_same_head(&nodes);
    }

    wait("every author opens its result", || {
        claims(&nodes[0]).iter().all(|row| row.author_ratio_ppm.is_some())
    });
    wait_same_head(&nodes);
    let newcomer = newcomer_joins_and_returns(&layout, &nodes, folder.path());
    drop(newcomer);

    // Idle means idle: nothing is ordered while nobody has anything to say.
    wait_same_head(&nodes);
    let height = status(&nodes[0]).height;
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(status(&nodes[0]).height, height);

    let online = folder.path().join("online.assay");
    let home = layout.nodes[0].home.clone();
    let exported = run(&["ledger", "export"], &[("--home", &home), ("--out", &online)]);
    assert!(exported.status.success(), "{exported:?}");
    for node in &mut nodes {
        node.stop();
    }
    let offline = folder.path().join("offline.assay");
    let home = layout.nodes[3].home.clone();
    let exported = run(&["ledger", "export"], &[("--home", &home), ("--out", &offline)]);
    assert!(exported.status.success(), "{exported:?}");
    assert_eq!(height_of(&online, &layout), height_of(&offline, &layout));
    flipped_bytes_are_found(&offline, &layout);
}

/// Someone else's machine: `assay init`, `assay run --network FILE`, Ctrl-C, and again.
fn newcomer_joins_and_returns(layout: &Layout, nodes: &[Node], folder: &Path) -> Node {
    let home = folder.join("newcomer");
    let made = run(&["init"], &[("--home", &home)]);
    assert!(made.status.success(), "{made:?}");
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    let node = NodeLayout { name: "newcomer".to_owned(), home: home.clone(), listen };
    let mut identity = None;
    for _ in 0..2 {
        let mut newcomer = nodes::spawn(&assay(), &node, &layout.network).unwrap();
        newcomer.wait_until_up().unwrap();
        wait("the newcomer catches up", || status(&newcomer).head == status(&nodes[0]).head);
        wait("the newcomer has peers", || status(&newcomer).peers >= 4);
        let shown = run(&["status", "--format", "json"], &[("--home", &home)]);
        let shown: Status = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(shown.height, status(&nodes[0]).height);
        assert_eq!(*identity.get_or_insert(shown.peer), shown.peer, "the identity is kept");
        let peers = run(&["peers", "--format", "json"], &[("--home", &home)]);
        let peers: Vec<serde_json::Value> = serde_json::from_slice(&peers.stdout).unwrap();
        assert!(peers.len() >= 4, "{peers:?}");
        newcomer.stop();
    }
    assert_eq!(Some(Home::open(&home).unwrap().peer()), identity);
    nodes::spawn(&assay(), &node, &layout.network).unwrap()
}

fn height_of(file: &Path, layout: &Layout) -> u64 {
    let (ok, report) = audit(file, layout);
    assert!(ok, "{report}");
    report["height"].as_u64().unwrap()
}

fn flipped_bytes_are_found(file: &Path, layout: &Layout) {
    let bytes = std::fs::read(file).unwrap();
    let damaged = file.with_extension("damaged");
    let last = bytes.len() - 1;
    for position in (0..24).map(|i| i * last / 24).chain([last]) {
        let mut copy = bytes.clone();
        copy[position] ^= 0x10;
        std::fs::write(&damaged, &copy).unwrap();
        let (ok, report) = audit(&damaged, layout);
        assert!(!ok, "byte {position}: {report}");
        assert_eq!(report["ok"], false);
        let place = report["first_fault"]["where"].as_str().unwrap();
        assert!(place.contains("entry at height") || position < 56, "byte {position}: {place}");
    }
    for cut in [0, 10, 60, last] {
        std::fs::write(&damaged, &bytes[..cut]).unwrap();
        assert!(!audit(&damaged, layout).0, "cut at {cut}");
    }
}

/// A node that has nothing to do makes null claims by itself, now and then, that nobody can tell
/// from others before they are opened.
#[test]
fn idle_nodes_make_null_claims_by_lot() {
    let folder = tempfile::tempdir().unwrap();
    let often = |members| {
        let mut genesis = hasty(members);
        genesis.committee.null_ppm = 500_000;
        genesis
    };
    let layout = layout::create(&folder.path().join("net"), often).unwrap();
    let nodes = nodes::start(&assay(), &layout).unwrap();
    let mut by_hand = Vec::new();
    // Every entry causes one with probability 1/2, and never while another claim waits.
    let mut found = None;
    let mut author = 0;
    wait("an entry causes a null claim", || {
        author = (author + 1) % 5;
        let home = &layout.nodes[author].home;
        let made = run(&["claim", "null", "--format", "json"], &[("--home", home)]);
        if let Ok(made) = serde_json::from_slice::<ClaimAccepted>(&made.stdout) {
            by_hand.push(made.claim);
        }
        let settled = |rows: &[ClaimRow]| {
            let is_settled = |id| rows.iter().any(|row| row.id == id && row.settled_at.is_some());
            by_hand.iter().all(|id| is_settled(*id))
        };
        wait("claims made by hand settle", || settled(&claims(&nodes[0])));
        for _ in 0..20 {
            found = claims(&nodes[0]).into_iter().find(|row| !by_hand.contains(&row.id));
            if found.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        found.is_some()
    });
    let id = found.unwrap().id;
    let row = || claims(&nodes[0]).into_iter().find(|row| row.id == id).unwrap();
    wait("its author opens it", || row().null.is_some());
    assert_eq!((row().null, row().author_ratio_ppm), (Some(true), Some(1_000_000)));
    assert!(row().summary.starts_with("other kernels for "), "{}", row().summary);
}

/// Posts by one author after the other, each ordered before the next, until something is so.
fn talk_until(authors: &[Node], what: &str, mut done: impl FnMut() -> bool) {
    let mut turns = authors.iter().cycle().enumerate();
    wait(what, || {
        if done() {
            return true;
        }
        let (number, author) = turns.next().unwrap();
        let (height, text) = (status(author).height, format!("{what}, {number}"));
        let posted = run(&["board", "post", &text], &[("--home", &author.home)]);
        // A busy machine may keep one from being said; the next author says the next.
        if posted.status.success() {
            wait("a post is ordered", || status(author).height > height);
        }
        false
    });
}

/// Whether the last node is a validator, and since which height it counts as silent, as `node` has it.
fn place(layout: &Layout, node: &Node) -> (bool, Option<u64>) {
    let rows: Vec<MemberRow> = ask(node, "/api/members");
    let name = &layout.nodes[4].name;
    let row = rows.into_iter().find(|row| row.name == *name).unwrap();
    (row.validator, row.silent_since)
}

/// Four of five validators go on without the fifth, give its place up, and need it again when it is
/// back and another goes.
#[test]
fn a_validator_that_is_away_for_long_loses_its_place_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let impatient = |members| {
        let mut genesis = layout::genesis(members);
        genesis.membership.silent_blocks = 40;
        genesis
    };
    let layout = layout::create(&folder.path().join("net"), impatient).unwrap();
    let mut nodes = nodes::start(&assay(), &layout).unwrap();
    wait("all nodes are connected", || nodes.iter().all(|node| status(node).peers >= 4));
    assert_eq!(place(&layout, &nodes[0]), (true, None));

    nodes[4].kill().unwrap();
    let noticed = || place(&layout, &nodes[0]).1.is_some();
    talk_until(&nodes[..4], "the others notice", noticed);
    let (validator, since) = place(&layout, &nodes[0]);
    assert!(!validator && since.is_some_and(|since| since > 40), "{since:?}");
    let members = run(&["members"], &[("--home", &layout.nodes[0].home)]);
    let members = String::from_utf8_lossy(&members.stdout);
    assert!(members.contains("silent since block"), "{members}");

    nodes[4] = nodes::spawn(&assay(), &layout.nodes[4], &layout.network).unwrap();
    nodes[4].wait_until_up().unwrap();
    wait("it takes its place again by itself", || {
        nodes.iter().all(|node| place(&layout, node) == (true, None))
    });
    nodes[3].kill().unwrap();
    let enough = status(&nodes[0]).height + 2;
    talk_until(&nodes[4..], "its votes count", || status(&nodes[0]).height >= enough);

    drop(nodes);
    let export = folder.path().join("ledger.assay");
    let home = &layout.nodes[4].home;
    let exported = run(&["ledger", "export"], &[("--home", home), ("--out", &export)]);
    assert!(exported.status.success(), "{exported:?}");
    assert!(height_of(&export, &layout) >= enough);
}

/// A throttled run and a boast, sealed by their authors and measured by others: the ledger's number is
/// what the samples say and nothing else, and the opening shows what the author had sealed.
#[test]
fn what_an_author_seals_moves_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout::create(&folder.path().join("net"), brief).unwrap();
    let bundles = write_bundles(&layout.root).unwrap();
    let nodes = nodes::start(&assay(), &layout).unwrap();
    unloadable_checkpoints_are_refused_by_diagnosis(&layout);
    let sealed = [("serial-rows", "0.2", 200_000), ("same-again", "40", 40_000_000)];
    for (author, (bundle, ratio, _)) in sealed.into_iter().enumerate() {
        let scenario = DemoClaim {
            author,
            bundle,
            summary: bundle,
            invented_ratio: Some(ratio),
            ..SCENARIOS[0]
        };
        make(&assay(), &layout.nodes[author].home, &bundles, &scenario).unwrap();
    }
    let rows = || claims(&nodes[4]);
    wait_for(MEASURING_PATIENCE, "both authors open their results", || {
        rows().iter().filter(|row| row.author_ratio_ppm.is_some()).count() == sealed.len()
    });
    for (bundle, _, sealed_ppm) in sealed {
        let rows = rows();
        let row = rows.iter().find(|row| row.summary == bundle).unwrap();
        eprintln!("{}", claims_table(std::slice::from_ref(row)));
        assert_eq!(row.author_ratio_ppm, Some(sealed_ppm));
        let ratio = row.ratio.unwrap();
        assert!(ratio.low_ppm <= ratio.ppm && ratio.ppm <= ratio.high_ppm);
        // Neither recipe is five times slower or forty times faster on any machine.
        assert!((400_000..20_000_000).contains(&ratio.ppm), "{bundle}: {ratio:?}");
    }
    let export = folder.path().join("sealed.assay");
    let home = layout.nodes[0].home.clone();
    let exported = run(&["ledger", "export"], &[("--home", &home), ("--out", &export)]);
    assert!(exported.status.success(), "{exported:?}");
    // The audit computes every number again from the samples alone.
    let (ok, report) = audit(&export, &layout);
    assert!(ok, "{report}");
}

/// A checkpoint that no seat can load is refused where it is claimed, by what is wrong with it.
fn unloadable_checkpoints_are_refused_by_diagnosis(layout: &Layout) {
    let folder = layout.root.join("unloadable");
    std::fs::create_dir(&folder).unwrap();
    for (name, bytes) in assay_kernels::embedded_files() {
        let kept = if name == "model.safetensors" { bytes.len() / 2 } else { bytes.len() };
        std::fs::write(folder.join(name), &bytes[..kept]).unwrap();
    }
    let home = layout.nodes[0].home.clone();
    let options = ["claim", "new", "--ratio", "1.5", "--summary", "half a checkpoint"];
    let refused = run(&options, &[("--home", &home), ("--checkpoint", &folder)]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{told}");
    assert!(told.contains("no seat can load") && told.contains("CK"), "{told}");
}

/// The demonstration itself, as a script would run it. Speed depends on how busy the machine is,
/// so that only what does not is asserted: who is honest about the tokens.
#[test]
fn the_demonstration_measures_claims_and_audits_itself() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_assay-testnet"))
        .args(["up", "--once", "--format", "json", "--dir"])
        .arg(folder.path().join("net"))
        .output()
        .unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {progress}"));
    assert_eq!(report["nodes"], 5);
    assert_eq!(report["audit"]["ok"], true, "{report}");
    assert_eq!(report["audit"]["entries"], SCENARIOS.len());
    assert!(report["ledger"]["height"].as_u64().unwrap() >= 3);
    let claims = report["claims"].as_array().unwrap();
    for scenario in &SCENARIOS {
        let claim = claims.iter().find(|c| c["summary"] == scenario.summary).unwrap();
        assert_eq!(claim["attestations"].as_array().unwrap().len(), 3, "{claim}");
        assert_eq!(claim["lossless"], scenario.bundle != "half-dot", "{claim}");
        if scenario.bundle == "half-dot" {
            assert_eq!(claim["verdict"], "refuted");
            assert!(claim["ppl_child"].as_f64() > claim["ppl_parent"].as_f64());
        } else {
            assert_eq!(claim["ppl_child"], claim["ppl_parent"], "the same bits, the same figure");
        }
    }
}
