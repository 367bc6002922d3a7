//! Bytes of a file, wherever they live, and safetensors headers over them.

use super::decode::decode;
use super::dtype::Dtype;
use crate::error::{Error, Result};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

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

    /// The values as f32.
    pub(crate) fn to_f32(&self) -> Result<Vec<f32>> {
        self.expect_weight()?;
        let mut values = Vec::with_capacity(self.shape.iter().product());
        decode(self.dtype, self.data(), &mut values);
        Ok(values)
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

/// Refuses ends past the file before the parser adds them up, which could overflow.
fn check_offsets(all: &[u8]) -> std::result::Result<(), String> {
    let too_short = || format!("{} bytes are too few for its header", all.len());
    let (length, rest) = all.split_first_chunk::<8>().ok_or_else(too_short)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|e| e.to_string())?;
    if length > rest.len() {
        return Err(format!("its header claims {length} bytes, the file has {}", rest.len()));
    }
    let (header, data) = rest.split_at(length);
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|e| format!("its header is not JSON: {e}"))?;
    for (name, info) in &header {
        let Some(end) = info.get("data_offsets").and_then(|o| o.get(1)) else { continue };
        if end.as_u64().is_none_or(|end| end > data.len() as u64) {
            return Err(format!("tensor `{name}` ends at {end} of {} bytes", data.len()));
        }
    }
    Ok(())
}

/// Reads the header of one safetensors file and adds its tensors to `into`.
///
/// The parser checks the header length, that ranges are in order, do not overlap and fill the file, and
/// that shapes match their byte counts, before anything is allocated from them.
pub(crate) fn read_safetensors(
    file: &str,
    bytes: &Bytes,
    into: &mut BTreeMap<String, Tensor>,
) -> Result<()> {
    let corrupt = |message: String| Error::Corrupt { file: file.into(), message };
    let all = bytes.as_slice();
    check_offsets(all).map_err(corrupt)?;
    let (header, metadata) = SafeTensors::read_metadata(all).map_err(|e| corrupt(e.to_string()))?;
    let start = header + 8;
    let name: Arc<str> = file.into();
    for (tensor, info) in metadata.tensors() {
        let range = start + info.data_offsets.0..start + info.data_offsets.1;
        if range.end > all.len() || range.start > range.end {
            return Err(corrupt(format!("tensor `{tensor}` lies outside the file")));
        }
        let entry = Tensor {
            file: name.clone(),
            name: tensor.clone(),
            dtype: info.dtype.into(),
            shape: info.shape.clone(),
            bytes: bytes.clone(),
            range,
        };
        if into.insert(tensor.clone(), entry).is_some() {
            return Err(corrupt(format!("tensor `{tensor}` is also in another file")));
        }
    }
    Ok(())
}
