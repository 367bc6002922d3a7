//! Perplexity of the embedded model by every path, and what the clock covers.

mod common;

use assay_kernels::measure::{BenchOptions, bench, ppl};
use assay_kernels::{Checkpoint, Path, heldout_text};

/// Windows of the size the reference figures use; the whole text takes minutes, so tests take its head.
const CONTEXT: usize = 256;

#[test]
fn perplexity_is_the_reference_and_the_same_on_every_path() {
    let checkpoint = Checkpoint::embedded().expect("loads");
    let text = checkpoint.tokenizer().expect("loads").encode(heldout_text()).expect("encodes");
    assert_eq!(text.len(), 47_490);
    let golden = common::golden("data/nano/expected.safetensors");
    assert_eq!(text[..160], golden.tokens[1..]);
    let mut engine = common::engine(&checkpoint, CONTEXT, 32);
    let head = &text[..200];
    let prefill = ppl(&mut engine, head, CONTEXT, Path::Prefill).expect("runs");
    let decode = ppl(&mut engine, head, CONTEXT, Path::Decode).expect("runs");
    let batch = ppl(&mut engine, head, CONTEXT, Path::Batch(7)).expect("runs");
    assert_eq!(prefill.nll.to_bits(), decode.nll.to_bits());
    assert_eq!(prefill.nll.to_bits(), batch.nll.to_bits());
    assert_eq!(prefill.tokens, 200);

    // The reference's own logits of the same first 160 tokens give the same likelihood.
    let vocab = checkpoint.config().vocab;
    let rows = golden.logits.chunks(vocab).zip(&golden.tokens[1..]);
    let nll = |(row, &t): (&[f32], &u32)| assay_kernels::measure::negative_log_likelihood(row, t);
    let expected = rows.map(nll).sum::<f64>() / 160.0;
    let ours = ppl(&mut engine, &text[..160], CONTEXT, Path::Prefill).expect("runs").nll;
    assert!((ours - expected).abs() < 1e-5, "{ours} against {expected}");

    assert!(ppl(&mut engine, &[], CONTEXT, Path::Prefill).is_err());
    assert!(ppl(&mut engine, head, CONTEXT + 1, Path::Prefill).is_err());
    assert!(ppl(&mut engine, &[4096], CONTEXT, Path::Prefill).is_err());
}

#[test]
fn benchmarks_report_every_sample() {
    let mut engine = common::engine(&common::e_series(), 64, 8);
    let options = BenchOptions { prompt: vec![2, 3, 4, 5], steps: 6, runs: 3 };
    let first = bench(&mut engine, &options).expect("runs");
    assert_eq!(first.decode_tps.samples.len(), 3);
    assert_eq!(first.tokens.len(), 7);
    assert!(first.decode_tps.min > 0.0 && first.prefill_tps.min > 0.0);
    assert_eq!(first.tokens, bench(&mut engine, &options).expect("runs").tokens);
    assert!(bench(&mut engine, &BenchOptions { runs: 0, ..options }).is_err());
    let phases = engine.phases(2).expect("runs");
    assert_eq!(
        phases.iter().map(|p| p.launches).sum::<usize>(),
        engine.describe_plan().lines().count() - 2
    );
    assert_eq!(engine.position(), 0);
}
