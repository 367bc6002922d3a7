//! Nodes have their ledgers cosigned over HTTP, and a witness notices when there are two.

use super::board::titled;
use super::daemon::Daemon;
use super::world::{World, peer};
use super::{Site, TOKEN, request, text};
use assay_node::api::{Token, View, router};
use assay_node::checkpoints::{CheckpointRow, Checkpoints, WitnessAddress};
use assay_node::home::{Home, NetworkFile};
use assay_node::witness::{EvidenceKind, Witness, WitnessFiles, serve};
use assay_protocol::audit::{export_header, export_item};
use assay_protocol::tlog::{
    Algorithm, Checkpoint, Note, NoteKey, SUBMISSION_BYTES_MAX, Submission, judge,
};
use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::any;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::net::TcpListener;

/// A ledger of so many blocks. Two are never the same: random outputs have proofs that differ.
fn begun(blocks: u64) -> World {
    grown(&World::new(1_000), blocks, "as ever")
}

/// The ledger with so many blocks, in whose later ones this is said.
fn grown(before: &World, blocks: u64, word: &str) -> World {
    let mut world = before.clone();
    for height in world.state.height() + 1..=blocks {
        let author = usize::try_from(height % 7).unwrap();
        world.post(author, &titled(word, &format!("block {height}")));
    }
    world
}

/// A witness of the members' ledger in a folder.
fn witness(folder: &Path, world: &World) -> Witness {
    let home = Home::open(folder).unwrap_or_else(|_| Home::create(folder).unwrap());
    let key = NoteKey::new("witness.example/1", Algorithm::Cosignature, home.peer()).unwrap();
    let network = world.state.network();
    let keys = (0..7).map(|member| NoteKey::of_node(network, peer(member))).collect();
    let files = WitnessFiles::make(folder).unwrap();
    Witness::open(files, key, home.key().clone(), keys).unwrap()
}

/// Serves a witness until the test ends.
async fn listen(witness: &Arc<Witness>) -> WitnessAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, Arc::clone(witness), std::future::pending()));
    WitnessAddress { url, key: witness.key().clone() }
}

/// What a member's node with these witnesses shows after it submitted its ledger.
async fn submitted(world: &World, member: usize, to: &[WitnessAddress]) -> CheckpointRow {
    let checkpoints = Arc::new(world.checkpoints(member, to.to_vec()));
    Arc::clone(&checkpoints).submit().await.unwrap();
    checkpoints.row().unwrap()
}

/// The body of `add-checkpoint` that a member's node would send.
fn body(world: &World, member: usize, old: u64) -> String {
    world.checkpoints(member, Vec::new()).submission(old, None).unwrap().unwrap().to_string()
}

/// Sends a body as it is; returns status, content type and answer.
async fn post(url: &str, body: String) -> (u16, String, String) {
    let url = format!("{url}/add-checkpoint");
    let send = move || {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut answer = ureq::Agent::from(config).post(url).send(body).unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), kind, answer.body_mut().read_to_string().unwrap())
    };
    tokio::task::spawn_blocking(send).await.unwrap()
}

#[tokio::test]
async fn every_nodes_head_is_cosigned_where_it_continues_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let first = begun(5);
    let eighth = grown(&first, 8, "and on");
    let twelfth = grown(&eighth, 12, "and on");
    let keeper = Arc::new(witness(folder.path(), &first));
    let address = [listen(&keeper).await];
    let row = submitted(&first, 0, &address).await;
    assert_eq!((row.size, row.cosigned_by.as_slice()), (5, &["witness.example/1".to_owned()][..]));
    let note = Note::read(row.note.as_bytes()).unwrap();
    assert!(note.signed_by(keeper.key()).unwrap() > 1_600_000_000, "the time, in seconds");
    assert_eq!(note.signed_by(&NoteKey::of_node(first.state.network(), peer(0))), Some(0));
    // Another member's node, which knows nothing of the witness yet, and the same ledger again.
    for (world, member) in [(&first, 1), (&twelfth, 2), (&twelfth, 3)] {
        let row = submitted(world, member, &address).await;
        let blocks = world.state.height();
        assert_eq!((row.size, row.cosigned_by.len()), (blocks, 1), "{:?}", row.witnesses);
    }
    let behind = submitted(&eighth, 4, &address).await;
    assert!(behind.witnesses[0].trouble.as_ref().unwrap().contains("cosigned size 12 already"));
    assert_eq!(behind.witnesses[0].conflict, None);
    assert_eq!(keeper.logs()[0].size, Some(12));
    assert!(keeper.files().evidence().unwrap().is_empty());
}

