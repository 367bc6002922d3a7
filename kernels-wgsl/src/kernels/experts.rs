//! Oracles of routing, of the experts' products and of their sum.

use super::inputs::{bytes, row_values, values, wide, zeros};
use super::matmul::{gelu, random_weights, sum_tolerance};
use super::norms::rms_norm;
use super::{Case, Output, ROUNDING, dense_rows};
use crate::plan::Format;
use crate::registry::Op;
use std::ops::Range;

const EXPERTS: usize = 7;
const PER_TOKEN: usize = 3;

/// Experts of a batch row, the same one never twice.
fn chosen(row: usize) -> [usize; PER_TOKEN] {
    [(row * 3 + 1) % EXPERTS, (row * 3 + 5) % EXPERTS, (row * 3 + 2) % EXPERTS]
}

/// Cases of routing: random scores, ties across the last place, and as many experts as one workgroup ranks.
pub(crate) fn route(rows: Range<usize>) -> Vec<Case> {
    [("random scores", 24, 6), ("ties", 130, 8), ("one of many", 1024, 1)]
        .into_iter()
        .map(|(name, experts, per_token)| {
            let mut scores = row_values(91, rows.clone(), experts);
            if name == "ties" {
                for row in scores.chunks_mut(experts) {
                    row.iter_mut().for_each(|s| *s = (*s * 4.0).floor());
                }
            }
            route_case(name, &scores, (experts, per_token), &rows)
        })
        .collect()
}

fn route_case(
    name: &str,
    scores: &[f32],
    (experts, per_token): (usize, usize),
    rows: &Range<usize>,
) -> Case {
    let scales = values(92, experts + 4);
    let order = |row: usize| -> Vec<usize> {
        let scores = &scores[(row - rows.start) * experts..][..experts];
        let mut order: Vec<usize> = (0..experts).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        order.truncate(per_token);
        order
    };
    let shares = |row: usize| {
        let scores = wide(&scores[(row - rows.start) * experts..][..experts]);
        // As the specification has it: softmax over all, then over the chosen.
        let total: f64 = scores.iter().map(|s| libm::exp(*s)).sum();
        let chosen = order(row);
        let part: f64 = chosen.iter().map(|&e| libm::exp(scores[e]) / total).sum();
        let share = |&e: &usize| libm::exp(scores[e]) / total / part * f64::from(scales[4 + e]);
        (chosen.iter().map(share).collect(), 40.0 * ROUNDING)
    };
    let ids = |row: usize| (order(row).iter().map(|&e| e as f64).collect(), 0.0);
    let output = |binding, rows| Output { binding, integer: false, rows };
    Case {
        name: name.into(),
        why: "comparisons do not round; a share is a quotient of exponentials good to some ten roundings \
              each, times a scale below 1",
        op: Op::Route,
        mode: 0,
        constants: Vec::new(),
        experts: 0,
        params: vec![experts as u32, per_token as u32, 4],
        items: 1,
        position: rows.start,
        rows: rows.len(),
        outputs: vec![output(4, dense_rows(rows, ids)), output(5, dense_rows(rows, shares))],
        buffers: vec![
            bytes(scores),
            bytes(&scales),
            zeros(rows.len() * per_token),
            zeros(rows.len() * per_token),
        ],
    }
}

/// Cases of a matrix product over experts: gate and up of all of them, down of all, and one of two buffers.
pub(super) fn products(format: Format, rows: &Range<usize>) -> Vec<Case> {
    [(52, 192, 3, 0..EXPERTS), (40, 96, 0, 0..EXPERTS), (20, 64, 0, 2..5)]
        .into_iter()
        .map(|(out, cols, mode, held)| product(format, (out, cols), mode, held, rows))
        .collect()
}

