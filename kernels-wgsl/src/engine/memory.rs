//! What an engine takes of the device's memory, checked before anything is uploaded, and reading values back.

use super::build::{Placement, SPAN, partials_width, rings};
use super::draft_weights::work_words;
use super::{Engine, EngineOptions};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::load::{Checkpoint, Drafter};
use crate::plan::{Buf, KEY_RANGE};
use serde::Serialize;

/// Device memory that an engine needs, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryNeed {
    /// Weights, norms, rotation tables.
    pub weights_bytes: u64,
    /// Keys and values.
    pub cache_bytes: u64,
    /// Activations, logits and staging.
    pub work_bytes: u64,
    /// Weights and activations of the drafter, where there is one.
    pub drafter_bytes: u64,
}

impl MemoryNeed {
    /// What an engine for `checkpoint` with these options takes on `gpu`. A per-layer embedding table that
    /// does not fit a buffer stays on the host and is not counted.
    pub fn of(gpu: &Gpu, checkpoint: &Checkpoint, options: &EngineOptions) -> Self {
        Self::placed(checkpoint, options, &Placement::of(gpu))
    }

    pub(super) fn placed(
        checkpoint: &Checkpoint,
        options: &EngineOptions,
        placement: &Placement,
    ) -> Self {
        let config = checkpoint.config();
        let mut weights_bytes = rotation_bytes(config, options);
        for (name, bytes) in checkpoint.tensor_sizes() {
            let bytes = bytes as u64;
            let on_host =
                name == "embed_tokens_per_layer.weight" && bytes > placement.ple_bytes_max;
            let stays = on_host || is_unused(config, name);
            weights_bytes += if stays { 0 } else { bytes };
        }
        MemoryNeed {
            weights_bytes,
            cache_bytes: cache_bytes(config, options, 4),
            work_bytes: work_bytes(config, options),
            drafter_bytes: 0,
        }
    }

    /// The same engine with `drafter`, which uses the engine's cache.
    #[must_use]
    pub fn with_drafter(self, drafter: &Drafter) -> Self {
        let words: usize = work_words(drafter.config()).iter().map(|(_, words)| words).sum();
        let drafter_bytes = drafter.device_bytes().saturating_add(4 * words as u64);
        MemoryNeed { drafter_bytes, ..self }
    }

