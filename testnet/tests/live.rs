//! A running network through a newcomer's life, a null claim and a challenge, by the commands that
//! people type, with real measurements.

mod common;

use assay_node::api::{ClaimAccepted, ClaimRow, MemberRow};
use assay_node::cli::claims_table;
use assay_protocol::genesis::{Genesis, Member, Quorum};
use assay_protocol::ids::{ClaimId, PeerId};
use assay_protocol::state::{Finding, Purpose};
use assay_protocol::verdict::Outcome;
use assay_testnet::claims::{DemoClaim, SCENARIOS, make, write_bundles};
use assay_testnet::layout::{self, Layout, NodeLayout};
use assay_testnet::nodes::{self, Node};
use common::{assay, audit, claims, run, status, wait, wait_same_head};
use serde::de::DeserializeOwned;
use std::fmt::Write;
use std::path::Path;

/// Committees of two, few pairs, one measurement beside the seats to end probation.
fn brisk(members: Vec<Member>) -> Genesis {
    let mut genesis = layout::genesis(members);
    genesis.committee.seats = 2;
    genesis.committee.quorum = 2;
    genesis.committee.frontier = Quorum { seats: 2, quorum: 2 };
    genesis.committee.seats_max = 2;
    genesis.committee.reserves = 1;
    genesis.measurement.pairs = 6;
    genesis.measurement.pairs_min = 6;
    genesis.measurement.reach_tokens = 8;
    genesis.measurement.context_tokens = 64;
    genesis.significance.alpha_ppm = 20_000;
    genesis.membership.probation_rounds = 1;
    genesis
}

/// What an `assay` command prints as JSON.
fn said<T: DeserializeOwned>(words: &[&str], home: &Path) -> T {
    let output = run(&[words, &["--format", "json"]].concat(), &[("--home", home)]);
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}: {errors}"))
}

/// A network with a newcomer that a member vouched for.
struct World {
    layout: Layout,
    nodes: Vec<Node>,
    newcomer: PeerId,
}

impl World {
    fn start(folder: &Path) -> Self {
        let layout = layout::create(&folder.join("net"), brisk).unwrap();
        let mut nodes = nodes::start(&assay(), &layout).unwrap();
        let home = folder.join("carol");
        let made: serde_json::Value = said(&["init"], &home);
        let newcomer: PeerId = made["peer"].as_str().unwrap().parse().unwrap();
        let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        let node = NodeLayout { name: "carol".to_owned(), home, listen };
        nodes.push(nodes::spawn(&assay(), &node, &layout.network).unwrap());
        nodes[5].wait_until_up().unwrap();
        Self { layout, nodes, newcomer }
    }

    fn home(&self, node: usize) -> &Path {
        &self.nodes[node].home
    }

    fn members(&self, node: usize) -> Vec<MemberRow> {
        said(&["members"], self.home(node))
    }

    fn member(&self, node: usize, peer: PeerId) -> MemberRow {
        self.members(node).into_iter().find(|row| row.peer == peer).unwrap()
    }

    fn row(&self, claim: ClaimId) -> Option<ClaimRow> {
        claims(&self.nodes[3]).into_iter().find(|row| row.id == claim)
    }

    /// Waits until a claim has nothing open and its author has opened its result.
    fn settled(&self, claim: ClaimId) -> ClaimRow {
        wait("the claim settles", || {
            let open = |row: &ClaimRow| row.rounds.iter().any(|round| round.settled_at.is_none());
            self.row(claim).is_some_and(|row| row.author_ratio_ppm.is_some() && !open(&row))
        });
        let row = self.row(claim).unwrap();
        eprintln!("{}", claims_table(std::slice::from_ref(&row)));
        row
    }

    fn node_of(&self, peer: PeerId) -> usize {
        let is = |node: &Node| status(node).peer == peer;
        self.nodes.iter().position(is).unwrap()
    }
}

#[test]
fn a_newcomer_a_null_claim_and_a_challenge_on_a_running_network() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start(folder.path());
    the_newcomer_joins(&world);

    let row = a_true_gain_is_accepted(&world);
    let entry = row.id;
    a_null_claim_catches_no_honest_seat(&world, &row);
    an_entry_is_challenged_and_stands(&world, entry);
    the_newcomer_is_full(&world);

    wait_same_head(&world.nodes);
    let export = folder.path().join("ledger.assay");
    let home = world.home(5).to_owned();
    let exported = run(&["ledger", "export"], &[("--home", &home), ("--out", &export)]);
    assert!(exported.status.success(), "{exported:?}");
    let (ok, report) = audit(&export, &world.layout);
    assert!(ok, "{report}");
    world.nodes.iter_mut().for_each(Node::stop);
}

