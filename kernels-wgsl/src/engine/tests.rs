//! Placements that the embedded model is too small to need.

use super::build::{Placement, engine, rotation_table};
use super::{Engine, EngineOptions, MemoryNeed, Path, PleTable};
use crate::bundle::Bundle;
use crate::config::LayerKind;
use crate::gpu::{AdapterRequest, Gpu};
use crate::load::{Checkpoint, Drafter, embedded_files};

const TOKENS: [u32; 12] = [2, 900, 17, 4000, 33, 8, 2047, 2048, 4095, 0, 5, 77];

fn build(gpu: &Gpu, checkpoint: &Checkpoint, placement: &Placement) -> Engine {
    let options = EngineOptions::new(64, 5);
    engine(gpu, checkpoint, &Bundle::builtin(), &options, placement).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn check_split_and_host_tables(checkpoint: &Checkpoint) {
    let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
    let mut whole = build(&gpu, checkpoint, &Placement::of(&gpu));
    assert!(matches!(whole.ple, PleTable::Device));
    // The embedding in several parts, the last one shorter; so the largest matrices.
    let parts = Placement { ple_bytes_max: 0, part_bytes_max: 120_000 };
    let mut split = build(&gpu, checkpoint, &parts);
    assert!(matches!(split.ple, PleTable::Host(_)));
    let launches = |engine: &Engine| engine.describe_plan().matches("layers.7.gate_up |").count();
    assert!(launches(&split) > launches(&whole));

    for path in [Path::Prefill, Path::Decode] {
        let expected = whole.logits(&TOKENS, path).unwrap();
        let found = split.logits(&TOKENS, path).unwrap();
        assert!(bits(&expected.logits) == bits(&found.logits), "{path}");
    }
    let run = |engine: &mut Engine| {
        engine.reset();
        let first = engine.prefill(&TOKENS).unwrap().next;
        let greedy = engine.decode_greedy(9, true).unwrap();
        let forced = engine.decode_forced(&TOKENS[..4]).unwrap();
        (first, greedy.tokens, bits(&greedy.logits.unwrap()), forced.tokens, engine.position())
    };
    let expected = run(&mut whole);
    assert!(expected == run(&mut split));
    assert_eq!(expected.4, TOKENS.len() + 9 + 4);
    // Drafts are known to the host before their per-layer rows are uploaded.
    let mut split = split.with_drafter(&Drafter::embedded().unwrap(), 3).unwrap();
    assert!(expected == run(&mut split));
}

#[test]
fn far_positions_are_as_exact_as_near_ones() {
    let checkpoint = Checkpoint::embedded().unwrap();
    let config = checkpoint.config();
    let (dim, positions) = (256, 1 << 18);
    let table = rotation_table(config, LayerKind::Sliding, dim, positions);
    let pairs = dim / 2;
    for position in [0, 1, 255, 256, 257, 70_001, 131_071, positions - 1] {
        for j in 0..pairs {
            let fine = table[(position % 256) * pairs + j];
            let coarse = table[(256 + position / 256) * pairs + j];
            let cos = f64::from(coarse[0].mul_add(fine[0], -(coarse[1] * fine[1])));
            let sin = f64::from(coarse[1].mul_add(fine[0], coarse[0] * fine[1]));
            let angle = position as f64 * libm::pow(1e4, -2.0 * j as f64 / dim as f64);
            // Two rounded factors and two rounded sums of magnitude one.
            assert!((cos - libm::cos(angle)).abs() < 2.5e-7, "cos at {position}, {j}");
            assert!((sin - libm::sin(angle)).abs() < 2.5e-7, "sin at {position}, {j}");
        }
    }
}

#[test]
fn split_and_host_tables_change_nothing() {
    check_split_and_host_tables(&Checkpoint::embedded().unwrap());
}

#[test]
fn split_and_host_tables_change_nothing_in_gguf_types() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gguf/nano-Q4_K_M.gguf");
    check_split_and_host_tables(&Checkpoint::open(std::path::Path::new(file)).unwrap());
}

