//! How well two recipes draft: on the pool's own text, and in what the seats measured.

use anyhow::Context;
use assay_kernels::{
    AdapterRequest, Bundle, Checkpoint, DraftStats, Drafter, Engine, EngineOptions, Gpu,
    heldout_text,
};
use assay_node::measure::RecipeFiles;
use assay_protocol::gates::Evidence;
use assay_protocol::genesis::Genesis;
use serde::Serialize;

/// Forward passes of a child's decode loops over those of its parent's: below 1, it drafts better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Passes {
    /// On the prompts as the pool has them, which is all that an author can try.
    pub pool: f64,
    /// On the prompts of the seats.
    pub seats: f64,
}

/// The passes of `child` over those of `parent`, which draft for the same checkpoint, by what the seats
/// measured and on the text of the same windows of the pool.
///
/// # Errors
///
/// When a recipe cannot be run, or drafts nothing.
pub(super) fn compare(
    genesis: &Genesis,
    (parent, child): (&RecipeFiles, &RecipeFiles),
    evidence: &[Evidence<'_>],
) -> anyhow::Result<Passes> {
    let windows: Vec<u32> = evidence.iter().flat_map(|seat| seat.plan.prompts.clone()).collect();
    let gpu = Gpu::open(&AdapterRequest::default())?;
    let passes = |recipe: &RecipeFiles| -> anyhow::Result<u64> {
        Ok(on_pool(&gpu, genesis, recipe, &windows)?.rounds.len() as u64)
    };
    // Every pass reads the same weights, so that bytes count passes.
    let bytes = |of: fn(&Evidence<'_>) -> u64| evidence.iter().map(of).sum::<u64>();
    let child_bytes = bytes(|seat| seat.child().bytes_per_token);
    let parent_bytes = bytes(|seat| seat.parent().bytes_per_token);
    Ok(Passes {
        pool: ratio(passes(child)?, passes(parent)?),
        seats: ratio(child_bytes, parent_bytes),
    })
}

/// How a recipe drafts behind the pool's own text, a decode loop a window.
///
/// # Errors
///
/// When the recipe cannot be run, or drafts nothing.
pub fn on_pool(
    gpu: &Gpu,
    genesis: &Genesis,
    recipe: &RecipeFiles,
    windows: &[u32],
) -> anyhow::Result<DraftStats> {
    let (pool, rules) = (&genesis.challenge.pool, &genesis.measurement);
    let checkpoint = Checkpoint::open(&recipe.checkpoint)?;
    let (folder, draft_len) = recipe.drafter.as_ref().context("a recipe without a drafter")?;
    let prompt_tokens = pool.prompt_tokens as usize;
    let context_tokens = prompt_tokens + rules.decode_tokens as usize + 2;
    let options = EngineOptions::new(context_tokens, context_tokens.min(32));
    let mut engine = Engine::new(gpu, &checkpoint, &Bundle::builtin(), &options)?
        .with_drafter(&Drafter::open(folder)?, *draft_len as usize)?;
    let text = checkpoint.tokenizer()?.encode(heldout_text())?;
    let mut all = DraftStats::default();
    for &window in windows {
        let start = window as usize * (prompt_tokens + pool.scored_tokens as usize);
        let prompt = text.get(start..start + prompt_tokens).context("a window beyond the pool")?;
        engine.reset();
        engine.prefill(&[&[checkpoint.config().bos], prompt].concat())?;
        let decode = engine.decode_greedy(rules.decode_tokens as usize, true)?;
        all.rounds.extend(decode.draft.context("nothing was drafted")?.rounds);
    }
    Ok(all)
}

#[allow(clippy::cast_precision_loss)]
fn ratio(child: u64, parent: u64) -> f64 {
    child as f64 / parent as f64
}
