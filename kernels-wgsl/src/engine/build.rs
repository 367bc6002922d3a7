//! Building an engine: sizes checked, weights uploaded, plan resolved.

use super::experts::upload_experts;
use super::memory::MemoryNeed;
use super::state::Buffers;
use super::weights::{ROWS_MAX, TablePart, Weights, table};
use super::{BATCH_MAX, Engine, EngineOptions, PleTable};
use crate::bundle::Bundle;
use crate::config::{LayerKind, ModelConfig};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Pipelines, Readback, Resolved};
use crate::load::{Checkpoint, HEAD, Matrix};
use crate::plan::{
    Buf, Format, KEY_RANGE, MoeBuf, PlePlace, Table, TargetInputs, norm_layout, target,
};
use crate::registry::Op;
use std::collections::BTreeMap;
use std::ops::Range;

const EMBEDDING: &str = "embed_tokens";
/// Positions of the fine rotation table.
pub(super) const SPAN: usize = 256;

/// How large tables may be before they are split or left on the host.
pub(super) struct Placement {
    /// Largest per-layer embedding table that goes to the device whole.
    pub(super) ple_bytes_max: u64,
    /// Largest part of the embedding table, of an output head and of the experts of a layer.
    pub(super) part_bytes_max: u64,
}

impl Placement {
    /// What `gpu` allows.
    pub(super) fn of(gpu: &Gpu) -> Self {
        let binding = gpu.info().binding_bytes_max.min(gpu.info().buffer_bytes_max);
        // Small tables stay on the device, where the decode loop needs no host between steps.
        Placement { ple_bytes_max: binding.min(256 << 20), part_bytes_max: binding }
    }
}

/// Builds an engine.
pub(super) fn engine(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    bundle: &Bundle,
    options: &EngineOptions,
    placement: &Placement,
) -> Result<Engine> {
    let config = checkpoint.config();
    check_options(config, options)?;
    let rings = rings(config, options);
    check_caches(gpu, config, &rings)?;
    let need = MemoryNeed::placed(checkpoint, options, placement);
    need.check(gpu, options)?;
    let mut weights = Weights::new(gpu, placement.part_bytes_max);
    let mut expert_parts = BTreeMap::new();
    upload_layers(&mut weights, checkpoint, placement, &mut expert_parts)?;
    let Weights { mut buffers, pieces, .. } = weights;
    let tables = (gpu, checkpoint, placement);
    let embedding =
        upload_table(tables, EMBEDDING, (Buf::Embedding, Buf::EmbeddingScales), &mut buffers)?;
    let head = match config.tied_head {
        true => None,
        false => Some(upload_table(tables, HEAD, (Buf::Head, Buf::HeadScales), &mut buffers)?),
    };
    let (ple_place, ple) = upload_ple_table(gpu, checkpoint, options, placement, &mut buffers)?;
    if pieces.keys().any(|name| name.ends_with(".up")) {
        let size = (options.batch_max * config.widest_mlp() * 4) as u64;
        buffers.insert(Buf::Up, gpu.storage("up", size)?);
    }
    upload_tables(gpu, checkpoint, options, &mut buffers)?;
    let key_ranges = key_ranges(options, bundle);
    make_work_buffers(gpu, config, options, &rings, key_ranges, &mut buffers)?;

    let layer_scalars: Vec<f32> = (0..config.layers.len())
        .map(|i| match config.layer_scalar {
            true => Ok(checkpoint.vector(&format!("layers.{i}.layer_scalar"), 1)?[0]),
            false => Ok(1.0),
        })
        .collect::<Result<_>>()?;
    let plan = target(&TargetInputs {
        config,
        pieces: &pieces,
        expert_parts: &expert_parts,
        layer_scalars: &layer_scalars,
        rings,
        key_ranges,
        embedding: &embedding,
        head: head.as_ref(),
        ple: ple_place,
        fusions: bundle.fusions(),
    });
    let mut pipelines = Pipelines::new(gpu, bundle);
    let mut all = plan.dispatches.clone();
    all.extend([plan.feed.clone(), plan.choose.clone()]);
    let resolved = Resolved::new(gpu, &mut pipelines, &buffers, &all)?;
    // Uploads are still queued; an engine that exists is ready to be timed.
    gpu.queue.submit([]);
    gpu.wait(None)?;
    // A verification reads back its choices and its drafts.
    let slot = 8 * options.batch_max as u64;
    Ok(Engine {
        gpu: gpu.clone(),
        config: config.clone(),
        options: options.clone(),
        need,
        buffers: Buffers(buffers),
        feed_at: plan.dispatches.len(),
        plan,
        resolved,
        ple,
        bundle: bundle.clone(),
        embedding,
        draft: None,
        tokens_back: [Readback::new(gpu, slot)?, Readback::new(gpu, slot)?],
        history: None,
        position: 0,
        written: 0,
        next: None,
        hidden_row: 0,
    })
}

