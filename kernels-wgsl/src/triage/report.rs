//! Diagnostics and how they are gathered.

use super::Code;
use serde::Serialize;
use serde_json::Value;

/// Most diagnostics of one code; the rest are counted.
const PER_CODE_MAX: usize = 8;

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The checkpoint does not load, or computes something else than it was made to.
    Error,
    /// It runs, and something about it is probably not as intended.
    Warning,
    /// Worth knowing.
    Note,
}

/// One change of one JSON file of the checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigEdit {
    /// `config.json` or `generation_config.json`.
    pub file: &'static str,
    /// Keys from the top of the file.
    pub path: Vec<String>,
    /// What to write there; without it the key is removed.
    pub value: Option<Value>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnostic {
    /// Stable code.
    pub code: Code,
    /// The code in words.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// File, and key or tensor in it.
    #[serde(rename = "where")]
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub mend: String,
    /// The edits that do it, where edits suffice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fix: Vec<ConfigEdit>,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// No error was found.
    pub ok: bool,
    /// Worst first, then by code.
    pub diagnostics: Vec<Diagnostic>,
    /// How the weights' values were looked at, in words.
    pub scan: Vec<String>,
}

/// Collects diagnostics.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Diagnostic>,
    prefix: String,
    /// Edits of diagnostics past the limit, which nobody reads.
    surplus: Vec<ConfigEdit>,
    more: std::collections::BTreeMap<(Code, Severity), usize>,
}

impl Findings {
    pub(super) fn error(
        &mut self,
        code: Code,
        place: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> &mut Vec<ConfigEdit> {
        self.add(Severity::Error, code, place.into(), message.into(), mend.into())
    }

    pub(super) fn warning(
        &mut self,
        code: Code,
        place: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> &mut Vec<ConfigEdit> {
        self.add(Severity::Warning, code, place.into(), message.into(), mend.into())
    }

    pub(super) fn note(
        &mut self,
        code: Code,
        place: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> &mut Vec<ConfigEdit> {
        self.add(Severity::Note, code, place.into(), message.into(), mend.into())
    }

    /// Adds a diagnostic and returns its edits, to be filled in.
    fn add(
        &mut self,
        severity: Severity,
        code: Code,
        place: String,
        message: String,
        mend: String,
    ) -> &mut Vec<ConfigEdit> {
        let place = match (self.prefix.as_str(), place.as_str()) {
            ("", _) => place,
            (prefix, "") => prefix.to_string(),
            (prefix, _) => format!("{prefix}/{place}"),
        };
        let same = self.found.iter().filter(|d| (d.code, d.severity) == (code, severity)).count();
        if same >= PER_CODE_MAX {
            *self.more.entry((code, severity)).or_default() += 1;
            self.surplus.clear();
            return &mut self.surplus;
        }
        let fix = Vec::new();
        let name = code.name();
        self.found.push(Diagnostic { code, name, severity, place, message, mend, fix });
        &mut self.found.last_mut().expect("one was just pushed").fix
    }

    /// Runs `work` with `prefix` before every place.
    pub(super) fn within(&mut self, prefix: &str, work: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.prefix, prefix.into());
        work(self);
        self.prefix = before;
    }

    /// Takes the edits off all diagnostics.
    pub(super) fn drop_edits(&mut self) {
        self.found.iter_mut().for_each(|d| d.fix.clear());
    }

    pub(super) fn has_error(&self) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error)
    }

    pub(super) fn has(&self, code: Code) -> bool {
        self.found.iter().any(|d| d.code == code)
    }

    pub(super) fn into_report(mut self, scan: Vec<String>) -> Report {
        self.found
            .sort_by(|a, b| (a.severity, a.code, &a.place).cmp(&(b.severity, b.code, &b.place)));
        for ((code, severity), count) in &self.more {
            let kind = |d: &&mut Diagnostic| (d.code, d.severity) == (*code, *severity);
            if let Some(last) = self.found.iter_mut().rev().find(kind) {
                last.message = format!("{} (and {count} more like it)", last.message);
            }
        }
        let ok = !self.has_error();
        Report { ok, diagnostics: self.found, scan }
    }
}
