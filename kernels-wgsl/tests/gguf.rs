//! GGUF files against logits of a reference implementation over their dequantised weights.
//!
//! `ASSAY_GOLDEN_GGUF=DIR` also runs every `*.gguf` in DIR that has a `.safetensors` of the same name
//! beside it, with `tokens`, `logits` and `greedy`.

mod common;

use assay_kernels::{Checkpoint, Path};
use common::{argmax, bits, floats, ids, largest_difference, top_gap};
use safetensors::SafeTensors;

/// f32 arithmetic over the whole model against f64.
const TOLERANCE: f32 = 2e-3;

fn check(file: &std::path::Path) {
    let name = file.display();
    let expected = std::fs::read(file.with_extension("safetensors")).expect("the reference exists");
    let expected = SafeTensors::deserialize(&expected).expect("the reference parses");
    let (tokens, greedy) = (ids(&expected, "tokens"), ids(&expected, "greedy"));
    let reference = floats(&expected, "logits");
    let checkpoint = Checkpoint::open(file).expect("the file loads");
    let mut engine = common::engine(&checkpoint, tokens.len() + greedy.len(), 8);
    let rows = engine.logits(&tokens, Path::Prefill).expect("runs").logits;
    for path in [Path::Decode, Path::Batch(2), Path::Batch(5)] {
        let other = engine.logits(&tokens, path).expect("runs").logits;
        assert!(bits(&rows) == bits(&other), "{name}: {path} has other logits");
    }
    let error = largest_difference(&rows, &reference);
    println!("{name}: largest difference of logits {error:e}");
    assert!(error < TOLERANCE, "{name}: logits differ by {error}");
    let vocab = engine.config().vocab;
    for (position, (ours, theirs)) in rows.chunks(vocab).zip(reference.chunks(vocab)).enumerate() {
        if top_gap(theirs) > 0.01 {
            assert_eq!(argmax(ours), argmax(theirs), "{name}: position {position}");
        }
    }
    engine.reset();
    let mut chosen = vec![engine.prefill(&tokens).expect("runs").next];
    chosen.extend(engine.decode_greedy(greedy.len() - 1, false).expect("runs").tokens);
    assert_eq!(chosen, greedy, "{name}");
}

#[test]
fn nano_in_q4_k_m_matches_the_reference() {
    check(&common::path("tests/fixtures/gguf/nano-Q4_K_M.gguf"));
}

#[test]
fn files_from_outside_match_the_reference() {
    let Some(folder) = std::env::var_os("ASSAY_GOLDEN_GGUF") else { return };
    for entry in std::fs::read_dir(&folder).expect("ASSAY_GOLDEN_GGUF is a folder") {
        let file = entry.expect("readable").path();
        if file.extension().is_some_and(|e| e == "gguf")
            && file.with_extension("safetensors").is_file()
        {
            check(&file);
        }
    }
}
