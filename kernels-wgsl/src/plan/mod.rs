//! The dispatch list of a forward pass as plain data, made and checked without a GPU.

mod target;

use crate::config::LayerKind;
use crate::load::Matrix;
use crate::registry::Op;
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(crate) use target::{TargetInputs, norm_layout, target};

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
    /// Raw q, k, v `[batch, heads + 2 kv_heads, dim]`.
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
    /// Rotation table of a layer kind, `[context, rotated pairs]` of (cos, sin).
    Rope(LayerKind),
    /// Per-layer embedding table, whole or the rows of this step.
    PleTable,
    /// A part of the embedding table, which is also the output head.
    Embedding(usize),
    /// Weights of a linear layer or a fused group of them.
    Weights(String),
    /// int4 scales of the same.
    Scales(String),
    /// Keys written by a layer `[ring, kv_heads, dim]`.
    Keys(usize),
    /// Values written by a layer `[ring, kv_heads, dim]`.
    Values(usize),
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
    /// Buffers of bindings 1, 2, …
    pub(crate) bindings: Vec<Buf>,
    /// Words of the `params` uniform.
    pub(crate) params: Vec<u32>,
    /// Items along x; divided by the kernel's items per workgroup.
    pub(crate) items: u32,
}

/// Operands of one matmul.
pub(crate) struct Matmul<'a> {
    pub(crate) label: String,
    pub(crate) weights: &'a str,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) x: Buf,
    pub(crate) y: Buf,
    pub(crate) y_stride: usize,
    pub(crate) epilogue: Epilogue,
    /// For [`Epilogue::Gate`]: buffer, row stride and offset of the factors.
    pub(crate) gate: Option<(Buf, usize, usize)>,
}

impl Matmul<'_> {
    pub(crate) fn dispatch(self, formats: &BTreeMap<String, Format>) -> Dispatch {
        let format = formats.get(self.weights).copied().unwrap_or(Format::Bf16);
        let (gate, gate_stride, gate_at) = self.gate.unwrap_or((self.x.clone(), 0, 0));
        let weights = Buf::Weights(self.weights.into());
        let (op, chunk, bindings) = match format {
            Format::Bf16 => (Op::MatmulBf16, 8, vec![Buf::Step, self.x, weights, gate, self.y]),
            Format::Int4 => {
                let scales = Buf::Scales(self.weights.into());
                (Op::MatmulInt4, 32, vec![Buf::Step, self.x, weights, scales, gate, self.y])
            }
        };
        let sizes = [self.rows, self.cols / chunk, self.y_stride, 0, gate_stride, gate_at];
        let mut params: Vec<u32> = sizes.iter().map(|&n| n as u32).collect();
        params.push(0);
        Dispatch {
            label: self.label,
            op,
            mode: self.epilogue as u32,
            bindings,
            params,
            items: self.rows as u32,
        }
    }
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
        for (i, d) in self.dispatches.iter().chain(tail).enumerate() {
            if i == self.cache_end {
                text.push_str("-- cache complete --\n");
            }
            let mode = d.op.entry().mode_constant.map(|m| format!(" {m}={}", d.mode));
            let _ = writeln!(
                text,
                "{i:3} {} | {}{} | items {} | {:?} | {:?}",
                d.label,
                d.op.entry().name,
                mode.unwrap_or_default(),
                d.items,
                d.bindings,
                d.params
            );
        }
        text
    }
}