fn the_newcomer_joins(world: &World) {
    let key = world.newcomer.to_string();
    assert!(world.members(0).iter().all(|row| row.peer != world.newcomer));
    let words = ["vouch", &key, "--operator", "carol", "--name", "carol-laptop"];
    let _: serde_json::Value = said(&words, world.home(0));
    wait("the newcomer joins by itself", || {
        world.members(1).iter().any(|row| row.peer == world.newcomer)
    });
    let row = world.member(1, world.newcomer);
    assert_eq!(row.membership, "probation, 0 of 1 agreements");
    assert_eq!((row.name.as_str(), row.weight, row.validator), ("carol-laptop", 0, false));
    assert_eq!(row.vouched_by, Some(status(&world.nodes[0]).peer));
    // What it may not do yet, it is told.
    wait("the newcomer knows it", || status(&world.nodes[5]).standing.is_some());
    let stranger = "11".repeat(32);
    let words = ["vouch", &stranger, "--operator", "dave", "--name", "dave"];
    let refused = run(&words, &[("--home", world.home(5))]);
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && message.contains("probation"), "{message}");
}

/// Both committees have to see the gain through the noise of a machine that may be busy: a recipe that
/// they do not see it of is claimed again in other bytes, by another author.
fn a_true_gain_is_accepted(world: &World) -> ClaimRow {
    let bundles = write_bundles(&world.layout.root).unwrap();
    let kernel = bundles.join(SCENARIOS[0].bundle).join("matmul_bf16.wgsl");
    for author in 0..5 {
        let mut text = std::fs::read_to_string(&kernel).unwrap();
        writeln!(text, "// Try {author}.").unwrap();
        std::fs::write(&kernel, text).unwrap();
        let scenario = DemoClaim { invented_ratio: Some("1.4"), ..SCENARIOS[0] };
        let entry = make(&assay(), world.home(author), &bundles, &scenario).unwrap();
        let row = world.settled(entry);
        if (row.outcome, row.confirmed) == (Some(Outcome::Accepted), true) {
            return row;
        }
    }
    panic!("a gain of a quarter was never seen");
}

/// A seat of the accepted claim claims the same kernels in other words.
fn a_null_claim_catches_no_honest_seat(world: &World, parent: &ClaimRow) {
    let author = world.node_of(parent.attested_by[0].peer);
    let parent_id = parent.id.to_string();
    let made: ClaimAccepted = said(&["claim", "null", "--parent", &parent_id], world.home(author));
    wait("the claim is docketed", || world.row(made.claim).is_some());
    let row = world.row(made.claim).unwrap();
    assert_eq!(row.null, None, "nothing tells before it is opened");
    assert_eq!(row.summary, "other kernels for attention, matmul_bf16, matmul_int4");

    let row = world.settled(made.claim);
    assert_eq!((row.null, row.lossless), (Some(true), Some(true)), "{row:?}");
    // One in fifty passes one committee by chance, and one in 2,500 both.
    assert!(row.outcome != Some(Outcome::Accepted) || !row.confirmed, "{row:?}");
    assert!(row.rounds.iter().all(|round| round.caught.is_empty()), "{row:?}");
    for round in &row.rounds {
        for seat in &round.attested_by {
            let member = world.member(3, seat.peer);
            assert!(member.standing >= 10, "an honest seat paid: {member:?}");
        }
    }
}

fn an_entry_is_challenged_and_stands(world: &World, entry: ClaimId) {
    let before = world.settled(entry);
    let words = ["claim", "challenge", &entry.to_string(), "--reason", "no gain here"];
    let refused = run(&words, &[("--home", world.home(0))]);
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && message.contains("author"), "{message}");

    let challenger = status(&world.nodes[4]).peer;
    let standing = world.member(3, challenger).standing;
    let _: serde_json::Value = said(&words, world.home(4));
    wait("the challenge is measured", || {
        let row = world.row(entry).unwrap();
        row.rounds.last().is_some_and(|round| round.finding.is_some())
    });
    let row = world.row(entry).unwrap();
    eprintln!("{}", claims_table(std::slice::from_ref(&row)));
    assert_eq!(row.rounds.len(), before.rounds.len() + 1);
    let round = row.rounds.last().unwrap();
    assert!(matches!(round.purpose, Purpose::Challenge { by, .. } if by == challenger));
    assert!(round.attested_by.iter().all(|seat| seat.peer != challenger));
    assert_eq!(row.debunked, None, "{row:?}");
    let cost = match round.finding {
        Some(Finding::Upheld) => 1,
        // What noise hid from this committee is no reason to pay.
        Some(Finding::Undecided) => 0,
        _ => panic!("{row:?}"),
    };
    assert_eq!(
        world.member(3, challenger).standing,
        standing - cost,
        "an upheld entry costs a point"
    );
}

/// Its probation ends with a measurement that agrees; a noisy machine may need another claim.
fn the_newcomer_is_full(world: &World) {
    for author in [1, 2, 4].into_iter().cycle().take(9) {
        if world.member(3, world.newcomer).membership == "full" {
            break;
        }
        let made: ClaimAccepted = said(&["claim", "null"], world.home(author));
        wait("the claim is docketed", || world.row(made.claim).is_some());
        world.settled(made.claim);
    }
    let row = world.member(3, world.newcomer);
    assert_eq!(row.membership, "full");
    assert!(row.weight > 0 && row.standing > 0, "{row:?}");
    let explained: serde_json::Value =
        said(&["explain", &world.newcomer.to_string()], world.home(5));
    assert!(explained.to_string().contains("vouch"), "{explained}");
}
