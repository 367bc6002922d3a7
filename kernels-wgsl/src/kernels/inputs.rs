//! Deterministic inputs for the oracles' cases.

use half::bf16;

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
