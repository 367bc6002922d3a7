//! `assay model synth`: a random checkpoint with a real model's shapes.

use super::{check_disk, counted, partial, sized};
use crate::cli::engine::{plain, progress};
use crate::cli::output::{Format, fields, print};
use anyhow::{Context, bail, ensure};
use assay_kernels::synth::{Like, Quant, Request, Synth};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Room left on the disk beyond the checkpoint itself.
const DISK_SPARE_BYTES: u64 = 64 << 20;

/// Write a random checkpoint with a real model's shapes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay model synth --like e4b --quant int4 --out ./e4b-random
  assay model synth --like 31b --dry-run
  assay model synth --like e2b --layers 6 --with-drafter --out ./small
  assay bench --model ./e4b-random

Speed and memory depend on shapes, not on what the weights say: such a checkpoint measures
both without downloading a model. There is no tokenizer in it: use --tokens, not --prompt.")]
pub struct SynthArgs {
    /// Whose shapes
    #[arg(long, value_name = "MODEL", value_parser = like)]
    like: Like,
    /// How linear layers are stored: bf16, int4 (groups of 32), int4-g32, int4-g64, int4-g128, int8
    #[arg(long, default_value = "bf16", value_parser = quant)]
    quant: Quant,
    /// Only this many layers
    #[arg(long, value_name = "N")]
    layers: Option<usize>,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the model's drafter into OUT/drafter as well
    #[arg(long)]
    with_drafter: bool,
    /// Folder to write; must not exist yet
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Print sizes and write nothing
    #[arg(long)]
    dry_run: bool,
}

fn like(text: &str) -> Result<Like, String> {
    // The mixture of experts is published with its active parameters in its name.
    let text = if text.eq_ignore_ascii_case("26b-a4b") { "26b" } else { text };
    let found = Like::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
    found.map(|(like, _)| like).ok_or_else(|| {
        let names: Vec<&str> = Like::ALL.iter().map(|(_, name)| *name).collect();
        format!("choose one of {}", names.join(", "))
    })
}

fn quant(text: &str) -> Result<Quant, String> {
    Ok(match text {
        "bf16" => Quant::Bf16,
        "int4" | "int4-g32" => Quant::Int4(32),
        "int4-g64" => Quant::Int4(64),
        "int4-g128" => Quant::Int4(128),
        "int8" => Quant::Int8,
        _ => return Err("choose one of bf16, int4, int4-g32, int4-g64, int4-g128, int8".into()),
    })
}

#[derive(Serialize)]
struct Made {
    out: Option<PathBuf>,
    tensors: usize,
    parameters: u64,
    active_parameters: u64,
    bytes: u64,
    bytes_per_token: u64,
    drafter_bytes: Option<u64>,
    tokenizer: bool,
}

/// Runs the command.
pub(super) fn run(args: &SynthArgs, format: Format) -> anyhow::Result<()> {
    let request =
        Request { like: args.like, quant: args.quant, layers: args.layers, seed: args.seed };
    let model = Synth::model(&request).map_err(plain)?;
    let drafter = args.with_drafter.then(|| Synth::drafter(&request).map_err(plain)).transpose()?;
    let made = Made {
        out: args.out.clone().filter(|_| !args.dry_run),
        tensors: model.shapes().count(),
        parameters: model.parameters,
        active_parameters: model.active_parameters,
        bytes: model.bytes(),
        bytes_per_token: model.bytes_per_token,
        drafter_bytes: drafter.as_ref().map(Synth::bytes),
        tokenizer: false,
    };
    if let Some(out) = &made.out {
        ensure!(!out.exists(), "{} exists already; name a folder that does not", out.display());
        let bytes = made.bytes + made.drafter_bytes.unwrap_or(0);
        check_disk(out, bytes + DISK_SPARE_BYTES)?;
        write(&model, drafter.as_ref(), out, bytes)?;
    }
    print(format, &made, table)
}

fn table(made: &Made) -> String {
    let out = made.out.as_ref().map_or("nothing written".into(), |out| out.display().to_string());
    let mut rows = vec![
        ("out", out),
        (
            "parameters",
            format!("{} ({} per token)", counted(made.parameters), counted(made.active_parameters)),
        ),
        ("size", format!("{} in {} tensors", sized(made.bytes), made.tensors)),
        ("read per token", sized(made.bytes_per_token)),
    ];
    if let Some(bytes) = made.drafter_bytes {
        rows.push(("drafter", sized(bytes)));
    }
    rows.push(("tokenizer", "none: give token ids (--tokens), not text".into()));
    fields(&rows)
}

/// Writes beside the place and moves it there whole; an interrupted writing leaves nothing.
fn write(model: &Synth, drafter: Option<&Synth>, out: &Path, bytes: u64) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    ctrlc::set_handler(move || seen.store(true, Ordering::Relaxed))
        .context("cannot listen for Ctrl-C")?;
    let unfinished = partial(out);
    if unfinished.exists() {
        // Left by a process that was killed.
        std::fs::remove_dir_all(&unfinished)
            .with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    let bar = progress(usize::try_from(bytes >> 20).unwrap_or(0), "writing MiB");
    let mut before = 0;
    let mut part = |synth: &Synth, folder: &Path| -> anyhow::Result<bool> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let written = synth.write(folder, &mut |done| {
            bar.set_position((before + done) >> 20);
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        before += synth.bytes();
        written.map_err(plain)
    };
    let outcome = part(model, &unfinished).and_then(|whole| match drafter {
        Some(drafter) if whole => part(drafter, &unfinished.join("drafter")),
        _ => Ok(whole),
    });
    bar.finish_and_clear();
    let finished = outcome.and_then(|whole| match whole {
        true => std::fs::rename(&unfinished, out)
            .with_context(|| format!("cannot write {}", out.display())),
        false => bail!("stopped; nothing was left behind"),
    });
    if finished.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    finished
}
