//! What the tables of broken folders share.

use crate::folder::{Draft, assert_says};
use assay_kernels::triage::Severity;
use serde_json::Value;

pub(crate) type Case = (&'static str, Draft, &'static str, Severity, &'static str);

pub(crate) fn run(cases: Vec<Case>) {
    for (what, draft, code, severity, says) in cases {
        assert_says(what, &draft.check(), code, severity, says);
    }
}

pub(crate) fn fixture(name: &str) -> Draft {
    Draft::fixture(name)
}

pub(crate) fn set(draft: Draft, key: &'static str, value: Value) -> Draft {
    draft.config(|c| c[key] = value)
}

/// Sets a key inside `text_config`.
pub(crate) fn inner(draft: Draft, key: &'static str, value: Value) -> Draft {
    draft.config(|c| c["text_config"][key] = value)
}
