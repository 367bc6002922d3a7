//! Random checkpoints: the published models' names, shapes and sizes, and that they run.

mod common;

use assay_kernels::engine::kv_cache_bytes;
use assay_kernels::synth::{Like, Quant, Request, Synth};
use assay_kernels::triage::{self, Code, Options, Severity, Subject, census};
use assay_kernels::{Checkpoint, Drafter, ModelConfig};
use std::ops::ControlFlow;

fn request(like: Like, quant: Quant) -> Request {
    Request { like, quant, layers: None, seed: 1 }
}

fn model(like: Like, quant: Quant) -> Synth {
    Synth::model(&request(like, quant)).expect("a preset")
}

/// Billions to three decimals, as the specification rounds them.
fn billions(count: u64) -> f64 {
    (count as f64 / 1e6).round() / 1e3
}

#[test]
fn parameters_are_the_published_ones() {
    for (like, total, active) in [
        (Like::E2b, 4.629, 2.280),
        (Like::E4b, 7.463, 4.644),
        (Like::B12, 11.907, 11.907),
        (Like::B26, 25.233, 3.823),
        (Like::B31, 30.697, 30.697),
        (Like::Gemma3M270, 0.268, 0.268),
        (Like::Gemma3B1, 1.000, 1.000),
    ] {
        let synth = model(like, Quant::Bf16);
        assert_eq!(billions(synth.parameters), total, "{like:?}");
        assert_eq!(billions(synth.active_parameters), active, "{like:?}");
        assert_eq!(synth.bytes(), 2 * synth.parameters, "{like:?}");
    }
    for (like, millions) in [
        (Like::E2b, 77.73),
        (Like::E4b, 78.52),
        (Like::B12, 422.86),
        (Like::B26, 419.71),
        (Like::B31, 469.52),
    ] {
        let drafter = Synth::drafter(&request(like, Quant::Bf16)).expect("a preset");
        assert_eq!((drafter.parameters as f64 / 1e4).round() / 100.0, millions, "{like:?}");
    }
    assert!(Synth::drafter(&request(Like::Gemma3B1, Quant::Bf16)).is_err());
}

/// Specification §11, totals with the head in bf16, in MB; bf16, groups of 128 and of 32.
#[test]
fn bytes_per_token_follow_the_byte_math() {
    for (like, sizes) in [
        (Like::E2b, [4559.5, 1773.6, 1861.6]),
        (Like::E4b, [9288.9, 3391.8, 3578.0]),
        (Like::B12, [23814.7, 7635.1, 8146.0]),
        (Like::B26, [7645.1, 3083.9, 3227.9]),
        (Like::B31, [61394.7, 17922.2, 19295.0]),
    ] {
        let quants = [Quant::Bf16, Quant::Int4(128), Quant::Int4(32)];
        for (quant, expected) in quants.into_iter().zip(sizes) {
            let mega = model(like, quant).bytes_per_token as f64 / 1e6;
            // Rows of the tables, declared shapes, and 26B's narrow rows in smaller groups (§8.3).
            let near = if like == Like::B26 { 20.0 } else { 1.0 };
            assert!((mega - expected).abs() < near, "{like:?} {quant:?}: {mega} for {expected}");
        }
    }
}

/// Specification §11, cache in MiB at 4k, 32k and 128k tokens in bf16.
#[test]
fn caches_follow_the_byte_math() {
    for (like, expected) in [
        (Like::E2b, [30, 198, 774]),
        (Like::E4b, [84, 532, 2068]),
        (Like::B12, [384, 832, 2368]),
        (Like::B26, [280, 840, 2760]),
        (Like::B31, [1120, 3360, 11_040]),
    ] {
        let json = model(like, Quant::Bf16).config().to_string();
        let config = ModelConfig::parse(json.as_bytes()).expect("a published configuration");
        for (context, mebibytes) in [4_096, 32_768, 131_072].into_iter().zip(expected) {
            assert_eq!(kv_cache_bytes(&config, context, 2) >> 20, mebibytes, "{like:?} {context}");
        }
    }
}

