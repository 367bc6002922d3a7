//! Oracle of attention.

use super::inputs::{bytes, row_values, values, wide, zeros};
use super::{Case, Output, ROUNDING, dense_rows};
use crate::registry::Op;
use std::ops::Range;

const WHY: &str = "scores up to 8 carry some thirty roundings into an exponential, whose own approximation on software \
                   adapters is good to 1e-6; the weighted mean of values below 1 keeps that relative error";
const TOLERANCE: f64 = 400.0 * ROUNDING;

struct Shape {
    heads: usize,
    kv_heads: usize,
    dim: usize,
    first: usize,
    window: Option<usize>,
    hides_own: bool,
}

/// Cases: a window that begins inside a tile, full attention over several tiles and a wide head, the first
/// positions of a sequence, and the drafter's view without its own position.
pub(crate) fn attention(rows: Range<usize>) -> Vec<Case> {
    [
        (4, 1, 64, 150, Some(64), false),
        (4, 2, 128, 200, None, false),
        (2, 1, 512, 70, None, false),
        (2, 1, 32, 0, Some(16), false),
        (4, 1, 64, 90, Some(24), true),
    ]
    .into_iter()
    .map(|(heads, kv_heads, dim, first, window, hides_own)| {
        case(&Shape { heads, kv_heads, dim, first, window, hides_own }, &rows)
    })
    .collect()
}

fn case(shape: &Shape, rows: &Range<usize>) -> Case {
    let Shape { heads, kv_heads, dim, first, window, hides_own } = *shape;
    // As the engine sizes it: the window of the first row survives the last row's write.
    let ring = window.map_or(first + 16, |w| w - 1 + 16);
    let q: Vec<f32> = row_values(51, rows.clone(), heads * dim);
    let keys = values(52, ring * kv_heads * dim);
    let cached = values(53, ring * kv_heads * dim);
    let expected = |row: usize| {
        let position = first + row;
        let begin = window.map_or(0, |w| (position + 1).saturating_sub(w));
        let seen = begin..position + usize::from(!hides_own);
        let q = wide(&q[(row - rows.start) * heads * dim..][..heads * dim]);
        let mut out = Vec::with_capacity(heads * dim);
        for (head, query) in q.chunks(dim).enumerate() {
            let kv_head = head / (heads / kv_heads);
            let cell = |position: usize| ((position % ring) * kv_heads + kv_head) * dim;
            let score = |position: usize| -> f64 {
                let key = wide(&keys[cell(position)..][..dim]);
                query.iter().zip(key).map(|(q, k)| q * k).sum()
            };
            let scores: Vec<f64> = seen.clone().map(score).collect();
            let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let shares: Vec<f64> = scores.iter().map(|s| libm::exp(s - highest)).collect();
            let total: f64 = shares.iter().sum();
            let mut mean = vec![0.0; dim];
            for (share, position) in shares.iter().zip(seen.clone()) {
                for (m, v) in mean.iter_mut().zip(&cached[cell(position)..]) {
                    *m += share / total * f64::from(*v);
                }
            }
            out.extend(mean);
        }
        (out, TOLERANCE)
    };
    let window_words = window.map_or(u32::MAX, |w| w as u32);
    let sizes = [heads, kv_heads, ring].map(|n| n as u32);
    let view = if hides_own { " without its own key" } else { "" };
    Case {
        name: format!("{heads} heads of {dim} from {first}, window {window:?}{view}"),
        why: WHY,
        op: Op::Attention,
        mode: dim as u32,
        constants: Vec::new(),
        experts: 0,
        params: sizes.into_iter().chain([window_words, u32::from(hides_own)]).collect(),
        items: heads,
        position: first + rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: 5, integer: false, rows: dense_rows(rows, expected) }],
        buffers: vec![bytes(&q), bytes(&keys), bytes(&cached), zeros(rows.len() * heads * dim)],
    }
}
