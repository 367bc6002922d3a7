//! Launches that the target's and the drafter's layers have in common.

use super::{Buf, Dispatch, Epilogue, Format};
use crate::registry::Op;
use std::collections::BTreeMap;

/// Rounds a host constant to the f32 word a kernel reads.
pub(super) fn f32_bits(value: f64) -> u32 {
    (value as f32).to_bits()
}

/// A launch without a mode.
pub(super) fn launch(
    label: impl Into<String>,
    op: Op,
    bindings: Vec<Buf>,
    params: Vec<u32>,
    items: usize,
) -> Dispatch {
    Dispatch { label: label.into(), op, mode: 0, experts: 0, bindings, params, items: items as u32 }
}

/// Operands of one matmul.
pub(super) struct Matmul<'a> {
    pub(super) label: String,
    pub(super) weights: &'a str,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) step: Buf,
    pub(super) x: Buf,
    pub(super) y: Buf,
    pub(super) y_stride: usize,
    /// First value of a row of y that is written.
    pub(super) y_at: usize,
    pub(super) epilogue: Epilogue,
    /// For [`Epilogue::Gate`]: buffer, row stride and offset of the factors.
    pub(super) gate: Option<(Buf, usize, usize)>,
}

impl Matmul<'_> {
    pub(super) fn dispatch(self, formats: &BTreeMap<String, Format>) -> Dispatch {
        let format = formats.get(self.weights).copied().unwrap_or(Format::Bf16);
        // An op without a gate still has the binding; any buffer that is only read will do.
        let (gate, gate_stride, gate_at) = self.gate.unwrap_or((self.x.clone(), 0, 0));
        let weights = Buf::Weights(self.weights.into());
        let (op, chunk, bindings) = match format {
            Format::Bf16 => (Op::MatmulBf16, 8, vec![self.step, self.x, weights, gate, self.y]),
            Format::Int4 => {
                let scales = Buf::Scales(self.weights.into());
                (Op::MatmulInt4, 32, vec![self.step, self.x, weights, scales, gate, self.y])
            }
        };
        let sizes =
            [self.rows, self.cols / chunk, self.y_stride, self.y_at, gate_stride, gate_at, 0];
        let params = sizes.iter().map(|&n| n as u32).collect();
        let mode = self.epilogue as u32;
        Dispatch { mode, ..launch(self.label, op, bindings, params, self.rows) }
    }
}

/// Operands of a residual step; norm offsets in values.
pub(super) struct Residual {
    pub(super) label: String,
    pub(super) width: usize,
    pub(super) post_at: usize,
    pub(super) next_at: Option<usize>,
    pub(super) scale: f32,
    pub(super) epsilon: f64,
    /// Step, branch, norm weights, residual, output.
    pub(super) bindings: [Buf; 5],
}

impl Residual {
    pub(super) fn dispatch(self) -> Dispatch {
        let params = vec![
            self.width as u32 / 4,
            self.post_at as u32 / 4,
            self.next_at.map_or(u32::MAX, |at| at as u32 / 4),
            self.scale.to_bits(),
            f32_bits(self.epsilon),
        ];
        launch(self.label, Op::ResidualNorm, self.bindings.to_vec(), params, 1)
    }
}
