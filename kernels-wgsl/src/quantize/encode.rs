//! Round-to-nearest codes and scales of rows of weights, and how far they are from the originals.

use super::TensorError;
use half::bf16;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How quantised weights are stored: symmetric codes with one bf16 scale for a group of a row's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scheme {
    /// Four bits, and a scale for every this many weights: 32, 64 or 128.
    Int4(usize),
    /// Eight bits, and a scale for the whole row.
    Int8,
}

/// The schemes by name.
const NAMES: [(&str, Scheme); 4] = [
    ("int4-g32", Scheme::Int4(32)),
    ("int4-g64", Scheme::Int4(64)),
    ("int4-g128", Scheme::Int4(128)),
    ("int8", Scheme::Int8),
];

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, scheme)| scheme == self).map_or("int4", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(name, _)| *name == text).map(|(_, scheme)| *scheme);
        let known = NAMES.map(|(name, _)| name).join(", ");
        found.ok_or_else(|| format!("scheme `{text}` is none of {known}"))
    }
}

impl TryFrom<String> for Scheme {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Scheme> for String {
    fn from(scheme: Scheme) -> String {
        scheme.to_string()
    }
}

impl Scheme {
    /// Bits of a code.
    pub(super) fn bits(self) -> usize {
        match self {
            Scheme::Int4(_) => 4,
            Scheme::Int8 => 8,
        }
    }

    /// Weights per scale in rows of `cols`.
    pub(super) fn group(self, cols: usize) -> usize {
        match self {
            Scheme::Int4(group) => group,
            Scheme::Int8 => cols,
        }
    }

    /// This scheme, or the one with the largest smaller group that divides rows of `cols`.
    pub(super) fn fitting(self, cols: usize) -> Option<Scheme> {
        match self {
            Scheme::Int8 => cols.is_multiple_of(32).then_some(self),
            Scheme::Int4(group) => {
                let groups = [128, 64, 32].into_iter().filter(|g| *g <= group);
                groups.into_iter().find(|g| cols.is_multiple_of(*g)).map(Scheme::Int4)
            }
        }
    }
}

/// Sums over the weights seen so far.
#[derive(Default)]
pub(super) struct Differences {
    count: usize,
    squared: f64,
    original: f64,
    max: f64,
}

impl Differences {
    /// The line of the report.
    pub(super) fn report(&self, tensor: &str, scheme: Scheme) -> TensorError {
        let relative =
            if self.original > 0.0 { (self.squared / self.original).sqrt() } else { 0.0 };
        TensorError {
            tensor: tensor.to_string(),
            scheme,
            weights: self.count,
            rms_error: (self.squared / self.count.max(1) as f64).sqrt(),
            relative_error: relative,
            max_error: self.max,
        }
    }
}

/// Appends codes and bf16 scales of `weights`, whole rows of `cols`, as compressed-tensors packs them.
///
/// A code q is stored as q + 8 or q + 128, the first one in the lowest bits; scale = absmax / 7.5 or
/// absmax / 127.5.
pub(super) fn encode(
    scheme: Scheme,
    cols: usize,
    weights: &[f32],
    codes: &mut Vec<u8>,
    scales: &mut Vec<u8>,
    differences: &mut Differences,
) {
    let half = (1 << (scheme.bits() - 1)) as f32;
    for group in weights.chunks_exact(scheme.group(cols)) {
        let absmax = group.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        let scale = bf16::from_f32(absmax / (half - 0.5));
        scales.extend(scale.to_le_bytes());
        let scale = scale.to_f32();
        let mut quantise = |w: f32| {
            let code = match scale > 0.0 {
                true => (w / scale).round_ties_even().clamp(-half, half - 1.0),
                false => 0.0,
            };
            let difference = f64::from(w) - f64::from(code * scale);
            differences.squared += difference * difference;
            differences.original += f64::from(w) * f64::from(w);
            differences.max = differences.max.max(difference.abs());
            (code + half) as u8
        };
        match scheme {
            Scheme::Int8 => codes.extend(group.iter().map(|w| quantise(*w))),
            Scheme::Int4(_) => codes.extend(group.chunks_exact(2).map(|pair| {
                let low = quantise(pair[0]);
                low | quantise(pair[1]) << 4
            })),
        }
    }
    differences.count += weights.len();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Matrix;

    #[test]
    fn groups_come_back_within_half_a_step() {
        let (rows, cols) = (2, 256);
        let weights: Vec<f32> =
            (0..rows * cols).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.01).collect();
        for (name, scheme) in NAMES {
            assert_eq!(name.parse::<Scheme>().unwrap().to_string(), name);
            let (mut codes, mut scales) = (Vec::new(), Vec::new());
            let mut differences = Differences::default();
            encode(scheme, cols, &weights, &mut codes, &mut scales, &mut differences);
            let group = scheme.group(cols);
            let wide = scales.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32());
            let (bits, scales) = (scheme.bits(), wide.collect());
            let codes = codes.into();
            let matrix = Matrix::Scaled { rows, cols, bits, group, codes, scales };
            let mut back = Vec::new();
            matrix.decode_rows(0..rows, &mut back);
            let mut max = 0.0f64;
            for (back, original) in back.chunks(group).zip(weights.chunks(group)) {
                let absmax = original.iter().fold(0.0f32, |m, w| m.max(w.abs()));
                // The largest weight is off by up to half a step, plus the scale's own rounding.
                let step = absmax / ((1 << (bits - 1)) as f32 - 0.5);
                for (b, o) in back.iter().zip(original) {
                    assert!((b - o).abs() <= step * 0.55 + absmax / 256.0, "{scheme}: {b} for {o}");
                    max = max.max(f64::from(b - o).abs());
                }
            }
            let report = differences.report("w", scheme);
            assert!((report.max_error - max).abs() < 1e-6 && report.weights == rows * cols);
        }
    }

    #[test]
    fn zeros_stay_zero_and_odd_widths_take_smaller_groups() {
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        let scheme = Scheme::Int4(32);
        encode(scheme, 32, &[0.0; 32], &mut codes, &mut scales, &mut Differences::default());
        assert_eq!((codes, scales), (vec![0x88; 16], vec![0, 0]));
        assert_eq!(Scheme::Int4(128).fitting(2112), Some(Scheme::Int4(64)));
        assert_eq!(Scheme::Int4(128).fitting(96), Some(Scheme::Int4(32)));
        assert_eq!(Scheme::Int8.fitting(704), Some(Scheme::Int8));
        assert_eq!(Scheme::Int4(64).fitting(48), None);
        assert!("int5".parse::<Scheme>().is_err());
    }
}
