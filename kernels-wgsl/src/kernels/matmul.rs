//! Oracle of the matrix products and their epilogues.

use super::experts::products;
use super::inputs::{bf16_values, bytes, row_values, values, wide, zeros};
use super::{Case, Output, ROUNDING, dense_rows};
use crate::load::Matrix;
use crate::quantize::dequantise;
use crate::registry::Op;
use std::ops::Range;

pub(super) const WHY: &str = "k products and sums each round once, so a sum is off by at most (k + 16) roundings of the sum of \
                   magnitudes, of which random signs leave under a tenth; gelu and tanh add a few more";
const CAP: f64 = 30.0;

/// Rows, columns and epilogue of every case: more rows than a workgroup, fewer, and uneven lane loads.
const SHAPES: [(usize, usize, u32); 6] =
    [(72, 256, 0), (10, 32, 0), (33, 96, 0), (40, 160, 1), (32, 128, 2), (52, 192, 3)];

pub(super) fn gelu(v: f64) -> f64 {
    let u = libm::sqrt(2.0 / std::f64::consts::PI) * (v + 0.044715 * v * v * v);
    0.5 * v * (1.0 + libm::tanh(u))
}

/// Weights of a case: values as the kernel means them, and the buffers it reads.
pub(super) struct Weights {
    pub(super) values: Vec<f64>,
    pub(super) buffers: Vec<Vec<u8>>,
}

fn weights_bf16(rows: usize, cols: usize) -> Weights {
    let (values, bytes) = bf16_values(7 + rows as u64, rows * cols);
    Weights { values, buffers: vec![bytes] }
}

fn weights_int4(rows: usize, cols: usize) -> Weights {
    let codes: Vec<u8> = values(3 + rows as u64, rows * cols / 2)
        .iter()
        .map(|v| (v * 128.0 + 128.0) as u8)
        .collect();
    let (_, scales) = bf16_values(5, rows * cols / 32);
    let matrix = Matrix::Int4 { rows, codes: &codes, scales: scales.as_slice().into() };
    let values = wide(&dequantise(&matrix));
    // Every row of scales is padded to whole words.
    let width = cols / 32 * 2;
    let pad = vec![0u8; width % 4];
    let padded = scales.chunks(width).flat_map(|row| [row, &pad].concat()).collect();
    Weights { values, buffers: vec![codes, padded] }
}

/// Cases of the op with bf16 weights.
pub(crate) fn matmul_bf16(rows: Range<usize>) -> Vec<Case> {
    let shape = |&(out, cols, mode): &(usize, usize, u32)| {
        case(Op::MatmulBf16, weights_bf16(out, cols), (out, cols, cols / 8), mode, &rows)
    };
    let experts = products(Op::MatmulBf16, 8, &rows, weights_bf16);
    SHAPES.iter().map(shape).chain(experts).collect()
}

/// Cases of the op with int4 weights.
pub(crate) fn matmul_int4(rows: Range<usize>) -> Vec<Case> {
    let shape = |&(out, cols, mode): &(usize, usize, u32)| {
        case(Op::MatmulInt4, weights_int4(out, cols), (out, cols, cols / 32), mode, &rows)
    };
    let experts = products(Op::MatmulInt4, 32, &rows, weights_int4);
    SHAPES.iter().map(shape).chain(experts).collect()
}

/// What rounding explains of the products of every row of `matrix` with `x`.
pub(super) fn sum_tolerance(matrix: &[f64], x: &[f64], mode: u32) -> f64 {
    let magnitude = |w: &[f64]| -> f64 { w.iter().zip(x).map(|(w, x)| (w * x).abs()).sum() };
    let magnitude = matrix.chunks(x.len()).map(magnitude).fold(1.0, f64::max);
    // A gated pair multiplies one sum's error with the other sum.
    let gain = if mode == 3 { 2.0 * magnitude.sqrt() } else { 1.0 };
    (x.len() + 16) as f64 * 0.1 * ROUNDING * magnitude * gain + 64.0 * ROUNDING
}

fn case(
    op: Op,
    weights: Weights,
    (out, cols, chunks): (usize, usize, usize),
    mode: u32,
    rows: &Range<usize>,
) -> Case {
    let x = row_values(11, rows.clone(), cols);
    let y_rows = if mode == 3 { out / 2 } else { out };
    // One factor more than there are rows, so that a wrong stride shows.
    let (gate_stride, gate_at) = (y_rows + 3, 2);
    let gate = row_values(13, rows.clone(), gate_stride);
    let expected = |row: usize| {
        let at = row - rows.start;
        let x = wide(&x[at * cols..(at + 1) * cols]);
        let gate = wide(&gate[at * gate_stride + gate_at..][..y_rows]);
        let dot = |w: &[f64]| -> f64 { w.iter().zip(&x).map(|(w, x)| w * x).sum() };
        let sums: Vec<f64> = weights.values.chunks(cols).map(dot).collect();
        let values: Vec<f64> = match mode {
            1 => sums.iter().map(|s| CAP * libm::tanh(s / CAP)).collect(),
            2 => sums.iter().zip(&gate).map(|(s, g)| gelu(*s) * g).collect(),
            3 => sums.chunks(2).map(|pair| gelu(pair[0]) * pair[1]).collect(),
            _ => sums,
        };
        (values, sum_tolerance(&weights.values, &x, mode))
    };
    let mut buffers = vec![bytes(&x)];
    let rows_of_y = dense_rows(rows, expected);
    buffers.extend(weights.buffers);
    buffers.push(bytes(&gate));
    buffers.push(zeros(rows.len() * y_rows));
    let cap = (CAP as f32).to_bits();
    let sizes = [out, chunks, y_rows, 0, gate_stride, gate_at].map(|n| n as u32);
    Case {
        name: format!("[{out}, {cols}] epilogue {mode}"),
        why: WHY,
        op,
        mode,
        experts: 0,
        params: sizes.into_iter().chain([cap]).collect(),
        items: out,
        position: rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: buffers.len() + 1, integer: false, rows: rows_of_y }],
        buffers,
    }
}
