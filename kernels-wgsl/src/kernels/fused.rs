//! Oracles of the ops that stand for several.

use super::attention::{Shape, attend};
use super::heads::rotate;
use super::inputs::{bf16_values, bytes, row_values, values, wide, zeros};
use super::matmul::{gelu, sum_tolerance};
use super::norms::rms_norm;
use super::{Case, Output, OutputRow, ROUNDING, dense_rows};
use crate::registry::Op;
use std::ops::Range;

const WHY_QUERY: &str =
    "as for attention, whose scores carry the some ten roundings of a norm and two rotations more";
const QUERY_TOLERANCE: f64 = 1000.0 * ROUNDING;
/// Positions of the fine rotation table.
const SPAN: usize = 256;
/// Where the norm's weight begins.
const WEIGHT_AT: usize = 3;

const WHY_INPUT: &str = "two products with what rounding explains of each, the second of what the first left; the norm behind \
                         them divides by a root mean square of about a half, and the residual steps add a few roundings";
const EPSILON: f32 = 1e-6;

/// Cases of attention with the query's norm and rotation: a window that begins inside a tile and every pair
/// rotated; full attention with some pairs rotated, next to a head that is not a query; the widest head; and
/// rows that go on to the next span of the rotation table.
pub(crate) fn query_attention(rows: Range<usize>) -> Vec<Case> {
    [
        (4, 1, 64, 150, Some(64), 32, 4),
        (4, 2, 128, 200, None, 16, 5),
        (2, 1, 512, 70, None, 64, 2),
        (2, 1, 32, 252, Some(16), 16, 2),
    ]
    .into_iter()
    .map(|(heads, kv_heads, dim, first, window, rotated, slots)| {
        let shape = Shape { heads, kv_heads, dim, first, window, hides_own: false };
        query_case(&shape, rotated, slots, &rows)
    })
    .collect()
}

fn query_case(shape: &Shape, rotated: usize, slots: usize, rows: &Range<usize>) -> Case {
    let Shape { heads, kv_heads, dim, first, .. } = *shape;
    let inputs = shape.inputs(rows);
    let qkv = row_values(56, rows.clone(), slots * dim);
    let weights = values(57, WEIGHT_AT + dim);
    let rope = values(58, 2 * (SPAN + 2) * rotated);
    let (weight, table) = (wide(&weights[WEIGHT_AT..]), wide(&rope));
    let expected = |row: usize| {
        let raw = wide(&qkv[(row - rows.start) * slots * dim..][..heads * dim]);
        let turned =
            |head: &[f64]| rotate(&rms_norm(head, Some(&weight)), &table, first + row, rotated);
        let queries: Vec<f64> = raw.chunks(dim).flat_map(turned).collect();
        let means = (0..heads).flat_map(|head| {
            let seen = attend(shape, &inputs, &queries, head, shape.seen_by(row));
            seen.values.into_iter().map(move |v| v / seen.total)
        });
        (means.collect(), QUERY_TOLERANCE)
    };
    let sizes = [heads, kv_heads, inputs.ring].map(|n| n as u32);
    let rest = [slots, rotated, WEIGHT_AT].map(|n| n as u32);
    let params = sizes.into_iter().chain([shape.window_words()]).chain(rest);
    Case {
        name: format!("{}, {rotated} pairs", shape.name()),
        why: WHY_QUERY,
        op: Op::QueryAttention,
        mode: dim as u32,
        constants: Vec::new(),
        experts: 0,
        params: params.chain([EPSILON.to_bits()]).collect(),
        items: heads,
        position: first + rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: 7, integer: false, rows: dense_rows(rows, expected) }],
        buffers: vec![
            bytes(&qkv),
            bytes(&weights),
            bytes(&rope),
            bytes(&inputs.keys),
            bytes(&inputs.cached),
            zeros(rows.len() * heads * dim),
        ],
    }
}

