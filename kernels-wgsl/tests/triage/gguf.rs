//! GGUF files: sound ones, and ones with a fault that only they can have.

use crate::folder::assert_says;
use assay_kernels::triage::Severity::{Error, Note, Warning};
use assay_kernels::triage::{self, Options, Report, Subject};
use assay_kernels::{Checkpoint, Drafter};

const FIXTURE: &str = "tests/fixtures/gguf/nano-Q4_K_M.gguf";

fn fixture() -> Vec<u8> {
    std::fs::read(crate::common::path(FIXTURE)).expect("the fixture is there")
}

fn check(bytes: &[u8]) -> Report {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("writable");
    triage::check(Subject::Path(&path), &Options::default())
}

/// The fixture with the first `from` in it replaced by `to`, of the same length.
fn patched(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = fixture();
    let at = bytes.windows(from.len()).position(|w| w == from).expect("it is there");
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn a_sound_file_passes() {
    let report = check(&fixture());
    let bad: Vec<_> = report.diagnostics.iter().filter(|d| d.severity != Note).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(report.diagnostics.iter().all(|d| d.fix.is_empty()));
}

#[test]
fn a_drafter_is_known_for_one() {
    let path = |name: &str| crate::common::path(&format!("tests/fixtures/{name}"));
    let drafter = path("dense-k-eq-v/drafter.gguf");
    let alone = triage::check(Subject::Path(&drafter), &Options::default());
    let target = path("dense-k-eq-v");
    let options = Options { draft: Some(Subject::Path(&drafter)), ..Options::default() };
    let pair = triage::check(Subject::Path(&target), &options);
    for report in [alone, pair] {
        let said =
            |d: &&triage::Diagnostic| d.place.contains("drafter.gguf") || d.place.contains("draft");
        let bad = report.diagnostics.iter().filter(said).filter(|d| d.severity != Note);
        assert_eq!(bad.count(), 0, "{:#?}", report.diagnostics);
    }
    let other = path("gguf/nano-Q4_K_M.gguf");
    let report = triage::check(Subject::Path(&other), &options);
    assert_says("another target", &report, "CK061", Error, "the target");
    // Loading the one as the other says what to do.
    let error = Checkpoint::open(&drafter).unwrap_err().to_string();
    assert!(error.contains("--draft"), "{error}");
    let error = Drafter::open(&other).unwrap_err().to_string();
    assert!(error.contains("--model"), "{error}");
}

#[test]
fn faults_of_the_container_are_named() {
    let whole = fixture();
    assert_says("cut", &check(&whole[..whole.len() / 2]), "CK080", Error, "model.gguf");
    assert_says("garbage", &check(b"not a file"), "CK080", Error, "model.gguf");
    let floats = |turning: usize, stopped: usize| -> Vec<u8> {
        let list = std::iter::repeat_n(1.0f32, turning).chain(std::iter::repeat_n(1e30, stopped));
        list.flat_map(f32::to_le_bytes).collect()
    };
    let rope = patched(&floats(16, 48), &floats(48, 16));
    assert_says("rotation", &check(&rope), "CK081", Error, "turns 48 of 64 pairs");
    let bos = patched(b"tokenizer.ggml.bos_token_id", b"tokenizer.ggml.bos_token_xx");
    assert_says("BOS", &check(&bos), "CK046", Warning, "bos_token_id");
}