fn product(
    format: Format,
    (out, cols): (usize, usize),
    mode: u32,
    held: Range<usize>,
    rows: &Range<usize>,
) -> Case {
    let weights = random_weights(format, held.len() * out, cols);
    let (op, unit, constants) = format.matmul();
    // The first product reads one row a token, the second its own row for every expert.
    let own_rows = mode == 0;
    let x_rows = if own_rows { PER_TOKEN } else { 1 };
    let x = row_values(11, rows.clone(), x_rows * cols);
    let y_rows = if mode == 3 { out / 2 } else { out };
    let ids: Vec<f32> = rows.clone().flat_map(chosen).map(|e| e as f32).collect();
    let expected = |row: usize| {
        let (mut all, mut tolerance) = (Vec::new(), 0.0f64);
        for (slot, expert) in chosen(row).into_iter().enumerate() {
            if !held.contains(&expert) {
                all.resize(all.len() + y_rows, 0.0);
                continue;
            }
            let x_row = (row - rows.start) * x_rows + if own_rows { slot } else { 0 };
            let x = wide(&x[x_row * cols..][..cols]);
            let first = (expert - held.start) * out * cols;
            let matrix = &weights.values[first..][..out * cols];
            let dot = |w: &[f64]| -> f64 { w.iter().zip(&x).map(|(w, x)| w * x).sum() };
            let sums: Vec<f64> = matrix.chunks(cols).map(dot).collect();
            tolerance = tolerance.max(sum_tolerance(matrix, &x, mode));
            match mode {
                3 => all.extend(sums.chunks(2).map(|pair| gelu(pair[0]) * pair[1])),
                _ => all.extend(sums),
            }
        }
        (all, tolerance)
    };
    let mut buffers = vec![bytes(&x)];
    let output = dense_rows(rows, expected);
    buffers.extend(weights.buffers);
    buffers.push(bytes(&ids));
    buffers.push(zeros(rows.len() * PER_TOKEN * y_rows));
    let sizes = [out, cols / unit, y_rows, 0, usize::from(own_rows), held.start, 0, held.len()];
    Case {
        name: format!("{format:?} [{out}, {cols}] of experts {held:?}, epilogue {mode}"),
        why: super::matmul::WHY,
        op,
        mode,
        constants,
        experts: PER_TOKEN as u32,
        params: sizes.map(|n| n as u32).to_vec(),
        items: out,
        position: rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: buffers.len() + 1, integer: false, rows: output }],
        buffers,
    }
}

/// Cases of the sum of both branches.
pub(crate) fn expert_mix(rows: Range<usize>) -> Vec<Case> {
    [(32, 2), (160, 6), (1536, 8)].map(|shape| mix_case(shape, &rows)).to_vec()
}

fn mix_case((width, per_token): (usize, usize), rows: &Range<usize>) -> Case {
    let dense = row_values(93, rows.clone(), width);
    let experts = row_values(94, rows.clone(), per_token * width);
    let shares = row_values(95, rows.clone(), per_token);
    let weights = values(96, 2 * width + 4);
    let expected = |row: usize| {
        let at = row - rows.start;
        let mut mixed = vec![0.0; width];
        for (s, expert) in
            experts[at * per_token * width..].chunks(width).take(per_token).enumerate()
        {
            let share = f64::from(shares[at * per_token + s]);
            mixed.iter_mut().zip(expert).for_each(|(m, e)| *m += share * f64::from(*e));
        }
        let weights = wide(&weights[4..]);
        let dense = rms_norm(&wide(&dense[at * width..][..width]), Some(&weights[..width]));
        let experts = rms_norm(&mixed, Some(&weights[width..]));
        let sum = dense.iter().zip(experts).map(|(d, e)| d + e).collect();
        (sum, (48.0 + width as f64 / 64.0) * ROUNDING * 16.0)
    };
    Case {
        name: format!("width {width}, {per_token} experts"),
        why: "eight roundings of a sum, then two norms whose means of squares have no cancellation and \
              their sum, on values below 16",
        op: Op::ExpertMix,
        mode: 0,
        constants: Vec::new(),
        experts: 0,
        params: vec![
            width as u32 / 4,
            per_token as u32,
            1,
            1 + width as u32 / 4,
            1e-6f32.to_bits(),
        ],
        items: 1,
        position: rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: 6, integer: false, rows: dense_rows(rows, expected) }],
        buffers: vec![
            bytes(&dense),
            bytes(&experts),
            bytes(&shares),
            bytes(&weights),
            zeros(rows.len() * width),
        ],
    }
}
