//! The dispatch list of a forward pass as plain data, made and checked without a GPU.

mod drafter;
mod fused;
mod moe;
mod parts;
mod target;
#[cfg(test)]
mod tests;
mod weights;

use crate::config::LayerKind;
use crate::load::Block;
use crate::registry::{Access, Op};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::ops::Range;

pub(crate) use drafter::{DraftInputs, DraftPlan, draft_norm_layout, drafter};
pub(crate) use parts::KEY_RANGE;
pub(crate) use target::{PlePlace, TargetInputs, target};
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
    /// Attention over every range of keys `[batch, heads, ranges, dim + 4]`.
    Partials,
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
    /// Scales of a part of it.
    HeadScales(usize),
    /// Weights of a linear layer or a fused group of them.
    Weights(String),
    /// Scales of the same, and whatever else is not in the plane of codes.
    Scales(String),
    /// Scales of a part of the embedding table.
    EmbeddingScales(usize),
    /// Rows of the per-layer embedding table as f32 `[batch, layers * ple_width]`.
    PleRows,
    /// Scales of the per-layer embedding table, where it is quantised and on the device.
    PleScales,
    /// `up` of a feed-forward layer whose gate is in another format `[batch, intermediate]`.
    Up,
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
    /// Eight codes a word and a bf16 scale for every `group` of a row.
    Int4 {
        /// Weights per scale.
        group: u32,
    },
    /// f32, f16 or GGUF blocks in two planes.
    Block(Block),
    /// Codes of 8 or 4 bits and an f32 scale for every `group` of a row, in two planes.
    Scaled {
        /// Bits of a code.
        bits: u32,
        /// Weights per scale.
        group: u32,
    },
}

/// Value of `FORMAT` for 8-bit codes with f32 scales.
const INT8: u32 = 11;
/// Value of `FORMAT` for 4-bit codes with f32 scales.
const INT4: u32 = 12;

impl Format {
    /// The op that multiplies with such weights, input features per unit of its `params`, and the constants
    /// that its kernel needs.
    pub(crate) fn matmul(self) -> (Op, usize, Vec<(&'static str, u32)>) {
        match self {
            Format::Bf16 => (Op::MatmulBf16, 8, Vec::new()),
            Format::Int4 { group } => (Op::MatmulInt4, 32, vec![("GROUP", group)]),
            Format::Block(_) | Format::Scaled { .. } => (Op::MatmulBlock, 32, self.block()),
        }
    }

    /// The constants by which a block kernel knows the format.
    pub(crate) fn block(self) -> Vec<(&'static str, u32)> {
        match self {
            Format::Block(block) => vec![("FORMAT", block as u32)],
            Format::Scaled { bits: 8, group } => vec![("FORMAT", INT8), ("GROUP", group)],
            Format::Scaled { group, .. } => vec![("FORMAT", INT4), ("GROUP", group)],
            Format::Bf16 | Format::Int4 { .. } => Vec::new(),
        }
    }

    /// Whether the weights have a second buffer.
    pub(crate) fn has_scales(self) -> bool {
        self != Format::Bf16
    }
}

/// A table with a row per token, split by rows over several buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) format: Format,
    /// Vocabulary rows of each part.
    pub(crate) parts: Vec<Range<usize>>,
}

/// Rows of a linear layer that lie in one buffer in one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) format: Format,
    pub(crate) rows: usize,
}

/// The pieces of every linear layer or fused group of them, by name, in row order.
pub(crate) type Pieces = BTreeMap<String, Vec<Piece>>;

/// Name of the buffers of piece `index` of the weights `name`.
pub(crate) fn piece_name(name: &str, index: usize) -> String {
    if index == 0 { name.to_string() } else { format!("{name}.{index}") }
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

/// Which batches need a launch, by the position after their last row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All of them.
    All,
    /// Those that end within the first key range.
    FirstRange,
    /// Those that go past it.
    Beyond,
    /// Those that go past it, with so many items for every range up to their end.
    PerRange(u32),
}

impl Reach {
    /// Items of a launch with `items` in all for a batch that ends at `end`; `None` where it is not needed.
    pub(crate) fn items(self, items: u32, end: u32) -> Option<u32> {
        let range = KEY_RANGE as u32;
        match self {
            Reach::All => Some(items),
            Reach::FirstRange => (end <= range).then_some(items),
            Reach::Beyond => (end > range).then_some(items),
            Reach::PerRange(each) => (end > range).then(|| (each * end.div_ceil(range)).min(items)),
        }
    }
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
    /// Values of its other constants; those that are not named keep their defaults.
    pub(crate) constants: Vec<(&'static str, u32)>,
    /// Where above zero, the batch has this many rows of output, each of its own expert, per token.
    pub(crate) experts: u32,
    /// Buffers of bindings 1, 2, …
    pub(crate) bindings: Vec<Buf>,
    /// Words of the `params` uniform.
    pub(crate) params: Vec<u32>,
    /// Items along x; divided by the kernel's items per workgroup.
    pub(crate) items: u32,
    /// Which batches it is for.
    pub(crate) reach: Reach,
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

impl Dispatch {
    /// The buffers that its op binds for writing.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Buf> {
        // Binding 0 is the uniform of constants, which is no buffer of the plan.
        let contract = self.op.entry().bindings.iter().skip(1);
        let bound = self.bindings.iter().zip(contract);
        bound.filter(|(_, (_, access))| *access == Access::Write).map(|(role, _)| role)
    }
}

impl fmt::Display for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dispatch { label, op, mode, constants, experts, bindings, params, items, reach } = self;
        let name = op.entry().name;
        let mode = op.entry().mode_constant.map(|m| (m, *mode));
        let experts = (*experts > 0).then_some(("EXPERTS", *experts));
        let constants = mode.iter().chain(constants).chain(&experts);
        let constants: String = constants.map(|(name, value)| format!(" {name}={value}")).collect();
        write!(f, "{label} | {name}{constants} | items {items} | {bindings:?} | {params:?}")?;
        match reach {
            Reach::All => Ok(()),
            reach => write!(f, " | {reach:?}"),
        }
    }
}
