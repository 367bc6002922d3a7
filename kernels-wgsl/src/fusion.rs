//! Fusions: several launches of a forward pass as one, where a bundle asks for it.
//!
//! A fused op has a kernel of its own in the registry, with its oracle and its cases, and a bundle may
//! bring another for it as for any op. A fused launch runs that kernel, whatever kernels the bundle has for
//! the ops that it stands for; those run where these ops are still launched apart. Where a model has nothing
//! that a fusion could put together, or has it in a form that the fused kernel does not read, the launches
//! stay apart: a fusion never keeps a model from running.

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::registry::Op;
use serde::Serialize;

/// Widest per-layer embedding that the fused kernel holds.
pub(crate) const PLE_WIDTH_MAX: usize = 256;
/// Widest head that the fused kernel holds.
pub(crate) const HEAD_DIM_MAX: usize = 512;

/// Launches that may be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// The end of a layer with per-layer embeddings: two residual steps and the two products between them.
    PerLayerInput,
    /// Norm and rotation of the queries within attention, in layers that read another's cache.
    QueryRope,
}

impl Fusion {
    /// Every fusion, in the order of their names.
    pub const ALL: [Self; 2] = [Self::PerLayerInput, Self::QueryRope];

    /// Its name in `bundle.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::PerLayerInput => "per_layer_input",
            Self::QueryRope => "query_rope",
        }
    }

    /// The fusion with this name.
    ///
    /// # Errors
    ///
    /// [`Error::Bundle`] with the names that there are.
    pub fn named(name: &str) -> Result<Self> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let unknown =
            || Error::Bundle(format!("fusion `{name}` is unknown; the fusions are {}", known()));
        Self::ALL.into_iter().find(|fusion| fusion.name() == name).ok_or_else(unknown)
    }

    /// What it does, in a line.
    pub fn summary(self) -> &'static str {
        match self {
            Self::PerLayerInput => {
                "a layer's per-layer embedding in one launch for four, from the MLP's residual step on"
            }
            Self::QueryRope => {
                "query norm and rotation inside attention, in layers that read another layer's cache"
            }
        }
    }

    /// The op that a fused launch runs.
    pub fn op(self) -> Op {
        match self {
            Self::PerLayerInput => Op::PerLayerInput,
            Self::QueryRope => Op::QueryAttention,
        }
    }

    /// The ops that one fused launch stands for.
    pub fn parts(self) -> &'static [Op] {
        match self {
            Self::PerLayerInput => {
                &[Op::ResidualNorm, Op::MatmulBf16, Op::MatmulBf16, Op::ResidualNorm]
            }
            Self::QueryRope => &[Op::HeadNormRope, Op::Attention],
        }
    }

    /// Whether a model has launches that it could put together, whatever its weights are stored as.
    pub fn applies_to(self, config: &ModelConfig) -> bool {
        match self {
            Self::PerLayerInput => {
                let width = config.ple_width;
                width > 0 && width <= PLE_WIDTH_MAX && width.is_multiple_of(8)
            }
            Self::QueryRope => (0..config.layers.len()).any(|i| reads_anothers_cache(config, i)),
        }
    }
}

/// Whether layer `i` has nothing but queries, with heads that the fused kernel can hold.
pub(crate) fn reads_anothers_cache(config: &ModelConfig, i: usize) -> bool {
    let layer = &config.layers[i];
    let dim = layer.head_dim;
    layer.kv_source != i && dim <= HEAD_DIM_MAX && dim.is_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Checkpoint;

    #[test]
    fn names_are_closed_and_in_order() {
        let names = Fusion::ALL.map(Fusion::name);
        assert!(names.is_sorted() && Fusion::ALL.is_sorted());
        for fusion in Fusion::ALL {
            assert_eq!(Fusion::named(fusion.name()).unwrap(), fusion);
            assert!(fusion.parts().len() > 1 && !fusion.parts().contains(&fusion.op()));
        }
        let unknown = Fusion::named("everything").unwrap_err().to_string();
        assert!(names.iter().all(|name| unknown.contains(name)), "{unknown}");
    }

    #[test]
    fn a_fusion_applies_where_a_model_has_its_parts() {
        let nano = Checkpoint::embedded().unwrap();
        let config = nano.config();
        assert!(Fusion::ALL.iter().all(|fusion| fusion.applies_to(config)));
        let mut plain = config.clone();
        plain.ple_width = 0;
        plain.layers.iter_mut().enumerate().for_each(|(i, layer)| layer.kv_source = i);
        assert!(!Fusion::ALL.iter().any(|fusion| fusion.applies_to(&plain)));
    }
}
