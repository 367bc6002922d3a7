//! Weights of stored rows as f32, written from specification §8.1.
//!
//! Products of a block's scale and a code are exact in f32, so each weight rounds at most once: where a
//! minimum is added. The kernels decode embedding rows to the same bits.

use super::dtype::{Block, Dtype};
use half::{bf16, f16};

/// What IQ4_NL's sixteen codes stand for.
pub(crate) const IQ4_NL: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Appends the weights of `data`, whole blocks of `dtype`, to `into`. Types that are no weights add nothing.
pub(crate) fn decode(dtype: Dtype, data: &[u8], into: &mut Vec<f32>) {
    match dtype {
        Dtype::BF16 => {
            into.extend(data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()));
        }
        Dtype::Block(block) => decode_blocks(block, data, into),
        _ => {}
    }
}

/// Whether weights among `data`, whole blocks of `dtype`, are NaN or infinite: by their own bits, or by those
/// of a scale. An infinite weight gives NaN as soon as it meets a zero or its opposite.
pub(crate) fn holds_nonfinite(dtype: Dtype, data: &[u8]) -> bool {
    // The largest magnitude of a run of words; the loops have no exits, so that they become vector code.
    let wide = |data: &[u8]| {
        let words = data.as_chunks::<4>().0.iter();
        words.fold(0, |most, b| (u32::from_le_bytes(*b) & 0x7fff_ffff).max(most)) >= 0x7f80_0000
    };
    let narrow = |data: &[u8], infinity: u16| {
        let words = data.as_chunks::<2>().0.iter();
        words.fold(0, |most, b| (u16::from_le_bytes(*b) & 0x7fff).max(most)) >= infinity
    };
    match dtype {
        Dtype::BF16 => narrow(data, 0x7f80),
        Dtype::Block(Block::F32) => wide(data),
        Dtype::Block(Block::F16) => narrow(data, 0x7c00),
        Dtype::Block(block) => {
            let mut blocks = data.chunks_exact(block.layout().1);
            blocks.any(|bytes| block.halves().iter().any(|&at| !half_at(bytes, at).is_finite()))
        }
        _ => false,
    }
}

