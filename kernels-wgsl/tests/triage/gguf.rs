//! GGUF files: sound ones, and ones with a fault that only they can have.

use crate::folder::assert_says;
use assay_kernels::triage::Severity::{Error, Note, Warning};
use assay_kernels::triage::{self, Options, Report, Subject};

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
