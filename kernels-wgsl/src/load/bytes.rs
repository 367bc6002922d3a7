//! Bytes of a file, wherever they live, and safetensors headers over them.

use super::decode::{decode, holds_nonfinite};
use super::dtype::Dtype;
use super::header;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Longest file that is read whole, in bytes. Gemma's tokenizer.json has some 33 MB.
const TEXT_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug)]
enum Repr {
    Static(&'static [u8]),
    Owned(Vec<u8>),
    Mapped(memmap2::Mmap),
}

/// A file's bytes: embedded, in memory, or mapped. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Bytes(Arc<Repr>);

impl Bytes {
    pub(crate) fn embedded(bytes: &'static [u8]) -> Self {
        Bytes(Arc::new(Repr::Static(bytes)))
    }

    pub(crate) fn owned(bytes: Vec<u8>) -> Self {
        Bytes(Arc::new(Repr::Owned(bytes)))
    }

    /// Reads a small file whole: configuration, tokenizer, template. A longer one is refused unread.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.into(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > TEXT_BYTES_MAX {
            return Err(Error::Corrupt {
                file: path.display().to_string(),
                message: format!("it has more than {TEXT_BYTES_MAX} bytes"),
            });
        }
        Ok(Bytes::owned(bytes))
    }

    /// Maps a file, so that tables larger than memory are paged in as they are used.
    pub(crate) fn mapped(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.into(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        #[allow(unsafe_code)]
        // SAFETY: the map is read-only and only ever seen as bytes, for which any value is valid. A process
        // that truncates the file while it is mapped can stop this one with a bus error; checkpoints are
        // content-addressed files that nothing rewrites.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Ok(Bytes(Arc::new(Repr::Mapped(map))))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match &*self.0 {
            Repr::Static(bytes) => bytes,
            Repr::Owned(bytes) => bytes,
            Repr::Mapped(map) => map,
        }
    }
}

/// One tensor: its type, shape and bytes.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) file: Arc<str>,
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    bytes: Bytes,
    range: Range<usize>,
}

impl Tensor {
    /// A tensor whose bytes are `range` of `bytes`, which the caller has checked to be inside.
    pub(crate) fn new(
        file: Arc<str>,
        name: String,
        dtype: Dtype,
        shape: Vec<usize>,
        bytes: Bytes,
        range: Range<usize>,
    ) -> Self {
        Tensor { file, name, dtype, shape, bytes, range }
    }

    /// A part of the outermost dimension.
    pub(crate) fn rows(&self, part: Range<usize>) -> Result<Tensor> {
        let rows = self.shape.first().copied().unwrap_or(0);
        if part.start > part.end || part.end > rows {
            return Err(self.error(format!("has {rows} rows; {part:?} are asked for")));
        }
        let each = self.range.len() / rows.max(1);
        let range = self.range.start + part.start * each..self.range.start + part.end * each;
        let mut shape = self.shape.clone();
        shape[0] = part.len();
        Ok(Tensor { shape, range, ..self.clone() })
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes.as_slice()[self.range.clone()]
    }

    /// Part `index` of `of` equal parts of the tensor, called `name`, with the shape `shape`. `None` where it
    /// does not divide into such parts.
    pub(crate) fn part(
        &self,
        name: &str,
        index: usize,
        of: usize,
        shape: &[usize],
    ) -> Option<Tensor> {
        let values = |shape: &[usize]| shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let length = self.range.len() / of.max(1);
        let whole = values(shape)?.checked_mul(of)? == values(&self.shape)?;
        if !whole || length * of != self.range.len() || index >= of {
            return None;
        }
        let start = self.range.start + index * length;
        Some(Tensor {
            name: name.into(),
            shape: shape.to_vec(),
            range: start..start + length,
            ..self.clone()
        })
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Error::Tensor {
            file: self.file.to_string(),
            tensor: self.name.clone(),
            message: message.into(),
        }
    }

    /// Errors unless the shape is exactly `shape`.
    pub(crate) fn expect_shape(&self, shape: &[usize]) -> Result<()> {
        if self.shape == shape {
            return Ok(());
        }
        Err(self.error(format!(
            "has shape {:?}; the configuration asks for {shape:?}, so one of the two is not this model's",
            self.shape
        )))
    }

    /// Errors unless the tensor holds numbers that a weight may have.
    pub(crate) fn expect_weight(&self) -> Result<()> {
        if self.dtype.is_weight() {
            return Ok(());
        }
        let found = self.dtype.name();
        Err(self.error(format!("has type {found}; expected BF16, F16, F32 or a GGUF block type")))
    }

    /// Errors where a weight is NaN or infinite, which would make every token after it NaN too.
    pub(crate) fn expect_numbers(&self) -> Result<()> {
        match holds_nonfinite(self.dtype, self.data()) {
            false => Ok(()),
            true => Err(self.error(
                "holds NaN or infinity; fetch the file again and compare its hash, `assay model check` lists all such tensors",
            )),
        }
    }

    /// The values as f32.
    pub(crate) fn to_f32(&self) -> Result<Vec<f32>> {
        self.expect_weight()?;
        let mut values = Vec::with_capacity(self.shape.iter().product());
        decode(self.dtype, self.data(), &mut values);
        Ok(values)
    }

    /// The values of a short integer tensor; `None` where it is not one.
    pub(crate) fn whole_numbers(&self) -> Option<Vec<i64>> {
        let data = self.data();
        match self.dtype {
            Dtype::I64 => {
                Some(data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
            }
            Dtype::I32 => Some(
                data.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
            ),
            _ => None,
        }
    }

    /// Appends row `row` of a matrix as f32.
    pub(crate) fn decode_row(&self, row: usize, into: &mut Vec<f32>) {
        let each = self.range.len() / self.shape.first().copied().unwrap_or(1).max(1);
        decode(self.dtype, &self.data()[row * each..(row + 1) * each], into);
    }

    /// Bytes of the weights; errors where they are none.
    pub(crate) fn weight_bytes(&self) -> Result<u64> {
        self.expect_weight()?;
        Ok(self.data().len() as u64)
    }
}

/// Reads the header of one safetensors file and adds its tensors to `into`.
///
/// The header's lengths, ranges and shapes are checked against the file before anything is made from them.
pub(crate) fn read_safetensors(
    file: &str,
    bytes: &Bytes,
    into: &mut BTreeMap<String, Tensor>,
) -> Result<()> {
    let corrupt = |message: String| Error::Corrupt { file: file.into(), message };
    let header = header::read(bytes.as_slice()).map_err(corrupt)?;
    if let Some(fault) = header.faults.into_iter().next() {
        return Err(corrupt(match fault.tensor {
            Some(tensor) => format!("tensor `{}` {}", tensor.escape_debug(), fault.message),
            None => fault.message,
        }));
    }
    for tensor in tensors_of(file, bytes, header.entries) {
        if let Some(other) = into.insert(tensor.name.clone(), tensor) {
            return Err(corrupt(format!("tensor `{}` is also in {}", other.name, other.file)));
        }
    }
    Ok(())
}

/// The tensors that a header's entries describe.
pub(crate) fn tensors_of(
    file: &str,
    bytes: &Bytes,
    entries: Vec<header::Entry>,
) -> impl Iterator<Item = Tensor> {
    let file: Arc<str> = file.into();
    let bytes = bytes.clone();
    entries.into_iter().map(move |entry| Tensor {
        file: file.clone(),
        name: entry.name,
        dtype: entry.dtype.into(),
        shape: entry.shape,
        bytes: bytes.clone(),
        range: entry.range,
    })
}
