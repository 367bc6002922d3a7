//! The target model's forward pass.

use super::parts::{Attention, Lookup, Matmul, Product, Residual, f32_bits, launch};
use super::{Buf, Dispatch, Epilogue, Format, MoeBuf, Pieces, Plan, Table, norm_layout};
use crate::config::{LayerKind, ModelConfig};
use crate::fusion::Fusion;
use crate::registry::Op;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What the plan depends on besides the geometry.
pub(crate) struct TargetInputs<'a> {
    pub(crate) config: &'a ModelConfig,
    /// Pieces of the fused weights; absent means bf16 in one.
    pub(crate) pieces: &'a Pieces,
    /// Experts in each buffer of an expert matrix, by its fused weight name.
    pub(crate) expert_parts: &'a BTreeMap<String, Vec<Range<usize>>>,
    /// `layer_scalar` of every layer.
    pub(crate) layer_scalars: &'a [f32],
    /// Cache slots of a layer, by kind.
    pub(crate) rings: BTreeMap<LayerKind, usize>,
    /// Ranges that the keys of full layers are split into; 1 for none.
    pub(crate) key_ranges: usize,
    /// The embedding table.
    pub(crate) embedding: &'a Table,
    /// An output head of its own; `None` where the embedding table is the head.
    pub(crate) head: Option<&'a Table>,
    /// Where the per-layer table is and what its rows are.
    pub(crate) ple: PlePlace,
    /// Launches to put together where the model allows it.
    pub(crate) fusions: &'a BTreeSet<Fusion>,
}

/// Where the kernels find the token rows of the per-layer table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlePlace {
    /// The whole table is on the device in this format.
    Device(Format),
    /// The host writes the rows of every step, as bf16.
    Rows,
    /// The host writes the rows of every step, as f32.
    WideRows,
}

/// Builds the plan of a forward pass.
pub(crate) fn target(inputs: &TargetInputs<'_>) -> Plan {
    let mut at = 0;
    let mut norms = BTreeMap::new();
    for vector in norm_layout(inputs.config) {
        let room = vector.room();
        norms.insert(vector.tensor, at);
        at += room;
    }
    let mut builder = Builder { inputs, norms, list: Vec::new(), cache_end: 0 };
    builder.embedding();
    for i in 0..inputs.config.layers.len() {
        builder.attention(i);
        builder.feed_forward(i);
    }
    builder.head();
    let argmax = |label: &str, mode| {
        let bindings = vec![Buf::Step, Buf::Logits, Buf::Next, Buf::Tokens];
        let params = vec![inputs.config.vocab as u32];
        Dispatch { mode, ..launch(label, Op::Argmax, bindings, params, 1) }
    };
    Plan {
        dispatches: builder.list,
        cache_end: builder.cache_end,
        feed: argmax("choose and feed", 1),
        choose: argmax("choose", 0),
    }
}

pub(super) struct Builder<'a> {
    pub(super) inputs: &'a TargetInputs<'a>,
    /// Offset of every norm weight, in values.
    norms: BTreeMap<String, usize>,
    pub(super) list: Vec<Dispatch>,
    cache_end: usize,
}

