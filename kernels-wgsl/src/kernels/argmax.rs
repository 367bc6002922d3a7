//! Oracle of the greedy choice.

use super::inputs::{bytes, row_values, zeros};
use super::{Case, Output, OutputRow};
use crate::registry::Op;
use std::ops::Range;

/// Cases: random logits, all equal, and the largest value several times.
pub(crate) fn argmax(rows: Range<usize>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, width) in [("random", 4096), ("all equal", 300), ("ties", 1000), ("few", 7)] {
        let mut logits = row_values(61, rows.clone(), width);
        for (row, values) in rows.clone().zip(logits.chunks_mut(width)) {
            match name {
                "all equal" => values.fill(-2.5),
                "ties" => {
                    values[900 - row] = 3.0;
                    values[500 + row] = 3.0;
                    values[501 + row] = 3.0;
                }
                _ => {}
            }
        }
        let expected = rows.clone().enumerate().map(|(at, _)| {
            let values = &logits[at * width..][..width];
            let better = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
            let best = (0..width).fold(0, better);
            OutputRow { at, expected: vec![best as f64], tolerance: 0.0 }
        });
        cases.push(Case {
            name: name.into(),
            why: "comparisons do not round",
            op: Op::Argmax,
            mode: 0,
            constants: Vec::new(),
            experts: 0,
            params: vec![width as u32],
            items: 1,
            position: rows.start,
            rows: rows.len(),
            outputs: vec![Output { binding: 3, integer: true, rows: expected.collect() }],
            buffers: vec![bytes(&logits), zeros(rows.len()), zeros(rows.len())],
        });
    }
    cases
}
