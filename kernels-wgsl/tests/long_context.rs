//! Contexts of several key ranges: split attention on every path, with a drafter, and where it is refused.

mod common;

use assay_kernels::{Bundle, Checkpoint, Drafter, Engine, EngineOptions, Path};
use common::{bits, gpu, largest_difference};
use serde_json::{Value, json};

/// A fixture that says it was made for `positions`.
fn lengthened(name: &str, positions: usize) -> Checkpoint {
    let mut files = common::folder(&format!("tests/fixtures/{name}"));
    files.remove("expected.safetensors");
    let mut config: Value = serde_json::from_slice(&files["config.json"]).unwrap();
    let nested = config.get("text_config").is_some();
    let text = if nested { &mut config["text_config"] } else { &mut config };
    text["max_position_embeddings"] = json!(positions);
    files.insert("config.json".into(), serde_json::to_vec(&config).unwrap());
    Checkpoint::from_files(files).unwrap()
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| if i == 0 { 2 } else { (i * 7919 + i * i * 31) % 1024 }).collect()
}

/// Two key ranges, of which the second is short.
const TOKENS: usize = 540;

#[test]
fn split_attention_agrees_over_all_paths() {
    let tokens = tokens(TOKENS);
    let checkpoint = lengthened("dense-k-eq-v", 4096);
    let mut engine = common::engine(&checkpoint, 1100, 16);
    assert!(engine.describe_plan().contains("attention_merge"));
    let expected = engine.logits(&tokens, Path::Prefill).unwrap();
    assert!(expected.logits.iter().all(|z| z.is_finite()));
    for path in [Path::Decode, Path::Batch(5)] {
        let found = engine.logits(&tokens, path).unwrap();
        assert!(bits(&expected.logits) == bits(&found.logits), "{path}");
        assert!(bits(&expected.hidden) == bits(&found.hidden), "{path}");
    }
    // As long as there is one range, nothing shows that there could be more.
    let mut short = common::engine(&checkpoint, 512, 16);
    assert!(!short.describe_plan().contains("attention_merge"));
    let found = short.logits(&tokens[..512], Path::Prefill).unwrap().logits;
    assert!(bits(&expected.logits[..found.len()]) == bits(&found));
}

#[test]
fn split_attention_is_whole_attention_but_for_rounding() {
    let tokens = tokens(TOKENS);
    let checkpoint = lengthened("e-series", 4096);
    let options = EngineOptions::new(1100, 16);
    let run = |bundle: &Bundle, split: bool| {
        let mut engine = Engine::new(gpu(), &checkpoint, bundle, &options).unwrap();
        assert_eq!(engine.describe_plan().contains("attention_merge"), split);
        engine.logits(&tokens, Path::Prefill).unwrap().logits
    };
    let split = run(&Bundle::builtin(), true);
    // A bundle with an attention of its own runs that one, whole.
    let whole = run(&common::bundle("serial-rows"), false);
    let error = largest_difference(&split, &whole);
    println!("split and whole attention differ by {error:e}");
    assert!(error < 2e-3, "split and whole attention differ by {error}");
}

#[test]
fn drafters_read_split_caches() {
    let checkpoint = lengthened("e-series", 4096);
    let drafter = Drafter::open(&common::path("tests/fixtures/e-series/drafter")).unwrap();
    let prompt = tokens(490);
    let run = |engine: &mut Engine| {
        let first = engine.prefill(&prompt).unwrap().next;
        let decoded = engine.decode_greedy(40, true).unwrap();
        (first, decoded.tokens, bits(&decoded.logits.unwrap()))
    };
    let plain = run(&mut common::engine(&checkpoint, 1100, 16));
    let mut engine = common::engine(&checkpoint, 1100, 16).with_drafter(&drafter, 4).unwrap();
    assert!(plain == run(&mut engine));
}

#[test]
fn far_contexts_fit_or_are_refused_with_a_number() {
    let checkpoint = lengthened("gemma3", 1 << 20);
    let options = EngineOptions::new(1 << 20, 4);
    let row = checkpoint.config().layers[5].kv_heads * checkpoint.config().layers[5].head_dim * 4;
    let most = gpu().info().binding_bytes_max as usize / row;
    let outcome = Engine::new(gpu(), &checkpoint, &Bundle::builtin(), &options);
    if most < 1 << 20 {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(&most.to_string()), "{error}");
    }
    let mut engine = common::engine(&checkpoint, 40_000, 4);
    let first = engine.prefill(&tokens(20)).unwrap();
    assert_eq!(first.next, common::engine(&checkpoint, 64, 4).prefill(&tokens(20)).unwrap().next);
}
