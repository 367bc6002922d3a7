//! The command line as a person meets it, bad input first.

use assay_node::home::{Home, NetworkFile};
use assay_protocol::audit::export_header;
use assay_protocol::genesis::{
    Challenge, CommitteeRules, Genesis, MeasurementRules, Member, MembershipRules, PromptPool,
    Quorum, SignificanceRules, VotingRules,
};
use assay_protocol::ids::BlobHash;
use assay_protocol::record::Recipe;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn assay(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assay")).args(args).output().unwrap()
}

/// Asserts a failure with one clear line on stderr that contains `says`, and nothing on stdout.
fn refuses(args: &[&str], says: &str) {
    let output = assay(args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{args:?} succeeded");
    assert!(output.stdout.is_empty(), "{args:?} printed {:?}", output.stdout);
    assert!(text.contains(says), "{args:?} said {text:?} instead of {says:?}");
    let errors = text.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{args:?} said {text:?}");
    assert!(!text.contains("panicked"), "{text}");
}

fn genesis(name: &str, homes: &[Home]) -> Genesis {
    let members = homes.iter().zip(1..).map(|(home, i)| Member {
        name: format!("node-{i}"),
        operator: format!("operator-{i}"),
        peer: home.peer(),
        vrf: home.vrf(),
        standing: 1,
    });
    Genesis {
        name: name.to_owned(),
        time_ms: 1,
        members: members.collect(),
        challenge: Challenge {
            name: "test".to_owned(),
            base: Recipe { checkpoint: BlobHash([1; 32]), bundle: None, drafter: None },
            pool: PromptPool {
                text: BlobHash([2; 32]),
                prompts: 20,
                prompt_tokens: 8,
                scored_tokens: 8,
            },
            kl_max_micronats: 1,
            agreement_min_ppm: 1,
            perplexity_ratio_max_ppm: 1,
        },
        committee: CommitteeRules {
            seats: 1,
            reserves: 0,
            quorum: 1,
            frontier: Quorum { seats: 1, quorum: 1 },
            seats_max: 1,
            seal_ms: 1_000,
            reveal_ms: 1_000,
            measuring_max: 1,
            docket_max: 1,
            open_per_operator: 1,
            audit_ppm: 0,
            null_ppm: 0,
            assumed_dishonest_ppm: 0,
        },
        measurement: MeasurementRules {
            pairs: 10,
            pairs_min: 10,
            decode_tokens: 4,
            reach_tokens: 1,
            context_tokens: 1,
        },
        significance: SignificanceRules {
            alpha_ppm: 1_000,
            eta_ppm: 0,
            gain_ppm: 30_000,
            tau_ppm: 1,
            tau_df: 1,
        },
        membership: MembershipRules {
            epoch_blocks: 100,
            vouches_per_epoch: 2,
            vouch_standing_min: 1,
            probation_rounds: 2,
            gain_per_epoch_max: 4,
            silent_blocks: 1_000,
        },
        voting: VotingRules { window_ms: 60_000, delay_blocks: 2 },
    }
}

fn network(folder: &Path, name: &str) -> String {
    let homes: Vec<Home> =
        (0..4).map(|i| Home::create(&folder.join(format!("{name}-{i}"))).unwrap()).collect();
    let path = folder.join(format!("{name}.json"));
    let file = NetworkFile { genesis: genesis(name, &homes), bootstrap: Vec::new() };
    file.write(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn help_has_examples_for_everything_a_person_runs() {
    let text = assay(&["--help"]);
    assert!(text.status.success());
    for args in [
        &["run"][..],
        &["audit"],
        &["claim", "new"],
        &["ledger", "export"],
        &["ledger", "checkpoint"],
        &["witness", "run"],
        &["bench"],
    ] {
        let output = assay(&[args, &["--help"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("Example"), "{args:?}: {text}");
    }
}

#[test]
fn unknown_words_and_missing_things_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    let home = empty.to_str().unwrap();
    refuses(&["frobnicate"], "unrecognized subcommand 'frobnicate'");
    refuses(&["run", "--frobnicate"], "unexpected argument '--frobnicate'");
    refuses(&["status", "--home", home], "no node is running");
    refuses(&["run", "--home", home], "assay init --home");
    refuses(&["ledger", "export", "--home", home, "--out", "x"], "network.json");
    refuses(&["audit", "/nonexistent", "--genesis", "/nonexistent"], "/nonexistent");
    refuses(&["ppl", "--model", "/nonexistent", "--text", "/nonexistent"], "/nonexistent");
    assert!(!empty.exists(), "a refused command leaves nothing behind");
}

#[test]
fn a_home_is_made_once_and_belongs_to_one_network() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home").to_str().unwrap().to_owned();
    let made = assay(&["init", "--home", &home, "--format", "json"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["peer"].as_str().unwrap().len(), 64);
    refuses(&["init", "--home", &home], "holds a key already");
    refuses(&["run", "--home", &home], "--network FILE");

    let (ours, theirs) = (network(folder.path(), "ours"), network(folder.path(), "theirs"));
    Home::open(Path::new(&home)).unwrap().join(Some(Path::new(&ours))).unwrap();
    refuses(&["run", "--home", &home, "--network", &theirs], "belongs to network");
    let kept = NetworkFile::read(&Path::new(&home).join("network.json")).unwrap();
    assert_eq!(kept.genesis.name, "ours");

    let bare = folder.path().join("bare.json");
    std::fs::write(&bare, serde_json::to_vec(&kept.genesis).unwrap()).unwrap();
    assert_eq!(NetworkFile::read(&bare).unwrap().genesis, kept.genesis);

    std::fs::write(folder.path().join("bad.json"), b"{\"genesis\": 1}").unwrap();
    let bad = folder.path().join("bad.json").to_str().unwrap().to_owned();
    refuses(&["run", "--home", &home, "--network", &bad], "is not a network file");
}

#[test]
fn ports_in_use_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home").to_str().unwrap().to_owned();
    assert!(assay(&["init", "--home", &home]).status.success());
    let file = network(folder.path(), "net");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = TcpListener::bind(taken).unwrap();
    let http = taken.to_string();
    refuses(&["run", "--home", &home, "--network", &file, "--http", &http], "--http");
    let listen = format!("/ip4/127.0.0.1/tcp/{}", taken.port());
    refuses(&["run", "--home", &home, "--listen", &listen], &taken.port().to_string());
    refuses(&["run", "--home", &home, "--http", "0.0.0.0:0"], "not a loopback address");
    drop(held);
}

#[test]
fn damaged_models_are_refused_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "In the beginning").unwrap();
    let ppl = ["ppl", "--model", model.to_str().unwrap(), "--text", text.to_str().unwrap()];
    refuses(&ppl, "config.json");
    std::fs::write(model.join("config.json"), b"{ not json").unwrap();
    refuses(&ppl, "config.json");
    let nano = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels-wgsl/data/nano"));
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(nano.join(name), model.join(name)).unwrap();
    }
    let weights = std::fs::read(nano.join("model.safetensors")).unwrap();
    std::fs::write(model.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    refuses(&ppl, "model.safetensors");
}

#[test]
fn files_that_are_no_ledger_fail_the_audit() {
    let folder = tempfile::tempdir().unwrap();
    let file = network(folder.path(), "net");
    let path = folder.path().join("ledger.assay").to_str().unwrap().to_owned();
    for content in [&b""[..], b"short", &[0; 4096]] {
        std::fs::write(&path, content).unwrap();
        let output = assay(&["audit", &path, "--genesis", &file, "--format", "json"]);
        assert_eq!(output.status.code(), Some(1));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ok"], false);
        assert_eq!(report["first_fault"]["rule"], "format");
    }
}

#[test]
fn an_auditor_is_told_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = network(folder.path(), "net");
    let genesis = NetworkFile::read(Path::new(&file)).unwrap().genesis;
    let path = folder.path().join("ledger.assay").to_str().unwrap().to_owned();
    std::fs::write(&path, export_header(genesis.network(), 0)).unwrap();
    let audit = |more: &[&str]| {
        let whole = [&["audit", &path, "--genesis", &file, "--format", "json"], more].concat();
        let output = assay(&whole);
        (output.status.code(), serde_json::from_slice::<serde_json::Value>(&output.stdout))
    };
    assert_eq!(audit(&[]).0, Some(0));
    assert_eq!(audit(&["--since", "3"]).0, Some(2));
    let (code, report) = audit(&["--since", "3", "--trust", &"11".repeat(32)]);
    let report = report.unwrap();
    assert_eq!((code, report["first_fault"]["code"].as_str()), (Some(1), Some("K01")));
    assert_eq!(report["trusted"]["not_rechecked"].as_array().unwrap().len(), 4);
    for option in ["--entry", "--reproduce"] {
        refuses(&["audit", &path, "--genesis", &file, option, "abcdef"], "begins with abcdef");
    }
    let proof = folder.path().join("proof.json").to_str().unwrap().to_owned();
    std::fs::write(&proof, "{}").unwrap();
    let output = assay(&["audit", "--proof-file", &proof, "--genesis", &file, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), report["ok"].as_bool()), (Some(1), Some(false)));
    assert_eq!(report["first_fault"]["code"], "F01");
}

