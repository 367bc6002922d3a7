//! Rows of claims as they look.

use super::super::in_lines;
use super::*;
use crate::api::claims::{Named, Progress};
use assay_protocol::frontier::Track;
use assay_protocol::ids::{ClaimId, PeerId};
use assay_protocol::state::Debunked;
use assay_protocol::verdict::Outcome;
use insta::assert_snapshot;

const NOW_MS: u64 = 1_700_000_000_000;

fn named(index: u8, name: &str) -> Named {
    Named { peer: PeerId([index; 32]), name: name.to_owned() }
}

/// A claim that waits for its committee.
fn docketed() -> ClaimRow {
    ClaimRow {
        id: ClaimId([0xab; 32]),
        summary: "one invocation a row, <b>same</b> arithmetic".to_owned(),
        author: named(1, "bell"),
        parent: ClaimId([0xcd; 32]),
        hardware_class: "cpu-llvmpipe-8wide".to_owned(),
        parent_is_base: true,
        phase: Phase::Docketed,
        outcome: None,
        lossless: None,
        ratio: None,
        ratio_to_base_ppm: None,
        track: None,
        rank: None,
        leads: false,
        confirmed: false,
        debunked: None,
        told_first: false,
        descends_from_debunked: None,
        upheld: Vec::new(),
        null: None,
        kl_micronats: None,
        perplexity_ratio_ppm: None,
        perplexity_parent_ppm: None,
        perplexity_child_ppm: None,
        author_ratio_ppm: None,
        progress: Progress::default(),
        rounds: Vec::new(),
        attested_by: Vec::new(),
        dissent: Vec::new(),
        docketed_at: 12,
        settled_at: None,
    }
}

/// The same claim, measured by two seats.
fn settled(outcome: Outcome) -> ClaimRow {
    ClaimRow {
        phase: Phase::Settled,
        outcome: Some(outcome),
        lossless: Some(true),
        ratio: Some(Estimate { ppm: 1_304_000, low_ppm: 1_281_000, high_ppm: 1_327_000 }),
        perplexity_parent_ppm: Some(24_744_000),
        perplexity_child_ppm: Some(24_744_000),
        attested_by: vec![named(2, "curie"), named(3, "dirac")],
        settled_at: Some(20),
        ..docketed()
    }
}

#[test]
fn an_accepted_row_looks_as_it_did() {
    let accepted = ClaimRow {
        ratio_to_base_ppm: Some(1_304_000),
        track: Some(Track::Lossless),
        rank: Some(1),
        leads: true,
        confirmed: true,
        ..settled(Outcome::Accepted)
    };
    assert_snapshot!(in_lines(&line(NOW_MS, &accepted)));
}

#[test]
fn a_refuted_row_looks_as_it_did() {
    let refuted = ClaimRow {
        lossless: Some(false),
        ratio: Some(Estimate { ppm: 996_000, low_ppm: 891_000, high_ppm: 1_113_000 }),
        perplexity_child_ppm: Some(1_094_439_000),
        parent_is_base: false,
        ..settled(Outcome::Refuted)
    };
    assert_snapshot!(in_lines(&line(NOW_MS, &refuted)));
}

#[test]
fn a_debunked_row_looks_as_it_did() {
    let debunked = Some(Debunked { height: 31, round: 3 });
    let row = ClaimRow { debunked, ..settled(Outcome::Accepted) };
    assert_snapshot!(in_lines(&line(NOW_MS, &row)));
}

#[test]
fn rows_that_wait_look_as_they_did() {
    let sealing = ClaimRow {
        phase: Phase::Sealing { reserves_at_ms: NOW_MS + 60_000, until_ms: NOW_MS + 300_000 },
        progress: Progress { seats: 5, quorum: 3, reserves_called: 0, sealed: 3, revealed: 0 },
        ..docketed()
    };
    let rows = [docketed(), sealing, settled(Outcome::Pending)];
    let rows = html! { @for row in &rows { (line(NOW_MS, row)) } };
    assert_snapshot!(in_lines(&rows));
}
