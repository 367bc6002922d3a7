//! The MTP drafter: its chain against the reference, and decoding with it against decoding without.

mod common;

use assay_kernels::{
    Bundle, Checkpoint, DraftStats, Drafter, Engine, EngineOptions, embedded_drafter_files,
};
use common::{bits, gpu};
use safetensors::SafeTensors;
use serde_json::json;
use std::collections::BTreeMap;

fn e_series_drafter() -> Drafter {
    Drafter::open(&common::path("tests/fixtures/e-series/drafter")).expect("the fixture loads")
}

/// Decodes a prompt in two calls of odd sizes and returns tokens and logit bits, and what the drafter did.
fn run(engine: &mut Engine, prompt: &[u32], count: usize) -> ((Vec<u32>, Vec<u32>), DraftStats) {
    let mut stats = DraftStats::default();
    engine.reset();
    let mut tokens = vec![engine.prefill(prompt).expect("runs").next];
    let mut logits = Vec::new();
    for count in [count / 3, count - count / 3] {
        let decoded = engine.decode_greedy(count, true).expect("runs");
        assert_eq!(decoded.tokens.len(), count);
        tokens.extend(decoded.tokens);
        logits.extend(bits(&decoded.logits.expect("kept")));
        stats.rounds.extend(decoded.draft.unwrap_or_default().rounds);
    }
    assert_eq!(engine.position(), prompt.len() + count);
    ((tokens, logits), stats)
}

#[test]
fn nano_decodes_the_same_tokens_with_every_draft_length() {
    let checkpoint = Checkpoint::embedded().expect("loads");
    let drafter = Drafter::embedded().expect("loads");
    let golden = common::golden("data/nano/expected.safetensors");
    let prompt = &golden.tokens[..100];
    let options = EngineOptions::new(192, 7);
    let build =
        |bundle: &Bundle| Engine::new(gpu(), &checkpoint, bundle, &options).expect("builds");
    let (expected, _) = run(&mut build(&Bundle::builtin()), prompt, 60);
    let bundle = common::bundle("serial-rows");
    for (len, bundle) in [1, 2, 3, 4, 5, 6].map(|len| (len, &bundle)) {
        let mut engine = build(bundle).with_drafter(&drafter, len).expect("fits");
        let (found, stats) = run(&mut engine, prompt, 60);
        assert!(found == expected, "draft length {len}");
        let emitted: usize = stats.rounds.iter().map(|(_, kept)| kept + 1).sum();
        assert_eq!(emitted, 60);
        assert!(stats.accepted_per_round() > 0.2, "{:?}", stats.acceptance());
        assert!(stats.rounds.iter().all(|(drafted, kept)| kept <= drafted && *drafted <= len));
    }
    let mut engine = build(&Bundle::builtin()).with_drafter(&drafter, 4).expect("fits");
    assert!(run(&mut engine, prompt, 60).0 == expected, "built-in kernels");
}

#[test]
fn random_drafts_are_refused_without_a_trace() {
    let tokens: Vec<u32> = (0..40).map(|i| (i * 37 + 2) % 1024).collect();
    let (expected, _) = run(&mut common::engine(&common::e_series(), 128, 8), &tokens, 40);
    let engine = common::engine(&common::e_series(), 128, 8);
    let mut engine = engine.with_drafter(&e_series_drafter(), 6).expect("fits");
    assert!(run(&mut engine, &tokens, 40).0 == expected);
    // Plain single-token steps still work in between, and the draft goes on from them.
    engine.decode_forced(&[3, 4, 5]).expect("runs");
    let drafted = engine.decode_greedy(5, false).expect("runs").tokens;
    let mut plain = common::engine(&common::e_series(), 128, 8);
    run(&mut plain, &tokens, 40);
    plain.decode_forced(&[3, 4, 5]).expect("runs");
    assert_eq!(drafted, plain.decode_greedy(5, false).expect("runs").tokens);
}

/// Files of nano's drafter with a changed configuration.
fn files(change: &dyn Fn(&mut serde_json::Value)) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = embedded_drafter_files()
        .into_iter()
        .map(|(name, bytes)| (name.to_string(), bytes.to_vec()))
        .collect();
    let mut config = serde_json::from_slice(&files["config.json"]).expect("parses");
    change(&mut config);
    files.insert("config.json".into(), serde_json::to_vec(&config).expect("serialises"));
    files
}

#[test]
fn a_dense_head_gives_the_clusters_logits_and_all_others() {
    let dense = Drafter::from_files(files(&|c| c["use_ordered_embeddings"] = json!(false)));
    let checkpoint = Checkpoint::embedded().expect("loads");
    let golden = common::golden("data/nano/expected.safetensors");
    let prompt = &golden.tokens[..50];
    let chain = |drafter: &Drafter| {
        let engine = common::engine(&checkpoint, 128, 8);
        let mut engine = engine.with_drafter(drafter, 3).expect("fits");
        engine.prefill(prompt).expect("runs");
        (engine.draft_chain(1).expect("runs"), run(&mut engine, prompt, 40))
    };
    let (gathered, (tokens, _)) = chain(&Drafter::embedded().expect("loads"));
    let (full, (dense_tokens, stats)) = chain(&dense.expect("loads"));
    let pairs = gathered.logits.iter().zip(&full.logits).filter(|(a, _)| a.is_finite());
    assert!(pairs.clone().count() > 100);
    let error = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(error < 1e-4, "{error}");
    let largest = full.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    assert!(full.logits.iter().all(|l| l.is_finite()));
    assert_eq!(full.logits[full.drafts[0] as usize], largest);
    // What is drafted never changes what is decoded.
    assert!(tokens == dense_tokens);
    assert!(stats.accepted_per_round() > 0.2, "{:?}", stats.acceptance());
}

#[test]
fn unfitting_drafters_are_refused() {
    let drafter = Drafter::embedded().expect("loads");
    let small = || common::engine(&common::e_series(), 64, 4);
    let error = small().with_drafter(&drafter, 2).unwrap_err().to_string();
    assert!(error.contains("backbone_hidden_size"), "{error}");
    for len in [0, 4, 100] {
        assert!(small().with_drafter(&e_series_drafter(), len).is_err(), "draft length {len}");
    }
    assert!(small().draft_chain(1).is_err(), "no drafter, nothing prefilled");

    assert!(Drafter::from_files(files(&|_| ())).is_ok());
    for (key, value) in [
        ("model_type", json!("gemma4")),
        ("num_centroids", json!(100)),
        ("centroid_intermediate_top_k", json!(0)),
        ("centroid_intermediate_top_k", json!(129)),
        ("backbone_hidden_size", json!(null)),
    ] {
        let changed = files(&|config| config[key] = value.clone());
        assert!(Drafter::from_files(changed).is_err(), "{key} = {value}");
    }
    let mut foreign = files(&|_| ());
    let weights = foreign.get_mut("model.safetensors").expect("present");
    // The last eight bytes of the file are not a token id any more.
    let end = weights.len();
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let file = SafeTensors::deserialize(embedded_drafter_files()["model.safetensors"]).unwrap();
    let ordering = file.tensor("masked_embedding.token_ordering").unwrap().data();
    let at = weights.windows(64).skip(header).position(|w| *w == ordering[..64]).unwrap() + header;
    assert!(at + 8 <= end);
    weights[at..at + 8].copy_from_slice(&4096i64.to_le_bytes());
    let error = Drafter::from_files(foreign).unwrap_err().to_string();
    assert!(error.contains("token_ordering"), "{error}");
}
