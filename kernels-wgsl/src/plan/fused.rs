//! Launches of the target that stand for several, where the bundle asks for them and the layer allows it.

use super::parts::launch;
use super::target::Builder;
use super::{Buf, Dispatch, Format};
use crate::config::LayerKind;
use crate::fusion::{Fusion, reads_anothers_cache};
use crate::registry::Op;

impl Builder<'_> {
    fn asks_for(&self, fusion: Fusion) -> bool {
        self.inputs.fusions.contains(&fusion) && fusion.applies_to(self.inputs.config)
    }

    /// Whether a weight is one piece of bf16, which is all that a fused product reads.
    fn is_plain(&self, weights: &str) -> bool {
        let pieces = self.inputs.pieces.get(weights);
        pieces.is_none_or(|pieces| matches!(&pieces[..], [one] if one.format == Format::Bf16))
    }

    /// Norm and rotation of the queries within attention; false where they stay apart. Ranges of keys would each
    /// compute the query again.
    pub(super) fn query_attention(&mut self, i: usize, slots: usize) -> bool {
        let c = self.inputs.config;
        let layer = &c.layers[i];
        let whole = self.inputs.key_ranges == 1 || layer.kind == LayerKind::Sliding;
        if !self.asks_for(Fusion::QueryRope) || !whole || !reads_anothers_cache(c, i) {
            return false;
        }
        let window = match layer.kind {
            LayerKind::Sliding => c.sliding_window as u32,
            LayerKind::Full => u32::MAX,
        };
        let params = vec![
            c.heads as u32,
            layer.kv_heads as u32,
            self.inputs.rings[&layer.kind] as u32,
            window,
            slots as u32,
            c.rotated_pairs(layer.kind, layer.head_dim) as u32,
            self.norm_at(&format!("layers.{i}.self_attn.q_norm")),
            self.epsilon(),
        ];
        let bindings = vec![
            Buf::Step,
            Buf::Qkv,
            Buf::Norms,
            Buf::Rope(layer.kind),
            Buf::Keys(layer.kv_source),
            Buf::Values(layer.kv_source),
            Buf::Heads,
        ];
        let label = format!("layers.{i}.attention");
        let fused = launch(label, Op::QueryAttention, bindings, params, c.heads);
        self.list.push(Dispatch { mode: layer.head_dim as u32, ..fused });
        true
    }

    /// The per-layer embedding of a layer with the residual steps around it; false where they stay apart.
    pub(super) fn per_layer_input(
        &mut self,
        i: usize,
        branch: &Buf,
        next: u32,
        scale: f32,
    ) -> bool {
        let c = self.inputs.config;
        let (gate, proj) = (format!("layers.{i}.ple_gate"), format!("layers.{i}.ple_proj"));
        let plain = self.is_plain(&gate) && self.is_plain(&proj);
        if !self.asks_for(Fusion::PerLayerInput) || !plain {
            return false;
        }
        let params = vec![
            c.hidden as u32 / 4,
            self.norm_at(&format!("layers.{i}.post_feedforward_layernorm")) / 4,
            self.norm_at(&format!("layers.{i}.post_per_layer_input_norm")) / 4,
            next / 4,
            scale.to_bits(),
            self.epsilon(),
            c.ple_width as u32,
            (c.layers.len() * c.ple_width) as u32,
            (i * c.ple_width) as u32,
        ];
        let bindings = vec![
            Buf::Step,
            branch.clone(),
            Buf::Norms,
            Buf::Weights(gate),
            Buf::Weights(proj),
            Buf::Ple,
            Buf::Residual,
            Buf::Normed,
        ];
        let label = format!("layers.{i}.per_layer_input");
        self.push(&label, Op::PerLayerInput, bindings, params, 1);
        true
    }
}
