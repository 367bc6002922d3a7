//! What running a few tokens shows.

use crate::common::gpu;
use crate::folder::{Draft, assert_says};
use assay_kernels::triage::{self, Options, Report, Severity, Subject};

fn run(target: &Draft, drafter: Option<&Draft>) -> Report {
    let folder = target.write();
    let draft = drafter.map(Draft::write);
    let draft = draft.as_ref().map(|folder| Subject::Path(folder.path()));
    triage::check(Subject::Path(folder.path()), &Options { draft, adapter: Some(gpu()) })
}

#[test]
fn a_sound_pair_passes() {
    let report = run(&Draft::nano(), Some(&Draft::nano_drafter()));
    let bad: Vec<_> = report.diagnostics.iter().filter(|d| d.severity != Severity::Note).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn random_weights_predict_nothing() {
    // An embedding table a hundred times smaller makes every logit nearly equal.
    let flat = Draft::nano().tensor("model.norm.weight", |t| t.map(|w| w * 0.001));
    assert_says("flat", &run(&flat, None), "CK072", Severity::Warning, "entropy");
}

#[test]
fn a_drafter_of_another_model_is_noticed() {
    // Swapped halves of the projection: the drafter reads its input in the wrong order.
    let wrong = Draft::nano_drafter().tensor("model.norm.weight", |t| t.map(|w| -w));
    let report = run(&Draft::nano(), Some(&wrong));
    assert_says("drafter", &report, "CK064", Severity::Warning, "drafts were accepted");
}

#[test]
fn overflow_is_noticed() {
    let huge = Draft::nano().tensor("model.norm.weight", |t| t.map(|_| 3e38));
    let huge = huge.config(|c| c["final_logit_softcapping"] = serde_json::Value::Null);
    let report = run(&huge, None);
    assert_says("huge", &report, "CK071", Severity::Error, "NaN or infinity");
}
