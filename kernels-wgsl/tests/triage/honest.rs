//! Honest checkpoints are given no false warning.

use crate::folder::{Draft, codes};
use assay_kernels::triage::{self, Code, Options, Severity, Subject};

fn unexpected(draft: &Draft, expected: &[Code]) -> Vec<String> {
    let report = draft.check();
    let bad = report.diagnostics.iter().filter(|d| d.severity != Severity::Note);
    bad.filter(|d| !expected.contains(&d.code)).map(|d| format!("{d:?}")).collect()
}

#[test]
fn honest_checkpoints_have_no_faults() {
    // They have neither tokenizer nor template, which is true to say.
    let bare = [Code::NoTokenizer, Code::NoChatTemplate];
    assert_eq!(unexpected(&Draft::nano(), &[]), [""; 0]);
    assert_eq!(unexpected(&Draft::int4(), &[]), [""; 0]);
    assert_eq!(unexpected(&Draft::nano_drafter(), &[]), [""; 0]);
    for name in ["e-series", "dense-k-eq-v", "moe", "gemma3"] {
        assert_eq!(unexpected(&Draft::fixture(name), &bare), [""; 0], "{name}");
    }
    assert_eq!(unexpected(&Draft::fixture("e-series/drafter"), &[]), [""; 0]);
}

#[test]
fn the_embedded_pair_is_sound() {
    let options = Options { draft: Some(Subject::Embedded), adapter: None };
    let report = triage::check(Subject::Embedded, &options);
    assert!(report.ok, "{:#?}", report.diagnostics);
    assert_eq!(codes(&report), [(Code::LayerScalar, Severity::Note)]);
    assert!(report.scan.iter().all(|line| line.contains("in full")), "{:?}", report.scan);
}

#[test]
fn codes_are_stable_and_explained() {
    assert_eq!(Code::TiedHead.id(), "CK001");
    assert_eq!(Code::TiedHead.name(), "tied-head-contradiction");
    let ids: Vec<&str> = Code::ALL.iter().map(|c| c.id()).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids, sorted, "codes rise and differ");
    for code in Code::ALL {
        assert_eq!(Code::parse(&code.id().to_lowercase()), Some(*code));
        assert!(code.explanation().len() > 20, "{code}");
    }
}
