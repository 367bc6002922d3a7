//! Whole models against a reference implementation (transformers, f64 arithmetic).

mod common;

use assay_kernels::{Checkpoint, Engine, Path};
use common::{Golden, argmax, largest_difference, top_gap};

/// f32 arithmetic over ten layers against f64: differences seen are around 1e-5 on logits that reach 30.
const TOLERANCE: f32 = 2e-3;

fn check_rows(engine: &mut Engine, golden: &Golden) {
    let rows = engine.logits(&golden.tokens, Path::Prefill).expect("runs");
    let logit_error = largest_difference(&rows.logits, &golden.logits);
    let hidden_error = largest_difference(&rows.hidden, &golden.hidden);
    println!("largest differences: logits {logit_error:e}, hidden {hidden_error:e}");
    assert!(logit_error < TOLERANCE, "logits differ by {logit_error}");
    assert!(hidden_error < TOLERANCE, "hidden states differ by {hidden_error}");
    let vocab = engine.config().vocab;
    let pairs = rows.logits.chunks(vocab).zip(golden.logits.chunks(vocab));
    for (position, (ours, theirs)) in pairs.enumerate() {
        if top_gap(theirs) > 0.01 {
            assert_eq!(argmax(ours), argmax(theirs), "position {position}");
        }
    }
}

fn check_greedy(engine: &mut Engine, golden: &Golden) {
    engine.reset();
    let mut tokens = vec![engine.prefill(&golden.tokens).expect("runs").next];
    let decoded = engine.decode_greedy(golden.greedy.len() - 1, true).expect("runs");
    tokens.extend(decoded.tokens);
    assert_eq!(tokens, golden.greedy);
}

#[test]
fn e_series_matches_the_reference() {
    let golden = common::golden("tests/fixtures/e-series/expected.safetensors");
    let mut engine = common::engine(&common::e_series(), 128, 8);
    check_rows(&mut engine, &golden);
    check_greedy(&mut engine, &golden);
}

#[test]
fn nano_matches_the_reference() {
    let golden = common::golden("data/nano/expected.safetensors");
    let mut engine = common::engine(&Checkpoint::embedded().expect("loads"), 256, 16);
    check_rows(&mut engine, &golden);
    check_greedy(&mut engine, &golden);
}
