//! A linear layer's weights in one of the forms the kernels read.

use super::decode::decode;
use super::{Block, Dtype, Tensor};
use crate::error::Result;
use crate::plan::Format;
use half::bf16;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Fewest weights per scale; every group is a multiple of it.
pub(crate) const GROUP: usize = 32;

/// A `[rows, cols]` weight matrix.
#[derive(Debug)]
pub(crate) enum Matrix<'a> {
    /// Row-major little-endian bf16.
    Bf16 {
        /// Output features.
        rows: usize,
        /// Bytes of all rows.
        data: Cow<'a, [u8]>,
    },
    /// compressed-tensors int4: codes q + 8, eight a word, lowest nibble first; one bf16 scale a group.
    Int4 {
        /// Output features.
        rows: usize,
        /// Weights per scale, a multiple of [`GROUP`].
        group: usize,
        /// Bytes of all rows of codes.
        codes: Cow<'a, [u8]>,
        /// bf16 bytes of all rows of scales.
        scales: Cow<'a, [u8]>,
    },
    /// f32, f16 or GGUF blocks, as the file has them.
    Block {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
        /// Storage type.
        block: Block,
        /// Bytes of all rows.
        data: Cow<'a, [u8]>,
    },
    /// compressed-tensors codes of 8 bits (q + 128), or of 4 with scales that are no bf16.
    Scaled {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
        /// Bits of a code: 4 or 8.
        bits: usize,
        /// Weights per scale, a multiple of [`GROUP`].
        group: usize,
        /// Bytes of all rows of codes.
        codes: Cow<'a, [u8]>,
        /// Scales of all rows.
        scales: Vec<f32>,
    },
}

impl<'a> Matrix<'a> {
    /// Finds `<name>.weight` or `<name>.weight_packed` and checks its shape.
    pub(crate) fn find(
        tensors: &'a BTreeMap<String, Tensor>,
        name: &str,
        rows: usize,
        cols: usize,
        missing: impl Fn(&str) -> crate::Error,
    ) -> Result<Matrix<'a>> {
        let Some(packed) = tensors.get(&format!("{name}.weight_packed")) else {
            let key = format!("{name}.weight");
            return Matrix::plain(tensors.get(&key).ok_or_else(|| missing(&key))?, rows, cols);
        };
        let key = format!("{name}.weight_zero_point");
        if let Some(zero) = tensors.get(&key) {
            return Err(zero.error(
                "makes the codes asymmetric, which is not supported; quantise with symmetric = true",
            ));
        }
        let key = format!("{name}.weight_scale");
        let scale = tensors.get(&key).ok_or_else(|| missing(&key))?;
        let bits = if packed.shape == [rows, cols / 4] { 8 } else { 4 };
        packed.expect_shape(&[rows, cols * bits / 32])?;
        if !matches!(packed.dtype, Dtype::I32 | Dtype::U32) {
            return Err(packed.error(format!("has type {}; expected I32", packed.dtype.name())));
        }
        check_declared_shape(tensors, name, rows, cols)?;
        let group = group_of(scale, rows, cols)?;
        let codes = packed.data().into();
        if bits == 4 && scale.dtype == Dtype::BF16 {
            return Ok(Matrix::Int4 { rows, group, codes, scales: scale.data().into() });
        }
        Ok(Matrix::Scaled { rows, cols, bits, group, codes, scales: scale.to_f32()? })
    }

    /// The matrix in `weight`, whose shape must be `[rows, cols]`.
    pub(crate) fn plain(weight: &'a Tensor, rows: usize, cols: usize) -> Result<Matrix<'a>> {
        weight.expect_shape(&[rows, cols])?;
        weight.expect_weight()?;
        let data = weight.data().into();
        Ok(match weight.dtype {
            Dtype::Block(block) => Matrix::Block { rows, cols, block, data },
            _ => Matrix::Bf16 { rows, data },
        })
    }

    /// Output features.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Matrix::Bf16 { rows, .. }
            | Matrix::Int4 { rows, .. }
            | Matrix::Block { rows, .. }
            | Matrix::Scaled { rows, .. } => *rows,
        }
    }

    /// Input features.
    pub(crate) fn cols(&self) -> usize {
        let per_row = |values: usize| values / self.rows().max(1);
        match self {
            Matrix::Bf16 { data, .. } => per_row(data.len() / 2),
            Matrix::Int4 { codes, .. } => per_row(codes.len() * 2),
            Matrix::Block { cols, .. } | Matrix::Scaled { cols, .. } => *cols,
        }
    }

    /// Bits and group size of compressed-tensors codes.
    pub(crate) fn codes(&self) -> Option<(usize, usize)> {
        match self {
            Matrix::Int4 { group, .. } => Some((4, *group)),
            Matrix::Scaled { bits, group, .. } => Some((*bits, *group)),
            Matrix::Bf16 { .. } | Matrix::Block { .. } => None,
        }
    }

    /// How the kernels see it.
    pub(crate) fn format(&self) -> Format {
        match self {
            Matrix::Bf16 { .. } => Format::Bf16,
            Matrix::Int4 { group, .. } => Format::Int4 { group: *group as u32 },
            Matrix::Block { block, .. } => Format::Block(*block),
            Matrix::Scaled { bits, group, .. } => {
                Format::Scaled { bits: *bits as u32, group: *group as u32 }
            }
        }
    }

    /// Bytes read to use every weight once.
    pub(crate) fn stored_bytes(&self) -> usize {
        match self {
            Matrix::Bf16 { data, .. } | Matrix::Block { data, .. } => data.len(),
            Matrix::Int4 { codes, scales, .. } => codes.len() + scales.len(),
            Matrix::Scaled { codes, scales, .. } => codes.len() + 4 * scales.len(),
        }
    }

    /// int4 with bf16 scales in the form that the block kernels read, for tables; others as they are.
    pub(crate) fn into_table(self) -> Matrix<'a> {
        let cols = self.cols();
        match self {
            Matrix::Int4 { rows, group, codes, scales } => {
                let bits = scales.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]));
                let scales = bits.map(bf16::to_f32).collect();
                Matrix::Scaled { rows, cols, bits: 4, group, codes, scales }
            }
            other => other,
        }
    }

    /// Appends the weights of `part` of the rows as f32: what the kernels multiply with.
    pub(crate) fn decode_rows(&self, part: Range<usize>, into: &mut Vec<f32>) {
        let cols = self.cols();
        let rows = |bytes: &'_ [u8]| -> Range<usize> {
            let each = bytes.len() / self.rows().max(1);
            part.start * each..part.end * each
        };
        match self {
            Matrix::Bf16 { data, .. } => decode(Dtype::BF16, &data[rows(data)], into),
            Matrix::Block { block, data, .. } => {
                decode(Dtype::Block(*block), &data[rows(data)], into);
            }
            Matrix::Int4 { codes, scales, group, .. } => {
                let mut wide = Vec::new();
                decode(Dtype::BF16, &scales[rows(scales)], &mut wide);
                let codes = codes[rows(codes)].iter().flat_map(|b| [b & 15, b >> 4]);
                scaled(codes.map(|q| f32::from(q) - 8.0), cols, *group, &wide, into);
            }
            Matrix::Scaled { codes, scales, group, bits, .. } => {
                let per_row = scales.len() / self.rows().max(1);
                let wide = &scales[part.start * per_row..part.end * per_row];
                let codes = codes[rows(codes)].iter();
                if *bits == 8 {
                    scaled(codes.map(|q| f32::from(*q) - 128.0), cols, *group, wide, into);
                } else {
                    let codes = codes.flat_map(|b| [b & 15, b >> 4]);
                    scaled(codes.map(|q| f32::from(q) - 8.0), cols, *group, wide, into);
                }
            }
        }
    }
}