impl Builder<'_> {
    pub(super) fn norm_at(&self, name: &str) -> u32 {
        self.vector_at(&format!("{name}.weight"))
    }

    /// Offset of the tensor `name` in the shared weight buffer, in values.
    pub(super) fn vector_at(&self, name: &str) -> u32 {
        self.norms[name] as u32
    }

    pub(super) fn epsilon(&self) -> u32 {
        f32_bits(self.inputs.config.norm_epsilon)
    }

    pub(super) fn push(
        &mut self,
        label: &str,
        op: Op,
        bindings: Vec<Buf>,
        params: Vec<u32>,
        items: usize,
    ) {
        self.list.push(launch(label, op, bindings, params, items));
    }

    pub(super) fn matmul(&mut self, matmul: Matmul<'_>) {
        self.list.extend(matmul.dispatches(self.inputs.pieces));
    }

    fn embedding(&mut self) {
        let c = self.inputs.config;
        let scale = (c.hidden as f64).sqrt() as f32;
        for (part, range) in self.inputs.embedding.parts.iter().enumerate() {
            let lookup = Lookup {
                label: "embed".into(),
                format: self.inputs.embedding.format,
                width: c.hidden,
                tokens: range.clone(),
                scale,
                token_at: 0,
                step: Buf::Step,
                table: (Buf::Embedding(part), Buf::EmbeddingScales(part)),
                x: Buf::Residual,
            };
            self.list.push(lookup.dispatch());
        }
        if c.ple_width > 0 {
            self.per_layer_embeddings();
        }
        let params =
            vec![c.hidden as u32 / 4, self.norm_at("layers.0.input_layernorm") / 4, self.epsilon()];
        let bindings = vec![Buf::Step, Buf::Residual, Buf::Norms, Buf::Normed];
        self.push("layers.0.input_layernorm", Op::Norm, bindings, params, 1);
    }

    fn per_layer_embeddings(&mut self) {
        let c = self.inputs.config;
        let all = c.layers.len() * c.ple_width;
        self.matmul(Matmul {
            label: "per-layer context".into(),
            weights: "ple_context",
            rows: all,
            cols: c.hidden,
            step: Buf::Step,
            x: Buf::Residual,
            y: Buf::PleContext,
            y_stride: all,
            epilogue: Epilogue::Store,
            gate: None,
        });
        let (table, by_token) = match self.inputs.ple {
            PlePlace::Device(Format::Bf16) => (Buf::PleTable, 1),
            PlePlace::Rows => (Buf::PleTable, 0),
            PlePlace::WideRows => (Buf::PleRows, 2),
            PlePlace::Device(format) => {
                let lookup = Lookup {
                    label: "per-layer rows".into(),
                    format,
                    width: all,
                    tokens: 0..c.ple_vocab,
                    scale: 1.0,
                    token_at: 0,
                    step: Buf::Step,
                    table: (Buf::PleTable, Buf::PleScales),
                    x: Buf::PleRows,
                };
                self.list.push(lookup.dispatch());
                (Buf::PleRows, 2)
            }
        };
        let params = vec![
            c.layers.len() as u32,
            c.ple_width as u32,
            by_token,
            self.norm_at("per_layer_projection_norm"),
            f32_bits(1.0 / (c.hidden as f64).sqrt()),
            f32_bits((c.ple_width as f64).sqrt()),
            self.epsilon(),
        ];
        let bindings = vec![Buf::Step, Buf::Tokens, table, Buf::PleContext, Buf::Norms, Buf::Ple];
        self.push("per-layer embeddings", Op::PleCombine, bindings, params, c.layers.len());
    }

    /// The projection of queries, and of keys and values in a layer that owns a cache; returns the heads that
    /// it leaves.
    fn project(&mut self, i: usize) -> usize {
        let c = self.inputs.config;
        let layer = &c.layers[i];
        let stored = match (layer.kv_source == i, layer.k_eq_v) {
            (false, _) => 0,
            (true, false) => 2 * layer.kv_heads,
            (true, true) => layer.kv_heads,
        };
        let slots = c.heads + stored;
        self.matmul(Matmul {
            label: format!("layers.{i}.qkv"),
            weights: &format!("layers.{i}.qkv"),
            rows: slots * layer.head_dim,
            cols: c.hidden,
            step: Buf::Step,
            x: Buf::Normed,
            y: Buf::Qkv,
            y_stride: slots * layer.head_dim,
            epilogue: Epilogue::Store,
            gate: None,
        });
        slots
    }

    /// Queries, and the keys and values of a layer that owns a cache, of so many projected heads.
    fn heads(&mut self, i: usize, slots: usize) {
        let c = self.inputs.config;
        let layer = &c.layers[i];
        let owns = layer.kv_source == i;
        let written = if owns { 2 * layer.kv_heads } else { 0 };
        let q_norm = self.norm_at(&format!("layers.{i}.self_attn.q_norm"));
        let k_norm =
            if owns { self.norm_at(&format!("layers.{i}.self_attn.k_norm")) } else { q_norm };
        let bindings = vec![
            Buf::Step,
            Buf::Qkv,
            Buf::Norms,
            Buf::Rope(layer.kind),
            Buf::Queries,
            Buf::Keys(layer.kv_source),
            Buf::Values(layer.kv_source),
        ];
        let params = vec![
            c.heads as u32,
            layer.kv_heads as u32,
            layer.head_dim as u32,
            slots as u32,
            c.rotated_pairs(layer.kind, layer.head_dim) as u32,
            self.inputs.rings[&layer.kind] as u32,
            q_norm,
            k_norm,
            self.epsilon(),
            u32::from(c.value_norm),
        ];
        let items = c.heads + written;
        self.push(&format!("layers.{i}.heads"), Op::HeadNormRope, bindings, params, items);
        if owns {
            self.cache_end = self.list.len();
        }
    }

    /// Attention of the projected heads over the cache.
    fn heads_and_attention(&mut self, i: usize, slots: usize) {
        self.heads(i, slots);
        let c = self.inputs.config;
        let layer = &c.layers[i];
        let (keys, values) = (Buf::Keys(layer.kv_source), Buf::Values(layer.kv_source));
        let attention = Attention {
            label: format!("layers.{i}.attention"),
            heads: c.heads,
            kv_heads: layer.kv_heads,
            dim: layer.head_dim,
            ring: self.inputs.rings[&layer.kind],
            window: (layer.kind == LayerKind::Sliding).then_some(c.sliding_window),
            hides_own: false,
            ranges: self.inputs.key_ranges,
            bindings: [Buf::Step, Buf::Queries, keys, values, Buf::Heads],
        };
        self.list.extend(attention.dispatches());
    }

    fn attention(&mut self, i: usize) {
        let c = self.inputs.config;
        let layer = &c.layers[i];
        let slots = self.project(i);
        if !self.query_attention(i, slots) {
            self.heads_and_attention(i, slots);
        }
        self.matmul(Matmul {
            label: format!("layers.{i}.o_proj"),
            weights: &format!("layers.{i}.o_proj"),
            rows: c.hidden,
            cols: c.heads * layer.head_dim,
            step: Buf::Step,
            x: Buf::Heads,
            y: Buf::Branch,
            y_stride: c.hidden,
            epilogue: Epilogue::Store,
            gate: None,
        });
        let next = self.norm_at(&format!("layers.{i}.pre_feedforward_layernorm"));
        self.residual(i, "post_attention_layernorm", Buf::Branch, Some(next), 1.0);
    }

    fn feed_forward(&mut self, i: usize) {
        let c = self.inputs.config;
        let intermediate = c.layers[i].intermediate;
        self.gate_up(i);
        self.matmul(Matmul {
            label: format!("layers.{i}.down"),
            weights: &format!("layers.{i}.down"),
            rows: c.hidden,
            cols: intermediate,
            step: Buf::Step,
            x: Buf::Product,
            y: Buf::Branch,
            y_stride: c.hidden,
            epilogue: Epilogue::Store,
            gate: None,
        });
        let branch = match &c.moe {
            None => Buf::Branch,
            Some(moe) => {
                self.experts(i, moe);
                Buf::Moe(MoeBuf::Mixed)
            }
        };
        let next = match i + 1 {
            n if n < c.layers.len() => self.norm_at(&format!("layers.{n}.input_layernorm")),
            _ => self.norm_at("norm"),
        };
        let scalar = self.inputs.layer_scalars[i];
        if c.ple_width == 0 {
            self.residual(i, "post_feedforward_layernorm", branch, Some(next), scalar);
            return;
        }
        if self.per_layer_input(i, &branch, next, scalar) {
            return;
        }
        self.residual(i, "post_feedforward_layernorm", branch, None, 1.0);
        let all = c.layers.len() * c.ple_width;
        self.matmul(Matmul {
            label: format!("layers.{i}.ple_gate"),
            weights: &format!("layers.{i}.ple_gate"),
            rows: c.ple_width,
            cols: c.hidden,
            step: Buf::Step,
            x: Buf::Residual,
            y: Buf::PleGated,
            y_stride: c.ple_width,
            epilogue: Epilogue::Gate,
            gate: Some((Buf::Ple, all, i * c.ple_width)),
        });
        self.matmul(Matmul {
            label: format!("layers.{i}.ple_proj"),
            weights: &format!("layers.{i}.ple_proj"),
            rows: c.hidden,
            cols: c.ple_width,
            step: Buf::Step,
            x: Buf::PleGated,
            y: Buf::Branch,
            y_stride: c.hidden,
            epilogue: Epilogue::Store,
            gate: None,
        });
        self.residual(i, "post_per_layer_input_norm", Buf::Branch, Some(next), scalar);
    }

    /// `gelu(gate) * up`: in one product where both are in one format, else in two.
    fn gate_up(&mut self, i: usize) {
        let c = self.inputs.config;
        let intermediate = c.layers[i].intermediate;
        let fused = format!("layers.{i}.gate_up");
        let mut product = |name: &str, rows, y, epilogue, gate| {
            let matmul = Matmul {
                label: name.into(),
                weights: name,
                rows,
                cols: c.hidden,
                step: Buf::Step,
                x: Buf::Normed,
                y,
                y_stride: intermediate,
                epilogue,
                gate,
            };
            self.list.extend(matmul.dispatches(self.inputs.pieces));
        };
        let (gate, up) = (format!("layers.{i}.gate"), format!("layers.{i}.up"));
        if self.inputs.pieces.contains_key(&gate) {
            product(&up, intermediate, Buf::Up, Epilogue::Store, None);
            let factors = Some((Buf::Up, intermediate, 0));
            product(&gate, intermediate, Buf::Product, Epilogue::Gate, factors);
        } else {
            product(&fused, 2 * intermediate, Buf::Product, Epilogue::GatedPairs, None);
        }
    }

    fn residual(&mut self, i: usize, post: &str, branch: Buf, next_at: Option<u32>, scale: f32) {
        let label = format!("layers.{i}.{post}");
        let residual = Residual {
            width: self.inputs.config.hidden,
            post_at: self.norm_at(&label) as usize,
            next_at: next_at.map(|at| at as usize),
            scale,
            epsilon: self.inputs.config.norm_epsilon,
            bindings: [Buf::Step, branch, Buf::Norms, Buf::Residual, Buf::Normed],
            label,
        };
        self.list.push(residual.dispatch());
    }

    fn head(&mut self) {
        let c = self.inputs.config;
        let table = self.inputs.head.unwrap_or(self.inputs.embedding);
        for (part, range) in table.parts.iter().enumerate() {
            let weights = match self.inputs.head {
                None => (Buf::Embedding(part), Buf::EmbeddingScales(part)),
                Some(_) => (Buf::Head(part), Buf::HeadScales(part)),
            };
            let epilogue = if c.logit_cap.is_some() { Epilogue::Cap } else { Epilogue::Store };
            let product = Product {
                label: "head".into(),
                format: table.format,
                shape: (range.len(), c.hidden),
                step: Buf::Step,
                x: Buf::Normed,
                weights,
                y: (Buf::Logits, c.vocab, range.start),
                gate: (Buf::Normed, 0, 0),
                epilogue,
                cap: c.logit_cap.unwrap_or(0.0),
            };
            self.list.push(product.dispatch());
        }
    }
}
