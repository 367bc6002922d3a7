//! Folders with nano in them, small jobs, and a look at the processes that are left.

use assay_kernels::{Checkpoint, embedded_drafter_files, embedded_files, heldout_text, quantize};
use assay_node::measure::{self, Job, MeasureError, Options, RecipeFiles};
use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RoundId};
use assay_protocol::measurement::Measurement;
use assay_protocol::plan::{Arm, Plan};
use assay_protocol::record::Recipe;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Bytes of the held-out text that make the pool.
const POOL_BYTES: usize = 4096;

/// A folder that holds what jobs name.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    /// Nano as a checkpoint folder and a pool text.
    pub(crate) fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let files = embedded_files().into_iter();
        let files = files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
        write(&bench.path("nano"), &files);
        std::fs::write(bench.path("pool.txt"), &heldout_text()[..POOL_BYTES]).unwrap();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Nano in int4 as a checkpoint folder.
    pub(crate) fn int4(&self) -> RecipeFiles {
        let quantised = quantize::int4_g32(&Checkpoint::embedded().unwrap()).unwrap();
        write(&self.path("int4"), &quantised.files);
        RecipeFiles { checkpoint: self.path("int4"), bundle: None, drafter: None }
    }

    /// Nano with the built-in kernels.
    pub(crate) fn base(&self) -> RecipeFiles {
        RecipeFiles { checkpoint: self.path("nano"), bundle: None, drafter: None }
    }

    /// Nano with its drafter.
    pub(crate) fn with_drafter(&self, draft_len: u32) -> RecipeFiles {
        let files = embedded_drafter_files().into_iter();
        let files = files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
        write(&self.path("drafter"), &files);
        RecipeFiles { drafter: Some((self.path("drafter"), draft_len)), ..self.base() }
    }

    /// Nano with one of the testnet's bundles.
    pub(crate) fn with_bundle(&self, name: &str) -> RecipeFiles {
        let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testnet/bundles");
        RecipeFiles { bundle: Some(bundles.join(name)), ..self.base() }
    }

    /// Two pairs of four tokens.
    pub(crate) fn job(&self, x: RecipeFiles, y: RecipeFiles) -> Job {
        let recipe = Recipe { checkpoint: BlobHash([1; 32]), bundle: None, drafter: None };
        let plan = Plan {
            round: RoundId { claim: ClaimId([7; 32]), number: 1 },
            seat: PeerId([8; 32]),
            x: recipe,
            y: recipe,
            child: Arm::X,
            prompts: vec![5, 2],
            first: vec![Arm::Y, Arm::X],
            warm_up: 0,
            reach_seed: 9,
        };
        Job {
            plan,
            decode_tokens: 4,
            prompt_tokens: 8,
            scored_tokens: 6,
            reach_tokens: 5,
            context_tokens: 96,
            pool_prompts: 8,
            pool: self.path("pool.txt"),
            x,
            y,
            base: self.base(),
            adapter: None,
        }
    }

    /// This package's program as the worker, under a lock of this test's own.
    pub(crate) fn options(&self, deadline: Duration) -> Options {
        Options {
            deadline,
            lock_path: self.path("lock"),
            exe: PathBuf::from(env!("CARGO_BIN_EXE_assay")),
        }
    }

    /// A program that stands in for the worker: `script` for `/bin/sh`.
    #[cfg(unix)]
    pub(crate) fn impostor(&self, deadline: Duration, script: &str) -> Options {
        use std::os::unix::fs::PermissionsExt;
        let exe = self.path("impostor");
        std::fs::write(&exe, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&exe, std::fs::Permissions::from_mode(0o755)).unwrap();
        Options { exe, ..self.options(deadline) }
    }
}

/// Measures without hearing of progress and without cancelling.
pub(crate) async fn run(job: &Job, options: &Options) -> Result<Measurement, MeasureError> {
    measure::run(job, options, |_| {}, std::future::pending()).await
}

/// Ample for the small jobs here, whatever else the machine does.
pub(crate) const AMPLE: Duration = Duration::from_secs(400);

fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    std::fs::create_dir(folder).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Waits until no process has this one as its parent.
#[cfg(target_os = "linux")]
pub(crate) async fn no_process_is_left() {
    for _ in 0..1200 {
        if children().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("left over: {:?}", children());
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn no_process_is_left() {}

/// Status lines of this process's children.
#[cfg(target_os = "linux")]
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|p| std::fs::read_to_string(p.path().join("stat")).ok());
    // The fields after the command's closing bracket: state, then parent.
    let is_child = |stat: &String| {
        let fields =
            stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').nth(1).map(str::to_owned));
        fields.flatten() == Some(own.clone())
    };
    stats.filter(is_child).collect()
}