fn check_options(config: &ModelConfig, options: &EngineOptions) -> Result<()> {
    let context = options.context_tokens;
    if context == 0 || context > config.max_positions {
        let most = config.max_positions;
        return Err(Error::Input(format!("context_tokens is {context}; it must be 1 to {most}")));
    }
    let batch = options.batch_max;
    if batch == 0 || batch > BATCH_MAX {
        return Err(Error::Input(format!("batch_max is {batch}; it must be 1 to {BATCH_MAX}")));
    }
    Ok(())
}

/// Refuses a context whose cache no kernel could see, with the longest one that fits.
fn check_caches(gpu: &Gpu, config: &ModelConfig, rings: &BTreeMap<LayerKind, usize>) -> Result<()> {
    let limit = gpu.info().binding_bytes_max.min(gpu.info().buffer_bytes_max);
    for (i, layer) in config.layers.iter().enumerate() {
        let row = (layer.kv_heads * layer.head_dim * 4) as u64;
        let (slots, most) = (rings[&layer.kind], limit / row);
        if slots as u64 > most {
            return Err(gpu.error(format!(
                "layer {i} caches {slots} positions of {row} bytes, and a kernel may see {limit} bytes: \
                 lower context_tokens to {most}"
            )));
        }
    }
    Ok(())
}

/// Ranges that full layers split their keys into; 1 where one range holds the whole context. A bundle with
/// an attention kernel of its own runs that one, which is not split.
pub(super) fn key_ranges(options: &EngineOptions, bundle: &Bundle) -> usize {
    match bundle.replaces(Op::Attention) {
        true => 1,
        false => options.context_tokens.div_ceil(KEY_RANGE),
    }
}

/// Values per token of the ranges' partial results.
pub(super) fn partials_width(config: &ModelConfig, key_ranges: usize) -> usize {
    let full = config.layers.iter().filter(|l| l.kind == LayerKind::Full);
    let widest = full.map(|l| l.head_dim + 4).max().unwrap_or(0);
    if key_ranges > 1 { config.heads * key_ranges * widest } else { 0 }
}

/// Cache slots per layer kind. A sliding ring keeps the window of a batch's first row while its last row
/// is written, so rows of one batch never overwrite each other's keys; what can be rewound comes on top.
pub(super) fn rings(config: &ModelConfig, options: &EngineOptions) -> BTreeMap<LayerKind, usize> {
    let spare = options.batch_max.saturating_add(options.rewind_tokens);
    let sliding = (config.sliding_window - 1).saturating_add(spare).min(options.context_tokens);
    BTreeMap::from([(LayerKind::Sliding, sliding), (LayerKind::Full, options.context_tokens)])
}

fn upload_layers(
    weights: &mut Weights<'_>,
    checkpoint: &Checkpoint,
    placement: &Placement,
    expert_parts: &mut BTreeMap<String, Vec<Range<usize>>>,
) -> Result<()> {
    let c = checkpoint.config();
    if c.ple_width > 0 {
        let rows = c.layers.len() * c.ple_width;
        let projection = checkpoint.sound_matrix("per_layer_model_projection", rows, c.hidden)?;
        weights.stack("ple_context", &[projection])?;
    }
    for i in 0..c.layers.len() {
        let mut parts = BTreeMap::new();
        for (name, rows, cols) in checkpoint.layer_matrices(i) {
            let short = name.splitn(3, '.').last().unwrap_or(&name).to_string();
            parts.insert(short, checkpoint.sound_matrix(&name, rows, cols)?);
        }
        let mut take = |name: &str| parts.remove(name);
        let qkv: Vec<_> = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]
            .into_iter()
            .filter_map(&mut take)
            .collect();
        weights.stack(&format!("layers.{i}.qkv"), &qkv)?;
        for (name, part) in [
            ("o_proj", "self_attn.o_proj"),
            ("down", "mlp.down_proj"),
            ("router", "router.proj"),
            ("ple_gate", "per_layer_input_gate"),
            ("ple_proj", "per_layer_projection"),
        ] {
            if let Some(matrix) = take(part) {
                weights.stack(&format!("layers.{i}.{name}"), &[matrix])?;
            }
        }
        if let (Some(gate), Some(up)) = (take("mlp.gate_proj"), take("mlp.up_proj")) {
            weights.gate_up(&format!("layers.{i}."), gate, up)?;
        }
        if let Some(moe) = &c.moe {
            let limit = placement.part_bytes_max;
            upload_experts(weights, checkpoint, i, moe, limit, expert_parts)?;
        }
    }
    Ok(())
}

