//! Where attacks are made and measured.

use super::drafting::{self, Passes};
use super::report::{Config, name};
use crate::layout;
use anyhow::{Context, bail};
use assay_kernels::registry::Op;
use assay_kernels::{Checkpoint, embedded_drafter_files, embedded_files, heldout_text, quantize};
use assay_node::measure::{self, Job, MeasureError, Options, RecipeFiles, lock};
use assay_protocol::gates::{Evidence, Gate, GateResult};
use assay_protocol::genesis::Genesis;
use assay_protocol::ids::{Beacon, BlobHash, ClaimId, PeerId, RoundId};
use assay_protocol::manifest::blob_hash;
use assay_protocol::measurement::Measurement;
use assay_protocol::plan::{Arm, Plan, Subject, plan};
use assay_protocol::record::Recipe;
use assay_protocol::verdict::{SpeedClass, Verdict, decide};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How often a running measurement looks for Ctrl-C.
const POLL: Duration = Duration::from_millis(100);

/// A changed line of a built-in kernel.
#[derive(Debug, Clone)]
pub struct Change {
    /// The op whose kernel it is in.
    pub op: &'static str,
    /// What is there, once.
    pub from: &'static str,
    /// What the attack puts there.
    pub to: &'static str,
}

/// The files of one attack.
#[derive(Debug, Clone)]
pub struct Case {
    /// What the challenge compares everything with.
    pub base: RecipeFiles,
    /// What the child is measured against.
    pub parent: RecipeFiles,
    /// The attack.
    pub child: RecipeFiles,
    /// Windows that the pool text is cut into for this base.
    pub pool_prompts: u32,
    /// Whether both recipes draft, and how well is to be compared.
    pub drafts: bool,
    /// Fewest pairs that show what this one needs; the configured number where that is more.
    pub pairs_min: u32,
    /// Time that one seat has, where it is not the configured one.
    pub deadline: Option<Duration>,
}

/// What the seats found.
#[derive(Debug, Clone)]
pub enum Found {
    /// They measured, and this follows; with how well the recipes draft, where that was asked for.
    Verdict(Box<Verdict>, Option<Passes>),
    /// They could not measure it, for this reason.
    Nothing(String),
}

impl Found {
    /// Every gate with its numbers.
    #[must_use]
    pub fn gates(&self) -> &[GateResult] {
        match self {
            Self::Verdict(verdict, _) => &verdict.gates,
            Self::Nothing(_) => &[],
        }
    }

    /// One line: the numbers of the gates that refused, or of quality where none did.
    #[must_use]
    pub fn summary(&self, refused: &[Gate]) -> String {
        let (verdict, passes) = match self {
            Self::Verdict(verdict, passes) => (verdict, passes),
            Self::Nothing(reason) => return format!("no measurement: {reason}"),
        };
        let shown = |gate: &&GateResult| {
            refused.contains(&gate.gate) || (refused.len() < 2 && gate.gate == Gate::Quality)
        };
        let gates = verdict.gates.iter().filter(shown);
        let gates: Vec<String> = gates.map(|g| format!("{}: {}", name(g.gate), g.detail)).collect();
        let flags = verdict.flags.iter().map(|f| format!("; flag {:?} at {} ppm", f.kind, f.ppm));
        let passes = passes.map(|Passes { pool, seats }| {
            format!(
                "; {pool:.3} times the parent's passes on the pool's text, {seats:.3} on the seats'"
            )
        });
        gates.join("; ") + &flags.collect::<String>() + &passes.unwrap_or_default()
    }
}

/// A folder with everything that attacks are made of, and the seats.
pub struct Workbench {
    folder: TempDir,
    genesis: Genesis,
    options: Options,
    seed: u64,
    stop: Arc<AtomicBool>,
    runtime: Runtime,
}

