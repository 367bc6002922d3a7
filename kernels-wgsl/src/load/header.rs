//! The header of a safetensors file, read without trusting any number in it.
//!
//! A file is eight bytes of little-endian header length, a JSON object, and the tensors' bytes:
//! `{"name": {"dtype": "BF16", "shape": [rows, cols], "data_offsets": [start, end]}, "__metadata__": {…}}`,
//! offsets counted from the end of the header. What is wrong with single tensors is collected rather than
//! returned at the first, so that a checker can name all of it; a loader refuses a file with any fault.

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// Longest header that is read, in bytes: the limit of the format's own library.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Most dimensions a tensor may have.
const DIMENSIONS_MAX: usize = 8;
/// Largest dimension. Past it sums of sizes could overflow where another dimension is zero.
pub(crate) const DIMENSION_MAX: u64 = 1 << 40;
/// Longest tensor name, in bytes. The longest of a known checkpoint has fewer than 100.
const NAME_BYTES_MAX: usize = 512;
/// Most tensors of one file. The largest known checkpoint, experts unfused, has fewer than 40,000.
const TENSORS_MAX: usize = 1 << 20;
/// Most faults that are told apart; a file with more is reported by these.
const FAULTS_MAX: usize = 64;

/// One tensor as the header describes it, found to lie inside the file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Where the bytes are in the file.
    pub(crate) range: Range<usize>,
}

/// What is wrong with the description of one tensor, or of the file where no tensor is named.
#[derive(Debug, Clone)]
pub(crate) struct HeaderFault {
    pub(crate) tensor: Option<String>,
    pub(crate) message: String,
    /// The same name stands twice in the header.
    pub(crate) duplicate: bool,
}

/// The usable tensors of a file and the faults of the others.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) entries: Vec<Entry>,
    pub(crate) faults: Vec<HeaderFault>,
}

/// Reads the header of a file whose bytes are `all`.
///
/// Errors where there is no header to speak of. Memory is bounded by a small multiple of the header's
/// actual bytes, whatever its numbers say.
pub(crate) fn read(all: &[u8]) -> Result<Header, String> {
    let too_short = || format!("{} bytes are too few for a safetensors header", all.len());
    let (length, rest) = all.split_first_chunk::<8>().ok_or_else(too_short)?;
    let length = u64::from_le_bytes(*length);
    if length > rest.len() as u64 {
        return Err(format!("its header claims {length} bytes, the file has {}", rest.len()));
    }
    if length > HEADER_BYTES_MAX {
        return Err(format!("its header claims {length} bytes, the limit is {HEADER_BYTES_MAX}"));
    }
    // The length was just found to be below the file's own.
    let (text, data) = rest.split_at(length as usize);
    let raw: RawHeader =
        serde_json::from_slice(text).map_err(|e| format!("its header is no tensor list: {e}"))?;
    let mut header = Header::default();
    let mut seen = BTreeSet::new();
    for (name, info) in raw.0 {
        if !seen.insert(name.clone()) {
            header.fault(Some(name), "stands twice in the header".into(), true);
            continue;
        }
        match usable(&name, info, 8 + length as usize, data.len()) {
            Ok(entry) => header.entries.push(entry),
            Err(message) => header.fault(Some(name), message, false),
        }
    }
    header.check_layout(8 + length as usize, all.len());
    Ok(header)
}

impl Header {
    fn fault(&mut self, tensor: Option<String>, message: String, duplicate: bool) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(HeaderFault { tensor, message, duplicate });
        }
    }

    /// Tensors must fill the file one after the other, without overlaps or holes.
    fn check_layout(&mut self, start: usize, end: usize) {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&i| (self.entries[i].range.start, self.entries[i].range.end));
        let (mut at, mut before) = (start, None::<usize>);
        let mut found = Vec::new();
        for i in order {
            let entry = &self.entries[i];
            if entry.range.start < at {
                let other = before.map_or("the header", |b| self.entries[b].name.as_str());
                found.push((entry.name.clone(), format!("overlaps `{other}`")));
            } else if entry.range.start > at && self.faults.is_empty() {
                let hole = entry.range.start - at;
                found.push((entry.name.clone(), format!("follows {hole} bytes of no tensor")));
            }
            if entry.range.end >= at {
                (at, before) = (entry.range.end, Some(i));
            }
        }
        let clean = self.faults.is_empty() && found.is_empty();
        for (name, message) in found {
            self.fault(Some(name), message, false);
        }
        if clean && at < end {
            self.fault(None, format!("ends with {} bytes of no tensor", end - at), false);
        }
    }
}

/// The entry, or why it cannot be one.
fn usable(name: &str, info: RawInfo, start: usize, data: usize) -> Result<Entry, String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!("is no tensor name (1 to {NAME_BYTES_MAX} printable bytes)"));
    }
    let dtype = dtype_of(&info.dtype).ok_or_else(|| {
        format!("has the unknown type {:?}", info.dtype.chars().take(16).collect::<String>())
    })?;
    let (shape, [from, to]) = (info.shape, info.data_offsets);
    if from > to || to > data as u64 {
        return Err(format!("lies at {from}..{to} of {data} bytes; the file is cut or lies"));
    }
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let bits = count.and_then(|n| n.checked_mul(dtype.bitsize() as u64));
    match bits {
        Some(bits) if bits % 8 == 0 && bits / 8 == to - from => {}
        Some(bits) => {
            let bytes = bits.div_ceil(8);
            return Err(format!("of shape {shape:?} needs {bytes} bytes and has {}", to - from));
        }
        None => return Err(format!("of shape {shape:?} has more elements than can be counted")),
    }
    // Every dimension divides a count that fits the file, except beside a zero.
    let whole = |&d: &u64| usize::try_from(d).ok().filter(|_| d <= DIMENSION_MAX);
    let shape: Option<Vec<usize>> = shape.iter().map(whole).collect();
    let shape = shape.ok_or("has a dimension that no tensor has")?;
    Ok(Entry { name: name.into(), dtype, shape, range: start + from as usize..start + to as usize })
}

fn dtype_of(name: &str) -> Option<Dtype> {
    serde_json::from_value(serde_json::Value::String(name.into())).ok()
}

struct RawHeader(Vec<(String, RawInfo)>);

/// One entry as it is written; unknown keys are passed over.
#[derive(Deserialize)]
struct RawInfo {
    dtype: String,
    #[serde(deserialize_with = "dimensions")]
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = RawHeader;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if entries.len() == TENSORS_MAX {
                        return Err(de::Error::custom(format!("more than {TENSORS_MAX} tensors")));
                    }
                    let info = map.next_value().map_err(|e| {
                        de::Error::custom(format!("tensor `{}`: {e}", name.escape_debug()))
                    })?;
                    entries.push((name, info));
                }
                Ok(RawHeader(entries))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// A list of at most [`DIMENSIONS_MAX`] whole numbers.
fn dimensions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Vec<u64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {DIMENSIONS_MAX} whole numbers")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
            let mut list = Vec::new();
            while let Some(n) = seq.next_element()? {
                if list.len() == DIMENSIONS_MAX {
                    return Err(de::Error::invalid_length(list.len() + 1, &self));
                }
                list.push(n);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(List)
}