/// Errors where weights of the linear layer `name`, or their scales, are NaN or infinite.
pub(super) fn expect_numbers(tensors: &BTreeMap<String, Tensor>, name: &str) -> Result<()> {
    let parts = ["weight", "weight_scale"].map(|part| tensors.get(&format!("{name}.{part}")));
    parts.into_iter().flatten().try_for_each(Tensor::expect_numbers)
}

/// Codes times the scale of their group.
fn scaled(
    codes: impl Iterator<Item = f32>,
    cols: usize,
    group: usize,
    scales: &[f32],
    into: &mut Vec<f32>,
) {
    let per_row = cols / group;
    into.extend(codes.enumerate().map(|(i, q)| q * scales[i / cols * per_row + i % cols / group]));
}

/// Weights per scale, which the shape of the scales tells.
fn group_of(scale: &Tensor, rows: usize, cols: usize) -> Result<usize> {
    scale.expect_weight()?;
    let groups = match scale.shape[..] {
        [found, groups] if found == rows && groups > 0 => groups,
        _ => {
            let shape = &scale.shape;
            return Err(scale.error(format!("has shape {shape:?}; expected [{rows}, groups]")));
        }
    };
    let group = cols / groups;
    if group * groups == cols && group.is_multiple_of(GROUP) {
        return Ok(group);
    }
    Err(scale.error(format!(
        "has {groups} scales for {cols} weights; a group must have a multiple of {GROUP} of them"
    )))
}

/// `weight_shape`, where present, must repeat the matrix's own shape.
fn check_declared_shape(
    tensors: &BTreeMap<String, Tensor>,
    name: &str,
    rows: usize,
    cols: usize,
) -> Result<()> {
    let Some(declared) = tensors.get(&format!("{name}.weight_shape")) else { return Ok(()) };
    let data = declared.data();
    let found: Vec<i64> = match declared.dtype {
        Dtype::I64 => data
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect(),
        Dtype::I32 => data
            .chunks_exact(4)
            .map(|b| i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])))
            .collect(),
        _ => return Err(declared.error("has a type other than I64")),
    };
    if found == [rows as i64, cols as i64] {
        Ok(())
    } else {
        Err(declared.error(format!("says {found:?}; the codes say [{rows}, {cols}]")))
    }
}
