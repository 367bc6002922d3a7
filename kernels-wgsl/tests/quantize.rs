//! Quantised checkpoints: written, read back, run, and read by the library whose layout they have.

mod common;

use assay_kernels::quantize::{self, Options, Scheme};
use assay_kernels::triage::{self, Subject};
use assay_kernels::{Checkpoint, Path};
use common::bits;
use serde_json::Value;
use std::ops::ControlFlow;

const TOKENS: [u32; 12] = [2, 900, 17, 4000, 33, 8, 2047, 2048, 4095, 0, 5, 77];

fn options(scheme: Scheme) -> Options {
    Options { scheme, head: None, per_layer_projections: false, keep: Vec::new() }
}

fn written(checkpoint: &Checkpoint, options: &Options) -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut last = 0;
    let report = quantize::write(checkpoint, options, folder.path(), &mut |progress| {
        assert!(progress.done >= last && progress.done <= progress.total);
        last = progress.done;
        ControlFlow::Continue(())
    })
    .expect("quantises");
    assert!(report.iter().all(|t| t.relative_error > 0.0 && t.relative_error < 0.2), "{report:?}");
    let result = Checkpoint::open(folder.path()).expect("opens again");
    (folder, result)
}

#[test]
fn every_scheme_is_read_back_and_runs_alike_by_every_path() {
    let nano = Checkpoint::embedded().expect("loads");
    let mut original = common::engine(&nano, 16, 5);
    let original = original.logits(&TOKENS, Path::Prefill).expect("runs").logits;
    let mut errors = Vec::new();
    for (scheme, head) in [
        (Scheme::Int8, None),
        (Scheme::Int4(32), Some(Scheme::Int8)),
        (Scheme::Int4(64), Some(Scheme::Int4(128))),
        (Scheme::Int4(128), None),
    ] {
        let (_folder, result) = written(&nano, &Options { head, ..options(scheme) });
        assert!(result.bytes_per_token() < nano.bytes_per_token(), "{scheme}");
        assert_eq!(result.config().tied_head, head.is_none());
        let mut engine = common::engine(&result, 16, 5);
        let rows = engine.logits(&TOKENS, Path::Prefill).expect("runs").logits;
        for path in [Path::Decode, Path::Batch(3)] {
            let other = engine.logits(&TOKENS, path).expect("runs").logits;
            assert!(bits(&rows) == bits(&other), "{scheme}: {path}");
        }
        let squares = rows.iter().zip(&original).map(|(a, b)| f64::from(a - b).powi(2));
        errors.push((squares.sum::<f64>() / rows.len() as f64).sqrt());
        println!("{scheme}, head {head:?}: RMS of logit differences {:.4}", errors.last().unwrap());
    }
    assert!(errors[0] < errors[1] && errors[0] < errors[3], "int8 is the most exact: {errors:?}");
    assert!(errors.iter().all(|e| *e < 2.0), "{errors:?}");
}

/// A GGUF file becomes a folder of safetensors: with everything kept, the same model but for the rounding of
/// its blocks to bf16; the tokenizer and the stop tokens go with it.
#[test]
fn gguf_files_are_converted_and_quantised() {
    let file = common::path("tests/fixtures/gguf/nano-Q4_K_M.gguf");
    let source = Checkpoint::open(&file).expect("loads");
    let rows = |checkpoint: &Checkpoint| {
        let mut engine = common::engine(checkpoint, 16, 5);
        engine.logits(&TOKENS, Path::Prefill).expect("runs").logits
    };
    let original = rows(&source);
    let mut errors = Vec::new();
    let kept = Options { keep: vec!["*".into()], ..options(Scheme::Int8) };
    for options in [kept, options(Scheme::Int8), options(Scheme::Int4(32))] {
        let (folder, result) = written(&source, &options);
        assert!(folder.path().join("tokenizer.json").is_file());
        assert_eq!(result.config().eos, source.config().eos);
        // Its own checker finds nothing wrong with the result.
        let report = triage::check(Subject::Path(folder.path()), &triage::Options::default());
        let faults = report.diagnostics.iter().filter(|d| d.severity == triage::Severity::Error);
        assert_eq!(faults.count(), 0, "{:#?}", report.diagnostics);
        let text = "In the beginning 🦙 God created\nthe heaven";
        let ids = |c: &Checkpoint| c.tokenizer().expect("there").encode(text).expect("encodes");
        assert_eq!(ids(&result), ids(&source));
        let found = rows(&result);
        let squares = found.iter().zip(&original).map(|(a, b)| f64::from(a - b).powi(2));
        errors.push((squares.sum::<f64>() / original.len() as f64).sqrt());
    }
    println!("RMS of logit differences: {errors:?}");
    assert!(errors[0] < errors[1] && errors[1] < errors[2], "{errors:?}");
    assert!(errors[0] < 0.1 && errors[1] < 0.2 && errors[2] < 2.0, "{errors:?}");
}

#[test]
fn what_is_kept_stays_and_is_named_as_ignored() {
    let nano = Checkpoint::embedded().expect("loads");
    let keep = vec!["layers.0.*".to_string(), "*.down_proj".to_string()];
    let (folder, result) = written(&nano, &Options { keep, ..options(Scheme::Int4(32)) });
    let has = |name: &str| result.tensor_sizes().any(|(n, _)| n == name);
    assert!(has("layers.0.self_attn.q_proj.weight") && has("layers.5.mlp.down_proj.weight"));
    assert!(
        has("layers.1.self_attn.q_proj.weight_packed")
            && has("layers.1.per_layer_projection.weight")
    );
    let config = std::fs::read(folder.path().join("config.json")).expect("written");
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    let ignored = config["quantization_config"]["ignore"].as_array().expect("a list");
    for name in ["model.layers.0.mlp.up_proj", "model.layers.5.mlp.down_proj", "lm_head"] {
        assert!(ignored.iter().any(|i| i == name), "{name} is not in {ignored:?}");
    }
    let again = quantize::write(&result, &options(Scheme::Int8), folder.path(), &mut |_| {
        ControlFlow::Continue(())
    });
    assert!(again.unwrap_err().to_string().contains("quantis"), "quantised twice");
}

/// Opt-in: `ASSAY_PYTHON` names a Python with torch, transformers and compressed-tensors.
#[test]
fn compressed_tensors_reads_the_same_model() {
    let Some(python) = std::env::var_os("ASSAY_PYTHON") else {
        println!("skipped: ASSAY_PYTHON names no Python");
        return;
    };
    let nano = Checkpoint::embedded().expect("loads");
    for (scheme, head) in [
        (Scheme::Int4(32), None),
        (Scheme::Int4(128), Some(Scheme::Int8)),
        (Scheme::Int8, Some(Scheme::Int4(64))),
    ] {
        let (folder, result) = written(&nano, &Options { head, ..options(scheme) });
        let mut engine = common::engine(&result, 16, 5);
        let rows = engine.logits(&TOKENS, Path::Prefill).expect("runs").logits;
        let bytes: Vec<u8> = rows.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(folder.path().join("logits.f32"), bytes).expect("writes");
        let tokens = TOKENS.map(|t| t.to_string()).join(",");
        let status = std::process::Command::new(&python)
            .arg(common::path("tests/read_quantised.py"))
            .args([folder.path().as_os_str(), tokens.as_ref()])
            .status()
            .expect("Python starts");
        assert!(status.success(), "{scheme}, head {head:?}");
    }
}