    /// All of it. The logits that a decode loop keeps come on top; see [`Self::check_history`].
    pub fn total_bytes(&self) -> u64 {
        let parts = [self.weights_bytes, self.cache_bytes, self.work_bytes, self.drafter_bytes];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Errors where a buffer of `bytes` for the logits of `steps` decode steps does not fit beside the engine.
    pub(super) fn check_history(&self, gpu: &Gpu, steps: usize, bytes: u64) -> Result<()> {
        let Some(has) = gpu.memory_bytes() else { return Ok(()) };
        let needed = self.total_bytes().saturating_add(bytes);
        if needed <= has {
            return Ok(());
        }
        Err(gpu.error(format!(
            "the logits of {steps} decode steps need {} MiB of device memory beside the engine's {} MiB, the \
             adapter has {} MiB; decode fewer tokens at a time",
            mib(bytes),
            mib(self.total_bytes()),
            mib(has)
        )))
    }

    /// Errors where `gpu` has less, with the number needed and what would make it fit. [`Engine::new`] and
    /// [`Engine::with_drafter`] do this before they upload anything; with a drafter in mind, do it before both.
    pub fn check(&self, gpu: &Gpu, options: &EngineOptions) -> Result<()> {
        let Some(has) = gpu.memory_bytes() else { return Ok(()) };
        let needed = self.total_bytes();
        if needed <= has {
            return Ok(());
        }
        let room = has.saturating_sub(needed - self.cache_bytes);
        let fits = match self.cache_bytes {
            0 => 0,
            cache => {
                (options.context_tokens as u128 * u128::from(room) / u128::from(cache)) as usize
            }
        };
        let context = match fits {
            0 => String::new(),
            tokens => format!("a context of about {tokens} tokens, "),
        };
        let sizes = [self.weights_bytes, self.cache_bytes, self.work_bytes].map(mib);
        let (drafter, without) = match self.drafter_bytes {
            0 => (String::new(), ""),
            bytes => (format!(", {} MiB of drafter", mib(bytes)), "no drafter, "),
        };
        Err(Error::Device {
            adapter: gpu.info().name.clone(),
            message: format!(
                "the engine needs {needed} bytes of device memory ({} MiB of weights, {} MiB of keys and values \
                 for {} tokens, {} MiB to work in{drafter}), the adapter has {has}. What would fit: \
                 {context}{without}a quantised checkpoint (`assay model quantize`), or another adapter \
                 (--adapter); if the figure is wrong, set ASSAY_DEVICE_MEMORY_BYTES",
                sizes[0], sizes[1], options.context_tokens, sizes[2]
            ),
        })
    }
}

/// Whether a tensor is a key or value projection of a layer that reads another layer's cache.
pub(crate) fn is_unused(config: &ModelConfig, name: &str) -> bool {
    let layer = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
    let Some((index, part)) = layer else { return false };
    let own = part.starts_with("self_attn.k_") || part.starts_with("self_attn.v_");
    let index = index.parse::<usize>().ok().filter(|_| own);
    index.is_some_and(|i| config.layers.get(i).is_some_and(|layer| layer.kv_source != i))
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn rotation_bytes(config: &ModelConfig, options: &EngineOptions) -> u64 {
    let mut kinds = std::collections::BTreeMap::new();
    for layer in &config.layers {
        kinds.entry(layer.kind).or_insert(config.rotated_pairs(layer.kind, layer.head_dim) as u64);
    }
    let rows = (SPAN + options.context_tokens.div_ceil(SPAN)) as u64;
    kinds.values().map(|pairs| pairs * 8 * rows).sum()
}

/// Bytes of all keys and values after `context_tokens` tokens, batch 1, with `value_bytes` a number. This
/// engine stores f32; the specification's figures (§11) are for bf16.
pub fn kv_cache_bytes(config: &ModelConfig, context_tokens: usize, value_bytes: u64) -> u64 {
    cache_bytes(config, &EngineOptions::new(context_tokens, 1), value_bytes)
}

fn cache_bytes(config: &ModelConfig, options: &EngineOptions, value_bytes: u64) -> u64 {
    let rings = rings(config, options);
    let owners = config.layers.iter().enumerate().filter(|(i, layer)| layer.kv_source == *i);
    owners
        .map(|(_, layer)| {
            let slots = rings[&layer.kind] as u64;
            2 * slots * layer.kv_heads as u64 * layer.head_dim as u64 * value_bytes
        })
        .sum()
}

/// Bytes of the buffers that a pass works in, rounded up: the widest of each kind for every row.
fn work_bytes(config: &ModelConfig, options: &EngineOptions) -> u64 {
    let ple = config.layers.len() * config.ple_width;
    let experts = config.moe.as_ref().map_or(0, |moe| {
        moe.experts + moe.per_token * (2 + 2 * moe.intermediate + config.hidden) + 3 * config.hidden
    });
    let row = 2
        + experts
        + 3 * config.hidden
        + config.widest_qkv()
        + 2 * config.widest_heads()
        + 2 * config.widest_mlp()
        + 2 * ple
        + config.ple_width
        + partials_width(config, options.context_tokens.div_ceil(KEY_RANGE))
        + config.vocab;
    (options.batch_max * row * 4) as u64
}

impl Engine {
    /// Root mean square of the cached values of each layer that owns a cache, over the first `positions`
    /// slots.
    pub(crate) fn cached_value_rms(&self, positions: usize) -> Result<Vec<(usize, f64)>> {
        let mut found = Vec::new();
        let slots = rings(&self.config, &self.options);
        for (i, layer) in self.config.layers.iter().enumerate() {
            if layer.kv_source != i {
                continue;
            }
            let rows = positions.min(slots[&layer.kind]);
            let bytes = (rows * layer.kv_heads * layer.head_dim * 4) as u64;
            let read = self.gpu.download(self.buffers.get(&Buf::Values(i)), bytes)?;
            let squares = read
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])).powi(2));
            let mean = squares.sum::<f64>() / (bytes as f64 / 4.0).max(1.0);
            found.push((i, mean.sqrt()));
        }
        Ok(found)
    }
}
