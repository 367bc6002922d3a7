//! Model geometry, read from `config.json` and checked before anything is allocated from it.
//!
//! Two styles of file exist: published ones with `global_head_dim`, and re-saved ones with
//! `per_layer_config`. Both are accepted, nested under `text_config` or not.

mod drafter;
mod keys;
mod layers;
mod parse;
mod rope;

pub(crate) use keys::Keys;
use serde::Serialize;

/// Which generation of the model a checkpoint belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Gemma 4, whatever its size.
    Gemma4,
    /// Gemma 3 text models, the smaller ancestor.
    Gemma3,
}

/// How a layer attends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// The last `sliding_window` positions, the query's own among them.
    Sliding,
    /// Every position up to the query's own.
    Full,
}

/// Geometry of one decoder layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerConfig {
    /// Sliding or full attention.
    pub kind: LayerKind,
    /// Width of one head.
    pub head_dim: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Width of the feed-forward product; of the dense branch where there are experts too.
    pub intermediate: usize,
    /// The values are the raw key projection: there is no value projection.
    pub k_eq_v: bool,
    /// The layer whose K/V cache this one reads; its own index where it writes one itself.
    pub kv_source: usize,
}

/// Rotary position parameters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RopeConfig {
    /// Base of the sliding layers, where every dimension rotates.
    pub sliding_theta: f64,
    /// Base of the full layers.
    pub full_theta: f64,
    /// Fraction of the head that rotates in full layers; the exponent's denominator stays the whole head.
    pub full_fraction: f64,
    /// Positions of full layers are divided by this.
    pub full_factor: f64,
}

/// Experts beside the dense feed-forward product, the same in every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MoeConfig {
    /// Experts per layer.
    pub experts: usize,
    /// Experts that run for one token.
    pub per_token: usize,
    /// Width of one expert's product.
    pub intermediate: usize,
}

/// Geometry and constants of a Gemma text model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelConfig {
    /// Generation of the model.
    pub family: Family,
    /// Vocabulary size V.
    pub vocab: usize,
    /// Residual width H.
    pub hidden: usize,
    /// Query heads, the same in every layer.
    pub heads: usize,
    /// The decoder layers, first to last.
    pub layers: Vec<LayerConfig>,
    /// Experts of every layer, where there are any.
    pub moe: Option<MoeConfig>,
    /// Factor on the scores of attention.
    pub attention_scale: f64,
    /// Values go through an RMSNorm without a weight.
    pub value_norm: bool,
    /// Every layer ends by multiplying the residual with a stored `layer_scalar`.
    pub layer_scalar: bool,
    /// Norm weights are stored less one.
    pub norm_plus_one: bool,
    /// The output head is the embedding table; otherwise it is `lm_head.weight`.
    pub tied_head: bool,
    /// Width of a per-layer embedding, 0 where the model has none.
    pub ple_width: usize,
    /// Rows of the per-layer embedding table.
    pub ple_vocab: usize,
    /// Keys a sliding layer sees, the query's own among them.
    pub sliding_window: usize,
    /// Longest context the model was made for, in tokens.
    pub max_positions: usize,
    /// Added to the mean square in every RMSNorm.
    pub norm_epsilon: f64,
    /// Final logits are `cap * tanh(z / cap)`; absent: no cap.
    pub logit_cap: Option<f64>,
    /// Rotary parameters.
    pub rope: RopeConfig,
    /// First token of every sequence.
    pub bos: u32,
    /// Tokens that end a generation.
    pub eos: Vec<u32>,
    /// Tokens that must never be sampled.
    pub suppress: Vec<u32>,
    /// Linear layers are stored as compressed-tensors int4.
    pub int4: bool,
    /// Bits of a code and weights per scale of every group of `quantization_config`; 0 for a scale per row.
    #[serde(skip)]
    pub quantised: Vec<(usize, usize)>,
}

impl ModelConfig {
    /// Index of the first layer that reads another layer's K/V; the layer count where none does.
    pub fn first_shared_layer(&self) -> usize {
        let own = |&(i, layer): &(usize, &LayerConfig)| layer.kv_source == i;
        self.layers.iter().enumerate().take_while(own).count()
    }

    /// The last layer of `kind` that writes its own K/V: what shared layers and the drafter read.
    pub fn kv_source_of(&self, kind: LayerKind) -> Option<usize> {
        let shared = self.first_shared_layer();
        self.layers[..shared].iter().rposition(|layer| layer.kind == kind)
    }

    /// Rotated pairs per head in layers of `kind` with heads of `head_dim`.
    pub fn rotated_pairs(&self, kind: LayerKind, head_dim: usize) -> usize {
        match kind {
            LayerKind::Sliding => head_dim / 2,
            LayerKind::Full => (self.rope.full_fraction * head_dim as f64 / 2.0) as usize,
        }
    }

    /// Widest q/k/v projection of any layer, in values per token.
    pub(crate) fn widest_qkv(&self) -> usize {
        let width = |l: &LayerConfig| (self.heads + 2 * l.kv_heads) * l.head_dim;
        self.layers.iter().map(width).max().unwrap_or(0)
    }

    /// Widest concatenation of query heads of any layer, in values per token.
    pub(crate) fn widest_heads(&self) -> usize {
        self.layers.iter().map(|l| self.heads * l.head_dim).max().unwrap_or(0)
    }

    /// Widest feed-forward product of any layer, in values per token.
    pub(crate) fn widest_mlp(&self) -> usize {
        self.layers.iter().map(|l| l.intermediate).max().unwrap_or(0)
    }
}

/// Geometry of an MTP drafter (`gemma4_assistant`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrafterConfig {
    /// The four query-only layers and the drafter's own width; `kv_source` is the drafter's layer index.
    pub text: ModelConfig,
    /// Width of the target's residual.
    pub backbone_hidden: usize,
    /// Clusters of the centroid head; 0 for a dense head.
    pub centroids: usize,
    /// Clusters searched per step.
    pub centroids_searched: usize,
}