impl Workbench {
    /// Writes nano, its drafter and the pool where workers read them; `exe` is the program whose
    /// `worker` command measures, and `stop` ends it.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn new(
        config: &Config,
        seed: u64,
        exe: PathBuf,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let mut genesis = layout::genesis(Vec::new());
        genesis.committee.seats = config.seats;
        genesis.committee.quorum = config.seats;
        genesis.measurement.pairs = config.pairs;
        genesis.measurement.decode_tokens = config.decode_tokens;
        genesis.measurement.reach_tokens = config.reach_tokens;
        genesis.measurement.context_tokens = config.context_tokens;
        let deadline = Duration::from_secs(config.deadline_s);
        let options = Options { deadline, lock_path: lock::default_path(), exe };
        let runtime = Runtime::new().context("no threads to measure with")?;
        let bench = Self { folder, genesis, options, seed, stop, runtime };
        bench.write("nano", embedded_files().into_iter())?;
        bench.write("drafter", embedded_drafter_files().into_iter())?;
        std::fs::write(bench.path("pool.txt"), heldout_text())?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a folder of files; one that is there already is the same, because names are unique.
    fn write<'a, N: AsRef<str>>(
        &self,
        name: &str,
        files: impl Iterator<Item = (N, &'a [u8])>,
    ) -> anyhow::Result<PathBuf> {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder)?;
        for (file, bytes) in files {
            std::fs::write(folder.join(file.as_ref()), bytes)?;
        }
        Ok(folder)
    }

    /// Nano with the built-in kernels.
    #[must_use]
    pub fn base(&self) -> RecipeFiles {
        RecipeFiles { checkpoint: self.path("nano"), bundle: None, drafter: None }
    }

    /// `child` against nano with the built-in kernels.
    #[must_use]
    pub fn against_base(&self, child: RecipeFiles) -> Case {
        let pool_prompts = self.genesis.challenge.pool.prompts;
        Case {
            base: self.base(),
            parent: self.base(),
            child,
            pool_prompts,
            drafts: false,
            pairs_min: 2,
            deadline: None,
        }
    }

    /// Nano with its drafter.
    #[must_use]
    pub fn drafted(&self, draft_len: u32) -> RecipeFiles {
        RecipeFiles { drafter: Some((self.path("drafter"), draft_len)), ..self.base() }
    }

    /// A checkpoint of these files.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn checkpoint(
        &self,
        name: &str,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> anyhow::Result<RecipeFiles> {
        let files = files.iter().map(|(name, bytes)| (name, bytes.as_slice()));
        let checkpoint = self.write(name, files)?;
        Ok(RecipeFiles { checkpoint, bundle: None, drafter: None })
    }

    /// Nano with its linear layers quantised.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn quantised(&self, name: &str, scheme: quantize::Scheme) -> anyhow::Result<RecipeFiles> {
        let options =
            quantize::Options { scheme, head: None, per_layer_projections: true, keep: Vec::new() };
        let checkpoint = self.path(name);
        std::fs::create_dir_all(&checkpoint)?;
        quantize::write(&Checkpoint::embedded()?, &options, &checkpoint, &mut |_| {
            ControlFlow::Continue(())
        })?;
        Ok(RecipeFiles { checkpoint, bundle: None, drafter: None })
    }

    /// A bundle of built-in kernels with lines changed.
    ///
    /// # Errors
    ///
    /// When a line is not in its kernel exactly once, or the folder cannot be written.
    pub fn bundle(&self, name: &str, changes: &[Change]) -> anyhow::Result<PathBuf> {
        let mut sources: BTreeMap<&str, String> = BTreeMap::new();
        for change in changes {
            let entry = Op::named(change.op).with_context(|| format!("no op {}", change.op))?;
            let source =
                sources.entry(change.op).or_insert_with(|| entry.entry().source.to_owned());
            if source.matches(change.from).count() != 1 {
                bail!("{name}: the kernel of {} has no single `{}`", change.op, change.from);
            }
            *source = source.replace(change.from, change.to);
        }
        let mut manifest = format!("name = {name:?}\n");
        let mut files = Vec::new();
        for (op, source) in sources {
            let entry = Op::named(op).with_context(|| format!("no op {op}"))?.entry();
            manifest += &format!(
                "\n[[kernel]]\nop = \"{op}\"\nfile = \"{op}.wgsl\"\nrows_per_workgroup = {}\nbatch_tiles = {:?}\n",
                entry.rows_per_workgroup, entry.batch_tiles
            );
            for tunable in entry.tunables {
                manifest += &format!("constants = {{ {} = {} }}\n", tunable.name, tunable.default);
            }
            files.push((format!("{op}.wgsl"), source));
        }
        files.push(("bundle.toml".to_owned(), manifest));
        let files = files.iter().map(|(name, text)| (name, text.as_bytes()));
        self.write(&format!("bundle-{name}"), files)
    }

    /// Nano with the built-in kernels but for some lines, against nano with the built-in ones.
    ///
    /// # Errors
    ///
    /// As [`Self::bundle`].
    pub fn changed(&self, name: &str, changes: &[Change]) -> anyhow::Result<Case> {
        let bundle = Some(self.bundle(name, changes)?);
        Ok(self.against_base(RecipeFiles { bundle, ..self.base() }))
    }

    /// The rules that the seats measure by.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Has every seat measure a case, one after the other, and decides.
    ///
    /// # Errors
    ///
    /// On Ctrl-C, or when drafts cannot be compared.
    pub fn measure(&self, case: &Case, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Found> {
        self.measured(case, say).map(|(found, _)| found)
    }

    /// As [`Self::measure`], with the bytes of weights that parent and child read per token, the most
    /// that a seat saw.
    ///
    /// # Errors
    ///
    /// As [`Self::measure`].
    pub fn measured(
        &self,
        case: &Case,
        say: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<(Found, [u64; 2])> {
        let mut genesis = self.genesis.clone();
        genesis.challenge.pool.prompts = case.pool_prompts;
        genesis.measurement.pairs = genesis.measurement.pairs.max(case.pairs_min);
        let deadline = case.deadline.unwrap_or(self.options.deadline);
        let options = Options { deadline, ..self.options.clone() };
        let mut measured: Vec<(Plan, Measurement)> = Vec::new();
        for seat in 0..genesis.committee.seats {
            let plan = self.plan(&genesis, case, seat)?;
            let (x, y) = match plan.child {
                Arm::X => (case.child.clone(), case.parent.clone()),
                Arm::Y => (case.parent.clone(), case.child.clone()),
            };
            let files = [x, y, case.base.clone()];
            let job = Job::new(&genesis, plan.clone(), self.path("pool.txt"), files, None);
            let progress = |step: measure::Progress| {
                say(&format!("seat {}: {} of {}, {}", seat + 1, step.done, step.total, step.what));
            };
            let work = measure::run(&job, &options, progress, self.stopped());
            match self.runtime.block_on(work) {
                Ok(measurement) => measured.push((plan, measurement)),
                Err(MeasureError::Cancelled) => bail!("stopped"),
                Err(error) => return Ok((Found::Nothing(error.to_string()), [0; 2])),
            }
        }
        let evidence: Vec<(PeerId, Evidence<'_>)> = measured
            .iter()
            .map(|(plan, measurement)| (plan.seat, Evidence { plan, measurement }))
            .collect();
        let seats: Vec<Evidence<'_>> = evidence.iter().map(|(_, seat)| *seat).collect();
        let recipes = (&case.parent, &case.child);
        let passes =
            case.drafts.then(|| drafting::compare(&genesis, recipes, &seats)).transpose()?;
        // Every seat is this machine.
        let class = measured.first().map(|(_, found)| found.environment.hardware_class.as_str());
        let class = SpeedClass::unmeasured(class.unwrap_or_default());
        let verdict = decide(&genesis, genesis.committee.first(), &class, &evidence);
        let most = |of: fn(&Evidence<'_>) -> u64| seats.iter().map(of).max().unwrap_or_default();
        let bytes =
            [most(|seat| seat.parent().bytes_per_token), most(|seat| seat.child().bytes_per_token)];
        Ok((Found::Verdict(Box::new(verdict), passes), bytes))
    }

    /// Completes when somebody pressed Ctrl-C.
    async fn stopped(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            tokio::time::sleep(POLL).await;
        }
    }

    fn plan(&self, genesis: &Genesis, case: &Case, seat: u32) -> anyhow::Result<Plan> {
        let recipe = |files: &RecipeFiles| -> anyhow::Result<Recipe> {
            let bundle = files.bundle.as_deref().map(stands_for).transpose()?;
            Ok(Recipe { checkpoint: stands_for(&files.checkpoint)?, bundle, drafter: None })
        };
        let child = recipe(&case.child)?;
        let mut beacon = [0; 32];
        beacon[..8].copy_from_slice(&self.seed.to_le_bytes());
        let subject = Subject {
            beacon: Beacon(beacon),
            round: RoundId { claim: ClaimId(child.id().0), number: 1 },
            pairs: genesis.measurement.pairs,
            parent: recipe(&case.parent)?,
            child,
        };
        let mut peer = [0; 32];
        peer[..4].copy_from_slice(&(seat + 1).to_le_bytes());
        Ok(plan(genesis, &subject, PeerId(peer)))
    }
}

/// A name that stands for a folder in a plan: workers are given the folder itself.
fn stands_for(folder: &Path) -> anyhow::Result<BlobHash> {
    let name = folder.file_name().context("a folder without a name")?;
    Ok(blob_hash(name.as_encoded_bytes()))
}
