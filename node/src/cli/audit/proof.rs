//! Writing the proof of a claim's state, and checking one without a ledger.

use crate::cli::output::{Format, fields, print};
use crate::home::write_whole;
use crate::text::line;
use anyhow::Context;
use assay_protocol::audit::{Fault, PROOF_BYTES_MAX, PROOF_TRUSTS, Proof, Proven, Prover};
use assay_protocol::genesis::Genesis;
use assay_protocol::ids::ClaimId;
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A proof that was written.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    claim: ClaimId,
    file: PathBuf,
    bytes: usize,
}

impl Written {
    /// The proof in words.
    pub(super) fn text(&self) -> String {
        format!(
            "Wrote the proof of claim {} to {} ({} bytes).\nIt is checked with: assay audit --proof-file {} \
             --genesis FILE",
            self.claim.short(),
            self.file.display(),
            self.bytes,
            self.file.display()
        )
    }
}

/// Writes what a prover gathered.
///
/// # Errors
///
/// When nothing was decided about the claim yet, or the file cannot be written.
pub(super) fn write(prover: Prover, out: &Path) -> anyhow::Result<Written> {
    let proof = prover.finish().context("nothing was decided about this claim yet")?;
    let text = serde_json::to_vec_pretty(&proof)?;
    write_whole(out, &text)?;
    Ok(Written { claim: proof.claim, file: out.to_owned(), bytes: text.len() })
}

/// What checking a proof found.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    proven: Option<Proven>,
    first_fault: Option<Fault>,
    /// What it rests on.
    trusts: [&'static str; 3],
}

/// Checks a proof on a genesis; returns whether it proves anything.
///
/// # Errors
///
/// When the file cannot be read.
pub(super) fn check(file: &Path, genesis: &Genesis, format: Format) -> anyhow::Result<bool> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut bytes = Vec::new();
    opened.take(PROOF_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let (proven, first_fault) = match Proof::read(&bytes).and_then(|proof| proof.verify(genesis)) {
        Ok(proven) => (Some(proven), None),
        Err(fault) => (None, Some(fault)),
    };
    let report = Report { ok: proven.is_some(), proven, first_fault, trusts: PROOF_TRUSTS };
    print(format, &report, table)?;
    Ok(report.ok)
}

fn table(report: &Report) -> String {
    if let Some(fault) = &report.first_fault {
        return format!(
            "FAULT at {}\n  rule     {} {}\n  message  {}\nThe proof proves nothing.",
            fault.place, fault.code, fault.rule, fault.message
        );
    }
    let Some(proven) = &report.proven else { return String::new() };
    let (signed, of) = proven.signed_by;
    let text = |path: &str| proven.state.pointer(path).map(plain).unwrap_or_default();
    let mut rows = vec![
        ("claim", proven.claim.to_string()),
        ("author", proven.author.to_string()),
        ("summary", line(&text("/summary"))),
        ("as of", format!("height {}, block {}", proven.height, proven.block.short())),
        ("signed by", format!("{signed} of {of} validators")),
        ("validators", format!("changed {} times since the genesis", proven.set_changes)),
        ("decided by", format!("round {}", text("/decided_by"))),
        ("× base, ppm", text("/ratio_to_base_ppm")),
        ("debunked", text("/debunked")),
        ("measured", format!("{} times, each signed and as it was sealed", proven.samples.len())),
    ];
    let rounds = proven.state.get("rounds").and_then(|rounds| rounds.as_array());
    for round in rounds.into_iter().flatten() {
        let part = |path: &str| round.pointer(path).map(plain).unwrap_or_default();
        rows.push((
            "round",
            format!(
                "{} ({}): {}, ratio {}",
                part("/number"),
                part("/purpose"),
                part("/verdict/outcome"),
                part("/verdict/ratio")
            ),
        ));
    }
    format!("{}\n\nThe proof holds. It rests on:\n- {}", fields(&rows), report.trusts.join("\n- "))
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
