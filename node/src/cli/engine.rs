//! What the engine's commands share: which model on which adapter, progress, times.

use crate::measure::files;
use crate::serve::chat::{ChatTemplate, TemplateError};
use crate::serve::model::EngineModel;
use crate::storage::Models;
use anyhow::{Context, bail};
use assay_kernels::engine::DraftLen;
use assay_kernels::registry::entries;
use assay_kernels::{
    AdapterRequest, Bundle, Checkpoint, Drafter, Engine, EngineOptions, Fusion, Gpu, MemoryNeed,
    ModelConfig, Tokenizer,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most tokens that run through the model at once unless a path asks for more.
const BATCH_MAX: usize = 32;

/// Most tokens drafted per step where nobody says how many.
const ADAPTIVE_MAX: usize = 7;

/// Tokens that a conversation can take back in the caches of sliding layers: about an answer.
const REWIND_TOKENS: usize = 1024;

/// Stands for what is inside this program where a folder is asked for.
pub(super) const NANO: &str = "nano";

/// What `--bundle` takes, in a line.
pub(super) fn bundle_help() -> String {
    "Kernel bundle folder; without it the built-in kernels".to_owned()
}

/// The same with what a bundle may ask for.
pub(super) fn bundle_long_help() -> String {
    let fusions = Fusion::ALL.map(|fusion| format!("\n- {}: {}", fusion.name(), fusion.summary()));
    let ops: Vec<&str> = entries().iter().map(|entry| entry.name).collect();
    format!(
        "{}.\n\nIts bundle.toml names WGSL files for any of the ops {}, and under `fusions` launches to put \
         together:\n{}",
        bundle_help(),
        ops.join(", "),
        fusions.concat()
    )
}

/// Which engine a command runs.
#[derive(Debug, clap::Args)]
pub(super) struct EngineArgs {
    /// Checkpoint folder, or the name of an imported one (`assay model list`); without it gemma4-nano,
    /// which is inside this program
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<PathBuf>,
    #[arg(from_global)]
    home: Option<PathBuf>,
    #[arg(long, value_name = "DIR", help = bundle_help(), long_help = bundle_long_help())]
    bundle: Option<PathBuf>,
    /// Only adapters whose name contains this; without it the best one
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

/// Which drafter speeds the decoding up.
#[derive(Debug, clap::Args)]
pub(super) struct DraftArgs {
    /// Drafter folder, the name of an imported one, or `nano` for the one inside this program
    #[arg(long, value_name = "DIR|NAME")]
    draft: Option<PathBuf>,
    #[arg(from_global)]
    home: Option<PathBuf>,
    /// Tokens drafted per step; without it up to 7, as many as pay off
    #[arg(long, value_name = "K", requires = "draft")]
    draft_len: Option<usize>,
}

impl DraftArgs {
    /// Most tokens drafted per step, where there is a drafter.
    pub(super) fn len(&self) -> Option<usize> {
        self.draft.as_ref().map(|_| self.draft_len().most())
    }

    fn draft_len(&self) -> DraftLen {
        self.draft_len.map_or(DraftLen::Adaptive { most: ADAPTIVE_MAX }, DraftLen::Fixed)
    }

    /// The drafter that was asked for.
    fn open(&self) -> anyhow::Result<Option<Drafter>> {
        let Some(folder) = &self.draft else { return Ok(None) };
        let drafter = match folder == Path::new(NANO) {
            true => Drafter::embedded(),
            false => Drafter::open(&resolve(self.home.as_deref(), folder)?),
        };
        drafter.map(Some).map_err(plain).with_context(|| folder.display().to_string())
    }
}

/// Which chat template turns messages into a prompt.
#[derive(Debug, clap::Args)]
pub(super) struct TemplateArgs {
    /// Chat template in Jinja; without it the one that came with the checkpoint
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
}

impl TemplateArgs {
    /// The template, or why a checkpoint has none; the outer error is about the file.
    pub(super) fn of(
        &self,
        checkpoint: &Checkpoint,
    ) -> anyhow::Result<Result<ChatTemplate, TemplateError>> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the chat template {}", path.display()))
        };
        let source = self.chat_template.as_ref().map(read).transpose()?;
        Ok(ChatTemplate::of(checkpoint, source))
    }
}

/// An open adapter and the files to make engines from.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) gpu: Gpu,
    pub(super) checkpoint: Checkpoint,
    pub(super) bundle: Bundle,
    /// The model for people: its folder, or `nano`.
    pub(super) model: String,
}

