//! Launches that the target's and the drafter's layers have in common.

use super::{Buf, Dispatch, Epilogue, Format, Piece, Pieces, piece_name};
use crate::registry::Op;
use std::ops::Range;

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
    let (label, items) = (label.into(), items as u32);
    Dispatch { label, op, mode: 0, constants: Vec::new(), experts: 0, bindings, params, items }
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
    pub(super) epilogue: Epilogue,
    /// For [`Epilogue::Gate`]: buffer, row stride and offset of the factors.
    pub(super) gate: Option<(Buf, usize, usize)>,
}

impl Matmul<'_> {
    /// One launch for every piece of the weights; weights without an entry are bf16 in one piece.
    pub(super) fn dispatches(self, pieces: &Pieces) -> Vec<Dispatch> {
        let whole = [Piece { format: Format::Bf16, rows: self.rows }];
        let pieces = pieces.get(self.weights).map_or(&whole[..], Vec::as_slice);
        let mut y_at = 0;
        let mut list = Vec::with_capacity(pieces.len());
        for (index, piece) in pieces.iter().enumerate() {
            // An op without a gate still has the binding; any buffer that is only read will do.
            let (gate, gate_stride, gate_at) = self.gate.clone().unwrap_or((self.x.clone(), 0, 0));
            let gate_at = if self.gate.is_some() { gate_at + y_at } else { 0 };
            let name = piece_name(self.weights, index);
            let product = Product {
                label: self.label.clone(),
                format: piece.format,
                shape: (piece.rows, self.cols),
                step: self.step.clone(),
                x: self.x.clone(),
                weights: (Buf::Weights(name.clone()), Buf::Scales(name)),
                y: (self.y.clone(), self.y_stride, y_at),
                gate: (gate, gate_stride, gate_at),
                epilogue: self.epilogue,
                cap: 0.0,
            };
            list.push(product.dispatch());
            y_at += if self.epilogue == Epilogue::GatedPairs { piece.rows / 2 } else { piece.rows };
        }
        list
    }

    /// One launch for the experts in `held`, of which every batch row takes `experts`; their ids are the
    /// gate. A piece holds them one below the other, `rows` each.
    pub(super) fn of_experts(
        self,
        pieces: &Pieces,
        held: &Range<usize>,
        experts: usize,
    ) -> Dispatch {
        let format = pieces.get(self.weights).and_then(|p| p.first()).map(|p| p.format);
        let name = self.weights.to_string();
        let (gate, gate_stride, _) = self.gate.unwrap_or((self.x.clone(), 0, 0));
        let product = Product {
            label: self.label,
            format: format.unwrap_or(Format::Bf16),
            shape: (self.rows, self.cols),
            step: self.step,
            x: self.x,
            weights: (Buf::Weights(name.clone()), Buf::Scales(name)),
            y: (self.y, self.y_stride, 0),
            gate: (gate, gate_stride, held.start),
            epilogue: self.epilogue,
            cap: 0.0,
        };
        let mut dispatch = product.dispatch();
        dispatch.params.push(held.len() as u32);
        Dispatch { experts: experts as u32, ..dispatch }
    }
}

/// Operands of one launch of a matrix product.
pub(super) struct Product {
    pub(super) label: String,
    pub(super) format: Format,
    /// Output and input features.
    pub(super) shape: (usize, usize),
    pub(super) step: Buf,
    pub(super) x: Buf,
    /// Codes and scales.
    pub(super) weights: (Buf, Buf),
    /// Output, its row stride and where in a row it begins.
    pub(super) y: (Buf, usize, usize),
    /// Factors, their row stride and where in a row they begin.
    pub(super) gate: (Buf, usize, usize),
    pub(super) epilogue: Epilogue,
    pub(super) cap: f64,
}