#[test]
fn split_experts_change_nothing() {
    let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/moe");
    let checkpoint = Checkpoint::open(std::path::Path::new(folder)).unwrap();
    let options = EngineOptions::new(64, 5);
    let build = |placement: &Placement| {
        engine(&gpu, &checkpoint, &Bundle::builtin(), &options, placement).unwrap()
    };
    let tokens = TOKENS.map(|token| token % 512);
    let mut whole = build(&Placement::of(&gpu));
    // One expert's gate and up, or two experts' down matrices, per buffer.
    let mut split = build(&Placement { ple_bytes_max: 0, part_bytes_max: 25_000 });
    let launches = |engine: &Engine| engine.describe_plan().matches("EXPERTS=3").count();
    assert_eq!((launches(&whole), launches(&split)), (3 * 2, 3 * (10 + 5)));
    for path in [Path::Prefill, Path::Decode] {
        let expected = whole.logits(&tokens, path).unwrap();
        let found = split.logits(&tokens, path).unwrap();
        assert!(bits(&expected.logits) == bits(&found.logits), "{path}");
    }
}

#[test]
fn bundles_without_experts_are_refused_by_name() {
    let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
    let crate_folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let checkpoint = Checkpoint::open(&crate_folder.join("tests/fixtures/moe")).unwrap();
    let bundle = std::fs::read_dir(crate_folder.join("../testnet/bundles/serial-rows")).unwrap();
    let files = bundle.map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    });
    let bundle = Bundle::from_files(files.collect()).unwrap();
    let options = EngineOptions::new(64, 5);
    let error = Engine::new(&gpu, &checkpoint, &bundle, &options).unwrap_err().to_string();
    assert!(error.contains("serial-rows") && error.contains("EXPERTS"), "{error}");
}

#[test]
fn engines_may_move_between_threads() {
    fn check<T: Send>() {}
    check::<Engine>();
    check::<Gpu>();
}

#[test]
fn wrong_calls_are_errors() {
    let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
    let mut engine = build(&gpu, &Checkpoint::embedded().unwrap(), &Placement::of(&gpu));
    assert!(engine.decode_greedy(1, false).is_err(), "nothing was prefilled");
    assert!(engine.prefill(&[]).is_err());
    assert!(engine.prefill(&[4096]).is_err(), "not a token");
    assert!(engine.prefill(&[2; 65]).is_err(), "longer than the context");
    assert!(engine.logits(&[2, 3], Path::Batch(6)).is_err(), "larger than batch_max");
    engine.prefill(&[2; 60]).unwrap();
    assert!(engine.decode_greedy(5, false).is_err(), "runs past the context");
    assert_eq!(engine.decode_greedy(4, false).unwrap().tokens.len(), 4);
    assert!(engine.decode_forced(&[2]).is_err(), "the context is full");
    assert!(engine.decode_greedy(0, true).unwrap().tokens.is_empty());
    engine.reset();
    assert_eq!(engine.position(), 0);
    let checkpoint = Checkpoint::embedded().unwrap();
    for (context_tokens, batch_max) in [(0, 1), (1, 0), (1 << 20, 1), (16, 1 << 12)] {
        let options = EngineOptions::new(context_tokens, batch_max);
        assert!(Engine::new(&gpu, &checkpoint, &Bundle::builtin(), &options).is_err());
    }
}

/// A greedy choice among NaN logits would be token 0 for ever, so weights that make them never reach a
/// device.
#[test]
fn weights_that_are_no_numbers_are_refused_by_name() {
    let weights = "model.safetensors";
    let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
    let (nan, infinity) = (half::bf16::NAN, half::bf16::INFINITY);
    for (tensor, bad) in [
        ("embed_tokens.weight", nan),
        ("norm.weight", infinity),
        ("per_layer_model_projection.weight", -infinity),
        ("embed_tokens_per_layer.weight", infinity),
        ("layers.7.mlp.up_proj.weight", infinity),
        ("layers.3.self_attn.q_norm.weight", nan),
    ] {
        let files = embedded_files().into_iter();
        let mut files: std::collections::BTreeMap<String, Vec<u8>> =
            files.map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect();
        let bytes = files.get_mut(weights).unwrap();
        let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let full = file.names().into_iter().find(|name| name.ends_with(&format!(".{tensor}")));
        let data = file.tensor(full.unwrap()).unwrap().data();
        let at = data.as_ptr() as usize - bytes.as_ptr() as usize;
        bytes[at..at + 2].copy_from_slice(&bad.to_le_bytes());
        let checkpoint = Checkpoint::from_files(files).unwrap();
        let options = EngineOptions::new(16, 2);
        let engine = Engine::new(&gpu, &checkpoint, &Bundle::builtin(), &options);
        let error = engine.unwrap_err().to_string();
        for part in [weights, tensor, "NaN or infinity", "assay model check"] {
            assert!(error.contains(part), "{tensor}: {part:?} is not in {error}");
        }
    }
}

