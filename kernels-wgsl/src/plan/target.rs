//! The target model's forward pass.

use super::parts::{Matmul, Residual, f32_bits, launch};
use super::{Buf, Dispatch, Epilogue, Format, Plan};
use crate::config::{LayerKind, ModelConfig};
use crate::registry::Op;
use std::collections::BTreeMap;
use std::ops::Range;

/// What the plan depends on besides the geometry.
pub(crate) struct TargetInputs<'a> {
    pub(crate) config: &'a ModelConfig,
    /// Storage format by fused weight name; absent means bf16.
    pub(crate) formats: &'a BTreeMap<String, Format>,
    /// `layer_scalar` of every layer.
    pub(crate) layer_scalars: &'a [f32],
    /// Cache slots of a layer, by kind.
    pub(crate) rings: BTreeMap<LayerKind, usize>,
    /// Vocabulary rows of each part of the embedding table.
    pub(crate) embedding_parts: &'a [Range<usize>],
    /// The whole per-layer table is on the device.
    pub(crate) ple_on_device: bool,
}

/// Name and length of every norm weight in the order of the shared weight buffer.
pub(crate) fn norm_layout(config: &ModelConfig) -> Vec<(String, usize)> {
    let mut list = Vec::new();
    if config.ple_width > 0 {
        list.push(("per_layer_projection_norm".to_string(), config.ple_width));
    }
    for (i, layer) in config.layers.iter().enumerate() {
        let mut push = |name: &str, length| list.push((format!("layers.{i}.{name}"), length));
        push("input_layernorm", config.hidden);
        push("post_attention_layernorm", config.hidden);
        push("pre_feedforward_layernorm", config.hidden);
        push("post_feedforward_layernorm", config.hidden);
        push("self_attn.q_norm", layer.head_dim);
        if layer.kv_source == i {
            push("self_attn.k_norm", layer.head_dim);
        }
        if config.ple_width > 0 {
            push("post_per_layer_input_norm", config.hidden);
        }
    }
    list.push(("norm".to_string(), config.hidden));
    list
}

