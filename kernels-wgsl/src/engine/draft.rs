//! Speculative decoding: the drafter proposes, one batch of the target verifies.
//!
//! A round with newest token τ at position n: the drafter runs K steps on the device, each feeding the
//! next; the target runs [τ, d1, …, dK] at positions n … n + K as one batch; the longest prefix of drafts
//! that the target would have chosen itself is kept, and with it the target's choice after it. Because a
//! batch row has the bits of a single-token step, the tokens are exactly those of plain decoding. Keys and
//! values of refused drafts lie behind the new position, where nothing reads them before the next round
//! writes over them; the sliding rings are a batch longer than the window, so no live key is lost.

use super::decode::elapsed_ns;
use super::weights::Weights;
use super::{Decode, Engine, PleTable, build};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Pipelines, Resolved};
use crate::load::Drafter;
use crate::plan::{Buf, DraftBuf, DraftInputs, DraftPlan, Pieces, draft_norm_layout, drafter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

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
    plan: DraftPlan,
    resolved: Resolved,
    /// Token ids in cluster order.
    ordering: Vec<u32>,
    members: usize,
    searched: usize,
}

impl Engine {
    /// Gives the engine a drafter that proposes up to `draft_len` tokens per round.
    ///
    /// Errors where the drafter was made for another target, has a dense head, or the engine's
    /// `batch_max` is below `draft_len + 1`.
    pub fn with_drafter(mut self, drafter: &Drafter, draft_len: usize) -> Result<Engine> {
        drafter.check_target(&self.config)?;
        if drafter.config().centroids == 0 {
            return Err(Error::Unsupported {
                what: "a drafter with a dense output head".into(),
                hint: "E2B and E4B drafters have a centroid head".into(),
            });
        }
        let most = DRAFT_LEN_MAX.min(self.options.batch_max - 1);
        if draft_len == 0 || draft_len > most {
            return Err(Error::Input(format!(
                "draft_len is {draft_len}; it must be 1 to {most}, with batch_max {}",
                self.options.batch_max
            )));
        }
        let pieces = upload(&self.gpu, drafter, &mut self.buffers.0)?;
        let config = drafter.config();
        let scalar = |i| Ok(drafter.vector(&format!("layers.{i}.layer_scalar"), 1)?[0]);
        let layer_scalars: Vec<f32> =
            (0..config.text.layers.len()).map(scalar).collect::<Result<_>>()?;
        let plan = self::drafter(&DraftInputs {
            drafter: config,
            target: &self.config,
            pieces: &pieces,
            layer_scalars: &layer_scalars,
            rings: &build::rings(&self.config, &self.options),
            embedding: &self.embedding,
            len: draft_len,
        });
        let mut pipelines = Pipelines::new(&self.gpu, &self.bundle);
        let resolved = Resolved::new(&self.gpu, &mut pipelines, &self.buffers.0, &plan.dispatches)?;
        self.draft = Some(Draft {
            plan,
            resolved,
            ordering: drafter.token_ordering()?,
            members: config.text.vocab / config.centroids,
            searched: config.centroids_searched,
        });
        Ok(self)
    }