impl Product {
    pub(super) fn dispatch(self) -> Dispatch {
        let (op, unit, constants) = self.format.matmul();
        let (rows, cols) = self.shape;
        let (y, y_stride, y_at) = self.y;
        let (gate, gate_stride, gate_at) = self.gate;
        let (weights, scales) = self.weights;
        let mut bindings = vec![self.step, self.x, weights];
        if self.format.has_scales() {
            bindings.push(scales);
        }
        bindings.extend([gate, y]);
        let sizes = [rows, cols / unit, y_stride, y_at, gate_stride, gate_at].map(|n| n as u32);
        let params = sizes.into_iter().chain([f32_bits(self.cap)]).collect();
        let mode = self.epilogue as u32;
        Dispatch { mode, constants, ..launch(self.label, op, bindings, params, rows) }
    }
}

/// Operands of the lookup of token rows in one part of an embedding table.
pub(super) struct Lookup {
    pub(super) label: String,
    pub(super) format: Format,
    pub(super) width: usize,
    /// Tokens of the part.
    pub(super) tokens: Range<usize>,
    pub(super) scale: f32,
    /// Where in the token buffer the first row's token is.
    pub(super) token_at: usize,
    pub(super) step: Buf,
    /// Codes and scales.
    pub(super) table: (Buf, Buf),
    pub(super) x: Buf,
}

impl Lookup {
    pub(super) fn dispatch(self) -> Dispatch {
        let (table, scales) = self.table;
        let held = [self.tokens.start, self.tokens.len()].map(|n| n as u32);
        let (width, scale) = (self.width as u32, self.scale.to_bits());
        if self.format == Format::Bf16 {
            let bindings = vec![self.step, Buf::Tokens, table, self.x];
            let params = vec![width, held[0], held[1], scale];
            return launch(self.label, Op::Embed, bindings, params, self.width / 2);
        }
        let bindings = vec![self.step, Buf::Tokens, table, scales, self.x];
        let params = vec![width / 32, held[0], held[1], scale, self.token_at as u32, width];
        let lookup = launch(self.label, Op::EmbedBlock, bindings, params, self.width / 32);
        Dispatch { constants: self.format.block(), ..lookup }
    }
}

/// Positions of one range of split attention.
pub(crate) const KEY_RANGE: usize = 512;

/// Operands of attention over a cache.
pub(super) struct Attention {
    pub(super) label: String,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) dim: usize,
    pub(super) ring: usize,
    /// Keys a sliding layer sees; `None` for a full one.
    pub(super) window: Option<usize>,
    /// The query's own position has no key.
    pub(super) hides_own: bool,
    /// Ranges that the keys of a full layer are split into; 1 for none.
    pub(super) ranges: usize,
    /// Step, queries, keys, values, output.
    pub(super) bindings: [Buf; 5],
}

impl Attention {
    /// One launch, or two where the keys are split. A window bounds the work of a sliding layer, so only full
    /// layers are split.
    pub(super) fn dispatches(self) -> Vec<Dispatch> {
        let Attention { label, heads, ranges, .. } = self;
        let mode = self.dim as u32;
        let sizes = [heads, self.kv_heads, self.ring].map(|n| n as u32);
        let window = self.window.map_or(u32::MAX, |w| w as u32);
        let hides = u32::from(self.hides_own);
        let [step, queries, keys, values, out] = self.bindings;
        let params = sizes.into_iter().chain([window, hides]);
        if ranges == 1 || self.window.is_some() {
            let bindings = vec![step, queries, keys, values, out];
            let whole = launch(label, Op::Attention, bindings, params.collect(), heads);
            return vec![Dispatch { mode, ..whole }];
        }
        let bindings = vec![step.clone(), queries, keys, values, Buf::Partials];
        let params = params.chain([ranges as u32]).collect();
        let parts = format!("{label}, ranges");
        let parts = launch(parts, Op::AttentionPart, bindings, params, heads * ranges);
        let params = vec![heads as u32, window, hides, ranges as u32];
        let merge =
            launch(label, Op::AttentionMerge, vec![step, Buf::Partials, out], params, heads);
        vec![Dispatch { mode, ..parts }, Dispatch { mode, ..merge }]
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
