//! Oracles of the token and per-layer embeddings.

use super::inputs::{
    ALL_FORMATS, bf16_values, bytes, random_matrix, row_values, values, wide, words, zeros,
};
use super::norms::rms_norm;
use super::{Case, Output, ROUNDING, dense_rows};
use crate::load::Block;
use crate::plan::Format;
use crate::registry::Op;
use std::ops::Range;

const VOCAB: usize = 40;

fn token(row: usize) -> usize {
    (row * 17 + 3) % VOCAB
}

/// Cases of the embedding: the whole table, and a part that holds only some of the tokens.
pub(crate) fn embed(rows: Range<usize>) -> Vec<Case> {
    [0..VOCAB, 13..29].into_iter().map(|part| embed_case(part, &rows)).collect()
}

fn embed_case(part: Range<usize>, rows: &Range<usize>) -> Case {
    let width = 160;
    let scale = 12.649_111f32;
    let (table, bytes) = bf16_values(31, VOCAB * width);
    let expected = |row: usize| {
        let held = part.contains(&token(row));
        let row = &table[token(row) * width..][..width];
        // Tokens of another part leave the zeros that are there.
        let values = row.iter().map(|v| if held { v * f64::from(scale) } else { 0.0 }).collect();
        (values, 16.0 * ROUNDING)
    };
    let tokens: Vec<u32> = rows.clone().map(|row| token(row) as u32).collect();
    Case {
        name: format!("tokens {} to {}", part.start, part.end),
        why: "one product, rounded once, of values below 16",
        op: Op::Embed,
        mode: 0,
        constants: Vec::new(),
        experts: 0,
        params: vec![width as u32, part.start as u32, part.len() as u32, scale.to_bits()],
        items: width / 2,
        position: rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: 4, integer: false, rows: dense_rows(rows, expected) }],
        buffers: vec![
            words(&tokens),
            bytes[part.start * width * 2..part.end * width * 2].to_vec(),
            zeros(rows.len() * width),
        ],
    }
}

/// Cases of the embedding from quantised tables: every storage type, and a part of one.
pub(crate) fn embed_block(rows: Range<usize>) -> Vec<Case> {
    let whole = ALL_FORMATS.into_iter().map(|format| embed_block_case(format, 0..VOCAB, &rows));
    let part = embed_block_case(Format::Block(Block::Q6K), 13..29, &rows);
    whole.chain([part]).collect()
}

fn embed_block_case(format: Format, part: Range<usize>, rows: &Range<usize>) -> Case {
    let width = 512;
    let scale = 12.649_111f32;
    let matrix = random_matrix(format, 37, VOCAB, width);
    let mut table = Vec::new();
    matrix.decode_rows(0..VOCAB, &mut table);
    let largest = table.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let expected = |row: usize| {
        let held = part.contains(&token(row));
        let row = &table[token(row) * width..][..width];
        let value = |v: &f32| if held { f64::from(*v) * f64::from(scale) } else { 0.0 };
        (row.iter().map(value).collect(), f64::from(largest * scale) * ROUNDING)
    };
    // A token ahead of the first row's, as a draft step has it.
    let tokens = std::iter::once(0).chain(rows.clone().map(|row| token(row) as u32));
    let (mut codes, mut rest) = (Vec::new(), Vec::new());
    matrix.planes(part.clone(), &mut codes, &mut rest);
    let sizes = [width / 32, part.start, part.len()].map(|n| n as u32);
    let params = sizes.into_iter().chain([scale.to_bits(), 1, width as u32]).collect();
    Case {
        name: format!("{format:?}, tokens {} to {}", part.start, part.end),
        why: "the host decodes a weight to the same bits; the scaling rounds once",
        op: Op::EmbedBlock,
        mode: 0,
        constants: format.block(),
        experts: 0,
        params,
        items: width / 32,
        position: rows.start,
        rows: rows.len(),
        outputs: vec![Output { binding: 5, integer: false, rows: dense_rows(rows, expected) }],
        buffers: vec![words(&tokens.collect::<Vec<_>>()), codes, rest, zeros(rows.len() * width)],
    }
}

/// Cases of the per-layer embeddings: table on the device, and rows uploaded for the step.
pub(crate) fn ple_combine(rows: Range<usize>) -> Vec<Case> {
    [1, 0, 2].into_iter().map(|by_token| ple_case(by_token, &rows)).collect()
}

fn ple_case(by_token: u32, rows: &Range<usize>) -> Case {
    let (layers, width) = (3, 96);
    let all = layers * width;
    let (context_scale, token_scale) = (0.125f32, 9.797_959f32);
    let (table, table_bytes) = bf16_values(33, VOCAB * all);
    let context = row_values(34, rows.clone(), all);
    let weights = values(35, width + 4);
    let weight = wide(&weights[4..]);
    let expected = |row: usize| {
        let table_row = &table[token(row) * all..][..all];
        let context = wide(&context[(row - rows.start) * all..][..all]);
        let scaled: Vec<f64> = context.iter().map(|c| c * f64::from(context_scale)).collect();
        let normed = scaled.chunks(width).flat_map(|slice| rms_norm(slice, Some(&weight)));
        let sum = normed.zip(table_row).map(|(c, t)| c + t * f64::from(token_scale));
        (sum.map(|v| v / std::f64::consts::SQRT_2).collect(), 40.0 * ROUNDING * 16.0)
    };
    let held: Vec<u8> = match by_token {
        1 => table_bytes,
        0 => {
            let row = |row: usize| table_bytes[token(row) * all * 2..][..all * 2].to_vec();
            rows.clone().flat_map(row).collect()
        }
        _ => {
            let row = |row: usize| table[token(row) * all..][..all].iter().map(|v| *v as f32);
            bytes(&rows.clone().flat_map(row).collect::<Vec<_>>())
        }
    };
    let name = match by_token {
        1 => "table on the device",
        0 => "rows uploaded",
        _ => "rows in f32",
    };
    let tokens: Vec<u32> = rows.clone().map(|row| token(row) as u32).collect();
    let output = Output { binding: 6, integer: false, rows: dense_rows(rows, expected) };
    Case {
        name: name.into(),
        why: "a norm of values below 4, one fused product and one scaling, on sums below 16",
        op: Op::PleCombine,
        mode: 0,
        constants: Vec::new(),
        experts: 0,
        params: vec![
            layers as u32,
            width as u32,
            by_token,
            4,
            context_scale.to_bits(),
            token_scale.to_bits(),
            1e-6f32.to_bits(),
        ],
        items: layers,
        position: rows.start,
        rows: rows.len(),
        outputs: vec![output],
        buffers: vec![
            words(&tokens),
            held,
            bytes(&context),
            bytes(&weights),
            zeros(rows.len() * all),
        ],
    }
}