    /// The launches of a round of drafting, one line each.
    pub fn describe_draft_plan(&self) -> Option<String> {
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
        self.begin_round(next, 0);
        let mut chain = DraftChain { drafts: Vec::new(), logits: Vec::new() };
        for slot in 0..count {
            let draft = self.drafter()?;
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            if slot == 0 {
                self.copy_hidden(&mut encoder);
            }
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                draft.resolved.record(&mut pass, draft.plan.steps[slot].clone(), 1);
            }
            self.gpu.queue.submit([encoder.finish()]);
            let clusters = self.words(&Buf::Draft(DraftBuf::Chosen), draft.searched)?;
            let found =
                self.words(&Buf::Draft(DraftBuf::Logits), draft.searched * draft.members)?;
            chain.drafts.push(self.words(&Buf::Tokens, slot + 2)?[slot + 1]);
            let mut row = vec![f32::NEG_INFINITY; self.config.vocab];
            for (cluster, logits) in clusters.iter().zip(found.chunks(draft.members)) {
                let ids = &draft.ordering[*cluster as usize * draft.members..];
                for (&id, &logit) in ids.iter().zip(logits) {
                    row[id as usize] = f32::from_bits(logit);
                }
            }
            chain.logits.extend(row);
        }
        // Drafting used the token buffer's tail only; the ready token is still at its head.
        Ok(chain)
    }

    fn drafter(&self) -> Result<&Draft> {
        self.draft.as_ref().ok_or_else(|| Error::Input("this engine has no drafter".into()))
    }

    fn words(&self, role: &Buf, count: usize) -> Result<Vec<u32>> {
        let bytes = self.gpu.download(self.buffers.get(role), 4 * count as u64)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// The decode loop with a drafter; `next` is the token that is ready.
    pub(super) fn decode_drafted(
        &mut self,
        count: usize,
        keep_logits: bool,
        mut next: u32,
    ) -> Result<Decode> {
        self.check_room(count)?;
        let len = self.drafter()?.plan.steps.len();
        // A round's refused rows are copied too; the next round writes over them.
        let history = self.history_for(count + len)?;
        let mut tokens = Vec::with_capacity(count);
        let mut stats = DraftStats::default();
        let start = Instant::now();
        while tokens.len() < count {
            let drafts = len.min(count - tokens.len() - 1);
            let kept = self.round(next, drafts, &history, tokens.len())?;
            stats.rounds.push((drafts, kept.len() - 1));
            next = *kept.last().expect("a round keeps at least the target's own choice");
            tokens.extend(kept);
        }
        let wall_ns = elapsed_ns(start);
        self.next = Some(next);
        self.gpu.write(self.buffers.get(&Buf::Tokens), 0, &next.to_le_bytes());
        let logits = match keep_logits {
            true => Some(self.read_history(&history, count)?),
            false => None,
        };
        Ok(Decode { tokens, wall_ns, logits, draft: Some(stats) })
    }

    /// Position and token of a round whose batch has `drafts` drafts.
    fn begin_round(&self, token: u32, drafts: usize) {
        let step = [self.position as u32, drafts as u32 + 1];
        self.gpu.write(self.buffers.get(&Buf::Step), 0, bytemuck::cast_slice(&step));
        let alone = [self.position as u32, 1];
        let draft_step = self.buffers.get(&Buf::Draft(DraftBuf::Step));
        self.gpu.write(draft_step, 0, bytemuck::cast_slice(&alone));
        self.gpu.write(self.buffers.get(&Buf::Tokens), 0, &token.to_le_bytes());
    }

    /// The first draft is fed with the target's final hidden state of the last token it has run.
    fn copy_hidden(&self, encoder: &mut wgpu::CommandEncoder) {
        let size = 4 * self.config.hidden as u64;
        let to = self.buffers.get(&Buf::Draft(DraftBuf::Hidden));
        let from = self.buffers.get(&Buf::Normed);
        encoder.copy_buffer_to_buffer(from, self.hidden_row as u64 * size, to, 0, size);
    }

    /// Drafts, verifies and returns the tokens kept; `done` rows of the history are filled.
    fn round(
        &mut self,
        token: u32,
        drafts: usize,
        history: &wgpu::Buffer,
        done: usize,
    ) -> Result<Vec<u32>> {
        self.begin_round(token, drafts);
        let rows = drafts + 1;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        if drafts > 0 {
            self.copy_hidden(&mut encoder);
            self.record_drafts(&mut encoder, drafts)?;
        }
        if matches!(self.ple, PleTable::Host(_)) {
            // The table's rows of the drafts can only be uploaded once the drafts are known.
            self.gpu.queue.submit([encoder.finish()]);
            let batch = self.words(&Buf::Tokens, rows)?;
            self.upload_ple_rows(&batch);
            encoder = self.gpu.device.create_command_encoder(&Default::default());
        }
        self.record_verification(&mut encoder, rows);
        let row = 4 * self.config.vocab as u64;
        let logits = self.buffers.get(&Buf::Logits);
        encoder.copy_buffer_to_buffer(logits, 0, history, done as u64 * row, rows as u64 * row);
        let size = 4 * rows as u64;
        let back = &self.tokens_back[0];
        encoder.copy_buffer_to_buffer(self.buffers.get(&Buf::Next), 0, &back.buffer, 0, size);
        let drafted = self.buffers.get(&Buf::Tokens);
        encoder.copy_buffer_to_buffer(drafted, 0, &back.buffer, size, size);
        let submitted = self.gpu.queue.submit([encoder.finish()]);
        let bytes = back.begin(2 * size).wait(&self.gpu, submitted)?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let (choices, batch) = words.split_at(rows);
        let kept = batch[1..].iter().zip(choices).take_while(|(draft, own)| draft == own).count();
        self.position += kept + 1;
        self.hidden_row = kept;
        Ok(choices[..=kept].to_vec())
    }

    fn record_drafts(&self, encoder: &mut wgpu::CommandEncoder, drafts: usize) -> Result<()> {
        let draft = self.drafter()?;
        let end = draft.plan.steps[drafts - 1].end;
        let mut pass = encoder.begin_compute_pass(&Default::default());
        draft.resolved.record(&mut pass, 0..end, 1);
        Ok(())
    }
}

