//! `assay model info`: what a checkpoint is, how large, and how fast it can be at best.

use super::{counted, named, open, sized, tensor_bytes};
use crate::cli::output::{Format, fields, print, table};
use crate::measure::files;
use assay_kernels::engine::kv_cache_bytes;
use assay_kernels::triage::{Census, census};
use assay_kernels::{Checkpoint, LayerKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Contexts that the cache is given for.
const CONTEXTS: [usize; 3] = [4_096, 32_768, 131_072];
/// Bytes of a cached number in this engine.
const CACHED_BYTES: u64 = 4;

/// Print a checkpoint's family, shape and sizes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay model info nano
  assay model info ./gemma-Q4_K_M.gguf
  assay model info ./gemma --bandwidth 1008 --format json

The prediction is a roofline: weight bytes read per token by the memory bandwidth. Decoding
one token at a time cannot be faster without a drafter; `assay bench` measures both.")]
pub struct InfoArgs {
    /// Checkpoint folder or GGUF file, the name of an imported one, or `nano`
    checkpoint: PathBuf,
    /// Memory bandwidth for the prediction, in GB/s
    #[arg(long, value_name = "GB/S", default_value_t = 100.0)]
    bandwidth: f64,
}

#[derive(Serialize)]
struct Layer {
    index: usize,
    kind: LayerKind,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    intermediate: usize,
    kv_source: usize,
}

#[derive(Serialize)]
struct Roofline {
    bandwidth_gb_s: f64,
    /// Weights only.
    tps: f64,
    /// Weights and a cache of 4,096 tokens.
    tps_at_4096: f64,
}

#[derive(Serialize)]
struct Info {
    model: String,
    family: &'static str,
    layers: usize,
    sliding_layers: usize,
    full_layers: usize,
    shared_kv_layers: usize,
    hidden: usize,
    heads: usize,
    vocab: usize,
    per_layer_embedding_width: usize,
    experts: Option<usize>,
    experts_per_token: Option<usize>,
    sliding_window: usize,
    context: usize,
    weights: String,
    tensors: usize,
    tensor_bytes: u64,
    #[serde(flatten)]
    census: Census,
    bytes_per_token: u64,
    roofline: Roofline,
    /// By context length in tokens.
    kv_cache_bytes: BTreeMap<usize, u64>,
    shape_digest: String,
    tokenizer: bool,
    chat_template: bool,
    eos: Vec<u32>,
    layer_table: Vec<Layer>,
}

/// Runs the command.
pub(super) fn run(home: &Path, args: &InfoArgs, format: Format) -> anyhow::Result<()> {
    let (checkpoint, model) = open(&named(home, &args.checkpoint)?)?;
    anyhow::ensure!(args.bandwidth > 0.0, "--bandwidth must be above 0");
    let info = describe(&checkpoint, model, args.bandwidth);
    print(format, &info, render)
}

#[allow(clippy::cast_precision_loss, reason = "a prediction")]
fn describe(checkpoint: &Checkpoint, model: String, bandwidth_gb_s: f64) -> Info {
    let config = checkpoint.config();
    let of_kind = |kind| config.layers.iter().filter(|layer| layer.kind == kind).count();
    let census = census(checkpoint);
    let bytes_per_token = checkpoint.bytes_per_token();
    let tps = |bytes: u64| bandwidth_gb_s * 1e9 / bytes.max(1) as f64;
    let cache = |context: usize| kv_cache_bytes(config, context, CACHED_BYTES);
    let largest = census.formats.iter().max_by_key(|(_, bytes)| **bytes);
    let layer = |(index, layer): (usize, &assay_kernels::LayerConfig)| Layer {
        index,
        kind: layer.kind,
        heads: config.heads,
        kv_heads: layer.kv_heads,
        head_dim: layer.head_dim,
        intermediate: layer.intermediate,
        kv_source: layer.kv_source,
    };
    Info {
        model,
        family: match config.family {
            assay_kernels::Family::Gemma4 => "gemma4_text",
            assay_kernels::Family::Gemma3 => "gemma3_text",
        },
        layers: config.layers.len(),
        sliding_layers: of_kind(LayerKind::Sliding),
        full_layers: of_kind(LayerKind::Full),
        shared_kv_layers: config.layers.len() - config.first_shared_layer(),
        hidden: config.hidden,
        heads: config.heads,
        vocab: config.vocab,
        per_layer_embedding_width: config.ple_width,
        experts: config.moe.as_ref().map(|moe| moe.experts),
        experts_per_token: config.moe.as_ref().map(|moe| moe.per_token),
        sliding_window: config.sliding_window,
        context: config.max_positions,
        weights: if config.int4 {
            "int4-g32".to_owned()
        } else {
            largest.map_or_else(|| "none".to_owned(), |(format, _)| format.clone())
        },
        tensors: checkpoint.tensor_sizes().count(),
        tensor_bytes: tensor_bytes(checkpoint),
        census,
        bytes_per_token,
        roofline: Roofline {
            bandwidth_gb_s,
            tps: tps(bytes_per_token),
            tps_at_4096: tps(bytes_per_token + cache(4_096)),
        },
        kv_cache_bytes: CONTEXTS.iter().map(|context| (*context, cache(*context))).collect(),
        shape_digest: hex::encode(files::shape_digest(checkpoint)),
        tokenizer: checkpoint.has_tokenizer(),
        chat_template: checkpoint.file("chat_template.jinja").is_some(),
        eos: config.eos.clone(),
        layer_table: config.layers.iter().enumerate().map(layer).collect(),
    }
}

fn render(info: &Info) -> String {
    let formats =
        info.census.formats.iter().map(|(name, bytes)| format!("{name} {}", sized(*bytes)));
    let caches = info
        .kv_cache_bytes
        .iter()
        .map(|(context, bytes)| format!("{} at {}k tokens", sized(*bytes), context / 1024));
    let yes = |there: bool| if there { "yes" } else { "no" }.to_owned();
    let mut rows = vec![
        ("model", info.model.clone()),
        ("family", info.family.to_owned()),
        (
            "layers",
            format!(
                "{} ({} sliding, {} full; the last {} share keys and values)",
                info.layers, info.sliding_layers, info.full_layers, info.shared_kv_layers
            ),
        ),
        ("width", format!("{} in {} heads", info.hidden, info.heads)),
        ("vocabulary", format!("{} tokens", info.vocab)),
        ("per-layer embedding", format!("{} wide", info.per_layer_embedding_width)),
        ("window", format!("{} of {} tokens", info.sliding_window, info.context)),
        (
            "parameters",
            format!(
                "{}, {} of them per token",
                counted(info.census.parameters),
                counted(info.census.active_parameters)
            ),
        ),
        ("size", format!("{} in {} tensors", sized(info.tensor_bytes), info.tensors)),
        ("formats", formats.collect::<Vec<_>>().join(", ")),
        ("read per token", sized(info.bytes_per_token)),
        (
            "at best",
            format!(
                "{:.1} tokens/s at {} GB/s; {:.1} after 4k tokens",
                info.roofline.tps, info.roofline.bandwidth_gb_s, info.roofline.tps_at_4096
            ),
        ),
        ("cache", caches.collect::<Vec<_>>().join(", ")),
        ("tokenizer", yes(info.tokenizer)),
        ("chat template", yes(info.chat_template)),
        ("shape digest", info.shape_digest.clone()),
    ];
    if let (Some(experts), Some(active)) = (info.experts, info.experts_per_token) {
        rows.insert(6, ("experts", format!("{active} of {experts} per token")));
    }
    format!("{}\n\n{}", fields(&rows), layer_table(&info.layer_table))
}

/// One line for each run of layers that are alike.
fn layer_table(layers: &[Layer]) -> String {
    let mut runs: Vec<(usize, &Layer)> = Vec::new();
    let alike = |a: &Layer, b: &Layer| {
        let shares = |l: &Layer| (l.kv_source != l.index).then_some(l.kv_source);
        (a.kind, a.kv_heads, a.head_dim, a.intermediate, shares(a))
            == (b.kind, b.kv_heads, b.head_dim, b.intermediate, shares(b))
    };
    for layer in layers {
        match runs.last_mut() {
            Some((last, first)) if alike(first, layer) => *last = layer.index,
            _ => runs.push((layer.index, layer)),
        }
    }
    let rows = runs.iter().map(|(last, l)| {
        let index = match l.index == *last {
            true => l.index.to_string(),
            false => format!("{}-{last}", l.index),
        };
        let kind = match l.kind {
            LayerKind::Sliding => "sliding",
            LayerKind::Full => "full",
        };
        let source = match l.kv_source == l.index {
            true => "own".to_owned(),
            false => format!("layer {}", l.kv_source),
        };
        let widths = [l.heads, l.kv_heads, l.head_dim, l.intermediate].map(|n| n.to_string());
        [vec![index, kind.to_owned()], widths.to_vec(), vec![source]].concat()
    });
    table(&["layer", "kind", "heads", "kv heads", "head dim", "mlp", "keys and values"], rows)
}