impl EngineArgs {
    /// Reads the files and opens the adapter.
    pub(super) fn open(&self) -> anyhow::Result<Opened> {
        let model = model_name(self.model.as_deref());
        let folder = self.model.as_deref().filter(|folder| *folder != Path::new(NANO));
        let folder = folder.map(|folder| resolve(self.home.as_deref(), folder)).transpose()?;
        let checkpoint = files::checkpoint(folder.as_deref()).map_err(plain);
        let checkpoint = checkpoint.with_context(|| model.clone())?;
        let bundle = files::bundle(self.bundle.as_deref()).map_err(plain)?;
        let gpu = Gpu::open(&AdapterRequest { name_contains: self.adapter.clone() })?;
        Ok(Opened { gpu, checkpoint, bundle, model })
    }
}

impl Opened {
    /// An engine with the chosen bundle for `context_tokens` positions and batches of `batch_max`
    /// tokens, or the usual number.
    pub(super) fn engine(
        &self,
        context_tokens: usize,
        batch_max: Option<usize>,
        draft: Option<&DraftArgs>,
    ) -> anyhow::Result<Engine> {
        let batch_max = batch_max.unwrap_or(BATCH_MAX);
        self.engine_of(&self.bundle, &EngineOptions::new(context_tokens, batch_max), draft)
    }

    /// An engine with the built-in kernels and no drafter.
    pub(super) fn builtin_engine(&self, context_tokens: usize) -> anyhow::Result<Engine> {
        self.engine_of(&Bundle::builtin(), &EngineOptions::new(context_tokens, BATCH_MAX), None)
    }

    /// A model that keeps its cache from one prompt to the next.
    pub(super) fn model(&self, context: usize, draft: &DraftArgs) -> anyhow::Result<EngineModel> {
        let rewind_tokens = REWIND_TOKENS.min(context);
        let options = EngineOptions { rewind_tokens, ..EngineOptions::new(context, BATCH_MAX) };
        let bar = spinner("loading the model");
        let engine = self.engine_of(&self.bundle, &options, Some(draft));
        bar.finish_and_clear();
        Ok(EngineModel::new(engine?))
    }

    fn engine_of(
        &self,
        bundle: &Bundle,
        options: &EngineOptions,
        draft: Option<&DraftArgs>,
    ) -> anyhow::Result<Engine> {
        let (asked, most) = (options.context_tokens, self.config().max_positions);
        if asked > most {
            bail!("{asked} tokens do not fit into the context of {} ({most})", self.model);
        }
        let load = || Engine::new(&self.gpu, &self.checkpoint, bundle, options);
        let Some((args, drafter)) = draft.and_then(|args| Some((args, args.open().transpose()?)))
        else {
            return Ok(load()?);
        };
        // Loading the model may take minutes, so that its drafter is looked at before.
        let drafter = drafter?;
        drafter.check_target(self.config())?;
        MemoryNeed::of(&self.gpu, &self.checkpoint, options)
            .with_drafter(&drafter)
            .check(&self.gpu, options)?;
        Ok(load()?.with_drafter(&drafter, args.draft_len())?)
    }

    pub(super) fn config(&self) -> &ModelConfig {
        self.checkpoint.config()
    }

    pub(super) fn tokenizer(&self) -> anyhow::Result<Tokenizer> {
        self.checkpoint.tokenizer().context(self.model.clone())
    }
}

/// The folder of a checkpoint that is named by its path or by the name it was imported under.
pub(super) fn resolve(home: Option<&Path>, named: &Path) -> anyhow::Result<PathBuf> {
    match home {
        Some(home) => Ok(Models::resolve(home, named)?),
        None => Ok(Models::resolve(&super::default_home()?, named)?),
    }
}

/// How a model is called on the screen.
pub(super) fn model_name(folder: Option<&Path>) -> String {
    folder.map_or_else(|| NANO.to_owned(), |folder| folder.display().to_string())
}

/// An error of the engine for the screen: its message holds its cause already.
pub(super) fn plain(error: assay_kernels::Error) -> anyhow::Error {
    anyhow::Error::msg(error.to_string())
}

/// A text file in UTF-8.
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the text {}", path.display()))
}

/// A progress bar on stderr; it is not drawn where stderr is no terminal.
pub(super) fn progress(steps: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
    let bar = ProgressBar::new(steps as u64).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A spinner on stderr for work whose length is not known.
pub(super) fn spinner(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Milliseconds since `start`.
pub(super) fn elapsed_ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Nanoseconds as milliseconds.
#[allow(clippy::cast_precision_loss)]
pub(super) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