/// Uploads the drafter's weights and makes its buffers; returns the weights' pieces.
fn upload(
    gpu: &Gpu,
    drafter: &Drafter,
    buffers: &mut BTreeMap<Buf, wgpu::Buffer>,
) -> Result<Pieces> {
    let config = drafter.config();
    let (c, h, backbone) = (&config.text, config.text.hidden, config.backbone_hidden);
    let mut weights = Weights::new(gpu);
    weights.stack("draft.pre", &[drafter.matrix("pre_projection", h, 2 * backbone)?])?;
    weights.stack("draft.post", &[drafter.matrix("post_projection", backbone, h)?])?;
    let centroids = drafter.matrix("masked_embedding.centroids", config.centroids, h)?;
    weights.stack("draft.centroids", &[centroids])?;
    for (i, layer) in c.layers.iter().enumerate() {
        let matrix =
            |name: &str, rows, cols| drafter.matrix(&format!("layers.{i}.{name}"), rows, cols);
        let (q, wide) = (c.heads * layer.head_dim, layer.intermediate);
        weights.stack(&format!("draft.layers.{i}.q"), &[matrix("self_attn.q_proj", q, h)?])?;
        weights.stack(&format!("draft.layers.{i}.o"), &[matrix("self_attn.o_proj", h, q)?])?;
        weights.stack(&format!("draft.layers.{i}.down"), &[matrix("mlp.down_proj", h, wide)?])?;
        let (gate, up) = (matrix("mlp.gate_proj", wide, h)?, matrix("mlp.up_proj", wide, h)?);
        weights.gate_up(&format!("draft.layers.{i}."), gate, up)?;
    }
    let head = drafter.matrix("embed_tokens", c.vocab, h)?;
    let crate::load::Matrix::Bf16 { data, .. } = &head else {
        return Err(Error::Unsupported {
            what: "a drafter with a quantised output head".into(),
            hint: "keep the drafter's embed_tokens in bf16".into(),
        });
    };
    let mut norms = Vec::new();
    for (name, length) in draft_norm_layout(config) {
        norms.extend(drafter.vector(&format!("{name}.weight"), length)?);
    }
    let ordering = drafter.token_ordering()?;
    let mut put = |role, buffer| buffers.insert(Buf::Draft(role), buffer);
    put(DraftBuf::Head, gpu.upload("draft head", &[data])?);
    put(DraftBuf::Norms, gpu.upload("draft norms", &[bytemuck::cast_slice(&norms)])?);
    put(DraftBuf::Ordering, gpu.upload("draft ordering", &[bytemuck::cast_slice(&ordering)])?);
    for (role, words) in [
        (DraftBuf::Step, 2),
        (DraftBuf::Input, 2 * backbone),
        (DraftBuf::Residual, h),
        (DraftBuf::Normed, h),
        (DraftBuf::Projected, c.widest_heads()),
        (DraftBuf::Queries, c.widest_heads()),
        (DraftBuf::Heads, c.widest_heads()),
        (DraftBuf::Branch, h),
        (DraftBuf::Product, c.widest_mlp()),
        (DraftBuf::Hidden, backbone),
        (DraftBuf::Scores, config.centroids),
        (DraftBuf::Chosen, config.centroids_searched),
        (DraftBuf::Logits, c.vocab / config.centroids * config.centroids_searched),
    ] {
        put(role, gpu.storage(&format!("draft {role:?}"), 4 * words as u64)?);
    }
    buffers.extend(weights.buffers);
    Ok(weights.pieces)
}
