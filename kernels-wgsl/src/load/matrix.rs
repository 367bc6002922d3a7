//! A linear layer's weights in one of the two forms the kernels read.

use super::Tensor;
use crate::error::Result;
use safetensors::Dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Weights per scale in the int4 format.
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
    /// compressed-tensors int4: codes q + 8, eight a word, lowest nibble first; one bf16 scale a group of 32.
    Int4 {
        /// Output features.
        rows: usize,
        /// Bytes of all rows of codes.
        codes: &'a [u8],
        /// bf16 bytes of all rows of scales.
        scales: Cow<'a, [u8]>,
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
        if let Some(packed) = tensors.get(&format!("{name}.weight_packed")) {
            packed.expect_shape(&[rows, cols / 8])?;
            if !matches!(packed.dtype, Dtype::I32 | Dtype::U32) {
                return Err(packed.error(format!("has type {:?}; expected I32", packed.dtype)));
            }
            let key = format!("{name}.weight_scale");
            let scale = tensors.get(&key).ok_or_else(|| missing(&key))?;
            scale.expect_shape(&[rows, cols / GROUP])?;
            check_declared_shape(tensors, name, rows, cols)?;
            return Ok(Matrix::Int4 { rows, codes: packed.data(), scales: scale.to_bf16()? });
        }
        let key = format!("{name}.weight");
        let weight = tensors.get(&key).ok_or_else(|| missing(&key))?;
        weight.expect_shape(&[rows, cols])?;
        Ok(Matrix::Bf16 { rows, data: weight.to_bf16()? })
    }

    /// Output features.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Matrix::Bf16 { rows, .. } | Matrix::Int4 { rows, .. } => *rows,
        }
    }

    /// Bytes read to use every weight once.
    pub(crate) fn stored_bytes(&self) -> usize {
        match self {
            Matrix::Bf16 { data, .. } => data.len(),
            Matrix::Int4 { codes, scales, .. } => codes.len() + scales.len(),
        }
    }
}

/// `weight_shape`, where present, must repeat the matrix's own shape.
fn check_declared_shape(
    tensors: &BTreeMap<String, Tensor>,
    name: &str,
    rows: usize,
    cols: usize,
) -> Result<()> {
    let Some(declared) = tensors.get(&format!("{name}.weight_shape")) else { return Ok(()) };
    let found: Vec<i64> = match declared.dtype {
        Dtype::I64 => declared
            .data()
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect(),
        _ => return Err(declared.error("has a type other than I64")),
    };
    if found == [rows as i64, cols as i64] {
        Ok(())
    } else {
        Err(declared.error(format!("says {found:?}; the codes say [{rows}, {cols}]")))
    }
}