/// Cases of the end of a layer: a row for every lane and fewer, uneven loads, and the widest embedding.
pub(crate) fn per_layer_input(rows: Range<usize>) -> Vec<Case> {
    let shapes = [(256, 32), (32, 8), (96, 40), (320, 256)];
    shapes.into_iter().map(|(width, ple)| input_case(width, ple, &rows)).collect()
}

/// What a row of the case must come to: the residual and its norm, with what rounding explains of them.
struct Expected {
    residual: Vec<f64>,
    normed: Vec<f64>,
    tolerance: f64,
}

/// Every row of `matrix` times `x`.
fn product(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum();
    matrix.chunks(x.len()).map(dot).collect()
}

/// The normed branch added to `x`.
fn added(branch: &[f64], weight: &[f64], x: &[f64]) -> Vec<f64> {
    rms_norm(branch, Some(weight)).iter().zip(x).map(|(n, x)| n + x).collect()
}

fn input_case(width: usize, ple_width: usize, rows: &Range<usize>) -> Case {
    let scale = 0.625f32;
    // One layer's slice of two, after something else.
    let (ple_stride, ple_at) = (2 * ple_width + 3, ple_width + 3);
    let branch = row_values(61, rows.clone(), width);
    let x = row_values(62, rows.clone(), width);
    let ple = row_values(63, rows.clone(), ple_stride);
    let weights = values(64, 4 + 3 * width);
    let (gate, gate_bytes) = bf16_values(65, ple_width * width);
    let (proj, proj_bytes) = bf16_values(66, width * ple_width);
    let weight = |index: usize| wide(&weights[4 + index * width..][..width]);
    let expected = |row: usize| {
        let at = (row - rows.start) * width;
        let (branch, x) = (wide(&branch[at..][..width]), wide(&x[at..][..width]));
        let first = added(&branch, &weight(0), &x);
        let factors = wide(&ple[(row - rows.start) * ple_stride + ple_at..][..ple_width]);
        let sums = product(&gate, &first);
        let gated: Vec<f64> = sums.iter().zip(factors).map(|(s, f)| gelu(*s) * f).collect();
        let projected = product(&proj, &gated);
        let sum = added(&projected, &weight(1), &first);
        let residual: Vec<f64> = sum.iter().map(|v| v * f64::from(scale)).collect();
        let normed = rms_norm(&residual, Some(&weight(2)));
        let tolerance = 8.0 * (sum_tolerance(&gate, &first, 0) + sum_tolerance(&proj, &gated, 0));
        Expected { residual, normed, tolerance }
    };
    let expected: Vec<Expected> = rows.clone().map(expected).collect();
    let output = |binding: usize, of: fn(&Expected) -> (&Vec<f64>, f64)| {
        let rows = expected.iter().enumerate().map(|(row, expected)| {
            let (values, tolerance) = of(expected);
            OutputRow { at: row * width, expected: values.clone(), tolerance }
        });
        Output { binding, integer: false, rows: rows.collect() }
    };
    let quads = |at: usize| at as u32 / 4;
    Case {
        name: format!("width {width}, {ple_width} of a layer"),
        why: WHY_INPUT,
        op: Op::PerLayerInput,
        mode: 0,
        constants: Vec::new(),
        experts: 0,
        params: vec![
            quads(width),
            quads(4),
            quads(4 + width),
            quads(4 + 2 * width),
            scale.to_bits(),
            EPSILON.to_bits(),
            ple_width as u32,
            ple_stride as u32,
            ple_at as u32,
        ],
        items: 1,
        position: rows.start,
        rows: rows.len(),
        outputs: vec![
            output(7, |row| (&row.residual, row.tolerance)),
            output(8, |row| (&row.normed, 4.0 * row.tolerance)),
        ],
        buffers: vec![
            bytes(&branch),
            bytes(&weights),
            gate_bytes,
            proj_bytes,
            bytes(&ple),
            bytes(&x),
            zeros(rows.len() * width),
        ],
    }
}
