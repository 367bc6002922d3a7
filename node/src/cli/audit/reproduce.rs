//! Measuring an entry again on this machine.

use crate::api::MeasureRequest;
use crate::author::{own_plan, verdict_alone};
use crate::cli::claim::MEASURE_TIMEOUT;
use crate::cli::client::Client;
use crate::embedded::Embedded;
use crate::home::{HomeError, NetworkFile};
use crate::measure::{self, Job, RecipeFiles};
use crate::storage::Blobs;
use anyhow::{Context, bail, ensure};
use assay_protocol::ids::{ClaimId, PeerId};
use assay_protocol::record::Recipe;
use assay_protocol::state::{Finding, State};
use assay_protocol::verdict::{Estimate, Outcome, Verdict};
use indicatif::ProgressBar;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the caller chose.
pub(super) struct With {
    /// A folder of blobs; none means a node, or its folder.
    pub(super) files: Option<PathBuf>,
    /// Only adapters whose name contains this.
    pub(super) adapter: Option<String>,
}

/// What this machine found about an entry.
#[derive(Debug, Serialize)]
pub(super) struct Reproduction {
    claim: ClaimId,
    parent: ClaimId,
    agrees: bool,
    /// What the rules would make of it if this machine were the committee of a challenge; for entries that
    /// were accepted.
    finding: Option<Finding>,
    /// Whether the two intervals have a ratio in common.
    overlap: Option<bool>,
    entry: Figures,
    here: Figures,
    measured_by: String,
}

/// One side of the comparison.
#[derive(Debug, Serialize)]
struct Figures {
    outcome: Outcome,
    ratio: Option<Estimate>,
    lossless: bool,
    gates_failed: Vec<String>,
}

