//! The engine: a checkpoint on an adapter, with its cache, ready to prefill and decode.

mod build;
mod choose;
mod decode;
mod draft;
mod draft_length;
mod draft_weights;
mod experts;
mod logits;
mod memory;
mod phases;
mod round;
mod state;
#[cfg(test)]
mod tests;
mod weights;

use crate::bundle::Bundle;
use crate::config::{LayerKind, ModelConfig};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Readback, Resolved};
use crate::load::{Checkpoint, Tensor};
use crate::plan::{Buf, Dispatch, Plan, Table};
use build::Placement;
use draft::Draft;
pub use draft::{DRAFT_LEN_MAX, DraftChain, DraftStats};
pub use draft_length::DraftLen;
pub use logits::{LogitRows, Path};
pub(crate) use memory::is_unused;
pub use memory::{MemoryNeed, kv_cache_bytes};
pub use phases::Phase;
use state::Buffers;
use std::collections::BTreeSet;

/// Sizes an engine is built for.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Positions the cache of full-attention layers holds: prompt and generated tokens together.
    pub context_tokens: usize,
    /// Most tokens run through the model at once (prefill chunks, verification batches).
    pub batch_max: usize,
    /// How many tokens [`Engine::rewind`] can always take back. The caches of sliding layers are so much
    /// longer; those of full layers hold the whole context anyway.
    pub rewind_tokens: usize,
}

impl EngineOptions {
    /// Options for `context_tokens` positions in batches of up to `batch_max`, without spare cache to rewind.
    pub fn new(context_tokens: usize, batch_max: usize) -> Self {
        EngineOptions { context_tokens, batch_max, rewind_tokens: 0 }
    }
}

/// Largest batch an engine can be built for.
pub const BATCH_MAX: usize = 256;

/// Outcome of a prefill.
#[derive(Debug, Clone)]
pub struct Prefill {
    /// First submit to the token's read-back, in nanoseconds.
    pub wall_ns: u64,
    /// Greedy choice after the last prompt token; the next decode step is fed with it.
    pub next: u32,
}

/// Outcome of a decode loop.
#[derive(Debug, Clone)]
pub struct Decode {
    /// Greedy choice of every step, in order. The first step was fed with the choice of the prefill or
    /// decode before, so a whole greedy continuation is that token and then these.
    pub tokens: Vec<u32>,
    /// First submit to the last token's read-back, in nanoseconds.
    pub wall_ns: u64,
    /// Logits of every step `[count, vocab]`, after the soft-cap, where they were asked for.
    pub logits: Option<Vec<f32>>,
    /// What the drafter did, where there is one.
    pub draft: Option<DraftStats>,
}

/// Where the per-layer embedding table is.
enum PleTable {
    /// The model has none, or all of it is in a device buffer.
    Device,
    /// On the host: the rows of every step are uploaded before it.
    Host(Tensor),
}

/// A Gemma 4 model on an adapter.
pub struct Engine {
    gpu: Gpu,
    config: ModelConfig,
    options: EngineOptions,
    need: MemoryNeed,
    buffers: Buffers,
    plan: Plan,
    resolved: Resolved,
    /// The single-token and the batch argmax follow the plan's own dispatches.
    feed_at: usize,
    ple: PleTable,
    bundle: Bundle,
    embedding: Table,
    draft: Option<Draft>,
    tokens_back: [Readback; 2],
    history: Option<wgpu::Buffer>,
    position: usize,
    /// One past the furthest position written since the cache was emptied: refused drafts and what was
    /// rewound wrote over the slots of older positions too.
    written: usize,
    /// The greedy choice that waits on the device to be fed to the next step.
    next: Option<u32>,
    /// Row of the latest batch whose final hidden state produced `next`.
    hidden_row: usize,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("adapter", &self.gpu.info().name)
            .field("options", &self.options)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Puts `checkpoint` on `gpu` with the kernels of `bundle`.
    ///
    /// Errors where the sizes in `options` are out of range, a tensor is missing or misshapen, the adapter
    /// lacks memory, or a kernel does not build.
    pub fn new(
        gpu: &Gpu,
        checkpoint: &Checkpoint,
        bundle: &Bundle,
        options: &EngineOptions,
    ) -> Result<Engine> {
        build::engine(gpu, checkpoint, bundle, options, &Placement::of(gpu))
    }

    /// The model's geometry.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The sizes the engine was built for.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Tokens in the cache.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Empties the cache: the next token is at position 0. Every buffer that a kernel may write is zeroed,
    /// the rows of a batch that a single token leaves alone among them, so that nothing of one sequence can
    /// reach the next: neither keys and values nor what a foreign kernel might note down for itself.
    pub fn reset(&mut self) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for buffer in self.written_buffers() {
            encoder.clear_buffer(buffer, 0, None);
        }
        self.gpu.queue.submit([encoder.finish()]);
        self.position = 0;
        self.written = 0;
        self.next = None;
    }

    /// The buffers that a dispatch of the target or the drafter binds for writing, each once.
    fn written_buffers(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        let drafting = self.draft.iter().flat_map(|draft| &draft.plan.dispatches);
        let choosing = [&self.plan.feed, &self.plan.choose];
        let all = self.plan.dispatches.iter().chain(choosing).chain(drafting);
        let roles: BTreeSet<&Buf> = all.flat_map(Dispatch::written).collect();
        roles.into_iter().map(|role| self.buffers.get(role))
    }

    /// Takes the latest tokens back: the first `position` tokens stay cached, nothing is ready to decode
    /// from, and the next prefill goes on behind them.
    ///
    /// Errors where `position` is not behind the start of the cache that the sliding layers still hold;
    /// [`EngineOptions::rewind_tokens`] makes that longer. What they hold ends with the furthest position
    /// reached since the cache was empty, so a second rewind reaches no further back than the first could.
    pub fn rewind(&mut self, position: usize) -> Result<()> {
        let (held, written) = (self.position, self.written);
        let sliding = build::rings(&self.config, &self.options)[&LayerKind::Sliding];
        // Slots hold the last `sliding` positions; the query at `position` sees window - 1 of those before.
        let oldest = (written + self.config.sliding_window).saturating_sub(sliding + 1);
        let lost = written > sliding && position < oldest;
        if position > held || (lost && position > 0) {
            return Err(Error::Input(format!(
                "cannot rewind from {held} to {position}: the sliding layers hold what is needed from {oldest} on; \
                 reset and prefill again, or raise rewind_tokens"
            )));
        }
        if position == 0 {
            // Whatever comes next is written before it is read.
            self.written = 0;
        }
        self.position = position;
        self.next = None;
        Ok(())
    }

    /// The launches of one forward pass, one line each, as the plan has them.
    pub fn describe_plan(&self) -> String {
        self.plan.render()
    }

    /// Errors unless `tokens` are ids of the vocabulary and fit behind what is cached.
    fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::Input("no tokens were given; a sequence begins with BOS".into()));
        }
        if let Some(bad) = tokens.iter().find(|&&t| t as usize >= self.config.vocab) {
            let vocab = self.config.vocab;
            return Err(Error::Input(format!("token {bad} is not below the vocabulary {vocab}")));
        }
        self.check_room(tokens.len())
    }

    fn check_room(&self, count: usize) -> Result<()> {
        let context = self.options.context_tokens;
        if count > context - self.position {
            let held = self.position;
            return Err(Error::Input(format!(
                "{count} tokens do not fit: the cache holds {held} of {context}; raise context_tokens"
            )));
        }
        Ok(())
    }
}