#[tokio::test]
async fn statuses_are_those_of_the_specification() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(6);
    let keeper = Arc::new(witness(folder.path(), &ledger));
    let url = listen(&keeper).await.url;
    let (status, _, answer) = post(&url, body(&ledger, 0, 0)).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.starts_with("\u{2014} witness.example/1 ") && answer.ends_with('\n'));
    let later = grown(&ledger, 9, "and on");
    let (status, kind, answer) = post(&url, body(&later, 0, 4)).await;
    assert_eq!((status, kind.as_str(), answer.as_str()), (409, "text/x.tlog.size", "6\n"));
    let no_proof = body(&later, 0, 0).replacen("old 0", "old 6", 1);
    assert_eq!(post(&url, no_proof).await.0, 422);
    let beyond = body(&later, 0, 0).replacen("old 0", "old 10", 1);
    assert_eq!(post(&url, beyond).await.0, 400);
    // The base64 of a signature holds no key's name, so that this changes a signature only.
    let (text, line) =
        body(&later, 0, 6).rsplit_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let forged =
        format!("{text} {}{}", &line[..6], line[6..].replacen(['b', 'c', 'd', 'e'], "A", 3));
    assert_eq!(post(&url, forged).await.0, 403);
    let unknown = body(&later, 0, 6).replace("assay/", "other/");
    assert_eq!(post(&url, unknown).await.0, 404);
    for malformed in ["", "old 6\n\n", "old 06\n\nx\n1\n\n"] {
        assert_eq!(post(&url, malformed.to_owned()).await.0, 400, "{malformed:?}");
    }
    // No more than the server reads before it answers, or the connection ends while this still sends.
    assert_eq!(post(&url, "x".repeat(SUBMISSION_BYTES_MAX + 1)).await.0, 413);
    assert_eq!(keeper.logs()[0].size, Some(6), "nothing of this was cosigned");
    assert_eq!(post(&url, body(&later, 0, 6)).await.0, 200);
}

#[tokio::test]
async fn a_split_view_is_noticed_proven_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let root = begun(4);
    let (ledger, other) = (grown(&root, 9, "this"), grown(&root, 12, "that"));
    let keeper = Arc::new(witness(folder.path(), &ledger));
    let address = listen(&keeper).await;
    submitted(&ledger, 0, std::slice::from_ref(&address)).await;

    let daemon = Arc::new(Daemon::witnessed(other, vec![address]));
    daemon.checkpoints().submit().await.unwrap();
    let row = daemon.checkpoints().row().unwrap();
    assert_eq!(row.witnesses[0].conflict, Some(9), "{:?}", row.witnesses);
    assert!(row.cosigned_by.is_empty());

    let evidence = keeper.files().evidence().unwrap();
    let split = evidence.iter().find(|one| one.kind == EvidenceKind::SplitView).unwrap();
    let read = |note: &str| {
        let note = Note::read(note.as_bytes()).unwrap();
        let signer = NoteKey::of_node(ledger.state.network(), peer(0));
        assert!(note.signed_by(&signer).is_some(), "anybody can check who signed");
        Checkpoint::read(&note).unwrap()
    };
    let (kept, received) = (read(&split.kept), read(&split.received));
    assert_eq!((kept.size, received.size), (9, 9));
    assert_ne!(kept.root, received.root);
    // The same again is the same evidence.
    daemon.checkpoints().submit().await.unwrap();
    assert_eq!(keeper.files().evidence().unwrap(), evidence);
    assert_eq!(keeper.logs()[0].size, Some(9));

    let view: Arc<dyn View> = daemon.clone();
    let site = Site { daemon, router: router(view, Token::new(TOKEN).unwrap()) };
    let (status, page) = site.get("/ledger").await;
    assert_eq!(status, StatusCode::OK);
    let at = |words: &str| page.find(words).unwrap_or_else(|| panic!("no {words}: {page}"));
    assert!(at("split view") < at("id=\"blocks\""), "the warning comes first");
    assert!(at("witness.example/1") < at("another ledger of this network"));
    let rows = site.json("/api/witnesses").await;
    assert_eq!(rows["witnesses"][0]["conflict"], 9);
}

