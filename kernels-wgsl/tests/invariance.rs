//! Batch invariance: every path through the model gives the same bits.

mod common;

use assay_kernels::bundle::copied_files;
use assay_kernels::registry::{Op, entries};
use assay_kernels::respell::respelled;
use assay_kernels::{Bundle, Checkpoint, Engine, EngineOptions, Fusion, Path, quantize};
use common::{bits, gpu};
use std::collections::BTreeMap;

/// A prompt that goes well past the sliding window of the model it is for.
fn tokens(vocab: u32, count: u32) -> Vec<u32> {
    std::iter::once(2).chain((1..count).map(|i| (i * 7919 + i * i * 31) % vocab)).collect()
}

/// All paths of one engine agree; the bits are returned for comparisons between engines.
fn check_paths(engine: &mut Engine, tokens: &[u32]) -> Vec<u32> {
    let reference = engine.logits(tokens, Path::Decode).expect("runs");
    assert!(reference.logits.iter().all(|z| z.is_finite()));
    let expected = (bits(&reference.logits), bits(&reference.hidden));
    let batches = [2, 3, 5, 8].map(Path::Batch);
    for path in [Path::Prefill].into_iter().chain(batches) {
        let rows = engine.logits(tokens, path).expect("runs");
        let found = (bits(&rows.logits), bits(&rows.hidden));
        assert!(found == expected, "{path} differs from decode");
    }
    let vocab = engine.config().vocab;
    engine.reset();
    let forced = engine.decode_forced(tokens).expect("runs");
    assert!(bits(&forced.logits.expect("kept")) == expected.0, "decode_forced differs");

    // The timed loop's own logits, after a prefill that stops early in the shared layers.
    let (prompt, rest) = tokens.split_at(tokens.len() - 20);
    engine.reset();
    engine.prefill(prompt).expect("runs");
    let forced = engine.decode_forced(rest).expect("runs").logits.expect("kept");
    assert!(bits(&forced) == expected.0[prompt.len() * vocab..], "prefill then decode differs");
    expected.0
}

fn int4(checkpoint: &Checkpoint) -> Checkpoint {
    let files = quantize::int4_g32(checkpoint).expect("quantises").files;
    Checkpoint::from_files(files).expect("loads")
}

#[test]
fn e_series_paths_agree_with_every_bundle_and_format() {
    let bf16 = common::e_series();
    let tokens = tokens(1024, 50);
    for checkpoint in [&bf16, &int4(&bf16)] {
        let options = EngineOptions::new(64, 11);
        let mut expected = None;
        for bundle in [Bundle::builtin(), common::bundle("serial-rows")] {
            let mut engine = Engine::new(gpu(), checkpoint, &bundle, &options).expect("builds");
            let found = check_paths(&mut engine, &tokens);
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(*expected == found, "{} differs from the built-in kernels", bundle.name());
        }
        for (lane_rows, path) in [(1, Path::Batch(5)), (2, Path::Decode), (4, Path::Prefill)] {
            let bundle = common::tuned(lane_rows);
            let mut engine = Engine::new(gpu(), checkpoint, &bundle, &options).expect("builds");
            let found = bits(&engine.logits(&tokens, path).expect("runs").logits);
            assert!(expected.as_ref() == Some(&found), "LANE_ROWS = {lane_rows} differs");
        }
        for fusions in [&Fusion::ALL[..1], &Fusion::ALL[1..], &Fusion::ALL] {
            let bundle = common::fused(fusions);
            let mut engine = Engine::new(gpu(), checkpoint, &bundle, &options).expect("builds");
            let found = check_paths(&mut engine, &tokens);
            assert!(expected.as_ref() == Some(&found), "{fusions:?} differs");
        }
    }
}

#[test]
fn every_family_agrees_past_the_window() {
    // Their windows are 16 positions, so the rings wrap several times.
    for name in ["dense-k-eq-v", "moe", "gemma3"] {
        let bf16 = common::fixture(name);
        let tokens = tokens(bf16.config().vocab as u32, 70);
        for checkpoint in [&bf16, &int4(&bf16)] {
            check_paths(&mut common::engine(checkpoint, 80, 11), &tokens);
        }
    }
}

#[test]
fn nano_paths_agree_past_the_window() {
    let nano = Checkpoint::embedded().expect("loads");
    let expected = check_paths(&mut common::engine(&nano, 160, 16), &tokens(4096, 130));
    let options = EngineOptions::new(160, 16);
    let mut fused = Engine::new(gpu(), &nano, &common::fused(&Fusion::ALL), &options).unwrap();
    assert!(check_paths(&mut fused, &tokens(4096, 130)) == expected, "fused launches differ");
}

#[test]
fn half_dot_decodes_something_else() {
    let checkpoint = common::e_series();
    let tokens = tokens(1024, 30);
    let options = EngineOptions::new(64, 8);
    let run = |bundle: &Bundle| {
        let mut engine = Engine::new(gpu(), &checkpoint, bundle, &options).expect("builds");
        engine.prefill(&tokens).expect("runs");
        engine.decode_greedy(20, true).expect("runs")
    };
    let honest = run(&Bundle::builtin());
    let dishonest = run(&common::bundle("half-dot"));
    assert_ne!(honest.tokens, dishonest.tokens);
    assert_ne!(bits(&honest.logits.unwrap()), bits(&dishonest.logits.unwrap()));
}

#[test]
fn ten_reloads_give_identical_bits() {
    for name in ["e-series", "dense-k-eq-v", "moe", "gemma3"] {
        let checkpoint = common::fixture(name);
        let tokens = tokens(checkpoint.config().vocab as u32, 24);
        let mut first = None;
        for _ in 0..10 {
            let mut engine = common::engine(&checkpoint, 64, 8);
            let rows = engine.logits(&tokens, Path::Batch(5)).expect("runs");
            let found = (bits(&rows.logits), bits(&rows.hidden));
            assert!(*first.get_or_insert_with(|| found.clone()) == found, "{name}");
        }
    }
}

#[test]
fn context_and_batch_sizes_do_not_show() {
    let checkpoint = common::e_series();
    let tokens = tokens(1024, 40);
    let mut first = None;
    for (context, batch) in [(40, 1), (64, 7), (300, 32)] {
        let mut engine = common::engine(&checkpoint, context, batch);
        let found = bits(&engine.logits(&tokens, Path::Prefill).expect("runs").logits);
        assert!(*first.get_or_insert_with(|| found.clone()) == found, "{context}, {batch}");
    }
}

#[test]
fn respelled_kernels_give_the_same_bits() {
    let nano = Checkpoint::embedded().expect("loads");
    let tokens = tokens(1024, 40);
    let options = EngineOptions::new(64, 11);
    let ops: Vec<Op> = entries().iter().map(|entry| entry.op).collect();
    let all = copied_files("all", &ops).expect("the registry is whole");
    let serial = common::folder("../testnet/bundles/serial-rows");
    let int4 = int4(&common::e_series());
    for (checkpoint, files) in [(&nano, &all), (&int4, &all), (&int4, &serial)] {
        let run = |files: BTreeMap<String, Vec<u8>>| {
            let bundle = Bundle::from_files(files).expect("valid");
            let mut engine = Engine::new(gpu(), checkpoint, &bundle, &options).expect("builds");
            bits(&engine.logits(&tokens, Path::Batch(5)).expect("runs").logits)
        };
        assert!(run(files.clone()) == run(respelled(files, 1).expect("can be written")));
    }
}
