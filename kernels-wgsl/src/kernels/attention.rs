//! Oracle of attention.

use super::inputs::{bytes, row_values, values, wide, zeros};
use super::{Case, Output, ROUNDING, dense_rows};
use crate::registry::Op;
use std::ops::Range;

const WHY: &str = "scores up to 8 carry some thirty roundings into an exponential, whose own approximation on software \
                   adapters is good to 1e-6; the weighted mean of values below 1 keeps that relative error";
const TOLERANCE: f64 = 400.0 * ROUNDING;

const WHY_PART: &str =
    "as for whole attention, times the sum of weights, which is not divided by here";
/// Positions of one range.
const RANGE: usize = 512;

/// Heads, and what of the cache they see.
pub(super) struct Shape {
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) dim: usize,
    pub(super) first: usize,
    pub(super) window: Option<usize>,
    pub(super) hides_own: bool,
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

/// Keys of one query of one range: the weighted sum of their values, the highest score, the sum of weights.
pub(super) struct Seen {
    pub(super) values: Vec<f64>,
    highest: f64,
    pub(super) total: f64,
}

/// A batch of queries over a filled cache.
pub(super) struct Inputs {
    q: Vec<f32>,
    pub(super) keys: Vec<f32>,
    pub(super) cached: Vec<f32>,
    pub(super) ring: usize,
}

impl Shape {
    pub(super) fn inputs(&self, rows: &Range<usize>) -> Inputs {
        // As the engine sizes it: the window of the first row survives the last row's write.
        let ring = self.window.map_or(self.first + 16, |w| w - 1 + 16);
        let cache = ring * self.kv_heads * self.dim;
        Inputs {
            q: row_values(51, rows.clone(), self.heads * self.dim),
            keys: values(52, cache),
            cached: values(53, cache),
            ring,
        }
    }

    /// Positions a row sees.
    pub(super) fn seen_by(&self, row: usize) -> Range<usize> {
        let position = self.first + row;
        let begin = self.window.map_or(0, |w| (position + 1).saturating_sub(w));
        begin..position + usize::from(!self.hides_own)
    }

    pub(super) fn window_words(&self) -> u32 {
        self.window.map_or(u32::MAX, |w| w as u32)
    }

    pub(super) fn name(&self) -> String {
        let Shape { heads, dim, first, window, .. } = self;
        let view = if self.hides_own { " without its own key" } else { "" };
        format!("{heads} heads of {dim} from {first}, window {window:?}{view}")
    }
}

/// Attention of head `head` of the query `q` (all heads) over the keys in `seen`.
pub(super) fn attend(
    shape: &Shape,
    inputs: &Inputs,
    q: &[f64],
    head: usize,
    seen: Range<usize>,
) -> Seen {
    let Shape { heads, kv_heads, dim, .. } = *shape;
    let kv_head = head / (heads / kv_heads);
    let query = &q[head * dim..][..dim];
    let cell = |position: usize| ((position % inputs.ring) * kv_heads + kv_head) * dim;
    let score = |position: usize| -> f64 {
        let key = wide(&inputs.keys[cell(position)..][..dim]);
        query.iter().zip(key).map(|(q, k)| q * k).sum()
    };
    let scores: Vec<f64> = seen.clone().map(score).collect();
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = Seen { values: vec![0.0; dim], highest, total: 0.0 };
    for (score, position) in scores.iter().zip(seen) {
        let share = libm::exp(score - highest);
        sum.total += share;
        for (m, v) in sum.values.iter_mut().zip(&inputs.cached[cell(position)..]) {
            *m += share * f64::from(*v);
        }
    }
    sum
}

fn case(shape: &Shape, rows: &Range<usize>) -> Case {
    let Shape { heads, kv_heads, dim, first, hides_own, .. } = *shape;
    let inputs = shape.inputs(rows);
    let expected = |row: usize| {
        let q = wide(&inputs.q[(row - rows.start) * heads * dim..][..heads * dim]);
        let means = (0..heads).flat_map(|head| {
            let seen = attend(shape, &inputs, &q, head, shape.seen_by(row));
            seen.values.into_iter().map(move |v| v / seen.total)
        });
        (means.collect(), TOLERANCE)
    };
    let sizes = [heads, kv_heads, inputs.ring].map(|n| n as u32);
    Case {
        name: shape.name(),
        why: WHY,
        op: Op::Attention,
        mode: dim as u32,
        experts: 0,
        constants: Vec::new(),
        params: sizes.into_iter().chain([shape.window_words(), u32::from(hides_own)]).collect(),
        items: heads,
        position: first + rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: 5, integer: false, rows: dense_rows(rows, expected) }],
        buffers: vec![
            bytes(&inputs.q),
            bytes(&inputs.keys),
            bytes(&inputs.cached),
            zeros(rows.len() * heads * dim),
        ],
    }
}

