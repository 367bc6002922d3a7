//! The shared buffer of norm weights and other small vectors.

use crate::config::ModelConfig;

/// One vector of the shared weight buffer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vector {
    /// Name of the tensor.
    pub(crate) tensor: String,
    /// Values in it.
    pub(crate) length: usize,
    /// Added to every value, before the factor.
    pub(crate) plus: f32,
    /// What every value is multiplied with.
    pub(crate) factor: f32,
}

impl Vector {
    /// Values it takes up: kernels read whole vec4s.
    pub(crate) fn room(&self) -> usize {
        self.length.next_multiple_of(4)
    }
}

/// The vectors of the shared weight buffer, in its order.
pub(crate) fn norm_layout(config: &ModelConfig) -> Vec<Vector> {
    let mut list = Vec::new();
    let plus = if config.norm_plus_one { 1.0 } else { 0.0 };
    let norm = |name: String, length| Vector {
        tensor: format!("{name}.weight"),
        length,
        plus,
        factor: 1.0,
    };
    if config.ple_width > 0 {
        list.push(norm("per_layer_projection_norm".into(), config.ple_width));
    }
    for (i, layer) in config.layers.iter().enumerate() {
        let of_layer = |name: &str, length| norm(format!("layers.{i}.{name}"), length);
        for name in [
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ] {
            list.push(of_layer(name, config.hidden));
        }
        // Scores are linear in the query, so their factor goes where the query is weighted anyway.
        let factor = config.attention_scale as f32;
        list.push(Vector { factor, ..of_layer("self_attn.q_norm", layer.head_dim) });
        if layer.kv_source == i {
            list.push(of_layer("self_attn.k_norm", layer.head_dim));
        }
        if let Some(moe) = config.moe {
            for name in [
                "post_feedforward_layernorm_1",
                "pre_feedforward_layernorm_2",
                "post_feedforward_layernorm_2",
            ] {
                list.push(of_layer(name, config.hidden));
            }
            let router = |name: &str, length, factor| Vector {
                tensor: format!("layers.{i}.router.{name}"),
                length,
                plus: 0.0,
                factor,
            };
            // The router's norm has no weight; its input is scaled by this vector and by H^-1/2.
            list.push(router("scale", config.hidden, (config.hidden as f64).powf(-0.5) as f32));
            list.push(router("per_expert_scale", moe.experts, 1.0));
        }
        if config.ple_width > 0 {
            list.push(of_layer("post_per_layer_input_norm", config.hidden));
        }
    }
    list.push(norm("norm".into(), config.hidden));
    list
}