impl Figures {
    fn of(verdict: &Verdict) -> Self {
        let failed = verdict.gates.iter().filter(|gate| !gate.pass);
        Self {
            outcome: verdict.outcome,
            ratio: verdict.ratio,
            lossless: verdict.lossless,
            gates_failed: failed.map(|gate| format!("{:?}", gate.gate).to_lowercase()).collect(),
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn text(&self) -> String {
        let times = |ppm: u64| ppm as f64 / 1e6;
        let ratio = self.ratio.map_or_else(
            || "no ratio".to_owned(),
            |ratio| {
                let (at, low, high) =
                    (times(ratio.ppm), times(ratio.low_ppm), times(ratio.high_ppm));
                format!("{at:.3}× [{low:.3}, {high:.3}]")
            },
        );
        let failed = match self.gates_failed.is_empty() {
            true => String::new(),
            false => format!(", fails {}", self.gates_failed.join(", ")),
        };
        format!("{ratio}{failed}")
    }
}

impl Reproduction {
    /// Whether it agrees with the ledger.
    pub(super) fn agrees(&self) -> bool {
        self.agrees
    }

    /// The comparison in words.
    pub(super) fn text(&self) -> String {
        let word = match (self.agrees, self.finding) {
            (true, _) => "AGREES with the ledger",
            (false, Some(Finding::Undecided)) => "DECIDES NOTHING: no speed was measured",
            (false, _) => {
                "DISAGREES with the ledger; `assay claim challenge` has a committee measure again"
            }
        };
        format!(
            "Measured claim {} again, {}\n  ledger   {}\n  here     {}\nThis machine {word}.",
            self.claim.short(),
            self.measured_by,
            self.entry.text(),
            self.here.text()
        )
    }
}

/// Measures an entry against its parent and compares.
///
/// # Errors
///
/// When the claim is no entry with a decision, or it cannot be measured.
pub(super) fn run(
    home: impl FnOnce() -> anyhow::Result<PathBuf>,
    with: With,
    state: &State,
    id: ClaimId,
) -> anyhow::Result<Reproduction> {
    let claim = state.claim(id).context("the claim did not apply")?;
    let entry = claim.verdict().context("nothing was decided about this claim yet")?;
    ensure!(
        matches!(entry.outcome, Outcome::Accepted | Outcome::Refuted),
        "the claim's committee came to no result that could be compared"
    );
    let parent = state.recipe(claim.parent).context("the claim's parent is not on the ledger")?;
    let (here, measured_by) = measure(home, with, state, [parent, claim.recipe], claim.parent)?;
    let accepted = entry.outcome == Outcome::Accepted;
    let finding = accepted.then(|| State::finding(claim, &here));
    let overlap = entry.ratio.zip(here.ratio);
    let overlap = overlap.map(|(a, b)| a.low_ppm <= b.high_ppm && b.low_ppm <= a.high_ppm);
    Ok(Reproduction {
        claim: id,
        parent: claim.parent,
        agrees: match finding {
            Some(finding) => finding == Finding::Upheld,
            None => here.outcome != Outcome::Accepted,
        },
        finding,
        overlap,
        entry: Figures::of(entry),
        here: Figures::of(&here),
        measured_by,
    })
}

fn measure(
    home: impl FnOnce() -> anyhow::Result<PathBuf>,
    with: With,
    state: &State,
    recipes: [Recipe; 2],
    parent: ClaimId,
) -> anyhow::Result<(Verdict, String)> {
    if let Some(folder) = &with.files {
        let verdict = measure_here(folder, with.adapter, state, recipes)?;
        return Ok((verdict, format!("with the files in {}", folder.display())));
    }
    let home = home()?;
    match Client::find(&home, MEASURE_TIMEOUT) {
        Ok(client) => {
            let network = NetworkFile::read(&home.join("network.json"))?.genesis.network();
            ensure!(
                network == state.network(),
                "the node in {} is of another network",
                home.display()
            );
            let progress = ProgressBar::new_spinner().with_message("the node measures");
            progress.enable_steady_tick(Duration::from_millis(200));
            let request = MeasureRequest { recipe: recipes[1], parent: Some(parent) };
            let verdict = client.post("/api/measurements", &request)?;
            progress.finish_and_clear();
            Ok((verdict, format!("by the node in {}", home.display())))
        }
        Err(error) if matches!(error.downcast_ref(), Some(HomeError::NotRunning(_))) => {
            let folder = home.join("blobs");
            if !folder.is_dir() {
                bail!(
                    "no node runs in {} and it has no files; start one, or name a folder with --files",
                    home.display()
                );
            }
            let verdict = measure_here(&folder, with.adapter, state, recipes)?;
            Ok((verdict, format!("with the files in {}", folder.display())))
        }
        Err(error) => Err(error),
    }
}

/// Measures in a worker of this process, as `assay claim measure` has the node do: by the numbers in force,
/// which a vote may have changed since the genesis.
fn measure_here(
    folder: &Path,
    adapter: Option<String>,
    state: &State,
    [parent, child]: [Recipe; 2],
) -> anyhow::Result<Verdict> {
    let genesis = state.parameters();
    let blobs = Blobs::open(folder, u64::MAX)?;
    Embedded::import(&blobs)?;
    let nobody = PeerId::default();
    let plan = own_plan(genesis, parent, child, nobody, genesis.measurement.pairs)?;
    let files = |recipe: &Recipe| recipe_files(&blobs, recipe);
    let arms = [files(&plan.x)?, files(&plan.y)?, files(&genesis.challenge.base)?];
    let pool = blobs.path_of(genesis.challenge.pool.text)?;
    let job = Job::new(genesis, plan.clone(), pool, arms, adapter);
    let options = measure::Options::new(Duration::from_millis(genesis.committee.seal_ms))?;
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let progress = |step: measure::Progress| {
        bar.set_message(format!("step {} of {}, {}", step.done, step.total, step.what));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured =
        runtime.block_on(measure::run(&job, &options, progress, std::future::pending()))?;
    bar.finish_and_clear();
    Ok(verdict_alone(genesis, nobody, &plan, &measured))
}

fn recipe_files(blobs: &Blobs, recipe: &Recipe) -> anyhow::Result<RecipeFiles> {
    let folder = |hash| {
        let missing =
            || format!("the files of manifest {hash} are not here; fetch them with a node");
        blobs.materialise(hash).with_context(missing)
    };
    Ok(RecipeFiles {
        checkpoint: folder(recipe.checkpoint)?,
        bundle: recipe.bundle.map(folder).transpose()?,
        drafter: match recipe.drafter {
            Some(drafter) => Some((folder(drafter.checkpoint)?, drafter.draft_len)),
            None => None,
        },
    })
}
