//! Bytes of a file, wherever they live, and safetensors headers over them.

use crate::error::{Error, Result};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use std::borrow::Cow;
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
            "has shape {:?}; config.json asks for {shape:?}, so one of the two files is not this model's",
            self.shape
        )))
    }

    fn not_floating(&self) -> Error {
        self.error(format!("has type {:?}; expected BF16, F16 or F32", self.dtype))
    }

    /// The values as f32.
    pub(crate) fn to_f32(&self) -> Result<Vec<f32>> {
        let data = self.data();
        let pairs = || data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        Ok(match self.dtype {
            Dtype::BF16 => pairs().map(|b| bf16::from_bits(b).to_f32()).collect(),
            Dtype::F16 => pairs().map(|b| f16::from_bits(b).to_f32()).collect(),
            Dtype::F32 => {
                data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            _ => return Err(self.not_floating()),
        })
    }

    /// Bytes of the values once they are bf16; errors where they are not floating point.
    pub(crate) fn to_bf16_len(&self) -> Result<u64> {
        match self.dtype {
            Dtype::BF16 | Dtype::F16 => Ok(self.data().len() as u64),
            Dtype::F32 => Ok(self.data().len() as u64 / 2),
            _ => Err(self.not_floating()),
        }
    }

    /// The values as little-endian bf16; f16 and f32 are rounded to nearest, ties to even.
    pub(crate) fn to_bf16(&self) -> Result<Cow<'_, [u8]>> {
        if self.dtype == Dtype::BF16 {
            return Ok(Cow::Borrowed(self.data()));
        }
        let values = self.to_f32()?;
        Ok(Cow::Owned(values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()))
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
            dtype: info.dtype,
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
