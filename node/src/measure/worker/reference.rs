//! The engines that arms are compared with: the built-in kernels on each checkpoint.

use super::pool::Window;
use super::{WorkerError, score};
use assay_kernels::{
    Bundle, Checkpoint, Engine, EngineOptions, Gpu, Path, Sampler, SamplingParams,
};
use std::ops::ControlFlow;
use std::path::{Path as FilePath, PathBuf};
use std::rc::Rc;

/// Index of the base checkpoint's engine.
pub(super) const BASE: usize = 0;

/// One built-in engine a checkpoint; the base checkpoint's comes first.
pub(super) struct References {
    engines: Vec<Reference>,
}

struct Reference {
    folder: PathBuf,
    engine: Engine,
    /// What it computed last: arms that decode the same tokens are compared with the same rows.
    last: Option<Computed>,
}

/// Rows and what they were asked for with.
struct Computed {
    tokens: Vec<u32>,
    from: usize,
    rows: Rc<Rows>,
}

/// Logits of consecutive positions, a row each.
pub(super) struct Rows {
    logits: Vec<f32>,
    vocab: usize,
}

impl Rows {
    pub(super) fn new(logits: Vec<f32>, vocab: usize) -> Self {
        Self { logits, vocab }
    }

    pub(super) fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.logits.chunks_exact(self.vocab)
    }

    pub(super) fn all(&self) -> &[f32] {
        &self.logits
    }

    /// Drops the first `count` rows.
    pub(super) fn skip(mut self, count: usize) -> Self {
        self.logits.drain(..(count * self.vocab).min(self.logits.len()));
        self
    }
}

impl References {
    pub(super) fn new(
        gpu: &Gpu,
        folder: &FilePath,
        base: &Checkpoint,
        options: &EngineOptions,
    ) -> Result<Self, WorkerError> {
        let engine = built_in(gpu, base, options)
            .map_err(|reason| WorkerError::Recipe { recipe: "base", reason })?;
        Ok(Self { engines: vec![Reference { folder: identity(folder), engine, last: None }] })
    }

    /// The reference for the checkpoint in `folder`, made if there is none yet.
    pub(super) fn for_checkpoint(
        &mut self,
        gpu: &Gpu,
        folder: &FilePath,
        checkpoint: &Checkpoint,
        options: &EngineOptions,
    ) -> Result<usize, assay_kernels::Error> {
        let folder = identity(folder);
        if let Some(found) = self.engines.iter().position(|other| other.folder == folder) {
            return Ok(found);
        }
        let engine = built_in(gpu, checkpoint, options)?;
        self.engines.push(Reference { folder, engine, last: None });
        Ok(self.engines.len() - 1)
    }

    /// Values in a row of logits, the base checkpoint's.
    pub(super) fn vocab(&self) -> usize {
        self.engines[BASE].engine.config().vocab
    }

    /// Logits of `tokens` by the prefill of reference `index`, from position `from` on.
    pub(super) fn rows(
        &mut self,
        index: usize,
        tokens: &[u32],
        from: usize,
    ) -> Result<Rc<Rows>, WorkerError> {
        let reference = &mut self.engines[index];
        let asked = |known: &&Computed| known.tokens == tokens && known.from == from;
        if let Some(known) = reference.last.as_ref().filter(asked) {
            return Ok(Rc::clone(&known.rows));
        }
        let rows = Rc::new(teacher_forced(&mut reference.engine, tokens, from)?);
        reference.last = Some(Computed { tokens: tokens.to_vec(), from, rows: Rc::clone(&rows) });
        Ok(rows)
    }

    /// Logits of the single-token path of reference `index` after each of `tokens`, behind `before`
    /// in an empty cache.
    pub(super) fn forced(
        &mut self,
        index: usize,
        before: &[u32],
        tokens: &[u32],
    ) -> Result<Rows, WorkerError> {
        Ok(forced(&mut self.engines[index].engine, before, tokens)?)
    }

    /// `prompt` with everything behind its first half replaced by what the base model says there when
    /// it is sampled at temperature 1 from `seed`: as natural as the text and known to nobody before
    /// the seed.
    pub(super) fn refresh(&mut self, prompt: &[u32], seed: u64) -> Result<Vec<u32>, WorkerError> {
        let engine = &mut self.engines[BASE].engine;
        let (kept, replaced) = prompt.split_at(prompt.len().div_ceil(2));
        // An end in the middle of a prompt would be nothing that a text has.
        let never: Vec<u32> =
            engine.config().suppress.iter().chain(&engine.config().eos).copied().collect();
        let params = SamplingParams { temperature: 1.0, seed, ..SamplingParams::default() };
        let mut sampler = Sampler::new(&params, kept, &never)?;
        let mut fresh = kept.to_vec();
        if let Some(more) = replaced.len().checked_sub(1) {
            engine.reset();
            fresh.push(engine.prefill_chosen(kept, &mut sampler)?.next);
            let on_token = &mut |_| ControlFlow::Continue(());
            fresh.extend(engine.decode_chosen(more, &mut sampler, on_token)?.tokens);
        }
        Ok(fresh)
    }

    /// The base's negative log-likelihood of a window's scored tokens, in micronats.
    pub(super) fn score_text(&mut self, window: &Window) -> Result<u64, WorkerError> {
        let (_, before) = split_last(&window.scored);
        let sequence = [window.prompt.as_slice(), before].concat();
        let rows = self.rows(BASE, &sequence, window.prompt.len() - 1)?;
        let (micronats, unscored) = sum_nll(&rows, &window.scored);
        if unscored > 0 {
            return Err(WorkerError::Unsupported {
                recipe: "base",
                reason: "its logits are not finite, so nothing can be compared with it".to_owned(),
            });
        }
        Ok(micronats)
    }
}

/// Sum of the negative log-likelihoods of `tokens`, one a row, in micronats, and how many rows had
/// none because a logit is not finite.
pub(super) fn sum_nll(rows: &Rows, tokens: &[u32]) -> (u64, u64) {
    let (mut nats, mut unscored) = (0.0, 0_u64);
    for (row, &token) in rows.iter().zip(tokens) {
        match score::negative_log_likelihood(row, token) {
            Some(more) => nats += more,
            None => unscored += 1,
        }
    }
    (score::micronats(nats), unscored)
}

/// Logits of `tokens` by the prefill of `engine`, from position `from` on.
pub(super) fn teacher_forced(
    engine: &mut Engine,
    tokens: &[u32],
    from: usize,
) -> Result<Rows, assay_kernels::Error> {
    let vocab = engine.config().vocab;
    let rows = engine.logits(tokens, Path::Prefill)?;
    Ok(Rows::new(rows.logits, vocab).skip(from))
}

/// Logits of the single-token path of `engine` after each of `tokens`, behind `before` in an empty
/// cache.
pub(super) fn forced(
    engine: &mut Engine,
    before: &[u32],
    tokens: &[u32],
) -> Result<Rows, assay_kernels::Error> {
    engine.reset();
    engine.prefill(before)?;
    let decode = engine.decode_forced(tokens)?;
    Ok(Rows::new(decode.logits.unwrap_or_default(), engine.config().vocab))
}

/// The last token and those before it; job and window lists are never empty.
pub(super) fn split_last(tokens: &[u32]) -> (u32, &[u32]) {
    tokens.split_last().map_or((0, tokens), |(&last, before)| (last, before))
}

fn built_in(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    options: &EngineOptions,
) -> Result<Engine, assay_kernels::Error> {
    Engine::new(gpu, checkpoint, &Bundle::builtin(), options)
}

/// What two paths of one folder have in common.
fn identity(folder: &FilePath) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}