#[test]
fn members_are_explained_from_an_export_without_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let file = network(folder.path(), "net");
    let genesis = NetworkFile::read(Path::new(&file)).unwrap().genesis;
    let path = folder.path().join("ledger.assay").to_str().unwrap().to_owned();
    std::fs::write(&path, export_header(genesis.network(), 0)).unwrap();
    let explain = |id: &str, format: &str| {
        assay(&["explain", id, "--ledger", &path, "--genesis", &file, "--format", format])
    };
    let peer = genesis.members[1].peer.to_string();
    for id in ["node-2", &peer, &peer[..8]] {
        let output = explain(id, "json");
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&said["id"], &said["kind"]), (&peer.clone().into(), &"peer".into()));
        assert_eq!(said["result"]["standing"], 1);
    }
    let text = explain("node-2", "table");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("named in the genesis") && text.contains("weight 1 of 4"), "{text}");

    let offline = ["--ledger", &path, "--genesis", &file];
    refuses(&[&["explain", "nobody"][..], &offline].concat(), "no member is called");
    refuses(&[&["explain", "abcdef"][..], &offline].concat(), "no claim and no peer");
    refuses(&["explain"], "required");
    refuses(&["explain", "node-2", "--ledger", &path], "--genesis");
    refuses(&["explain", "node-2", "--committee"], "cannot be used with");
    refuses(&["explain", "a/../b", "--home", folder.path().to_str().unwrap()], "first digits");
    std::fs::write(&path, b"nonsense").unwrap();
    refuses(&[&["explain", "node-2"][..], &offline].concat(), "too short");
    let nowhere = folder.path().join("nowhere").to_str().unwrap().to_owned();
    for args in [&["vouch", &peer, "--operator", "o", "--name", "n"][..], &["leave"], &["members"]]
    {
        refuses(&[args, &["--home", &nowhere]].concat(), "no node is running");
    }
    refuses(&["vouch", "xyz", "--operator", "o", "--name", "n"], "64 hexadecimal digits");
}