/// Specification §5: the attention shapes of its table; §6: the number of tensors, less the rotation
/// factors of GGUF and the redundant projections and norms of shared layers.
#[test]
fn names_and_shapes_are_those_of_the_specification() {
    let shape = |synth: &Synth, name: &str| {
        let name = format!("model.language_model.layers.{name}.weight");
        synth.shapes().find(|(n, _)| *n == name).map(|(_, s)| s.to_vec())
    };
    for (like, full, rows) in [
        (Like::E2b, "4", [[2048, 256], [4096, 512]]),
        (Like::E4b, "5", [[2048, 512], [4096, 1024]]),
        (Like::B12, "5", [[4096, 2048], [8192, 512]]),
        (Like::B26, "5", [[4096, 2048], [8192, 1024]]),
        (Like::B31, "5", [[8192, 4096], [16384, 2048]]),
    ] {
        let synth = model(like, Quant::Bf16);
        for (layer, [q, kv]) in ["0", full].into_iter().zip(rows) {
            let of = |part: &str| shape(&synth, &format!("{layer}.self_attn.{part}"));
            assert_eq!(of("q_proj").map(|s| s[0]), Some(q), "{like:?}");
            assert_eq!(of("k_proj").map(|s| s[0]), Some(kv), "{like:?}");
            assert_eq!(of("o_proj").map(|s| s[1]), Some(q), "{like:?}");
            let has_v = layer == "0" || matches!(like, Like::E2b | Like::E4b);
            assert_eq!(of("v_proj").is_some(), has_v, "{like:?} {layer}");
        }
    }
    for (like, count) in [
        (Like::E2b, 601 - 3 * 20 - 1),
        (Like::E4b, 720 - 3 * 18 - 1),
        (Like::B26, 657),
        (Like::B31, 832),
        (Like::B12, 666),
    ] {
        assert_eq!(model(like, Quant::Bf16).shapes().count(), count, "{like:?}");
    }
    let wide = model(Like::E2b, Quant::Bf16);
    assert_eq!(shape(&wide, "15.mlp.down_proj"), Some(vec![1536, 12288]));
    assert_eq!(shape(&wide, "14.mlp.down_proj"), Some(vec![1536, 6144]));
}