#[tokio::test]
async fn a_restart_forgets_nothing_and_nothing_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let fourth = begun(4);
    let (ledger, fork) = (grown(&fourth, 9, "this"), grown(&fourth, 9, "that"));
    let (later, later_fork) = (grown(&ledger, 12, "this"), grown(&fork, 12, "that"));
    let before = witness(folder.path(), &ledger);
    before.add(body(&ledger, 0, 0).as_bytes(), 5_000).unwrap();
    drop(before);
    let after = witness(folder.path(), &ledger);
    assert_eq!(after.logs()[0].size, Some(9));
    let refused =
        [(&fourth, 0), (&fourth, 4), (&fork, 0), (&fork, 9), (&later_fork, 9), (&later, 0)];
    for (world, old) in refused {
        let blocks = world.state.height();
        let refused = after.add(body(world, 0, old).as_bytes(), 6_000);
        assert!(refused.is_err(), "{blocks} blocks, old {old}");
    }
    assert_eq!(witness(folder.path(), &ledger).logs()[0].size, Some(9));
    after.add(body(&later, 1, 9).as_bytes(), 7_000).unwrap();
    assert_eq!(witness(folder.path(), &ledger).logs()[0].size, Some(12));
}

#[test]
fn what_a_witness_cannot_read_any_more_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(3);
    witness(folder.path(), &ledger).add(body(&ledger, 0, 0).as_bytes(), 5_000).unwrap();
    let files = std::fs::read_dir(folder.path().join("logs")).unwrap();
    let path = files.map(|file| file.unwrap().path()).next().unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in ["", "garbage", &good[..good.len() - 9], &good.replace("\n3\n", "\n2\n")] {
        std::fs::write(&path, bad).unwrap();
        let home = Home::open(folder.path()).unwrap();
        let key = NoteKey::new("witness.example/1", Algorithm::Cosignature, home.peer()).unwrap();
        let keys = vec![NoteKey::of_node(ledger.state.network(), peer(0))];
        let files = WitnessFiles::at(folder.path());
        let error = Witness::open(files, key, home.key().clone(), keys).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("retire"), "{error}");
    }
}

#[test]
fn strangers_do_not_fill_the_disk_of_a_witness() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(2);
    let keeper = witness(folder.path(), &ledger);
    keeper.add(body(&ledger, 0, 0).as_bytes(), 5_000).unwrap();
    let mut later = ledger;
    for blocks in 0..20 {
        later.post(blocks % 7, &titled("and", &format!("{blocks}")));
        let false_proof = body(&later, 1, 0).replacen("old 0", "old 2", 1);
        keeper.add(false_proof.as_bytes(), 6_000).unwrap_err();
    }
    let evidence = keeper.files().evidence().unwrap();
    assert_eq!(evidence.len(), 16);
    assert!(evidence.iter().all(|one| one.kind == EvidenceKind::Unproven));
}

/// Something that answers every request in one way.
async fn liar(status: u16, answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let reply = move || {
        let (status, answer) = (StatusCode::from_u16(status).unwrap(), answer.clone());
        async move { (status, answer) }
    };
    let router = Router::new().fallback(any(reply));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn a_witness_that_lies_is_not_believed_and_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fourth = begun(4);
    let ledger = grown(&fourth, 5, "and on");
    let keeper = Arc::new(witness(folder.path(), &ledger));
    let honest = listen(&keeper).await;
    let (_, _, cosignature) = post(&honest.url, body(&fourth, 0, 0)).await;
    let answers = [
        (200, String::new()),
        (200, "garbage\n".to_owned()),
        (200, cosignature), // of another checkpoint
        (200, "x".repeat(1 << 20)),
        (301, String::new()),
        (409, "99999999999999999999\n".to_owned()),
        (409, "2\n".to_owned()),
        (409, "-1\n".to_owned()),
        (422, String::new()),
        (500, "\u{1b}[31m<script>".to_owned()),
    ];
    let mut addresses = vec![honest.clone()];
    for (status, answer) in answers {
        addresses.push(WitnessAddress { url: liar(status, answer).await, key: honest.key.clone() });
    }
    addresses
        .push(WitnessAddress { url: "http://127.0.0.1:9".to_owned(), key: honest.key.clone() });
    let row = submitted(&ledger, 0, &addresses).await;
    assert_eq!(row.witnesses[0].size, Some(5));
    for witness in &row.witnesses[1..] {
        assert!(witness.trouble.is_some() && witness.size.is_none(), "{witness:?}");
        assert!(!witness.trouble.as_ref().unwrap().contains('\u{1b}'));
    }
    let note = Note::read(row.note.as_bytes()).unwrap();
    assert_eq!(note.signatures().len(), 2, "the node's and the honest witness's");
}

