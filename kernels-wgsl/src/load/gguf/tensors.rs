//! The tensor list of a GGUF file.

use super::cursor::Cursor;
use crate::error::{Error, Result};
use crate::load::dtype::{Block, Dtype};
use crate::load::{Bytes, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Fewest bytes of a tensor's entry: name length, one byte of it, one dimension, type and offset.
pub(super) const ENTRY_BYTES_MIN: u64 = 8 + 1 + 4 + 8 + 4 + 8;
const DIMENSIONS_MAX: u32 = 4;

struct Info {
    name: String,
    dtype: Dtype,
    /// Outermost first, as safetensors has them.
    shape: Vec<usize>,
    offset: u64,
    size: u64,
}

/// Reads `count` entries and what they point to, by the names in the file.
pub(super) fn read(
    file: &Arc<str>,
    bytes: &Bytes,
    cursor: &mut Cursor<'_>,
    count: usize,
    alignment: usize,
) -> Result<BTreeMap<String, Tensor>> {
    let mut infos = Vec::with_capacity(count);
    for i in 0..count {
        cursor.about(format!("tensor {i}"));
        infos.push(read_info(file, cursor, alignment as u64)?);
    }
    let start = cursor.position().next_multiple_of(alignment);
    let data = bytes.as_slice().len().saturating_sub(start) as u64;
    infos.sort_by_key(|info| (info.offset, info.size));
    let mut end = 0;
    let mut tensors = BTreeMap::new();
    for info in infos {
        let refuse = |message: String| Err(tensor_error(file, &info.name, message));
        let Some(last) = info.offset.checked_add(info.size).filter(|&last| last <= data) else {
            let (offset, size) = (info.offset, info.size);
            return refuse(format!(
                "has {size} bytes at {offset}, but the file has {data} bytes of data"
            ));
        };
        if info.offset < end {
            return refuse(format!("begins at {}, inside the tensor before it", info.offset));
        }
        end = last;
        let range = start + info.offset as usize..start + last as usize;
        let tensor = make(file, bytes, &info, range);
        if tensors.insert(info.name.clone(), tensor).is_some() {
            return refuse("occurs twice".into());
        }
    }
    Ok(tensors)
}

fn make(file: &Arc<str>, bytes: &Bytes, info: &Info, range: Range<usize>) -> Tensor {
    let (name, shape) = (info.name.clone(), info.shape.clone());
    Tensor::new(file.clone(), name, info.dtype, shape, bytes.clone(), range)
}

fn tensor_error(file: &str, name: &str, message: String) -> Error {
    Error::Tensor { file: file.into(), tensor: name.into(), message }
}

fn read_info(file: &str, cursor: &mut Cursor<'_>, alignment: u64) -> Result<Info> {
    let name = cursor.name()?.to_string();
    cursor.about(format!("tensor `{name}`"));
    let refuse = |message: String| Err(tensor_error(file, &name, message));
    let dimensions = cursor.u32()?;
    if dimensions == 0 || dimensions > DIMENSIONS_MAX {
        return refuse(format!("has {dimensions} dimensions; 1 to {DIMENSIONS_MAX} are allowed"));
    }
    let mut shape = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        let length = cursor.u64()?;
        match usize::try_from(length) {
            Ok(length) if length > 0 => shape.push(length),
            _ => return refuse(format!("has a dimension of {length}")),
        }
    }
    let (kind, offset) = (cursor.u32()?, cursor.u64()?);
    let dtype = match dtype_of(kind) {
        Ok(dtype) => dtype,
        Err(name) => {
            return refuse(format!(
                "has type {name}, which this engine does not read; requantise the file"
            ));
        }
    };
    let cols = shape[0];
    let row_bytes = match dtype {
        Dtype::Block(block) => block.row_bytes(cols),
        _ => cols.checked_mul(2),
    };
    let rows = shape[1..].iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let Some(row_bytes) = row_bytes else {
        let what = dtype.name();
        return refuse(format!(
            "has rows of {cols} values, which {what} does not divide into blocks"
        ));
    };
    let Some(size) = rows.and_then(|rows| rows.checked_mul(row_bytes)) else {
        return refuse(format!("has {shape:?} values, which no file can hold"));
    };
    if !offset.is_multiple_of(alignment) {
        return refuse(format!(
            "begins at {offset}, which is no multiple of the alignment {alignment}"
        ));
    }
    shape.reverse();
    Ok(Info { name, dtype, shape, offset, size: size as u64 })
}

/// The storage type with this number, or the name of one that is not read.
fn dtype_of(kind: u32) -> std::result::Result<Dtype, String> {
    let known = match kind {
        10 => "Q2_K",
        11 => "Q3_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24..=27 => "an integer",
        28 => "F64",
        29 => "IQ1_M",
        34 | 35 => "a ternary type",
        39 => "MXFP4",
        0 => return Ok(Dtype::Block(Block::F32)),
        1 => return Ok(Dtype::Block(Block::F16)),
        2 => return Ok(Dtype::Block(Block::Q4_0)),
        3 => return Ok(Dtype::Block(Block::Q4_1)),
        6 => return Ok(Dtype::Block(Block::Q5_0)),
        7 => return Ok(Dtype::Block(Block::Q5_1)),
        8 => return Ok(Dtype::Block(Block::Q8_0)),
        12 => return Ok(Dtype::Block(Block::Q4K)),
        13 => return Ok(Dtype::Block(Block::Q5K)),
        14 => return Ok(Dtype::Block(Block::Q6K)),
        20 => return Ok(Dtype::Block(Block::Iq4Nl)),
        30 => return Ok(Dtype::BF16),
        _ => return Err(format!("number {kind}")),
    };
    Err(known.into())
}