#[test]
fn a_written_checkpoint_loads_decodes_and_repeats() {
    let quants = [Quant::Bf16, Quant::Int4(32), Quant::Int4(64), Quant::Int4(128), Quant::Int8];
    for (quant, layers) in quants.into_iter().zip([Some(3), None, None, Some(5), Some(2)]) {
        let request = Request { layers, ..request(Like::Nano, quant) };
        let synth = Synth::model(&request).expect("a preset");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = || {
            assert!(
                synth.write(folder.path(), &mut |_| ControlFlow::Continue(())).expect("writes")
            );
            std::fs::read(folder.path().join("model.safetensors")).expect("there")
        };
        assert_eq!(write(), write());

        let checkpoint = Checkpoint::open(folder.path()).expect("loads");
        // The engine widens the scales of int8, and does not read declared shapes.
        let near = synth.bytes_per_token / 50;
        assert!(checkpoint.bytes_per_token().abs_diff(synth.bytes_per_token) < near);
        let census = census(&checkpoint);
        assert_eq!(census.parameters, synth.parameters);
        assert_eq!(census.active_parameters, synth.active_parameters);
        let mut engine = common::engine(&checkpoint, 64, 8);
        engine.prefill(&[2, 5, 77, 1000]).expect("prefills");
        let decode = engine.decode_greedy(8, true).expect("decodes");
        assert!(decode.logits.expect("kept").iter().all(|z| z.is_finite()));

        let report = triage::check(Subject::Path(folder.path()), &Options::default());
        let bare = [Code::NoTokenizer, Code::NoChatTemplate];
        let bad = report.diagnostics.iter().filter(|d| d.severity != Severity::Note);
        let bad: Vec<_> = bad.filter(|d| !bare.contains(&d.code)).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

#[test]
fn a_drafter_goes_with_it() {
    let request = request(Like::Nano, Quant::Bf16);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let drafter = Synth::drafter(&request).expect("a preset");
    assert!(drafter.write(folder.path(), &mut |_| ControlFlow::Continue(())).expect("writes"));
    let drafter = Drafter::open(folder.path()).expect("loads");
    let checkpoint = Checkpoint::embedded().expect("embedded");
    let mut engine = common::engine(&checkpoint, 64, 8).with_drafter(&drafter, 2).expect("fits");
    engine.prefill(&[2, 5]).expect("runs");
    assert_eq!(engine.draft_chain(2).expect("drafts").drafts.len(), 2);
}

#[test]
fn writing_stops_when_asked() {
    let synth = model(Like::Nano, Quant::Bf16);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut calls = 0;
    let whole = synth.write(folder.path(), &mut |_| {
        calls += 1;
        if calls > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(!whole.expect("writes"));
    let wrong = Request { layers: Some(9), ..request(Like::Nano, Quant::Bf16) };
    assert!(Synth::model(&wrong).is_err());
}

/// Specification §11 by component, in MB, from `gemma4-ref/byte_math.py`: attention, MLP, experts,
/// per-layer matrices, head; bf16, and groups of 128 with the head in bf16.
#[test]
fn components_follow_the_byte_math() {
    for (like, quant, expected) in [
        (Like::E2b, Quant::Bf16, [556.8, 3114.3, 0.0, 55.1 + 27.5, 805.3]),
        (Like::E2b, Quant::Int4(128), [143.5, 802.9, 0.0, 14.2 + 7.1, 805.3]),
        (Like::E4b, Quant::Bf16, [1174.4, 6606.0, 0.0, 110.1 + 55.1, 1342.2]),
        (Like::E4b, Quant::Int4(32), [330.3, 1857.9, 0.0, 31.0 + 15.5, 1342.2]),
        (Like::B12, Quant::Int4(128), [1240.8, 4379.4, 0.0, 0.0, 2013.3]),
        (Like::B26, Quant::Bf16, [2220.4, 1070.5, 2854.7, 0.0, 1476.4]),
    ] {
        let synth = model(like, quant);
        let of = |part: &str| synth.parts.get(part).map_or(0.0, |part| part.bytes as f64 / 1e6);
        let names = ["attention", "mlp", "experts", "per-layer", "head"];
        for (part, mega) in names.into_iter().zip(expected) {
            assert!((of(part) - mega).abs() < 0.3, "{like:?} {quant:?} {part}: {}", of(part));
        }
        let sum: u64 = synth.parts.values().map(|part| part.bytes).sum();
        assert_eq!(sum, synth.bytes_per_token, "{like:?}");
    }
}

/// What is predicted of storing weights otherwise is what such a checkpoint has.
#[test]
fn stored_otherwise_is_stored_so() {
    use assay_kernels::byte_math::stored_bytes;
    let (plain, packed) = (model(Like::E4b, Quant::Bf16), model(Like::E4b, Quant::Int4(32)));
    for part in ["attention", "mlp"] {
        let predicted = stored_bytes(plain.parts[part].weights, 4, 32);
        let bytes = packed.parts[part].bytes;
        assert!(predicted.abs_diff(bytes) < 10_000, "{part}: {predicted} for {bytes}");
    }
    let (nano, int4) = (model(Like::Nano, Quant::Bf16), model(Like::Nano, Quant::Int4(32)));
    assert_eq!(nano.parts["mlp"].weights, int4.parts["mlp"].weights);
    let embedded = Checkpoint::embedded().expect("the embedded model").parts_per_token();
    assert_eq!(embedded["mlp"].weights, nano.parts["mlp"].weights);
    assert_eq!(embedded.keys().collect::<Vec<_>>(), nano.parts.keys().collect::<Vec<_>>());
}