/// The role of a table's part by its index.
type PartRole = fn(usize) -> Buf;

/// Uploads the table `name` of a row per token, split by vocabulary rows under the binding limit.
fn upload_table(
    (gpu, checkpoint, placement): (&Gpu, &Checkpoint, &Placement),
    name: &str,
    (role, scale_role): (PartRole, PartRole),
    buffers: &mut BTreeMap<Buf, wgpu::Buffer>,
) -> Result<Table> {
    let c = checkpoint.config();
    let matrix = checkpoint.sound_matrix(name, c.vocab, c.hidden)?.into_table();
    let mut parts = Vec::new();
    for part in table(gpu, name, &matrix, placement.part_bytes_max)? {
        let TablePart { rows, codes, scales } = part;
        buffers.insert(role(parts.len()), codes);
        if let Some(scales) = scales {
            buffers.insert(scale_role(parts.len()), scales);
        }
        parts.push(rows);
    }
    Ok(Table { format: matrix.format(), parts })
}

/// Puts the per-layer table on the device where it fits; else rows of it are uploaded as they are needed.
fn upload_ple_table(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    options: &EngineOptions,
    placement: &Placement,
    buffers: &mut BTreeMap<Buf, wgpu::Buffer>,
) -> Result<(PlePlace, PleTable)> {
    let c = checkpoint.config();
    if c.ple_width == 0 {
        return Ok((PlePlace::Device(Format::Bf16), PleTable::Device));
    }
    let width = c.layers.len() * c.ple_width;
    let tensor = checkpoint.tensor("embed_tokens_per_layer.weight", &[c.ple_vocab, width])?;
    let matrix = Matrix::plain(tensor, c.ple_vocab, width)?;
    let format = matrix.format();
    let rows =
        |bytes: usize| gpu.storage("per-layer rows", (options.batch_max * width * bytes) as u64);
    if format != Format::Bf16 {
        buffers.insert(Buf::PleRows, rows(4)?);
    }
    // Tokens past a shorter table use row 0, which only the host path looks after.
    let fits = tensor.weight_bytes()? <= placement.ple_bytes_max
        && (c.vocab..=ROWS_MAX).contains(&c.ple_vocab);
    if !fits {
        if format == Format::Bf16 {
            buffers.insert(Buf::PleTable, rows(2)?);
            return Ok((PlePlace::Rows, PleTable::Host(tensor.clone())));
        }
        return Ok((PlePlace::WideRows, PleTable::Host(tensor.clone())));
    }
    tensor.expect_numbers()?;
    for part in table(gpu, "per-layer table", &matrix, u64::MAX)? {
        buffers.insert(Buf::PleTable, part.codes);
        buffers.extend(part.scales.map(|scales| (Buf::PleScales, scales)));
    }
    Ok((PlePlace::Device(format), PleTable::Device))
}

/// Uploads norm weights and rotation tables.
fn upload_tables(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    options: &EngineOptions,
    buffers: &mut BTreeMap<Buf, wgpu::Buffer>,
) -> Result<()> {
    let c = checkpoint.config();
    let mut norms = Vec::new();
    for vector in norm_layout(c) {
        let values = checkpoint.vector(&vector.tensor, vector.length)?;
        norms.extend(values.iter().map(|v| (v + vector.plus) * vector.factor));
        norms.resize(norms.len() + vector.room() - vector.length, 0.0);
    }
    buffers.insert(Buf::Norms, gpu.upload("norms", &[bytemuck::cast_slice(&norms)])?);
    for layer in &c.layers {
        if buffers.contains_key(&Buf::Rope(layer.kind)) {
            continue;
        }
        let table = rotation_table(c, layer.kind, layer.head_dim, options.context_tokens);
        let buffer = gpu.upload("rotation", &[bytemuck::cast_slice(&table)])?;
        buffers.insert(Buf::Rope(layer.kind), buffer);
    }
    Ok(())
}