#[test]
fn committees_are_explained_by_the_published_table() {
    // Seats, quorum, row of the share, and what the binomial tables give for it.
    for (seats, quorum, row, forged, stalled) in [
        ("5", "4", 1, 4.6e-4, 0.08),
        ("7", "5", 2, 4.7e-3, 0.15),
        ("11", "8", 2, 2.4e-4, 0.16),
        ("15", "10", 2, 1.1e-4, 0.06),
        ("21", "14", 1, 5.9e-10, 0.0006),
    ] {
        let args = ["explain", "--committee", "--seats", seats, "--quorum", quorum];
        let output = assay(&[&args[..], &["--format", "json"]].concat());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let close = |field: &str, expected: f64| {
            let found = report["steps"][row][field].as_f64().unwrap();
            assert!(
                (found / expected - 1.0).abs() < 0.1,
                "{seats} {field}: {found}, not {expected}"
            );
        };
        close("forged", forged);
        close("stalled", stalled);
        let text = assay(&args).stdout;
        assert!(String::from_utf8_lossy(&text).contains("STALLED IF ABSENT"));
    }
    // Seats that differ this much are not cured by more pairs.
    let noisy = ["explain", "--committee", "--tau", "0.02", "--format", "json"];
    let report: serde_json::Value = serde_json::from_slice(&assay(&noisy).stdout).unwrap();
    assert!(report["result"]["pairs_needed"].is_null());
    assert!(report["result"]["seats_needed"].as_u64().unwrap() > 7);

    let folder = tempfile::tempdir().unwrap();
    let file = network(folder.path(), "net");
    let output = assay(&["explain", "--committee", "--genesis", &file, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["inputs"]["seats"], 1);
    let tau = ["explain", "--committee", "--genesis", &file, "--tau", "nan"];
    refuses(&tau, "--tau NaN");
    refuses(&["explain", "--committee", "--seats", "3", "--quorum", "9"], "--quorum 9");
    refuses(&["explain", "--committee", "--sigma", "nan"], "--sigma NaN");
    refuses(&["explain", "--committee", "--genesis", "nowhere.json"], "nowhere.json");
}

#[test]
fn the_committees_of_a_network_are_explained_by_its_own_rules() {
    let folder = tempfile::tempdir().unwrap();
    let file = network(folder.path(), "net");
    let mut kept = NetworkFile::read(Path::new(&file)).unwrap();
    let committee = &mut kept.genesis.committee;
    (committee.seats, committee.quorum, committee.reserves) = (2, 2, 1);
    (committee.frontier, committee.seats_max) = (Quorum { seats: 3, quorum: 2 }, 3);
    committee.assumed_dishonest_ppm = 150_000;
    (kept.genesis.measurement.pairs, kept.genesis.measurement.pairs_min) = (12, 8);
    kept.genesis.significance.gain_ppm = 50_000;
    kept.genesis.check().unwrap();
    std::fs::write(&file, serde_json::to_vec(&kept).unwrap()).unwrap();
    let committee = ["explain", "--committee", "--genesis", &file, "--format", "json"];
    let explain = |more: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&assay(&[&committee, more].concat()).stdout).unwrap()
    };
    // Nothing is known of any class: the smallest committees measure the most pairs.
    let report = explain(&[]);
    assert_eq!(report["inputs"]["gain"], 0.05);
    let sizes = |report: &serde_json::Value| {
        [&report["result"], &report["frontier"]["result"]]
            .map(|part| ["seats", "quorum", "pairs"].map(|name| part[name].as_u64().unwrap()))
    };
    assert_eq!(sizes(&report), [[2, 2, 12], [3, 2, 12]]);
    let shares: Vec<f64> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["share"].as_f64().unwrap())
        .collect();
    assert_eq!(shares, [0.05, 0.1, 0.15, 0.2, 0.3, 1.0 / 3.0]);
    let close = |found: &serde_json::Value, expected: f64| {
        let found = found.as_f64().unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    };
    // Two seats of 2 with f = 0.15; both must come, and one reserve makes up for one of them.
    close(&report["steps"][2]["forged"], 0.15 * 0.15);
    close(&report["steps"][2]["stalled"], 0.15 * 0.15 + 2.0 * 0.15 * 0.85 * 0.15);
    close(&report["frontier"]["steps"][2]["forged"], 3.0 * 0.15 * 0.15 * 0.85 + 0.15_f64.powi(3));
    // A quiet class measures the fewest pairs, a noisy one with as many seats as the network allows.
    let quiet = explain(&["--sigma", "0.0001", "--tau", "0.0001"]);
    assert_eq!(sizes(&quiet), [[2, 2, 8], [3, 2, 8]]);
    let noisy = explain(&["--sigma", "0.3"]);
    assert_eq!(sizes(&noisy), [[3, 3, 12], [3, 2, 12]]);
    assert!(noisy["result"]["power"].as_f64().unwrap() < 0.5);
    let text = assay(&committee[..4]).stdout;
    let text = String::from_utf8_lossy(&text);
    for part in ["1 reserve", "15.0 %, assumed", "FRONTIER STALLED", "never measured"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}
