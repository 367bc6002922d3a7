//! What an audit found, for people and for programs.

use super::checkpoint::Agreed;
use super::proof::Written;
use super::reproduce::Reproduction;
use crate::cli::output::fields;
use crate::explain::{Explanation, explain};
use crate::text::line;
use assay_protocol::audit::{Auditor, Checked, Event, Fault, NOT_RECHECKED, Trail};
use assay_protocol::ids::{BlockHash, ClaimId};
use assay_protocol::state::State;
use serde::Serialize;

/// What an audit found.
#[derive(Debug, Serialize)]
pub struct AuditReport {
    ok: bool,
    height: u64,
    head: BlockHash,
    entries: u64,
    checked: Checked,
    first_fault: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted: Option<Trusted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Agreed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reproduction: Option<Reproduction>,
    seconds: f64,
}

/// A block that was believed in.
#[derive(Debug, Serialize)]
struct Trusted {
    height: u64,
    hash: BlockHash,
    /// What was not checked again up to it.
    not_rechecked: [&'static str; 4],
}

/// Everything that decided one claim.
#[derive(Debug, Serialize)]
struct Entry {
    claim: ClaimId,
    events: Vec<Event>,
    /// Every seat's pairs, the pooled ratio, every gate.
    derivation: Option<Explanation>,
}

impl AuditReport {
    /// A report on what was checked up to the first fault.
    pub(super) fn new(
        auditor: &Auditor,
        first_fault: Option<Fault>,
        trusted: Option<(u64, BlockHash)>,
        seconds: f64,
    ) -> Self {
        Self {
            ok: first_fault.is_none(),
            height: auditor.state().height(),
            head: auditor.head(),
            entries: auditor.checked().entries,
            checked: auditor.checked(),
            first_fault,
            trusted: trusted.map(|(height, hash)| Trusted {
                height,
                hash,
                not_rechecked: NOT_RECHECKED,
            }),
            checkpoint: None,
            entry: None,
            proof: None,
            reproduction: None,
            seconds,
        }
    }

    /// Whether everything checks and agrees.
    pub(super) fn is_ok(&self) -> bool {
        self.ok
    }

    /// Adds what a signed checkpoint says about the ledger.
    pub(super) fn take_checkpoint(&mut self, compared: Result<Agreed, Fault>) {
        match compared {
            Ok(agreed) => self.checkpoint = Some(agreed),
            Err(fault) => {
                self.ok = false;
                self.first_fault = Some(fault);
            }
        }
    }

    /// Adds what decided a claim.
    pub(super) fn take_entry(&mut self, claim: ClaimId, trail: &Trail, state: &State) {
        let derivation = explain(state, &claim.to_string()).ok();
        self.entry = Some(Entry { claim, events: trail.events().to_vec(), derivation });
    }

    /// Adds where a proof is.
    pub(super) fn take_proof(&mut self, written: Written) {
        self.proof = Some(written);
    }

    /// Adds what was measured.
    pub(super) fn take_reproduction(&mut self, reproduction: Reproduction) {
        self.ok &= reproduction.agrees();
        self.reproduction = Some(reproduction);
    }
}

fn rounds(checked: &Checked) -> String {
    format!(
        "{} of {} entries: {} confirming, {} challenging, {} by lot; {} debunked",
        checked.rounds,
        checked.entries,
        checked.frontier_rounds,
        checked.challenges,
        checked.reaudits,
        checked.debunked
    )
}

/// The report as text.
pub(super) fn table(report: &AuditReport) -> String {
    let checked = &report.checked;
    let counts = fields(&[
        ("blocks", format!("{} to head {}", checked.blocks, report.head.short())),
        ("records", format!("{} signatures", checked.records)),
        ("certificates", format!("{} signatures", checked.certificate_signatures)),
        ("beacon", format!("{} random outputs", checked.random_outputs)),
        ("committees", format!("{} drawn again", checked.committees)),
        ("seals", format!("{} opened", checked.seals)),
        ("rounds", rounds(checked)),
        ("verdicts", format!("{} computed again from raw samples", checked.verdicts)),
        ("time", format!("{:.2} s", report.seconds)),
    ]);
    let mut parts = vec![counts];
    if let Some(Trusted { height, hash, not_rechecked }) = &report.trusted {
        parts.push(format!(
            "Up to height {height} you believe in block {}; not checked again before it:\n- {}\n\
             Everything there is bound to that block by hashes; draws and verdicts were computed again.",
            hash.short(),
            not_rechecked.join("\n- ")
        ));
    }
    parts.extend(report.checkpoint.as_ref().map(Agreed::text));
    parts.extend(report.entry.as_ref().map(entry_text));
    parts.push(match &report.first_fault {
        None if report.trusted.is_some() => "Everything else checks.".to_owned(),
        None => "Everything checks.".to_owned(),
        Some(fault) => format!(
            "FAULT at {}\n  rule     {} {}\n  message  {}\n\
             Nothing from there on can be relied on.",
            fault.place, fault.code, fault.rule, fault.message
        ),
    });
    parts.extend(report.proof.as_ref().map(Written::text));
    parts.extend(report.reproduction.as_ref().map(Reproduction::text));
    parts.join("\n\n")
}

fn entry_text(entry: &Entry) -> String {
    let mut out = vec![format!("What decided claim {}", entry.claim)];
    for event in &entry.events {
        out.push(format!("{:>7}  {}", event.height, line(&event.what)));
        let detail = event.detail.as_object().into_iter().flatten();
        // Verdicts have their own derivation below.
        let shown = detail.filter(|(name, value)| name.as_str() != "verdict" && !value.is_null());
        out.extend(shown.map(|(name, value)| {
            format!("         {}: {}", name.replace('_', " "), line(&plain(value)))
        }));
    }
    if let Some(derivation) = &entry.derivation {
        out.push(String::new());
        out.push(crate::cli::explain::derivation(derivation));
    }
    out.join("\n")
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
