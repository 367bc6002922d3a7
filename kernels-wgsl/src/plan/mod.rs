//! The dispatch list of a forward pass as plain data, made and checked without a GPU.

mod drafter;
mod moe;
mod parts;
mod target;
#[cfg(test)]
mod tests;
mod weights;

use crate::config::LayerKind;
use crate::load::Matrix;
use crate::registry::Op;
use std::fmt::{self, Write as _};

pub(crate) use drafter::{DraftInputs, DraftPlan, draft_norm_layout, drafter};
pub(crate) use target::{TargetInputs, target};
pub(crate) use weights::norm_layout;

/// A buffer by its role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Buf {
    /// `[position of the first row, rows]`.
    Step,
    /// Token ids of the rows.
    Tokens,
    /// Greedy choice of every row.
    Next,
    /// Residual stream `[batch, hidden]`.
    Residual,
    /// Output of the latest norm `[batch, hidden]`; after the last layer, the final hidden state.
    Normed,
    /// Raw q, k, v `[batch, heads + 2 kv_heads, dim]`; without v where the values are the keys.
    Qkv,
    /// Normed and rotated queries `[batch, heads, dim]`.
    Queries,
    /// Attention output `[batch, heads, dim]`.
    Heads,
    /// A branch's output before its post-norm `[batch, hidden]`.
    Branch,
    /// `gelu(gate) * up` `[batch, intermediate]`.
    Product,
    /// Context projection of the per-layer embeddings `[batch, layers * ple_width]`.
    PleContext,
    /// Per-layer embeddings `[batch, layers * ple_width]`.
    Ple,
    /// Gated per-layer embedding `[batch, ple_width]`.
    PleGated,
    /// Logits `[batch, vocab]`.
    Logits,
    /// Every norm weight, one after the other.
    Norms,
    /// Rotation table of a layer kind: (cos, sin) of every rotated pair at positions 0 to 255, then at every
    /// 256th position of the context.
    Rope(LayerKind),
    /// Per-layer embedding table, whole or the rows of this step.
    PleTable,
    /// A part of the embedding table, which is also the output head where that is tied.
    Embedding(usize),
    /// A part of an output head of its own.
    Head(usize),
    /// Weights of a linear layer or a fused group of them.
    Weights(String),
    /// int4 scales of the same.
    Scales(String),
    /// Keys written by a layer `[ring, kv_heads, dim]`.
    Keys(usize),
    /// Values written by a layer `[ring, kv_heads, dim]`.
    Values(usize),
    /// A buffer of the experts.
    Moe(MoeBuf),
    /// A buffer of the drafter.
    Draft(DraftBuf),
    /// A binding of a registry case.
    Slot(usize),
}

/// A buffer of layers with experts by its role; `e` experts run for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MoeBuf {
    /// The router's input `[batch, hidden]`.
    RouterIn,
    /// The router's scores `[batch, experts]`.
    Scores,
    /// Experts of a token `[batch, e]`, as f32.
    Ids,
    /// Their shares of the output `[batch, e]`.
    Shares,
    /// The experts' input `[batch, hidden]`.
    Input,
    /// `gelu(gate) * up` of every expert `[batch, e, intermediate]`.
    Product,
    /// Output of every expert `[batch, e, hidden]`.
    Output,
    /// Both branches, each normed, added `[batch, hidden]`.
    Mixed,
}

/// A buffer of the drafter by its role; `h` is the drafter's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DraftBuf {
    /// `[position, 1]`: every draft of a round is at the position of the token it starts from.
    Step,
    /// `[embedding ; hidden]` `[2 * target hidden]`.
    Input,
    /// Residual `[h]`.
    Residual,
    /// Output of the latest norm `[h]`.
    Normed,
    /// Raw queries.
    Projected,
    /// Normed and rotated queries.
    Queries,
    /// Attention output.
    Heads,
    /// A branch's output before its post-norm `[h]`.
    Branch,
    /// `gelu(gate) * up`.
    Product,
    /// The hidden state that the next draft step is fed with `[target hidden]`.
    Hidden,
    /// Score of every centroid.
    Scores,
    /// Clusters searched.
    Chosen,
    /// Logits of the candidates.
    Logits,
    /// Every norm weight.
    Norms,
    /// Token ids in cluster order.
    Ordering,
    /// A part of the drafter's output head `[vocab, h]`.
    Head(usize),
}

/// How a linear layer's weights are stored on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Two values a word.
    Bf16,
    /// Eight codes a word and a bf16 scale per 32.
    Int4,
}

impl Format {
    /// The format `matrix` is in.
    pub(crate) fn of(matrix: &Matrix<'_>) -> Format {
        match matrix {
            Matrix::Bf16 { .. } => Format::Bf16,
            Matrix::Int4 { .. } => Format::Int4,
        }
    }
}

/// What a matmul does with its sums; the values of `EPILOGUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Epilogue {
    /// Store them.
    Store = 0,
    /// Soft-cap them.
    Cap = 1,
    /// `gelu(s) * gate`.
    Gate = 2,
    /// Rows alternate gate and up: `gelu(gate) * up`.
    GatedPairs = 3,
}

/// One kernel launch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dispatch {
    /// What it computes, for people.
    pub(crate) label: String,
    /// Which kernel.
    pub(crate) op: Op,
    /// Value of the op's mode constant.
    pub(crate) mode: u32,
    /// Where above zero, the batch has this many rows of output, each of its own expert, per token.
    pub(crate) experts: u32,
    /// Buffers of bindings 1, 2, …
    pub(crate) bindings: Vec<Buf>,
    /// Words of the `params` uniform.
    pub(crate) params: Vec<u32>,
    /// Items along x; divided by the kernel's items per workgroup.
    pub(crate) items: u32,
}

/// The dispatches of one target forward pass and where its sections end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Embedding to logits, in order.
    pub(crate) dispatches: Vec<Dispatch>,
    /// Dispatches up to the last cache write: all a prompt token needs whose logits nobody reads.
    pub(crate) cache_end: usize,
    /// Argmax that feeds the next single-token step.
    pub(crate) feed: Dispatch,
    /// Argmax of every row of a batch.
    pub(crate) choose: Dispatch,
}

impl Plan {
    /// One line per dispatch, as the snapshot tests pin it.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let tail = [&self.feed, &self.choose];
        for (i, dispatch) in self.dispatches.iter().chain(tail).enumerate() {
            if i == self.cache_end {
                text.push_str("-- cache complete --\n");
            }
            let _ = writeln!(text, "{i:3} {dispatch}");
        }
        text
    }
}

impl fmt::Display for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dispatch { label, op, mode, experts, bindings, params, items } = self;
        let name = op.entry().name;
        let mode = op.entry().mode_constant.map(|m| format!(" {m}={mode}")).unwrap_or_default();
        let experts = if *experts > 0 { format!(" EXPERTS={experts}") } else { String::new() };
        write!(f, "{label} | {name}{mode}{experts} | items {items} | {bindings:?} | {params:?}")
    }
}