#[tokio::test]
async fn anybody_can_ask_for_the_checkpoint_and_for_proofs() {
    let ledger = begun(7);
    let site = Site::new(ledger.clone());
    let response = site.send(request("GET", "/api/checkpoint").body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let note = Note::read(text(response).await.as_bytes()).unwrap();
    let checkpoint = Checkpoint::read(&note).unwrap();
    assert_eq!((checkpoint.size, checkpoint.root), (7, ledger.tree().root()));
    let node = NoteKey::of_node(ledger.state.network(), peer(0));
    for (from, to) in [(0, 7), (3, 7), (7, 7), (3, 6), (1, 1), (0, 0)] {
        let (status, body) =
            site.get(&format!("/api/checkpoint/consistency?from={from}&to={to}")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let submission = Submission::read(body.as_bytes()).unwrap();
        let checkpoint = Checkpoint::read(&submission.note).unwrap();
        assert_eq!((submission.old_size, checkpoint.size), (from, to));
        let earlier = Checkpoint::of(ledger.state.network(), &ledger.tree().at(from).unwrap());
        let kept = Some(&earlier).filter(|_| from > 0);
        assert_eq!(judge(&submission, &checkpoint, std::slice::from_ref(&node), kept), Ok(()));
    }
    for (query, status) in [
        ("from=8", 404),
        ("from=5&to=4", 404),
        ("from=1&to=18446744073709551615", 404),
        ("from=-1", 400),
        ("", 400),
        ("from=x&to=y", 400),
    ] {
        let (found, body) = site.get(&format!("/api/checkpoint/consistency?{query}")).await;
        assert_eq!(found.as_u16(), status, "{query}: {body}");
        assert!(body.contains("error"), "{body}");
    }
    let (_, page) = site.get("/ledger").await;
    assert!(page.contains("This node asks nobody to cosign"), "{page}");
}

/// Runs the program; returns whether it ended well and what it printed as JSON.
fn assay(args: &[&str]) -> (bool, serde_json::Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(args)
        .args(["--format", "json"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| errors.into());
    (output.status.success(), printed)
}

/// A witness as a process of its own, ended when dropped.
struct Watch(Child, serde_json::Value);

impl Watch {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_assay"))
            .args(["witness", "run", "--listen", "127.0.0.1:0", "--format", "json"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, serde_json::from_str(&line).unwrap())
    }

    fn address(&self) -> WitnessAddress {
        let text = |name: &str| self.1[name].as_str().unwrap().to_owned();
        format!("{}={}", text("url"), text("key")).parse().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Without a word, as in a crash.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Writes an export of a world, as `assay ledger export` does.
fn export(world: &World, path: &Path) {
    let mut bytes = export_header(world.state.network(), world.items.len() as u64);
    world.items.iter().for_each(|item| bytes.extend(export_item(item)));
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_held_against_a_signed_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (home, network, note) = (file("watch"), file("network.json"), file("head.note"));
    let third = begun(3);
    let fourth = grown(&third, 4, "this");
    let (ledger, other) = (grown(&fourth, 6, "this"), grown(&fourth, 6, "that"));
    let later = grown(&ledger, 9, "this");
    let genesis = ledger.state.genesis().clone();
    NetworkFile { genesis, bootstrap: Vec::new() }.write(Path::new(&network)).unwrap();
    let mut key = String::new();
    // The process ends without a word between the two.
    for world in [&third, &ledger] {
        let watch = Watch::start(&["--home", &home, "--network", &network]);
        let row = submitted(world, 1, &[watch.address()]).await;
        assert_eq!(row.cosigned_by.len(), 1, "{:?}", row.witnesses);
        std::fs::write(&note, &row.note).unwrap();
        key = watch.1["key"].as_str().unwrap().to_owned();
    }
    for (name, world) in [("a", &ledger), ("b", &other), ("short", &fourth), ("long", &later)] {
        export(world, Path::new(&file(name)));
    }
    let audit = |name: &str, more: &[&str]| {
        let file = file(name);
        assay(&[&["audit", &file, "--genesis", &network, "--checkpoint", &note], more].concat())
    };
    for name in ["a", "long"] {
        let (ok, report) = audit(name, &["--witness", &key]);
        assert!(ok, "{report}");
        assert_eq!(report["checkpoint"]["size"], 6);
        assert_eq!(report["checkpoint"]["signed_by"][0]["name"], "bell");
        assert_eq!(report["checkpoint"]["cosigned_by"][0]["key"], key.as_str());
    }
    let absent =
        NoteKey::new("absent.example", Algorithm::Cosignature, peer(3)).unwrap().to_string();
    for (name, witness, says) in [
        ("b", &key, "two ledgers"),
        ("short", &key, "ends after 4 blocks"),
        ("a", &absent, "absent.example did not cosign"),
    ] {
        let (ok, report) = audit(name, &["--witness", witness]);
        let fault = &report["first_fault"];
        assert!(!ok && fault["message"].as_str().unwrap().contains(says), "{report}");
        assert_eq!((fault["code"].as_str(), &report["ok"]), (Some("K03"), &false.into()));
    }
    std::fs::write(
        &note,
        Note::new(note_text(&ledger)).unwrap().to_string() + "\u{2014} a AAAAAAA=\n",
    )
    .unwrap();
    let (_, report) = audit("a", &[]);
    assert!(report["first_fault"]["message"].as_str().unwrap().contains("no member"), "{report}");
    let (ok, status) = assay(&["witness", "status", "--home", &home]);
    assert!(ok, "{status}");
    assert_eq!((&status["logs"][0]["size"], &status["split_views"]), (&6.into(), &0.into()));
    assert_eq!(assay(&["witness", "evidence", "--home", &home]), (true, serde_json::json!([])));

    let watch = Watch::start(&["--home", &home]);
    let row = submitted(&other, 2, &[watch.address()]).await;
    assert_eq!(row.witnesses[0].conflict, Some(6), "{:?}", row.witnesses);
    let (ok, evidence) = assay(&["witness", "evidence", "--home", &home]);
    assert!(!ok && evidence[0]["kind"] == "split_view", "{evidence}");
}

/// The text of a ledger's checkpoint, which nobody signed.
fn note_text(world: &World) -> String {
    Checkpoint::of(world.state.network(), &world.tree()).to_string()
}

#[test]
fn a_witness_that_cannot_begin_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("watch").to_str().unwrap().to_owned();
    let log = NoteKey::new("example.com/log", Algorithm::Ed25519, peer(0)).unwrap().to_string();
    let own = NoteKey::new("example.com/log", Algorithm::Cosignature, peer(0)).unwrap().to_string();
    for (args, says) in [
        (vec!["witness", "run"], "--network FILE"),
        (vec!["witness", "run", "--network", "/nonexistent"], "/nonexistent"),
        (vec!["witness", "run", "--accept", &log, "--name", "a b"], "key name"),
        (vec!["witness", "run", "--accept", "nonsense"], "NAME+ID+KEY"),
        (vec!["witness", "run", "--accept", &own], "key of a witness"),
        (vec!["witness", "status"], "holds no witness"),
        (vec!["witness", "evidence"], "holds no witness"),
    ] {
        let (ok, said) = assay(&[&args[..], &["--home", &home]].concat());
        assert!(!ok && said.as_str().unwrap().contains(says), "{args:?}: {said}");
        assert!(!Path::new(&home).exists(), "{args:?}");
    }
}

#[tokio::test]
async fn an_empty_ledger_has_a_checkpoint_and_is_not_submitted() {
    let empty = World::new(1_000);
    let nobody = WitnessAddress {
        url: "http://127.0.0.1:9".to_owned(),
        key: NoteKey::new("nobody", Algorithm::Cosignature, peer(3)).unwrap(),
    };
    let checkpoints: Arc<Checkpoints> = Arc::new(empty.checkpoints(0, vec![nobody]));
    Arc::clone(&checkpoints).submit().await.unwrap();
    let row = checkpoints.row().unwrap();
    assert_eq!((row.size, &row.witnesses[0].trouble), (0, &None));
    assert!(row.root.starts_with("e3b0c442"), "SHA-256 of nothing");
}
