//! Drafters against a reference implementation, and decoding with them at every context length.
//!
//! `ASSAY_GOLDEN=DIR` also runs every case folder in DIR that has a `drafter` folder with `config.json`,
//! `model.safetensors` and `expected.safetensors` with `drafts` and `logits`.

mod common;

use assay_kernels::engine::DraftLen;
use assay_kernels::{Checkpoint, Drafter};
use common::largest_difference;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

const TOLERANCE: f32 = 2e-3;

/// The chain that a case's drafter, read from `from`, drafts after its tokens has the reference's tokens
/// and logits.
fn check_chain(case: &Path, from: &str) {
    let name = case.join(from);
    let name = name.display();
    let golden = common::golden(case.join("expected.safetensors").to_str().expect("UTF-8"));
    let bytes = std::fs::read(case.join("drafter/expected.safetensors")).expect("exists");
    let file = SafeTensors::deserialize(&bytes).expect("parses");
    let (drafts, logits) = (common::ids(&file, "drafts"), common::floats(&file, "logits"));
    let checkpoint = Checkpoint::open(case).expect("loads");
    let drafter = Drafter::open(&case.join(from)).expect("loads");
    let context = golden.tokens.len() + drafts.len() + 1;
    let engine = common::engine(&checkpoint, context, drafts.len() + 1);
    let mut engine = engine.with_drafter(&drafter, drafts.len()).expect("fits");
    engine.prefill(&golden.tokens).expect("runs");
    let chain = engine.draft_chain(drafts.len()).expect("runs");
    assert_eq!(chain.drafts, drafts, "{name}");
    let pairs = || chain.logits.iter().zip(&logits);
    assert!(pairs().all(|(a, b)| a.is_finite() == b.is_finite()), "{name}: other clusters");
    let finite =
        |values: &[f32]| values.iter().copied().filter(|v| v.is_finite()).collect::<Vec<_>>();
    let error = largest_difference(&finite(&chain.logits), &finite(&logits));
    println!("{name}: largest difference: draft logits {error:e}");
    assert!(error < TOLERANCE, "{name}: draft logits differ by {error}");
    // Asking for drafts changes nothing.
    assert_eq!(engine.draft_chain(drafts.len()).expect("runs"), chain);
}

/// With prompts from one token to several windows, draft lengths short and long give the tokens of no drafter.
fn check_lengths(case: &Path) {
    let checkpoint = Checkpoint::open(case).expect("loads");
    let drafter = Drafter::open(&case.join("drafter")).expect("loads");
    let vocab = checkpoint.config().vocab as u32;
    let window = checkpoint.config().sliding_window;
    let prompt: Vec<u32> = (0..3 * window as u32).map(|i| (i * 37 + 2) % vocab).collect();
    let (count, context) = (window + 8, prompt.len() + window + 8);
    let mut plain = common::engine(&checkpoint, context, 7);
    let lengths = [1, 3, 6].map(DraftLen::Fixed);
    let lengths = lengths.into_iter().chain([DraftLen::Adaptive { most: 6 }]);
    let mut drafting: Vec<_> = lengths
        .map(|len| common::engine(&checkpoint, context, 7).with_drafter(&drafter, len))
        .collect::<Result<_, _>>()
        .expect("fits");
    for held in [1, window - 2, window + 1, 2 * window + 5] {
        plain.reset();
        let first = plain.prefill(&prompt[..held]).expect("runs").next;
        let expected = plain.decode_greedy(count, false).expect("runs").tokens;
        for engine in &mut drafting {
            engine.reset();
            assert_eq!(engine.prefill(&prompt[..held]).expect("runs").next, first);
            let found = engine.decode_greedy(count, false).expect("runs");
            assert_eq!(found.tokens, expected, "{} from {held}", case.display());
        }
    }
}

fn fixture(name: &str) -> PathBuf {
    common::path(&format!("tests/fixtures/{name}"))
}

#[test]
fn a_centroid_head_drafts_the_reference_chain() {
    check_chain(&fixture("e-series"), "drafter");
}

#[test]
fn a_dense_head_drafts_the_reference_chain() {
    check_chain(&fixture("dense-k-eq-v"), "drafter");
}

#[test]
fn a_drafter_in_gguf_drafts_the_reference_chain() {
    // Written from the folder beside it by hf_to_gguf.py.
    check_chain(&fixture("dense-k-eq-v"), "drafter.gguf");
}

#[test]
fn drafting_changes_no_token_at_any_context_length() {
    check_lengths(&fixture("e-series"));
    check_lengths(&fixture("dense-k-eq-v"));
}

#[test]
fn chains_from_outside_match_the_reference() {
    let Some(folder) = std::env::var_os("ASSAY_GOLDEN") else { return };
    for entry in std::fs::read_dir(&folder).expect("ASSAY_GOLDEN is a folder") {
        let case = entry.expect("readable").path();
        if case.join("drafter/expected.safetensors").is_file() {
            check_chain(&case, "drafter");
        }
    }
}
