//! Oracles of the drafter's own kernels. A draft step has one row, so these cases ignore the batch.

use super::inputs::{bf16_values, bytes, values, wide, words, zeros};
use super::{Case, Output, OutputRow, ROUNDING};
use crate::registry::Op;
use std::ops::Range;

const CLUSTERS: usize = 72;
const MEMBERS: usize = 12;
const SEARCHED: usize = 5;

/// A permutation of all token ids, in cluster order.
fn ordering() -> Vec<u32> {
    // 5 has no factor in common with 72 * 12.
    (0..CLUSTERS * MEMBERS).map(|i| (i * 5 % (CLUSTERS * MEMBERS)) as u32).collect()
}

fn chosen() -> Vec<u32> {
    vec![70, 3, 0, 41, 12]
}

/// A case of `rows` identical rows: the batch tests ask for several, of which each is the one row.
struct OneRow {
    name: &'static str,
    why: &'static str,
    op: Op,
    mode: u32,
    params: Vec<u32>,
    items: usize,
    buffers: Vec<Vec<u8>>,
    output: (usize, bool, usize),
    expected: Vec<f64>,
    tolerance: f64,
}

impl OneRow {
    fn case(self, rows: &Range<usize>) -> Case {
        let (binding, integer, at) = self.output;
        let row = OutputRow { at, expected: self.expected, tolerance: self.tolerance };
        Case {
            name: self.name.into(),
            why: self.why,
            op: self.op,
            mode: self.mode,
            constants: Vec::new(),
            experts: 0,
            params: self.params,
            items: self.items,
            position: 7,
            rows: 1,
            buffers: self.buffers,
            outputs: vec![Output { binding, integer, rows: vec![row; rows.len()] }],
        }
    }
}

/// Cases of the draft input: the part of the table that begins at token 0, and one that does not.
pub(crate) fn draft_input(rows: Range<usize>) -> Vec<Case> {
    let (width, vocab, token, scale) = (160, 30, 21, 11.5f32);
    let (table, table_bytes) = bf16_values(71, vocab * width);
    let hidden = values(72, width);
    [(0..vocab, "whole table"), (0..10, "first part"), (10..vocab, "last part")]
        .into_iter()
        .map(|(part, name)| {
            let embedding = table[token * width..][..width].iter();
            let held = part.contains(&token);
            let embedding = embedding.map(|v| if held { v * f64::from(scale) } else { 0.0 });
            let copied = wide(&hidden).into_iter().map(|v| if part.start == 0 { v } else { 0.0 });
            let sizes = [width, part.start, part.len()].map(|n| n as u32);
            OneRow {
                name,
                why: "one product, rounded once, of values below 16; the rest is copied",
                op: Op::DraftInput,
                mode: 0,
                params: sizes.into_iter().chain([scale.to_bits(), 2]).collect(),
                items: width / 2,
                buffers: vec![
                    words(&[1, 2, token as u32, 3]),
                    table_bytes[part.start * width * 2..part.end * width * 2].to_vec(),
                    bytes(&hidden),
                    zeros(2 * width),
                ],
                output: (5, false, 0),
                expected: embedding.chain(copied).collect(),
                tolerance: 16.0 * ROUNDING,
            }
            .case(&rows)
        })
        .collect()
}

/// Cases of the cluster search: distinct scores, and ties across the last place.
pub(crate) fn centroid_top(rows: Range<usize>) -> Vec<Case> {
    let distinct = values(73, CLUSTERS);
    let mut ties = vec![0.25; CLUSTERS];
    (ties[60], ties[9]) = (0.5, 0.5);
    [("distinct scores", distinct), ("ties", ties)]
        .into_iter()
        .map(|(name, scores)| {
            let mut order: Vec<usize> = (0..CLUSTERS).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            OneRow {
                name,
                why: "comparisons do not round",
                op: Op::CentroidTop,
                mode: 0,
                params: vec![CLUSTERS as u32, SEARCHED as u32],
                items: CLUSTERS,
                buffers: vec![bytes(&scores), zeros(SEARCHED)],
                output: (3, true, 0),
                expected: order[..SEARCHED].iter().map(|&i| i as f64).collect(),
                tolerance: 0.0,
            }
            .case(&rows)
        })
        .collect()
}

/// Cases of the gathered head: the whole table, and a part of it, which leaves other tokens alone.
pub(crate) fn centroid_head(rows: Range<usize>) -> Vec<Case> {
    let width = 64;
    let vocab = CLUSTERS * MEMBERS;
    let (table, table_bytes) = bf16_values(74, vocab * width);
    let y = values(75, width);
    let ids = ordering();
    [(0..vocab, "five clusters of twelve"), (300..500, "a part of the table")]
        .into_iter()
        .map(|(part, name)| {
            let members = |&c: &u32| ids[c as usize * MEMBERS..][..MEMBERS].to_vec();
            let logit = |id: u32| -> f64 {
                let row = &table[id as usize * width..][..width];
                let sum = row.iter().zip(&y).map(|(w, y)| w * f64::from(*y)).sum();
                if part.contains(&(id as usize)) { sum } else { 0.0 }
            };
            let expected = chosen().iter().flat_map(members).map(logit).collect();
            let sizes = [MEMBERS, width / 8, part.start, part.len()];
            OneRow {
                name,
                why: "64 products and sums of magnitude below 64 in all, each rounded once",
                op: Op::CentroidHead,
                mode: 0,
                params: sizes.map(|n| n as u32).to_vec(),
                items: SEARCHED,
                buffers: vec![
                    words(&chosen()),
                    words(&ids),
                    table_bytes[part.start * width * 2..part.end * width * 2].to_vec(),
                    bytes(&y),
                    zeros(SEARCHED * MEMBERS),
                ],
                output: (6, false, 0),
                expected,
                tolerance: 64.0 * ROUNDING * 8.0,
            }
            .case(&rows)
        })
        .collect()
}

/// Cases of the drafted token: distinct logits, and equal ones, of which the lowest id wins; of searched
/// clusters and of the whole vocabulary.
pub(crate) fn draft_choose(rows: Range<usize>) -> Vec<Case> {
    let ids = ordering();
    let distinct = values(76, SEARCHED * MEMBERS);
    let equal = vec![1.5; SEARCHED * MEMBERS];
    let clusters = |i: usize| ids[chosen()[i / MEMBERS] as usize * MEMBERS + i % MEMBERS];
    let dense = |i: usize| i as u32;
    let token: [&dyn Fn(usize) -> u32; 2] = [&clusters, &dense];
    [
        ("distinct logits", &distinct, 0),
        ("all equal", &equal, 0),
        ("distinct logits of a vocabulary", &distinct, 1),
        ("all equal of a vocabulary", &equal, 1),
    ]
    .into_iter()
    .map(|(name, logits, mode)| {
        let token = token[mode as usize];
        let better = |best: usize, i: usize| {
            let wins =
                logits[i] > logits[best] || (logits[i] == logits[best] && token(i) < token(best));
            if wins { i } else { best }
        };
        let best = (0..logits.len()).fold(0, better);
        OneRow {
            name,
            why: "comparisons do not round",
            op: Op::DraftChoose,
            mode,
            params: vec![(SEARCHED * MEMBERS) as u32, MEMBERS as u32, 3],
            items: 1,
            buffers: vec![words(&chosen()), words(&ids), bytes(logits), zeros(6)],
            output: (5, true, 3),
            expected: vec![f64::from(token(best))],
            tolerance: 0.0,
        }
        .case(&rows)
    })
    .collect()
}
