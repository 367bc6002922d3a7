//! The claims that the demonstration makes, and what must become of them.

use anyhow::{Context, bail};
use assay_node::api::ClaimAccepted;
use assay_protocol::ids::ClaimId;
use assay_protocol::verdict::Outcome;
use include_dir::{Dir, include_dir};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

static BUNDLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/bundles");

/// A claim to make and the verdict that it deserves.
#[derive(Debug, Clone, Copy)]
pub struct DemoClaim {
    /// Which node makes it, counted from 0.
    pub author: usize,
    /// The kernel bundle, a folder in `testnet/bundles`.
    pub bundle: &'static str,
    /// The author's line for people.
    pub summary: &'static str,
    /// A result made up by the author; an honest author measures.
    pub invented_ratio: Option<&'static str>,
    /// The verdict that it deserves.
    pub deserves: Outcome,
}

/// One claim that is true, one that trades correctness for speed, one that gains nothing.
pub const SCENARIOS: [DemoClaim; 3] = [
    DemoClaim {
        author: 0,
        bundle: "serial-rows",
        summary: "one invocation per output row, same arithmetic",
        invented_ratio: None,
        deserves: Outcome::Accepted,
    },
    DemoClaim {
        author: 1,
        bundle: "half-dot",
        summary: "twice as fast, same quality",
        invented_ratio: Some("2.0"),
        deserves: Outcome::Refuted,
    },
    DemoClaim {
        author: 2,
        bundle: "same-again",
        summary: "tuned kernels, a quarter faster",
        invented_ratio: Some("1.25"),
        deserves: Outcome::Refuted,
    },
];

/// A bundle that is part of this program.
#[must_use]
pub fn bundle_dir(name: &str) -> Option<&'static Dir<'static>> {
    BUNDLES.get_dir(name)
}

/// Writes the bundles where `assay claim new` reads them.
///
/// # Errors
///
/// When the folder cannot be written.
pub fn write_bundles(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = root.join("bundles");
    std::fs::create_dir(&folder)?;
    BUNDLES.extract(&folder).context("cannot write the kernel bundles")?;
    Ok(folder)
}

/// Makes a claim as its author would: with `assay claim new`.
///
/// # Errors
///
/// When the node refuses the claim.
pub fn make(
    program: &Path,
    home: &Path,
    bundles: &Path,
    scenario: &DemoClaim,
) -> anyhow::Result<ClaimId> {
    let mut command = Command::new(program);
    command.args(["claim", "new", "--format", "json", "--summary", scenario.summary]);
    command.arg("--home").arg(home).arg("--bundle").arg(bundles.join(scenario.bundle));
    if let Some(ratio) = scenario.invented_ratio {
        command.args(["--ratio", ratio]);
    }
    let output = command.stdin(Stdio::null()).output().context("cannot run `assay claim new`")?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.trim().trim_start_matches("error: ");
        bail!("claim on {} was not made: {message}", scenario.bundle);
    }
    let accepted: ClaimAccepted =
        serde_json::from_slice(&output.stdout).context("`assay claim new` printed no claim")?;
    Ok(accepted.claim)
}
