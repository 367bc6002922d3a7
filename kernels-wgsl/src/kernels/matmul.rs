//! Oracle of the matrix products and their epilogues.

use super::experts::products;
use super::inputs::{ALL_FORMATS, bytes, random_matrix, row_values, wide, zeros};
use super::{Case, Output, ROUNDING, dense_rows};
use crate::load::Block;
use crate::plan::Format;
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

/// Random weights in `format`.
pub(super) fn random_weights(format: Format, rows: usize, cols: usize) -> Weights {
    let matrix = random_matrix(format, 7 + rows as u64, rows, cols);
    let mut values = Vec::new();
    matrix.decode_rows(0..rows, &mut values);
    let (mut codes, mut scales) = (Vec::new(), Vec::new());
    matrix.planes(0..rows, &mut codes, &mut scales);
    let buffers = if format.has_scales() { vec![codes, scales] } else { vec![codes] };
    Weights { values: wide(&values), buffers }
}

/// Cases of the op with bf16 weights.
pub(crate) fn matmul_bf16(rows: Range<usize>) -> Vec<Case> {
    let plain = SHAPES.iter().map(|shape| case(Format::Bf16, *shape, &rows));
    plain.chain(products(Format::Bf16, &rows)).collect()
}

/// Cases of the op with int4 weights: every epilogue, then larger groups and one for the whole row.
pub(crate) fn matmul_int4(rows: Range<usize>) -> Vec<Case> {
    let int4 = |group| Format::Int4 { group };
    let plain = SHAPES.iter().map(|shape| case(int4(32), *shape, &rows));
    let groups = [(64, (33, 192, 0)), (128, (24, 384, 3)), (96, (10, 96, 1))];
    let groups = groups.map(|(group, shape)| case(int4(group), shape, &rows));
    plain.chain(groups).chain(products(int4(32), &rows)).collect()
}

/// Cases of the op with weights in every other storage type.
pub(crate) fn matmul_block(rows: Range<usize>) -> Vec<Case> {
    let of_format = |(i, format): (usize, &Format)| {
        let blocks = match format {
            Format::Block(block) => block.layout().0,
            Format::Scaled { group, .. } => *group as usize,
            _ => 32,
        };
        // Odd numbers of blocks where the type allows them, so that rows need padding.
        let cols = if blocks <= 32 { 160 } else { 3 * blocks };
        let even = case(*format, (20, cols, 3), &rows);
        [case(*format, (33, cols, i as u32 % 3), &rows), even]
    };
    let plain = ALL_FORMATS.iter().enumerate().flat_map(of_format);
    plain.chain(products(Format::Block(Block::Q5_0), &rows)).collect()
}

/// What rounding explains of the products of every row of `matrix` with `x`.
pub(super) fn sum_tolerance(matrix: &[f64], x: &[f64], mode: u32) -> f64 {
    let magnitude = |w: &[f64]| -> f64 { w.iter().zip(x).map(|(w, x)| (w * x).abs()).sum() };
    let magnitude = matrix.chunks(x.len()).map(magnitude).fold(1.0, f64::max);
    // A gated pair multiplies one sum's error with the other sum.
    let gain = if mode == 3 { 2.0 * magnitude.sqrt() } else { 1.0 };
    (x.len() + 16) as f64 * 0.1 * ROUNDING * magnitude * gain + 64.0 * ROUNDING
}

fn case(format: Format, (out, cols, mode): (usize, usize, u32), rows: &Range<usize>) -> Case {
    let weights = random_weights(format, out, cols);
    let (op, unit, constants) = format.matmul();
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
    let sizes = [out, cols / unit, y_rows, 0, gate_stride, gate_at].map(|n| n as u32);
    Case {
        name: format!("{format:?} [{out}, {cols}] epilogue {mode}"),
        why: WHY,
        op,
        mode,
        constants,
        experts: 0,
        params: sizes.into_iter().chain([cap]).collect(),
        items: out,
        position: rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: buffers.len() + 1, integer: false, rows: rows_of_y }],
        buffers,
    }
}
