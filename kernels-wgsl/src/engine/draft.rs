//! A drafter on an engine: what it is built from and what it proposes.

use super::draft_length::{DraftLen, Lengths};
use super::{Engine, build, draft_weights};
use crate::error::{Error, Result};
use crate::gpu::{Pipelines, Resolved};
use crate::load::Drafter;
use crate::plan::{Buf, DraftBuf, DraftInputs, DraftPlan, drafter};
use serde::{Deserialize, Serialize};

/// Most tokens drafted per round.
pub const DRAFT_LEN_MAX: usize = 16;

/// How a drafter did over one decode loop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftStats {
    /// Drafts per round and how many of them were kept, in order.
    pub rounds: Vec<(usize, usize)>,
}

impl DraftStats {
    /// Drafts kept per round, on average.
    pub fn accepted_per_round(&self) -> f64 {
        let kept: usize = self.rounds.iter().map(|(_, kept)| kept).sum();
        kept as f64 / self.rounds.len().max(1) as f64
    }

    /// For every slot, the share of rounds that drafted it and kept it.
    pub fn acceptance(&self) -> Vec<f64> {
        let slots = self.rounds.iter().map(|(drafted, _)| *drafted).max().unwrap_or(0);
        (0..slots)
            .map(|slot| {
                let drafted = self.rounds.iter().filter(|(drafted, _)| *drafted > slot);
                let kept = drafted.clone().filter(|(_, kept)| *kept > slot).count();
                kept as f64 / drafted.count().max(1) as f64
            })
            .collect()
    }
}

/// The greedy chain a drafter proposes.
#[derive(Debug, Clone, PartialEq)]
pub struct DraftChain {
    /// Drafted tokens, in order.
    pub drafts: Vec<u32>,
    /// Drafter logits of every step `[drafts, vocab]`; negative infinity outside the searched clusters.
    pub logits: Vec<f32>,
}

/// A drafter on the device.
pub(super) struct Draft {
    pub(super) plan: DraftPlan,
    pub(super) resolved: Resolved,
    /// How many tokens each round drafts.
    pub(super) lengths: Lengths,
    /// The centroid head; absent where the head is dense.
    clusters: Option<Clusters>,
}

/// What tells the candidates of a centroid head apart.
struct Clusters {
    /// Token ids in cluster order.
    ordering: Vec<u32>,
    members: usize,
    searched: usize,
}

impl Engine {
    /// Gives the engine a drafter that proposes `len` tokens per round, or as many as pay off.
    ///
    /// Errors where the drafter was made for another target, or the engine's `batch_max` is below the
    /// longest draft and one more.
    pub fn with_drafter(mut self, drafter: &Drafter, len: impl Into<DraftLen>) -> Result<Engine> {
        let len = len.into();
        drafter.check_target(&self.config)?;
        let most = DRAFT_LEN_MAX.min(self.options.batch_max - 1);
        if !(1..=most).contains(&len.most()) {
            return Err(Error::Input(format!(
                "draft_len is {}; it must be 1 to {most}, with batch_max {}",
                len.most(),
                self.options.batch_max
            )));
        }
        self.need = self.need.with_drafter(drafter);
        self.need.check(&self.gpu, &self.options)?;
        let uploaded = draft_weights::upload(&self.gpu, drafter, &mut self.buffers.0)?;
        let config = drafter.config();
        let scalar = |i| Ok(drafter.vector(&format!("layers.{i}.layer_scalar"), 1)?[0]);
        let layer_scalars: Vec<f32> =
            (0..config.text.layers.len()).map(scalar).collect::<Result<_>>()?;
        let plan = self::drafter(&DraftInputs {
            drafter: config,
            target: &self.config,
            pieces: &uploaded.pieces,
            layer_scalars: &layer_scalars,
            rings: &build::rings(&self.config, &self.options),
            embedding: &self.embedding,
            head_parts: &uploaded.head_parts,
            key_ranges: build::key_ranges(&self.options, &self.bundle),
            len: len.most(),
        });
        let mut pipelines = Pipelines::new(&self.gpu, &self.bundle);
        let resolved = Resolved::new(&self.gpu, &mut pipelines, &self.buffers.0, &plan.dispatches)?;
        let clusters = match config.centroids {
            0 => None,
            centroids => Some(Clusters {
                ordering: drafter.token_ordering()?,
                members: config.text.vocab / centroids,
                searched: config.centroids_searched,
            }),
        };
        self.draft = Some(Draft { plan, resolved, lengths: Lengths::new(len), clusters });
        Ok(self)
    }

    /// The launches of a round of drafting, one line each.
    #[cfg(test)]
    pub(super) fn describe_draft_plan(&self) -> Option<String> {
        let lines = self.draft.as_ref()?.plan.dispatches.iter().map(ToString::to_string);
        Some(lines.collect::<Vec<_>>().join("\n"))
    }

    /// The greedy chain of `count` tokens that the drafter proposes after the token that prefill or decode
    /// made ready. Nothing is verified and the position stays.
    pub fn draft_chain(&mut self, count: usize) -> Result<DraftChain> {
        let next = self.next.ok_or_else(|| Error::Input("prefill a prompt first".into()))?;
        let draft = self.drafter()?;
        if count > draft.plan.steps.len() {
            let most = draft.plan.steps.len();
            return Err(Error::Input(format!("{count} drafts; this engine makes up to {most}")));
        }
        self.begin_round(next, 0, true);
        let mut chain = DraftChain { drafts: Vec::new(), logits: Vec::new() };
        for slot in 0..count {
            let draft = self.drafter()?;
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            if slot == 0 {
                self.copy_hidden(&mut encoder);
            }
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let steps = draft.plan.steps[slot].clone();
                draft.resolved.record(&mut pass, steps, (self.position, 1));
            }
            self.gpu.queue.submit([encoder.finish()]);
            chain.drafts.push(self.words(&Buf::Tokens, slot + 2)?[slot + 1]);
            chain.logits.extend(self.draft_logits()?);
        }
        // Drafting used the token buffer's tail only; the ready token is still at its head.
        Ok(chain)
    }

    /// Logits `[vocab]` of the latest draft step.
    fn draft_logits(&self) -> Result<Vec<f32>> {
        let logits = Buf::Draft(DraftBuf::Logits);
        let Some(Clusters { ordering, members, searched }) = &self.drafter()?.clusters else {
            let words = self.words(&logits, self.config.vocab)?;
            return Ok(words.into_iter().map(f32::from_bits).collect());
        };
        let chosen = self.words(&Buf::Draft(DraftBuf::Chosen), *searched)?;
        let found = self.words(&logits, searched * members)?;
        let mut row = vec![f32::NEG_INFINITY; self.config.vocab];
        for (cluster, logits) in chosen.iter().zip(found.chunks(*members)) {
            for (&id, &logit) in ordering[*cluster as usize * members..].iter().zip(logits) {
                row[id as usize] = f32::from_bits(logit);
            }
        }
        Ok(row)
    }

    pub(super) fn drafter(&self) -> Result<&Draft> {
        self.draft.as_ref().ok_or_else(|| Error::Input("this engine has no drafter".into()))
    }

    pub(super) fn words(&self, role: &Buf, count: usize) -> Result<Vec<u32>> {
        let bytes = self.gpu.download(self.buffers.get(role), 4 * count as u64)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}