fn decode_blocks(block: Block, data: &[u8], into: &mut Vec<f32>) {
    let blocks = data.chunks_exact(block.layout().1);
    match block {
        Block::F32 => into.extend(blocks.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        Block::F16 => into.extend(blocks.map(|b| half_at(b, 0))),
        Block::Q4_0 => blocks.for_each(|b| pairs(&b[2..], 0, half_at(b, 0), -8.0, 0.0, into)),
        Block::Q4_1 => {
            blocks.for_each(|b| pairs(&b[4..], 0, half_at(b, 0), 0.0, half_at(b, 2), into));
        }
        Block::Q5_0 => {
            blocks.for_each(|b| pairs(&b[6..], word_at(b, 2), half_at(b, 0), -16.0, 0.0, into));
        }
        Block::Q5_1 => blocks.for_each(|b| {
            pairs(&b[8..], word_at(b, 4), half_at(b, 0), 0.0, half_at(b, 2), into);
        }),
        Block::Q8_0 => blocks.for_each(|b| {
            into.extend(b[2..].iter().map(|&q| half_at(b, 0) * f32::from(q as i8)));
        }),
        Block::Q4K => blocks.for_each(|b| five_bits(b, None, &b[16..], into)),
        Block::Q5K => blocks.for_each(|b| five_bits(b, Some(&b[16..48]), &b[48..], into)),
        Block::Q6K => blocks.for_each(|b| six_bits(b, into)),
        Block::Iq4Nl => blocks.for_each(|b| {
            let weight = |code: u8| half_at(b, 0) * f32::from(IQ4_NL[usize::from(code)]);
            into.extend(b[2..].iter().map(|q| weight(q & 15)));
            into.extend(b[2..].iter().map(|q| weight(q >> 4)));
        }),
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn word_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// A block of 32: low nibbles, then high nibbles, the fifth bit of weight j in bit j of `high`.
fn pairs(codes: &[u8], high: u32, scale: f32, offset: f32, min: f32, into: &mut Vec<f32>) {
    let weight = |code: u8, bit: usize| {
        let code = u32::from(code) | (high >> bit & 1) << 4;
        scale * (code as f32 + offset) + min
    };
    into.extend(codes.iter().enumerate().map(|(j, q)| weight(q & 15, j)));
    into.extend(codes.iter().enumerate().map(|(j, q)| weight(q >> 4, j + 16)));
}

/// The eight (scale, minimum) pairs of 6 bits each that Q4_K and Q5_K pack into twelve bytes.
pub(crate) fn six_bit_pairs(s: &[u8]) -> [(u8, u8); 8] {
    std::array::from_fn(|j| {
        if j < 4 {
            (s[j] & 63, s[j + 4] & 63)
        } else {
            ((s[j + 4] & 15) | (s[j - 4] >> 6) << 4, (s[j + 4] >> 4) | (s[j] >> 6) << 4)
        }
    })
}

/// A block of Q4_K, or of Q5_K where there are `high` bits.
fn five_bits(block: &[u8], high: Option<&[u8]>, codes: &[u8], into: &mut Vec<f32>) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    for (group, (scale, min)) in six_bit_pairs(&block[4..16]).into_iter().enumerate() {
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for (l, q) in codes[group / 2 * 32..][..32].iter().enumerate() {
            let bit = high.map_or(0, |high| high[l] >> group & 1);
            let code = (q >> (group % 2 * 4) & 15) | bit << 4;
            into.push(scale * f32::from(code) - min);
        }
    }
}

/// A block of Q6_K.
fn six_bits(block: &[u8], into: &mut Vec<f32>) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let d = half_at(rest, 16);
    for group in 0..8 {
        let (side, quarter) = (group / 4, group % 4);
        for l in 0..32 {
            let code = six_bit_code(&low[side * 64..], &high[side * 32..], quarter, l);
            let scale = f32::from(rest[group * 2 + l / 16] as i8);
            into.push(d * scale * (f32::from(code) - 32.0));
        }
    }
}

/// Code of weight `l` in one of the four groups of 32 of half a Q6_K block.
pub(crate) fn six_bit_code(low: &[u8], high: &[u8], quarter: usize, l: usize) -> u8 {
    let nibble = low[l + quarter % 2 * 32] >> (quarter / 2 * 4) & 15;
    nibble | (high[l] >> (2 * quarter) & 3) << 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    const TYPES: [Block; 10] = [
        Block::F16,
        Block::Q4_0,
        Block::Q4_1,
        Block::Q5_0,
        Block::Q5_1,
        Block::Q8_0,
        Block::Q4K,
        Block::Q5K,
        Block::Q6K,
        Block::Iq4Nl,
    ];

    #[test]
    fn what_is_not_finite_is_seen_in_weights_and_in_scales() {
        let mut sound = Vec::new();
        for block in TYPES {
            let (_, bytes) = block.layout();
            let zeros = vec![0; 3 * bytes];
            for at in block.halves() {
                let with = |half: f16| {
                    let mut data = zeros.clone();
                    data[bytes + at..bytes + at + 2].copy_from_slice(&half.to_le_bytes());
                    data
                };
                for half in [f16::NAN, -f16::NAN, f16::INFINITY, f16::NEG_INFINITY] {
                    let (bad, name) = (with(half), block.name());
                    let mut values = Vec::new();
                    decode(Dtype::Block(block), &bad, &mut values);
                    assert!(values.iter().any(|value| !value.is_finite()), "{name} {half}");
                    assert!(holds_nonfinite(Dtype::Block(block), &bad), "{name} {half} at {at}");
                }
                sound.push((Dtype::Block(block), with(f16::MIN)));
            }
            sound.push((Dtype::Block(block), zeros));
        }
        let wide = |values: [f32; 3]| values.map(f32::to_le_bytes).concat();
        let narrow = |values: [f32; 3]| values.map(|v| bf16::from_f32(v).to_le_bytes()).concat();
        let finite = [f32::MIN, f32::MAX, -0.0];
        sound.push((Dtype::Block(Block::F32), wide(finite)));
        sound.push((Dtype::BF16, [bf16::MIN, bf16::MAX].map(bf16::to_le_bytes).concat()));
        sound.push((Dtype::I64, vec![0xff; 16]));
        for (dtype, data) in sound {
            assert!(!holds_nonfinite(dtype, &data), "{}", dtype.name());
        }
        for bad in [-f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(holds_nonfinite(Dtype::Block(Block::F32), &wide([0.0, bad, 1.0])), "{bad}");
            assert!(holds_nonfinite(Dtype::BF16, &narrow([0.0, bad, 1.0])), "{bad}");
        }
    }

    /// `tests/fixtures/dequantised/make.py` wrote the blocks and what the `gguf` package makes of them.
    #[test]
    fn blocks_are_what_the_gguf_package_makes_of_them() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dequantised/blocks.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for block in TYPES {
            let tensor = |part: &str| file.tensor(&format!("{}.{part}", block.name())).unwrap();
            let mut found = Vec::new();
            decode(Dtype::Block(block), tensor("blocks").data(), &mut found);
            let expected = tensor("values").data().chunks_exact(4);
            let expected: Vec<f32> =
                expected.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            assert_eq!(found.len(), expected.len(), "{}", block.name());
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let (name, bits) = (block.name(), found.to_bits() == expected.to_bits());
                // Signs of zero differ where a scale is negative.
                assert!(
                    bits || (*found == 0.0 && *expected == 0.0),
                    "{name} {i}: {found} {expected}"
                );
            }
        }
    }
}
