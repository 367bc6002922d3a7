//! The drafter's steps (specification §7): query-only layers over the target's cache, centroid head.

use super::parts::{Attention, Lookup, Matmul, Residual, f32_bits, launch};
use super::{Buf, Dispatch, DraftBuf, Epilogue, Format, Pieces, Table};
use crate::config::{DrafterConfig, LayerKind, ModelConfig};
use crate::registry::Op;
use std::collections::BTreeMap;
use std::ops::Range;

/// What the drafter's plan depends on.
pub(crate) struct DraftInputs<'a> {
    pub(crate) drafter: &'a DrafterConfig,
    pub(crate) target: &'a ModelConfig,
    /// Pieces of the weights; absent means bf16 in one.
    pub(crate) pieces: &'a Pieces,
    /// `layer_scalar` of every layer.
    pub(crate) layer_scalars: &'a [f32],
    /// Cache slots of the target's layers, by kind.
    pub(crate) rings: &'a BTreeMap<LayerKind, usize>,
    /// The target's embedding table.
    pub(crate) embedding: &'a Table,
    /// Vocabulary rows of each part of a centroid head.
    pub(crate) head_parts: &'a [Range<usize>],
    /// Ranges that the keys of full layers are split into; 1 for none.
    pub(crate) key_ranges: usize,
    /// Most tokens drafted per round.
    pub(crate) len: usize,
}

/// The dispatches of a round of drafting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DraftPlan {
    /// All steps, one after the other.
    pub(crate) dispatches: Vec<Dispatch>,
    /// Where each step's dispatches are.
    pub(crate) steps: Vec<Range<usize>>,
}

/// Name and length of every norm weight of the drafter in the order of its weight buffer.
pub(crate) fn draft_norm_layout(config: &DrafterConfig) -> Vec<(String, usize)> {
    let width = config.text.hidden;
    let mut list = Vec::new();
    for (i, layer) in config.text.layers.iter().enumerate() {
        for name in [
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ] {
            list.push((format!("layers.{i}.{name}"), width));
        }
        list.push((format!("layers.{i}.self_attn.q_norm"), layer.head_dim));
    }
    list.push(("norm".to_string(), width));
    list
}

/// Builds the plan of a round.
pub(crate) fn drafter(inputs: &DraftInputs<'_>) -> DraftPlan {
    let mut at = 0;
    let mut norms = BTreeMap::new();
    for (name, length) in draft_norm_layout(inputs.drafter) {
        norms.insert(name, at);
        at += length;
    }
    let mut builder = Builder { inputs, norms, list: Vec::new() };
    let mut steps = Vec::with_capacity(inputs.len);
    for slot in 0..inputs.len {
        let start = builder.list.len();
        builder.input(slot);
        for i in 0..inputs.drafter.text.layers.len() {
            builder.attention(i);
            builder.feed_forward(i);
        }
        builder.head(slot);
        steps.push(start..builder.list.len());
    }
    DraftPlan { dispatches: builder.list, steps }
}

struct Builder<'a> {
    inputs: &'a DraftInputs<'a>,
    norms: BTreeMap<String, usize>,
    list: Vec<Dispatch>,
}

const STEP: Buf = Buf::Draft(DraftBuf::Step);

fn draft(role: DraftBuf) -> Buf {
    Buf::Draft(role)
}

