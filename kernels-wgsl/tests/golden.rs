//! Whole models against a reference implementation (transformers, f64 arithmetic).
//!
//! `ASSAY_GOLDEN=DIR` also runs every case folder in DIR: `config.json`, `model.safetensors` and
//! `expected.safetensors` with `tokens`, `logits`, `greedy` and `hidden`.

mod common;

use assay_kernels::{Checkpoint, Engine, EngineOptions, Fusion, Path};
use common::{Golden, argmax, bits, largest_difference, top_gap};

/// f32 arithmetic over ten layers against f64: differences seen are around 1e-5 on logits that reach 30.
const TOLERANCE: f32 = 2e-3;

/// Every path gives the same bits, and they are the reference's values.
fn check_rows(name: &str, engine: &mut Engine, golden: &Golden) {
    let rows = engine.logits(&golden.tokens, Path::Prefill).expect("runs");
    for path in [Path::Decode, Path::Batch(2), Path::Batch(5)] {
        let other = engine.logits(&golden.tokens, path).expect("runs");
        assert!(bits(&rows.logits) == bits(&other.logits), "{name}: {path} has other logits");
        assert!(bits(&rows.hidden) == bits(&other.hidden), "{name}: {path} has other states");
    }
    let logit_error = largest_difference(&rows.logits, &golden.logits);
    let hidden_error = largest_difference(&rows.hidden, &golden.hidden);
    println!("{name}: largest differences: logits {logit_error:e}, hidden {hidden_error:e}");
    assert!(logit_error < TOLERANCE, "{name}: logits differ by {logit_error}");
    assert!(hidden_error < TOLERANCE, "{name}: hidden states differ by {hidden_error}");
    let vocab = engine.config().vocab;
    let pairs = rows.logits.chunks(vocab).zip(golden.logits.chunks(vocab));
    for (position, (ours, theirs)) in pairs.enumerate() {
        if top_gap(theirs) > 0.01 {
            assert_eq!(argmax(ours), argmax(theirs), "{name}: position {position}");
        }
    }
}

fn check_greedy(name: &str, engine: &mut Engine, golden: &Golden) {
    engine.reset();
    let mut tokens = vec![engine.prefill(&golden.tokens).expect("runs").next];
    let decoded = engine.decode_greedy(golden.greedy.len() - 1, true).expect("runs");
    tokens.extend(decoded.tokens);
    assert_eq!(tokens, golden.greedy, "{name}");
}

fn check(name: &str, checkpoint: &Checkpoint, golden: &Golden) {
    let context = golden.tokens.len() + golden.greedy.len();
    let mut engine = common::engine(checkpoint, context, 8);
    check_rows(name, &mut engine, golden);
    check_greedy(name, &mut engine, golden);
    let bits_apart = bits(&engine.logits(&golden.tokens, Path::Prefill).expect("runs").logits);

    // Fused launches, in models that have nothing to fuse as well.
    let (bundle, options) = (common::fused(&Fusion::ALL), EngineOptions::new(context, 8));
    let mut fused = Engine::new(common::gpu(), checkpoint, &bundle, &options).expect("builds");
    let rows = fused.logits(&golden.tokens, Path::Decode).expect("runs");
    assert!(bits(&rows.logits) == bits_apart, "{name}: fused launches have other logits");
    check_greedy(name, &mut fused, golden);
}

fn check_fixture(name: &str) {
    let golden = common::golden(&format!("tests/fixtures/{name}/expected.safetensors"));
    check(name, &common::fixture(name), &golden);
}

#[test]
fn e_series_matches_the_reference() {
    check_fixture("e-series");
}

#[test]
fn keys_as_values_match_the_reference() {
    check_fixture("dense-k-eq-v");
}

#[test]
fn experts_match_the_reference() {
    check_fixture("moe");
}

#[test]
fn gemma3_matches_the_reference() {
    check_fixture("gemma3");
}

#[test]
fn nano_matches_the_reference() {
    let golden = common::golden("data/nano/expected.safetensors");
    check("nano", &Checkpoint::embedded().expect("loads"), &golden);
}

#[test]
fn cases_from_outside_match_the_reference() {
    let Some(folder) = std::env::var_os("ASSAY_GOLDEN") else { return };
    for entry in std::fs::read_dir(&folder).expect("ASSAY_GOLDEN is a folder") {
        let case = entry.expect("readable").path();
        if !case.join("expected.safetensors").is_file() || !case.join("config.json").is_file() {
            continue;
        }
        let checkpoint = Checkpoint::open(&case).expect("loads");
        let golden = common::golden(case.join("expected.safetensors").to_str().expect("UTF-8"));
        check(&case.display().to_string(), &checkpoint, &golden);
    }
}