/// Builds the plan of a forward pass.
pub(crate) fn target(inputs: &TargetInputs<'_>) -> Plan {
    let mut at = 0;
    let mut norms = BTreeMap::new();
    for (name, length) in norm_layout(inputs.config) {
        norms.insert(name, at);
        at += length;
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

struct Builder<'a> {
    inputs: &'a TargetInputs<'a>,
    /// Offset of every norm weight, in values.
    norms: BTreeMap<String, usize>,
    list: Vec<Dispatch>,
    cache_end: usize,
}

impl Builder<'_> {
    fn norm_at(&self, name: &str) -> u32 {
        self.norms[name] as u32
    }

    fn epsilon(&self) -> u32 {
        f32_bits(self.inputs.config.norm_epsilon)
    }

    fn push(&mut self, label: &str, op: Op, bindings: Vec<Buf>, params: Vec<u32>, items: usize) {
        self.list.push(launch(label, op, bindings, params, items));
    }

    fn matmul(&mut self, matmul: Matmul<'_>) {
        let dispatch = matmul.dispatch(self.inputs.formats);
        self.list.push(dispatch);
    }

    fn embedding(&mut self) {
        let c = self.inputs.config;
        let scale = (c.hidden as f64).sqrt() as f32;
        for (part, range) in self.inputs.embedding_parts.iter().enumerate() {
            let bindings = vec![Buf::Step, Buf::Tokens, Buf::Embedding(part), Buf::Residual];
            let params =
                vec![c.hidden as u32, range.start as u32, range.len() as u32, scale.to_bits()];
            self.push("embed", Op::Embed, bindings, params, c.hidden / 2);
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
            y_at: 0,
            epilogue: Epilogue::Store,
            gate: None,
        });
        let params = vec![
            c.layers.len() as u32,
            c.ple_width as u32,
            u32::from(self.inputs.ple_on_device),
            self.norm_at("per_layer_projection_norm"),
            f32_bits(1.0 / (c.hidden as f64).sqrt()),
            f32_bits((c.ple_width as f64).sqrt()),
            self.epsilon(),
        ];
        let bindings =
            vec![Buf::Step, Buf::Tokens, Buf::PleTable, Buf::PleContext, Buf::Norms, Buf::Ple];
        self.push("per-layer embeddings", Op::PleCombine, bindings, params, c.layers.len());
    }

    fn attention(&mut self, i: usize) {
        let c = self.inputs.config;
        let layer = &c.layers[i];
        let owns = layer.kv_source == i;
        let kv_slots = if owns { 2 * layer.kv_heads } else { 0 };
        let slots = c.heads + kv_slots;
        self.matmul(Matmul {
            label: format!("layers.{i}.qkv"),
            weights: &format!("layers.{i}.qkv"),
            rows: slots * layer.head_dim,
            cols: c.hidden,
            step: Buf::Step,
            x: Buf::Normed,
            y: Buf::Qkv,
            y_stride: slots * layer.head_dim,
            y_at: 0,
            epilogue: Epilogue::Store,
            gate: None,
        });
        let q_norm = self.norm_at(&format!("layers.{i}.self_attn.q_norm"));
        let k_norm =
            if owns { self.norm_at(&format!("layers.{i}.self_attn.k_norm")) } else { q_norm };
        let ring = self.inputs.rings[&layer.kind] as u32;
        let (keys, values) = (Buf::Keys(layer.kv_source), Buf::Values(layer.kv_source));
        let bindings = vec![
            Buf::Step,
            Buf::Qkv,
            Buf::Norms,
            Buf::Rope(layer.kind),
            Buf::Queries,
            keys.clone(),
            values.clone(),
        ];
        let params = vec![
            c.heads as u32,
            layer.kv_heads as u32,
            layer.head_dim as u32,
            slots as u32,
            c.rotated_pairs(layer.kind, layer.head_dim) as u32,
            ring,
            q_norm,
            k_norm,
            self.epsilon(),
        ];
        self.push(&format!("layers.{i}.heads"), Op::HeadNormRope, bindings, params, slots);
        if owns {
            self.cache_end = self.list.len();
        }
        let window = match layer.kind {
            LayerKind::Sliding => c.sliding_window as u32,
            LayerKind::Full => u32::MAX,
        };
        let params = vec![c.heads as u32, layer.kv_heads as u32, ring, window, 0];
        let bindings = vec![Buf::Step, Buf::Queries, keys, values, Buf::Heads];
        let label = format!("layers.{i}.attention");
        let mode = layer.head_dim as u32;
        let attention = launch(label, Op::Attention, bindings, params, c.heads);
        self.list.push(Dispatch { mode, ..attention });
        self.matmul(Matmul {
            label: format!("layers.{i}.o_proj"),
            weights: &format!("layers.{i}.o_proj"),
            rows: c.hidden,
            cols: c.heads * layer.head_dim,
            step: Buf::Step,
            x: Buf::Heads,
            y: Buf::Branch,
            y_stride: c.hidden,
            y_at: 0,
            epilogue: Epilogue::Store,
            gate: None,
        });
        let next = self.norm_at(&format!("layers.{i}.pre_feedforward_layernorm"));
        self.residual(i, "post_attention_layernorm", Some(next), 1.0);
    }

    fn feed_forward(&mut self, i: usize) {
        let c = self.inputs.config;
        let intermediate = c.layers[i].intermediate;
        self.matmul(Matmul {
            label: format!("layers.{i}.gate_up"),
            weights: &format!("layers.{i}.gate_up"),
            rows: 2 * intermediate,
            cols: c.hidden,
            step: Buf::Step,
            x: Buf::Normed,
            y: Buf::Product,
            y_stride: intermediate,
            y_at: 0,
            epilogue: Epilogue::GatedPairs,
            gate: None,
        });
        self.matmul(Matmul {
            label: format!("layers.{i}.down"),
            weights: &format!("layers.{i}.down"),
            rows: c.hidden,
            cols: intermediate,
            step: Buf::Step,
            x: Buf::Product,
            y: Buf::Branch,
            y_stride: c.hidden,
            y_at: 0,
            epilogue: Epilogue::Store,
            gate: None,
        });
        let next = match i + 1 {
            n if n < c.layers.len() => self.norm_at(&format!("layers.{n}.input_layernorm")),
            _ => self.norm_at("norm"),
        };
        let scalar = self.inputs.layer_scalars[i];
        if c.ple_width == 0 {
            self.residual(i, "post_feedforward_layernorm", Some(next), scalar);
            return;
        }
        self.residual(i, "post_feedforward_layernorm", None, 1.0);
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
            y_at: 0,
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
            y_at: 0,
            epilogue: Epilogue::Store,
            gate: None,
        });
        self.residual(i, "post_per_layer_input_norm", Some(next), scalar);
    }

    fn residual(&mut self, i: usize, post: &str, next_at: Option<u32>, scale: f32) {
        let label = format!("layers.{i}.{post}");
        let residual = Residual {
            width: self.inputs.config.hidden,
            post_at: self.norms[&label],
            next_at: next_at.map(|at| at as usize),
            scale,
            epsilon: self.inputs.config.norm_epsilon,
            bindings: [Buf::Step, Buf::Branch, Buf::Norms, Buf::Residual, Buf::Normed],
            label,
        };
        self.list.push(residual.dispatch());
    }

    fn head(&mut self) {
        let c = self.inputs.config;
        for (part, range) in self.inputs.embedding_parts.iter().enumerate() {
            let epilogue = if c.logit_cap.is_some() { Epilogue::Cap } else { Epilogue::Store };
            let bindings =
                vec![Buf::Step, Buf::Normed, Buf::Embedding(part), Buf::Normed, Buf::Logits];
            let params = vec![
                range.len() as u32,
                c.hidden as u32 / 8,
                c.vocab as u32,
                range.start as u32,
                0,
                0,
                f32_bits(c.logit_cap.unwrap_or(0.0)),
            ];
            let mode = epilogue as u32;
            let head = launch("head", Op::MatmulBf16, bindings, params, range.len());
            self.list.push(Dispatch { mode, ..head });
        }
    }
}
