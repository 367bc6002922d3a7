//! Deterministic inputs for the oracles' cases.

use crate::load::{Block, Matrix};
use crate::plan::Format;
use half::{bf16, f16};

/// `count` values in -1..1 from a seed (SplitMix64).
pub(super) fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            (z >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        })
        .collect()
}

/// The same rounded to bf16, as values and as bytes.
pub(super) fn bf16_values(seed: u64, count: usize) -> (Vec<f64>, Vec<u8>) {
    let rounded = values(seed, count).into_iter().map(bf16::from_f32);
    let bytes = rounded.clone().flat_map(bf16::to_le_bytes).collect();
    (rounded.map(bf16::to_f64).collect(), bytes)
}

/// `width` values for each of `rows`, seeded by the row's own number.
pub(super) fn row_values(seed: u64, rows: impl Iterator<Item = usize>, width: usize) -> Vec<f32> {
    rows.flat_map(|row| values(seed + 1000 * row as u64, width)).collect()
}

/// Bytes of f32 values.
pub(super) fn bytes(values: &[f32]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// Bytes of words.
pub(super) fn words(values: &[u32]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// Zeroed bytes of `count` words.
pub(super) fn zeros(count: usize) -> Vec<u8> {
    vec![0; 4 * count]
}

/// Values as f64.
pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Every format that the block kernels read; those with groups in several sizes.
pub(super) const ALL_FORMATS: [Format; 15] = [
    Format::Block(Block::F32),
    Format::Block(Block::F16),
    Format::Block(Block::Q4_0),
    Format::Block(Block::Q4_1),
    Format::Block(Block::Q5_0),
    Format::Block(Block::Q5_1),
    Format::Block(Block::Q8_0),
    Format::Block(Block::Q4K),
    Format::Block(Block::Q5K),
    Format::Block(Block::Q6K),
    Format::Block(Block::Iq4Nl),
    Format::Scaled { bits: 8, group: 32 },
    Format::Scaled { bits: 8, group: 512 },
    Format::Scaled { bits: 4, group: 32 },
    Format::Scaled { bits: 4, group: 128 },
];

/// A matrix whose bytes are random and whose scales are ordinary numbers, some of them negative and some
/// too small to be normal f16 numbers.
pub(crate) fn random_matrix(
    format: Format,
    seed: u64,
    rows: usize,
    cols: usize,
) -> Matrix<'static> {
    let bytes = |seed: u64, count: usize| -> Vec<u8> {
        values(seed, count).iter().map(|v| (v * 128.0 + 128.0) as u8).collect()
    };
    match format {
        Format::Bf16 => Matrix::Bf16 { rows, data: bf16_values(seed, rows * cols).1.into() },
        Format::Int4 { group } => {
            let group = group as usize;
            let codes = bytes(seed, rows * cols / 2).into();
            let scales = bf16_values(seed + 1, rows * cols / group).1.into();
            Matrix::Int4 { rows, group, codes, scales }
        }
        Format::Scaled { bits, group } => {
            let (bits, group) = (bits as usize, group as usize);
            let codes = bytes(seed, rows * cols * bits / 8).into();
            let scales = values(seed + 1, rows * cols / group);
            Matrix::Scaled { rows, cols, bits, group, codes, scales }
        }
        Format::Block(block) => {
            let (weights, size) = block.layout();
            let count = rows * cols / weights;
            let mut data = bytes(seed, count * size);
            let scales = values(seed + 1, 2 * count);
            for (i, data) in data.chunks_exact_mut(size).enumerate() {
                let tiny = if i % 7 == 3 { 1e-3 } else { 1.0 };
                let mut put = |at: usize, value: f32| {
                    data[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
                };
                let (d, m) = (scales[2 * i], scales[2 * i + 1]);
                match block {
                    Block::F32 => data.copy_from_slice(&d.to_le_bytes()),
                    Block::F16 => put(0, d * if i % 7 == 3 { 1e-5 } else { 1.0 }),
                    Block::Q6K => put(208, d * tiny * 2e-3),
                    Block::Q4K | Block::Q5K => {
                        put(0, d * tiny * 5e-3);
                        put(2, m * tiny * 5e-3);
                    }
                    Block::Q4_1 | Block::Q5_1 => {
                        put(0, d * 0.1);
                        put(2, m);
                    }
                    Block::Q4_0 | Block::Q5_0 | Block::Q8_0 | Block::Iq4Nl => {
                        put(0, d * tiny * 0.02);
                    }
                }
            }
            Matrix::Block { rows, cols, block, data: data.into() }
        }
    }
}