/// (cos, sin) of every rotated pair at positions 0 to 255, then at every 256th of `positions`: angle
/// p / factor * theta^(-2 j / head_dim), computed in f64, so that far positions are as exact as near ones.
pub(super) fn rotation_table(
    config: &ModelConfig,
    kind: LayerKind,
    head_dim: usize,
    positions: usize,
) -> Vec<[f32; 2]> {
    let (theta, factor) = match kind {
        LayerKind::Sliding => (config.rope.sliding_theta, 1.0),
        LayerKind::Full => (config.rope.full_theta, config.rope.full_factor),
    };
    let pairs = config.rotated_pairs(kind, head_dim);
    let frequencies: Vec<f64> =
        (0..pairs).map(|j| libm::pow(theta, -2.0 * j as f64 / head_dim as f64) / factor).collect();
    let spans = positions.div_ceil(SPAN);
    let mut table = Vec::with_capacity((SPAN + spans) * pairs);
    for position in (0..SPAN).chain((0..spans).map(|span| span * SPAN)) {
        table.extend(frequencies.iter().map(|f| {
            let angle = position as f64 * f;
            [libm::cos(angle) as f32, libm::sin(angle) as f32]
        }));
    }
    table
}

/// The buffers of layers with experts and their widths, in values per token.
fn expert_widths(config: &ModelConfig) -> Vec<(Buf, usize)> {
    let Some(moe) = config.moe else { return Vec::new() };
    let (hidden, each) = (config.hidden, moe.per_token);
    let widths = [
        (MoeBuf::RouterIn, hidden),
        (MoeBuf::Scores, moe.experts),
        (MoeBuf::Ids, each),
        (MoeBuf::Shares, each),
        (MoeBuf::Input, hidden),
        (MoeBuf::Product, each * moe.intermediate),
        (MoeBuf::Output, each * hidden),
        (MoeBuf::Mixed, hidden),
    ];
    widths.map(|(role, width)| (Buf::Moe(role), width)).to_vec()
}

fn make_work_buffers(
    gpu: &Gpu,
    config: &ModelConfig,
    options: &EngineOptions,
    rings: &BTreeMap<LayerKind, usize>,
    key_ranges: usize,
    buffers: &mut BTreeMap<Buf, wgpu::Buffer>,
) -> Result<()> {
    let ple_all = config.layers.len() * config.ple_width;
    let per_row = [
        (Buf::Tokens, 1),
        (Buf::Next, 1),
        (Buf::Residual, config.hidden),
        (Buf::Normed, config.hidden),
        (Buf::Qkv, config.widest_qkv()),
        (Buf::Queries, config.widest_heads()),
        (Buf::Heads, config.widest_heads()),
        (Buf::Partials, partials_width(config, key_ranges)),
        (Buf::Branch, config.hidden),
        (Buf::Product, config.widest_mlp()),
        (Buf::PleContext, ple_all),
        (Buf::Ple, ple_all),
        (Buf::PleGated, config.ple_width),
        (Buf::Logits, config.vocab),
    ];
    let per_row = per_row.into_iter().chain(expert_widths(config));
    for (role, width) in per_row {
        let size = (options.batch_max * width * 4) as u64;
        let buffer = gpu.storage(&format!("{role:?}"), size)?;
        buffers.insert(role, buffer);
    }
    buffers.insert(Buf::Step, gpu.storage("step", 16)?);
    for (i, layer) in config.layers.iter().enumerate().filter(|(i, l)| l.kv_source == *i) {
        let size = (rings[&layer.kind] * layer.kv_heads * layer.head_dim * 4) as u64;
        buffers.insert(Buf::Keys(i), gpu.storage(&format!("keys of layer {i}"), size)?);
        buffers.insert(Buf::Values(i), gpu.storage(&format!("values of layer {i}"), size)?);
    }
    Ok(())
}