impl Builder<'_> {
    fn matmul(
        &mut self,
        name: &str,
        (rows, cols): (usize, usize),
        (x, y): (DraftBuf, DraftBuf),
        epilogue: Epilogue,
    ) {
        let matmul = Matmul {
            label: format!("draft.{name}"),
            weights: &format!("draft.{name}"),
            rows,
            cols,
            step: STEP,
            x: draft(x),
            y: draft(y),
            y_stride: rows,
            epilogue,
            gate: None,
        };
        self.list.extend(matmul.dispatches(self.inputs.pieces));
    }

    fn input(&mut self, slot: usize) {
        let c = &self.inputs.drafter.text;
        let backbone = self.inputs.target.hidden;
        if slot > 0 {
            // The hidden state of the first draft is the target's; later ones recycle the drafter's own.
            let shape = (backbone, c.hidden);
            self.matmul("post", shape, (DraftBuf::Normed, DraftBuf::Hidden), Epilogue::Store);
        }
        let scale = (backbone as f64).sqrt() as f32;
        let format = self.inputs.embedding.format;
        let mut hidden_from = |table: Buf, range: &Range<usize>| {
            let hidden = draft(DraftBuf::Hidden);
            let bindings = vec![STEP, Buf::Tokens, table, hidden, draft(DraftBuf::Input)];
            let sizes = [backbone, range.start, range.len()].map(|n| n as u32);
            let params = sizes.into_iter().chain([scale.to_bits(), slot as u32]).collect();
            self.list.push(launch("draft.input", Op::DraftInput, bindings, params, backbone / 2));
        };
        if format == Format::Bf16 {
            for (part, range) in self.inputs.embedding.parts.iter().enumerate() {
                hidden_from(Buf::Embedding(part), range);
            }
        } else {
            // A part that holds no token copies the hidden state and nothing else.
            hidden_from(Buf::Embedding(0), &(0..0));
            for (part, range) in self.inputs.embedding.parts.iter().enumerate() {
                let lookup = Lookup {
                    label: "draft.embed".into(),
                    format,
                    width: backbone,
                    tokens: range.clone(),
                    scale,
                    token_at: slot,
                    step: STEP,
                    table: (Buf::Embedding(part), Buf::EmbeddingScales(part)),
                    x: draft(DraftBuf::Input),
                };
                self.list.push(lookup.dispatch());
            }
        }
        let shape = (c.hidden, 2 * backbone);
        self.matmul("pre", shape, (DraftBuf::Input, DraftBuf::Residual), Epilogue::Store);
        let first = self.norms["layers.0.input_layernorm"] as u32 / 4;
        let params = vec![c.hidden as u32 / 4, first, f32_bits(c.norm_epsilon)];
        let bindings = [DraftBuf::Step, DraftBuf::Residual, DraftBuf::Norms, DraftBuf::Normed];
        let bindings = bindings.map(Buf::Draft).to_vec();
        self.list.push(launch("draft.layers.0.input_layernorm", Op::Norm, bindings, params, 1));
    }

    fn attention(&mut self, i: usize) {
        let c = &self.inputs.drafter.text;
        let target = self.inputs.target;
        let layer = &c.layers[i];
        // Drafter::check_target has found a source for every layer of the drafter.
        let source = target.kv_source_of(layer.kind).unwrap_or(0);
        let kv_heads = target.layers[source].kv_heads as u32;
        let ring = self.inputs.rings[&layer.kind] as u32;
        let width = c.heads * layer.head_dim;
        let buffers = (DraftBuf::Normed, DraftBuf::Projected);
        self.matmul(&format!("layers.{i}.q"), (width, c.hidden), buffers, Epilogue::Store);
        let q_norm = self.norms[&format!("layers.{i}.self_attn.q_norm")] as u32;
        let (keys, values) = (Buf::Keys(source), Buf::Values(source));
        let bindings = vec![
            STEP,
            draft(DraftBuf::Projected),
            draft(DraftBuf::Norms),
            Buf::Rope(layer.kind),
            draft(DraftBuf::Queries),
            keys.clone(),
            values.clone(),
        ];
        let heads = c.heads as u32;
        let dim = layer.head_dim as u32;
        let rotated = target.rotated_pairs(layer.kind, layer.head_dim) as u32;
        let epsilon = f32_bits(c.norm_epsilon);
        let params = vec![heads, kv_heads, dim, heads, rotated, ring, q_norm, q_norm, epsilon, 0];
        let label = format!("draft.layers.{i}.heads");
        self.list.push(launch(label, Op::HeadNormRope, bindings, params, c.heads));
        let attention = Attention {
            label: format!("draft.layers.{i}.attention"),
            heads: c.heads,
            kv_heads: kv_heads as usize,
            dim: layer.head_dim,
            ring: ring as usize,
            window: (layer.kind == LayerKind::Sliding).then_some(c.sliding_window),
            // The token at the drafter's own position has no key yet.
            hides_own: true,
            // The ranges' buffer has room for the target's heads.
            ranges: if c.heads <= target.heads { self.inputs.key_ranges } else { 1 },
            bindings: [STEP, draft(DraftBuf::Queries), keys, values, draft(DraftBuf::Heads)],
        };
        self.list.extend(attention.dispatches());
        let buffers = (DraftBuf::Heads, DraftBuf::Branch);
        self.matmul(&format!("layers.{i}.o"), (c.hidden, width), buffers, Epilogue::Store);
        let next = self.norms[&format!("layers.{i}.pre_feedforward_layernorm")];
        self.residual(&format!("layers.{i}.post_attention_layernorm"), next, 1.0);
    }

    fn feed_forward(&mut self, i: usize) {
        let c = &self.inputs.drafter.text;
        let wide = c.layers[i].intermediate;
        let buffers = (DraftBuf::Normed, DraftBuf::Product);
        let gate_up = format!("layers.{i}.gate_up");
        self.matmul(&gate_up, (2 * wide, c.hidden), buffers, Epilogue::GatedPairs);
        let buffers = (DraftBuf::Product, DraftBuf::Branch);
        self.matmul(&format!("layers.{i}.down"), (c.hidden, wide), buffers, Epilogue::Store);
        let next = match i + 1 {
            n if n < c.layers.len() => self.norms[&format!("layers.{n}.input_layernorm")],
            _ => self.norms["norm"],
        };
        let scalar = self.inputs.layer_scalars[i];
        self.residual(&format!("layers.{i}.post_feedforward_layernorm"), next, scalar);
    }

    fn residual(&mut self, post: &str, next_at: usize, scale: f32) {
        let c = &self.inputs.drafter.text;
        let residual = Residual {
            label: format!("draft.{post}"),
            width: c.hidden,
            post_at: self.norms[post],
            next_at: Some(next_at),
            scale,
            epsilon: c.norm_epsilon,
            bindings: [
                DraftBuf::Step,
                DraftBuf::Branch,
                DraftBuf::Norms,
                DraftBuf::Residual,
                DraftBuf::Normed,
            ]
            .map(Buf::Draft),
        };
        self.list.push(residual.dispatch());
    }

    fn head(&mut self, slot: usize) {
        match self.inputs.drafter.centroids {
            0 => self.dense_head(slot),
            _ => self.centroid_head(slot),
        }
    }

    /// Every logit of the vocabulary, then the largest.
    fn dense_head(&mut self, slot: usize) {
        let c = &self.inputs.drafter.text;
        let shape = (c.vocab, c.hidden);
        self.matmul("head", shape, (DraftBuf::Normed, DraftBuf::Logits), Epilogue::Store);
        // A candidate's index is its token, so the cluster bindings are not read.
        let bindings = vec![STEP, STEP, STEP, draft(DraftBuf::Logits), Buf::Tokens];
        let params = [c.vocab, 1, slot + 1].map(|n| n as u32).to_vec();
        let choose = launch("draft.choose", Op::DraftChoose, bindings, params, 1);
        self.list.push(Dispatch { mode: 1, ..choose });
    }

    /// The best clusters, the logits of their tokens, then the largest.
    fn centroid_head(&mut self, slot: usize) {
        let d = self.inputs.drafter;
        let (clusters, searched) = (d.centroids, d.centroids_searched);
        let members = d.text.vocab / clusters;
        let shape = (clusters, d.text.hidden);
        self.matmul("centroids", shape, (DraftBuf::Normed, DraftBuf::Scores), Epilogue::Store);
        let bindings = [DraftBuf::Step, DraftBuf::Scores, DraftBuf::Chosen].map(Buf::Draft);
        let params = vec![clusters as u32, searched as u32];
        let top = launch("draft.clusters", Op::CentroidTop, bindings.to_vec(), params, clusters);
        self.list.push(top);
        for (part, range) in self.inputs.head_parts.iter().enumerate() {
            let bindings = [
                DraftBuf::Step,
                DraftBuf::Chosen,
                DraftBuf::Ordering,
                DraftBuf::Head(part),
                DraftBuf::Normed,
                DraftBuf::Logits,
            ]
            .map(Buf::Draft);
            let sizes = [members, d.text.hidden / 8, range.start, range.len()];
            let params = sizes.map(|n| n as u32).to_vec();
            let head = launch("draft.head", Op::CentroidHead, bindings.to_vec(), params, searched);
            self.list.push(head);
        }
        let bindings = vec![
            STEP,
            draft(DraftBuf::Chosen),
            draft(DraftBuf::Ordering),
            draft(DraftBuf::Logits),
            Buf::Tokens,
        ];
        let sizes = [searched * members, members, slot + 1];
        let params = sizes.map(|n| n as u32).to_vec();
        self.list.push(launch("draft.choose", Op::DraftChoose, bindings, params, 1));
    }
}
