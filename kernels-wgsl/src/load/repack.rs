//! From a file's rows to the two planes that the block kernels read.
//!
//! The code plane holds, for every 32 weights of a row, their codes in whole vectors of 16 bytes: of 4-bit
//! codes weight j in the low nibble of byte j and weight j + 16 in the high one; of 8-bit codes in order;
//! of f16 and f32 the values. The other plane holds the rest of the row in words: scales, minima and the
//! bits above the fourth. Both together have the size of the file's row, up to a half word of padding.

use super::decode::six_bit_code;
use super::{Block, Matrix};
use crate::plan::Format;
use std::ops::Range;

/// Bytes of a row of `cols` weights in the code plane and in the other one.
pub(crate) fn row_bytes(format: Format, cols: usize) -> (usize, usize) {
    let groups = cols / 32;
    let halves = |count: usize| (2 * count).next_multiple_of(4);
    match format {
        Format::Bf16 => (2 * cols, 0),
        Format::Int4 { group } => (cols / 2, halves(cols / group as usize)),
        Format::Scaled { bits, group } => (cols * bits as usize / 8, 4 * (cols / group as usize)),
        Format::Block(block) => match block {
            Block::F32 => (4 * cols, 0),
            Block::F16 => (2 * cols, 0),
            Block::Q4_0 | Block::Iq4Nl => (16 * groups, halves(groups)),
            Block::Q4_1 => (16 * groups, 4 * groups),
            Block::Q5_0 => (16 * groups, 4 * groups + halves(groups)),
            Block::Q5_1 => (16 * groups, 8 * groups),
            Block::Q8_0 => (32 * groups, halves(groups)),
            Block::Q4K => (16 * groups, groups / 8 * 16),
            Block::Q5K => (16 * groups, groups / 8 * 48),
            Block::Q6K => (16 * groups, groups / 8 * 80 + halves(groups / 8)),
        },
    }
}

impl Matrix<'_> {
    /// Appends `part` of the rows to the code plane and to the other one.
    pub(crate) fn planes(&self, part: Range<usize>, codes: &mut Vec<u8>, rest: &mut Vec<u8>) {
        let rows = |bytes: &'_ [u8]| -> Range<usize> {
            let each = bytes.len() / self.rows().max(1);
            part.start * each..part.end * each
        };
        match self {
            Matrix::Bf16 { data, .. } => codes.extend_from_slice(&data[rows(data)]),
            Matrix::Int4 { codes: own, scales, .. } => {
                codes.extend_from_slice(&own[rows(own)]);
                let width = scales.len() / self.rows().max(1);
                for row in scales[rows(scales)].chunks(width.max(1)) {
                    rest.extend_from_slice(row);
                    rest.resize(rest.len().next_multiple_of(4), 0);
                }
            }
            Matrix::Scaled { codes: own, scales, bits, .. } => {
                let own = &own[rows(own)];
                match bits {
                    8 => codes.extend_from_slice(own),
                    _ => own.chunks_exact(16).for_each(|group| {
                        let code = |j: usize| group[j / 2] >> (4 * (j % 2)) & 15;
                        nibbles(code, codes);
                    }),
                }
                let per_row = scales.len() / self.rows().max(1);
                let scales = &scales[part.start * per_row..part.end * per_row];
                rest.extend_from_slice(bytemuck::cast_slice(scales));
            }
            Matrix::Block { block, data, .. } => {
                let each = data.len() / self.rows().max(1);
                let data = &data[rows(data)];
                data.chunks_exact(each.max(1)).for_each(|row| block_row(*block, row, codes, rest));
            }
        }
    }
}

/// Sixteen bytes of a group's 4-bit codes.
fn nibbles(code: impl Fn(usize) -> u8, codes: &mut Vec<u8>) {
    codes.extend((0..16).map(|j| code(j) | code(j + 16) << 4));
}

fn block_row(block: Block, row: &[u8], codes: &mut Vec<u8>, rest: &mut Vec<u8>) {
    let blocks = row.chunks_exact(block.layout().1);
    match block {
        Block::F32 | Block::F16 => codes.extend_from_slice(row),
        Block::Q4_0 | Block::Iq4Nl => blocks.for_each(|b| {
            rest.extend_from_slice(&b[..2]);
            codes.extend_from_slice(&b[2..]);
        }),
        Block::Q8_0 => blocks.for_each(|b| {
            rest.extend_from_slice(&b[..2]);
            codes.extend(b[2..].iter().map(|q| q ^ 0x80));
        }),
        Block::Q4_1 => blocks.for_each(|b| {
            rest.extend_from_slice(&b[..4]);
            codes.extend_from_slice(&b[4..]);
        }),
        Block::Q5_0 => {
            blocks.clone().for_each(|b| rest.extend_from_slice(&b[2..6]));
            blocks.for_each(|b| {
                rest.extend_from_slice(&b[..2]);
                codes.extend_from_slice(&b[6..]);
            });
        }
        Block::Q5_1 => blocks.for_each(|b| {
            rest.extend_from_slice(&b[4..8]);
            rest.extend_from_slice(&b[..4]);
            codes.extend_from_slice(&b[8..]);
        }),
        Block::Q4K => blocks.for_each(|b| {
            rest.extend_from_slice(&b[..16]);
            super_block(&b[16..], codes);
        }),
        Block::Q5K => blocks.for_each(|b| {
            rest.extend_from_slice(&b[..16]);
            for group in 0..8 {
                let bit = |l: usize| u32::from(b[16 + l] >> group & 1) << l;
                rest.extend((0..32).map(bit).fold(0, |word, bit| word | bit).to_le_bytes());
            }
            super_block(&b[48..], codes);
        }),
        Block::Q6K => {
            blocks.clone().for_each(|b| six_bits(b, codes, rest));
            blocks.for_each(|b| rest.extend_from_slice(&b[208..]));
        }
    }
    rest.resize(rest.len().next_multiple_of(4), 0);
}

/// The 4-bit codes of a block of Q4_K or Q5_K.
fn super_block(own: &[u8], codes: &mut Vec<u8>) {
    for group in 0..8 {
        nibbles(|l| own[group / 2 * 32 + l] >> (group % 2 * 4) & 15, codes);
    }
}

/// Scales of a block of Q6_K, then the upper two bits of its codes, sixteen codes a word.
fn six_bits(b: &[u8], codes: &mut Vec<u8>, rest: &mut Vec<u8>) {
    rest.extend_from_slice(&b[192..208]);
    for group in 0..8 {
        let (side, quarter) = (group / 4, group % 4);
        let (low, high) = (&b[side * 64..128], &b[128 + side * 32..192]);
        let code = |l: usize| six_bit_code(low, high, quarter, l);
        nibbles(|l| code(l) & 15, codes);
        for half in 0..2 {
            let bits = |l: usize| u32::from(code(half * 16 + l) >> 4) << (2 * l);
            rest.extend((0..16).map(bits).fold(0, |word, bits| word | bits).to_le_bytes());
        }
    }
}
