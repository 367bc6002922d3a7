//! Oracle of head norms, rotation and the cache write.

use super::inputs::{bytes, row_values, values, wide, zeros};
use super::norms::rms_norm;
use super::{Case, Output, OutputRow, ROUNDING};
use crate::registry::Op;
use std::ops::Range;

const WHY: &str = "a norm of a head, two rotations: some fifty roundings of values below 8";
const TOLERANCE: f64 = 50.0 * ROUNDING * 8.0;
/// Position of batch row 0: rows of one batch wrap around a ring of 11 and go on to the next span.
const FIRST: usize = 252;
/// Positions of the fine rotation table.
const SPAN: usize = 256;
const RING: usize = 11;

struct Shape {
    heads: usize,
    kv_heads: usize,
    dim: usize,
    rotated: usize,
    cache: Cache,
    value_norm: bool,
}

/// What a layer writes to its cache.
#[derive(Clone, Copy, PartialEq)]
enum Cache {
    /// Keys and values.
    Own,
    /// Keys; the raw ones are the values too.
    KeysAsValues,
    /// Nothing: it reads another layer's.
    Shared,
}

/// Cases: every pair rotated; some; a layer that shares its cache; one whose values are its keys; one
/// without a value norm.
pub(crate) fn head_norm_rope(rows: Range<usize>) -> Vec<Case> {
    [
        (4, 1, 64, 32, Cache::Own, true),
        (4, 2, 128, 16, Cache::Own, true),
        (2, 1, 256, 128, Cache::Shared, true),
        (4, 2, 96, 12, Cache::KeysAsValues, true),
        (2, 1, 64, 32, Cache::Own, false),
    ]
    .into_iter()
    .map(|(heads, kv_heads, dim, rotated, cache, value_norm)| {
        case(&Shape { heads, kv_heads, dim, rotated, cache, value_norm }, &rows)
    })
    .collect()
}

/// The first `rotated` pairs of a head, turned by the angles of a position.
pub(super) fn rotate(x: &[f64], table: &[f64], position: usize, rotated: usize) -> Vec<f64> {
    let half = x.len() / 2;
    let mut out = x.to_vec();
    for j in 0..rotated {
        let turn = |row: usize| {
            let at = 2 * (row * rotated + j);
            (table[at], table[at + 1])
        };
        let ((c, s), (cos, sin)) = (turn(SPAN + position / SPAN), turn(position % SPAN));
        let (cos, sin) = (c * cos - s * sin, s * cos + c * sin);
        out[j] = x[j] * cos - x[j + half] * sin;
        out[j + half] = x[j + half] * cos + x[j] * sin;
    }
    out
}

fn case(shape: &Shape, rows: &Range<usize>) -> Case {
    let Shape { heads, kv_heads, dim, rotated, cache, value_norm } = *shape;
    let (slots, items) = match cache {
        Cache::Own => (heads + 2 * kv_heads, heads + 2 * kv_heads),
        Cache::KeysAsValues => (heads + kv_heads, heads + 2 * kv_heads),
        Cache::Shared => (heads, heads),
    };
    let qkv = row_values(41, rows.clone(), slots * dim);
    let weights = values(42, 2 * dim);
    let rope = values(43, 2 * (SPAN + 2) * rotated);
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
    if cache != Cache::Shared {
        let cell = |row: usize| (FIRST + row) % RING * kv_heads * dim;
        let keys = |row| (cell(row), turned(row, heads..heads + kv_heads, dim..2 * dim));
        let cached = |row: usize| {
            let values = &qkv[(row - rows.start) * slots * dim..][..slots * dim];
            let values = wide(&values[(slots - kv_heads) * dim..]);
            let normed = |head: &[f64]| match value_norm {
                true => rms_norm(head, None),
                false => head.to_vec(),
            };
            (cell(row), values.chunks(dim).flat_map(normed).collect())
        };
        outputs.push(output(6, rows.clone().map(keys).collect()));
        outputs.push(output(7, rows.clone().map(cached).collect()));
    }
    let sizes = [heads, kv_heads, dim, slots, rotated, RING, 0, dim].map(|n| n as u32);
    Case {
        name: format!("{heads} heads of {dim}, {rotated} pairs, {slots} of {items} slots stored"),
        why: WHY,
        op: Op::HeadNormRope,
        mode: 0,
        constants: Vec::new(),
        experts: 0,
        params: sizes.into_iter().chain([1e-6f32.to_bits(), u32::from(value_norm)]).collect(),
        items,
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
