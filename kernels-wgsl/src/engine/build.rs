//! Building an engine: sizes checked, weights uploaded, plan resolved.

use super::memory::MemoryNeed;
use super::state::Buffers;
use super::weights::{ROWS_MAX, TablePart, Weights, table};
use super::{BATCH_MAX, Engine, EngineOptions, PleTable};
use crate::bundle::Bundle;
use crate::config::{LayerKind, ModelConfig};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Pipelines, Readback, Resolved};
use crate::load::{Checkpoint, Matrix};
use crate::plan::{Buf, Format, PlePlace, TargetInputs, norm_layout, target};
use std::collections::BTreeMap;
use std::ops::Range;

/// How large tables may be before they are split or left on the host.
pub(super) struct Placement {
    /// Largest per-layer embedding table that goes to the device whole.
    pub(super) ple_bytes_max: u64,
    /// Largest part of the embedding table.
    pub(super) embedding_part_bytes_max: u64,
}

impl Placement {
    /// What `gpu` allows.
    pub(super) fn of(gpu: &Gpu) -> Self {
        let binding = gpu.info().binding_bytes_max.min(gpu.info().buffer_bytes_max);
        // Small tables stay on the device, where the decode loop needs no host between steps.
        Placement { ple_bytes_max: binding.min(256 << 20), embedding_part_bytes_max: binding }
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
    MemoryNeed::placed(checkpoint, options, placement).check(gpu, options)?;
    let mut weights = Weights::new(gpu);
    upload_layers(&mut weights, checkpoint)?;
    let Weights { mut buffers, pieces, .. } = weights;
    let (embedding_format, embedding_parts) =
        upload_embedding(gpu, checkpoint, placement, &mut buffers)?;
    let (ple_place, ple) = upload_ple_table(gpu, checkpoint, options, placement, &mut buffers)?;
    if pieces.keys().any(|name| name.ends_with(".up")) {
        let size = (options.batch_max * config.widest_mlp() * 4) as u64;
        buffers.insert(Buf::Up, gpu.storage("up", size)?);
    }
    upload_tables(gpu, checkpoint, options, &mut buffers)?;
    let rings = rings(config, options);
    make_work_buffers(gpu, config, options, &rings, &mut buffers)?;

    let layer_scalars: Vec<f32> = (0..config.layers.len())
        .map(|i| Ok(checkpoint.vector(&format!("layers.{i}.layer_scalar"), 1)?[0]))
        .collect::<Result<_>>()?;
    let plan = target(&TargetInputs {
        config,
        pieces: &pieces,
        embedding_format,
        layer_scalars: &layer_scalars,
        rings,
        embedding_parts: &embedding_parts,
        ple: ple_place,
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
        buffers: Buffers(buffers),
        feed_at: plan.dispatches.len(),
        plan,
        resolved,
        ple,
        bundle: bundle.clone(),
        embedding_parts,
        embedding_format,
        draft: None,
        tokens_back: [Readback::new(gpu, slot)?, Readback::new(gpu, slot)?],
        history: None,
        position: 0,
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

/// Cache slots per layer kind. A sliding ring keeps the window of a batch's first row while its last row
/// is written, so rows of one batch never overwrite each other's keys.
pub(super) fn rings(config: &ModelConfig, options: &EngineOptions) -> BTreeMap<LayerKind, usize> {
    let sliding = (config.sliding_window - 1 + options.batch_max).min(options.context_tokens);
    BTreeMap::from([(LayerKind::Sliding, sliding), (LayerKind::Full, options.context_tokens)])
}

fn upload_layers(weights: &mut Weights<'_>, checkpoint: &Checkpoint) -> Result<()> {
    let c = checkpoint.config();
    if c.ple_width > 0 {
        let rows = c.layers.len() * c.ple_width;
        let projection = checkpoint.matrix("per_layer_model_projection", rows, c.hidden)?;
        weights.stack("ple_context", &[projection])?;
    }
    for i in 0..c.layers.len() {
        let mut parts = BTreeMap::new();
        for (name, rows, cols) in checkpoint.layer_matrices(i) {
            let short = name.rsplit('.').next().unwrap_or(&name).to_string();
            parts.insert(short, checkpoint.matrix(&name, rows, cols)?);
        }
        let mut take = |name: &str| parts.remove(name);
        let qkv: Vec<_> =
            ["q_proj", "k_proj", "v_proj"].into_iter().filter_map(&mut take).collect();
        weights.stack(&format!("layers.{i}.qkv"), &qkv)?;
        for (name, part) in [
            ("o_proj", "o_proj"),
            ("down", "down_proj"),
            ("ple_gate", "per_layer_input_gate"),
            ("ple_proj", "per_layer_projection"),
        ] {
            if let Some(matrix) = take(part) {
                weights.stack(&format!("layers.{i}.{name}"), &[matrix])?;
            }
        }
        if let (Some(gate), Some(up)) = (take("gate_proj"), take("up_proj")) {
            weights.gate_up(&format!("layers.{i}."), gate, up)?;
        }
    }
    Ok(())
}

/// Uploads the embedding table, split by vocabulary rows under the binding limit.
fn upload_embedding(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    placement: &Placement,
    buffers: &mut BTreeMap<Buf, wgpu::Buffer>,
) -> Result<(Format, Vec<Range<usize>>)> {
    let c = checkpoint.config();
    let matrix = checkpoint.matrix("embed_tokens", c.vocab, c.hidden)?.into_table();
    let mut ranges = Vec::new();
    for part in table(gpu, "embedding", &matrix, placement.embedding_part_bytes_max)? {
        let TablePart { rows, codes, scales } = part;
        buffers.insert(Buf::Embedding(ranges.len()), codes);
        if let Some(scales) = scales {
            buffers.insert(Buf::EmbeddingScales(ranges.len()), scales);
        }
        ranges.push(rows);
    }
    Ok((matrix.format(), ranges))
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
    let rows = |bytes: usize| gpu.storage("per-layer rows", (options.batch_max * width * bytes) as u64);
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
    for (name, length) in norm_layout(c) {
        norms.extend(checkpoint.vector(&format!("{name}.weight"), length)?);
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

/// (cos, sin) of every position and rotated pair: angle p * theta^(-2 j / head_dim), computed in f64.
fn rotation_table(
    config: &ModelConfig,
    kind: LayerKind,
    head_dim: usize,
    positions: usize,
) -> Vec<[f32; 2]> {
    let theta = match kind {
        LayerKind::Sliding => config.rope.sliding_theta,
        LayerKind::Full => config.rope.full_theta,
    };
    let pairs = config.rotated_pairs(kind, head_dim);
    let frequencies: Vec<f64> =
        (0..pairs).map(|j| libm::pow(theta, -2.0 * j as f64 / head_dim as f64)).collect();
    let mut table = Vec::with_capacity(positions * pairs);
    for position in 0..positions {
        table.extend(frequencies.iter().map(|f| {
            let angle = position as f64 * f;
            [libm::cos(angle) as f32, libm::sin(angle) as f32]
        }));
    }
    table
}

fn make_work_buffers(
    gpu: &Gpu,
    config: &ModelConfig,
    options: &EngineOptions,
    rings: &BTreeMap<LayerKind, usize>,
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
        (Buf::Branch, config.hidden),
        (Buf::Product, config.widest_mlp()),
        (Buf::PleContext, ple_all),
        (Buf::Ple, ple_all),
        (Buf::PleGated, config.ple_width),
        (Buf::Logits, config.vocab),
    ];
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
