//! Oracles of RMSNorm and the residual step.

use super::inputs::{bytes, row_values, values, wide, zeros};
use super::{Case, Output, ROUNDING, dense_rows};
use crate::registry::Op;
use std::ops::Range;

const WHY: &str = "the mean of squares has no cancellation, so its relative error is a few roundings for the lanes' partial \
                   sums; scaling and the residual add a handful more, on values below 8";
const EPSILON: f32 = 1e-6;
const WIDTHS: [usize; 3] = [32, 256, 1536];

/// RMSNorm in f64; no weight means ones.
pub(super) fn rms_norm(x: &[f64], weight: Option<&[f64]>) -> Vec<f64> {
    let mean = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / libm::sqrt(mean + f64::from(EPSILON));
    match weight {
        Some(weight) => x.iter().zip(weight).map(|(v, w)| v * scale * w).collect(),
        None => x.iter().map(|v| v * scale).collect(),
    }
}

fn tolerance(width: usize) -> f64 {
    (32.0 + width as f64 / 64.0) * ROUNDING * 8.0
}

/// Cases of RMSNorm.
pub(crate) fn norm(rows: Range<usize>) -> Vec<Case> {
    let case = |width: usize| {
        let x = row_values(21, rows.clone(), width);
        let weights = values(22, width + 8);
        let expected = |row: usize| {
            let x = wide(&x[(row - rows.start) * width..][..width]);
            (rms_norm(&x, Some(&wide(&weights[8..]))), tolerance(width))
        };
        Case {
            name: format!("width {width}"),
            why: WHY,
            op: Op::Norm,
            mode: 0,
            constants: Vec::new(),
            experts: 0,
            params: vec![width as u32 / 4, 2, EPSILON.to_bits()],
            items: 1,
            position: rows.start,
            rows: rows.len(),
            outputs: vec![Output { binding: 4, integer: false, rows: dense_rows(&rows, expected) }],
            buffers: vec![bytes(&x), bytes(&weights), zeros(rows.len() * width)],
        }
    };
    WIDTHS.into_iter().map(case).collect()
}

/// Cases of the residual step, with and without the norm after it.
pub(crate) fn residual_norm(rows: Range<usize>) -> Vec<Case> {
    let both = WIDTHS.into_iter().flat_map(|width| [(width, true), (width, false)]);
    both.map(|(width, next)| residual_case(width, next, &rows)).collect()
}

fn residual_case(width: usize, next: bool, rows: &Range<usize>) -> Case {
    let scale = 0.625f32;
    let branch = row_values(23, rows.clone(), width);
    let x = row_values(24, rows.clone(), width);
    let weights = values(25, 2 * width + 4);
    let residual = |row: usize| -> Vec<f64> {
        let at = (row - rows.start) * width;
        let normed = rms_norm(&wide(&branch[at..][..width]), Some(&wide(&weights[4..][..width])));
        let sum = normed.iter().zip(&x[at..]).map(|(n, x)| n + f64::from(*x));
        sum.map(|v| v * f64::from(scale)).collect()
    };
    let mut outputs = vec![Output {
        binding: 4,
        integer: false,
        rows: dense_rows(rows, |row| (residual(row), tolerance(width))),
    }];
    if next {
        let normed = |row| rms_norm(&residual(row), Some(&wide(&weights[4 + width..])));
        outputs.push(Output {
            binding: 5,
            integer: false,
            rows: dense_rows(rows, |row| (normed(row), 4.0 * tolerance(width))),
        });
    }
    let next_at = if next { 1 + width as u32 / 4 } else { u32::MAX };
    Case {
        name: format!("width {width}{}", if next { " and norm" } else { "" }),
        why: WHY,
        op: Op::ResidualNorm,
        mode: 0,
        constants: Vec::new(),
        experts: 0,
        params: vec![width as u32 / 4, 1, next_at, scale.to_bits(), EPSILON.to_bits()],
        items: 1,
        position: rows.start,
        rows: rows.len(),
        outputs,
        buffers: vec![bytes(&branch), bytes(&weights), bytes(&x), zeros(rows.len() * width)],
    }
}
