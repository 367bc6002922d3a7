//! Oracle of head norms, rotation and the cache write.

use super::inputs::{bytes, row_values, values, wide, zeros};
use super::norms::rms_norm;
use super::{Case, Output, OutputRow, ROUNDING};
use crate::registry::Op;
use std::ops::Range;

const WHY: &str = "a norm of a head and one rotation: some forty roundings of values below 8";
const TOLERANCE: f64 = 40.0 * ROUNDING * 8.0;
/// Position of batch row 0: with a ring of 11, rows of one batch wrap around it.
const FIRST: usize = 30;
const RING: usize = 11;

struct Shape {
    heads: usize,
    kv_heads: usize,
    dim: usize,
    rotated: usize,
    owns_cache: bool,
}

/// Cases: every pair rotated; some; and a layer that shares its cache.
pub(crate) fn head_norm_rope(rows: Range<usize>) -> Vec<Case> {
    [(4, 1, 64, 32, true), (4, 2, 128, 16, true), (2, 1, 256, 128, false)]
        .into_iter()
        .map(|(heads, kv_heads, dim, rotated, owns_cache)| {
            case(&Shape { heads, kv_heads, dim, rotated, owns_cache }, &rows)
        })
        .collect()
}

fn rotate(x: &[f64], table: &[f64], position: usize, rotated: usize) -> Vec<f64> {
    let half = x.len() / 2;
    let mut out = x.to_vec();
    for j in 0..rotated {
        let at = 2 * (position * rotated + j);
        let (cos, sin) = (table[at], table[at + 1]);
        out[j] = x[j] * cos - x[j + half] * sin;
        out[j + half] = x[j + half] * cos + x[j] * sin;
    }
    out
}

fn case(shape: &Shape, rows: &Range<usize>) -> Case {
    let Shape { heads, kv_heads, dim, rotated, owns_cache } = *shape;
    let slots = heads + if owns_cache { 2 * kv_heads } else { 0 };
    let qkv = row_values(41, rows.clone(), slots * dim);
    let weights = values(42, 2 * dim);
    let rope = values(43, 2 * (FIRST + 16) * rotated);
    let (wide_weights, wide_rope) = (wide(&weights), wide(&rope));
    let turned = |row: usize, range: Range<usize>, weight: Range<usize>| -> Vec<f64> {
        let values = wide(&qkv[(row - rows.start) * slots * dim..][..slots * dim]);
        let heads = values[range.start * dim..range.end * dim].chunks(dim);
        let normed = heads.map(|head| rms_norm(head, Some(&wide_weights[weight.clone()])));
        normed.flat_map(|head| rotate(&head, &wide_rope, FIRST + row, rotated)).collect()
    };
    let output = |binding, rows_of: Vec<(usize, Vec<f64>)>| Output {
        binding,
        integer: false,
        rows: rows_of
            .into_iter()
            .map(|(at, expected)| OutputRow { at, expected, tolerance: TOLERANCE })
            .collect(),
    };
    let queries = |row| ((row - rows.start) * heads * dim, turned(row, 0..heads, 0..dim));
    let mut outputs = vec![output(5, rows.clone().map(queries).collect())];
    if owns_cache {
        let cell = |row: usize| (FIRST + row) % RING * kv_heads * dim;
        let keys = |row| (cell(row), turned(row, heads..heads + kv_heads, dim..2 * dim));
        let cached = |row: usize| {
            let values = &qkv[(row - rows.start) * slots * dim..][..slots * dim];
            let values = wide(&values[(heads + kv_heads) * dim..]);
            (cell(row), values.chunks(dim).flat_map(|head| rms_norm(head, None)).collect())
        };
        outputs.push(output(6, rows.clone().map(keys).collect()));
        outputs.push(output(7, rows.clone().map(cached).collect()));
    }
    let sizes = [heads, kv_heads, dim, slots, rotated, RING, 0, dim].map(|n| n as u32);
    Case {
        name: format!("{heads} heads of {dim}, {rotated} pairs, {slots} slots"),
        why: WHY,
        op: Op::HeadNormRope,
        mode: 0,
        constants: Vec::new(),
        params: sizes.into_iter().chain([1e-6f32.to_bits()]).collect(),
        items: slots,
        position: FIRST + rows.start,
        rows: rows.len(),
        outputs,
        buffers: vec![
            bytes(&qkv),
            bytes(&weights),
            bytes(&rope),
            zeros(rows.len() * heads * dim),
            zeros(RING * kv_heads * dim),
            zeros(RING * kv_heads * dim),
        ],
    }
}