/// Cases of one range: a row's keys in one range, in two of three, behind a window that begins inside a
/// range, and without its own key at a range's start.
pub(crate) fn attention_part(rows: Range<usize>) -> Vec<Case> {
    [
        (2, 1, 64, 100, None, false, 2),
        (2, 2, 96, 700, None, false, 3),
        (2, 1, 32, 1020, Some(600), false, 3),
        (2, 1, 512, 508, None, true, 2),
    ]
    .into_iter()
    .map(|(heads, kv_heads, dim, first, window, hides_own, ranges)| {
        part_case(&Shape { heads, kv_heads, dim, first, window, hides_own }, ranges, &rows)
    })
    .collect()
}

fn part_case(shape: &Shape, ranges: usize, rows: &Range<usize>) -> Case {
    let Shape { heads, kv_heads, dim, first, hides_own, .. } = *shape;
    let inputs = shape.inputs(rows);
    let expected = |row: usize| {
        let q = wide(&inputs.q[(row - rows.start) * heads * dim..][..heads * dim]);
        let whole = shape.seen_by(row);
        let (mut all, mut largest) = (Vec::new(), 1.0f64);
        for head in 0..heads {
            for range in 0..ranges {
                let start = (whole.start / RANGE + range) * RANGE;
                let seen = whole.start.max(start)..whole.end.min(start + RANGE);
                if start >= whole.end {
                    all.resize(all.len() + dim + 4, 0.0);
                    continue;
                }
                let seen = attend(shape, &inputs, &q, head, seen);
                largest = largest.max(seen.total);
                all.extend(seen.values);
                all.extend([seen.highest, seen.total, 0.0, 0.0]);
            }
        }
        (all, TOLERANCE * largest)
    };
    let sizes = [heads, kv_heads, inputs.ring].map(|n| n as u32);
    let rest = [shape.window_words(), u32::from(hides_own), ranges as u32];
    Case {
        name: shape.name(),
        why: WHY_PART,
        op: Op::AttentionPart,
        mode: dim as u32,
        experts: 0,
        constants: Vec::new(),
        params: sizes.into_iter().chain(rest).collect(),
        items: heads * ranges,
        position: first + rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: 5, integer: false, rows: dense_rows(rows, expected) }],
        buffers: vec![
            bytes(&inputs.q),
            bytes(&inputs.keys),
            bytes(&inputs.cached),
            zeros(rows.len() * heads * ranges * (dim + 4)),
        ],
    }
}

/// Cases of the merge: rows whose last key is in the first range, on both sides of a range's end, and far
/// inside the last; with a window too.
pub(crate) fn attention_merge(rows: Range<usize>) -> Vec<Case> {
    [
        (2, 64, 40, None, 1),
        (3, 96, 510, None, 2),
        (2, 512, 2000, None, 4),
        (2, 32, 1020, Some(600), 3),
    ]
    .into_iter()
    .map(|(heads, dim, first, window, ranges)| {
        let shape = Shape { heads, kv_heads: 1, dim, first, window, hides_own: false };
        merge_case(&shape, ranges, &rows)
    })
    .collect()
}

fn merge_case(shape: &Shape, ranges: usize, rows: &Range<usize>) -> Case {
    let Shape { heads, dim, first, .. } = *shape;
    let each = dim + 4;
    let mut partials = row_values(54, rows.clone(), heads * ranges * each);
    for part in partials.chunks_mut(each) {
        part[dim] *= 6.0;
        part[dim + 1] = 1.0 + part[dim + 1].abs() * 40.0;
    }
    let expected = |row: usize| {
        let whole = shape.seen_by(row);
        let used = whole.end.div_ceil(RANGE) - whole.start / RANGE;
        let of_row = wide(&partials[(row - rows.start) * heads * ranges * each..]);
        let merged = (0..heads).flat_map(|head| {
            let parts = of_row[head * ranges * each..].chunks(each).take(used);
            let highest = parts.clone().map(|p| p[dim]).fold(f64::NEG_INFINITY, f64::max);
            let (mut sum, mut total) = (vec![0.0; dim], 0.0);
            for part in parts {
                let share = libm::exp(part[dim] - highest);
                total += share * part[dim + 1];
                sum.iter_mut().zip(part).for_each(|(s, v)| *s += share * v);
            }
            sum.into_iter().map(move |v| v / total)
        });
        (merged.collect(), 64.0 * ROUNDING)
    };
    Case {
        name: format!("{ranges} ranges, {}", shape.name()),
        why: "an exponential good to some ten roundings for every range, then a sum and a quotient of \
              magnitude below 1",
        op: Op::AttentionMerge,
        mode: dim as u32,
        experts: 0,
        constants: Vec::new(),
        params: vec![heads as u32, shape.window_words(), 0, ranges as u32],
        items: heads,
        position: first + rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: 3, integer: false, rows: dense_rows(rows, expected) }],
        buffers: vec![bytes(&partials), zeros(rows.len() * heads * dim)],
    }
}