/// Too little device memory is found before anything is uploaded.
#[test]
fn a_small_device_is_told_what_is_missing() {
    let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
    let checkpoint = Checkpoint::embedded().unwrap();
    let small = gpu.clone().assume_memory_bytes(24 << 20);
    let options = EngineOptions::new(8192, 32);
    let bundle = Bundle::builtin();
    let error = Engine::new(&small, &checkpoint, &bundle, &options).unwrap_err().to_string();
    for part in ["the adapter has 25165824", "context of about", "quantize", "--adapter"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    // Both engines fit alone; the drafter's weights are counted before they are uploaded.
    let fits = EngineOptions::new(64, 4);
    let drafter = Drafter::embedded().unwrap();
    let need = MemoryNeed::of(&gpu, &checkpoint, &fits);
    let both = need.with_drafter(&drafter);
    assert!(both.drafter_bytes > 500_000 && need.drafter_bytes == 0, "{both:?}");
    let tight = gpu.clone().assume_memory_bytes(both.total_bytes() - 1);
    let engine = Engine::new(&tight, &checkpoint, &bundle, &fits).unwrap();
    let error = engine.with_drafter(&drafter, 2).unwrap_err().to_string();
    assert!(error.contains("MiB of drafter") && error.contains("no drafter"), "{error}");
    // So are the logits that a decode loop keeps.
    let row_bytes = 4 * checkpoint.config().vocab as u64;
    let tight = gpu.clone().assume_memory_bytes(need.total_bytes() + 8 * row_bytes);
    let mut engine = Engine::new(&tight, &checkpoint, &bundle, &fits).unwrap();
    engine.prefill(&[2, 5]).unwrap();
    engine.decode_greedy(8, true).unwrap();
    let error = engine.decode_greedy(9, true).unwrap_err().to_string();
    assert!(error.contains("9 decode steps") && error.contains("fewer tokens"), "{error}");
    assert_eq!(engine.decode_greedy(8, true).unwrap().tokens.len(), 8);
    let fits = EngineOptions::new(64, 1);
    assert!(Engine::new(&small, &checkpoint, &bundle, &fits).is_ok());
    assert!(gpu.memory_bytes().is_none_or(|bytes| bytes > 64 << 20));
}

#[test]
fn drafters_split_long_contexts_too() {
    let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
    let mut files: std::collections::BTreeMap<String, Vec<u8>> = embedded_files()
        .into_iter()
        .map(|(name, bytes)| (name.to_string(), bytes.to_vec()))
        .collect();
    let config = files.get_mut("config.json").unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(config).unwrap();
    let nested = value.get("text_config").is_some();
    let text = if nested { &mut value["text_config"] } else { &mut value };
    text["max_position_embeddings"] = 4096.into();
    *config = serde_json::to_vec(&value).unwrap();
    let checkpoint = Checkpoint::from_files(files).unwrap();
    for (context, split) in [(1100, true), (64, false)] {
        let options = EngineOptions::new(context, 4);
        let engine = Engine::new(&gpu, &checkpoint, &Bundle::builtin(), &options).unwrap();
        let engine = engine.with_drafter(&Drafter::embedded().unwrap(), 2).unwrap();
        let plan = engine.describe_draft_plan().unwrap();
        assert_eq!(plan.contains("attention_merge"), split, "{context}");
        assert_eq!(engine.describe_plan().contains("attention_merge"), split, "{context}");
    }
}
