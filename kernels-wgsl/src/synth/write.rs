//! Streaming a planned checkpoint into a folder.

use super::random::Source;
use super::{Planned, Synth};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::io::{BufWriter, Write};
use std::ops::{ControlFlow, Range};
use std::path::Path;

/// A file of more is cut into shards.
const SHARD_BYTES_MAX: u64 = 4 << 30;

/// Called with the bytes written so far; breaking stops the writing.
pub type Progress<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// Why a stream ended early.
enum Stop {
    Io(std::io::Error),
    Cancelled,
}

impl Synth {
    /// Writes configuration and weights into the existing folder `dir`. Returns false when `progress`
    /// stopped it; the folder is then incomplete and the caller's to remove.
    pub fn write(&self, dir: &Path, progress: &mut Progress<'_>) -> Result<bool> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        let shards = shards(&self.tensors);
        let mut source = Source::new(self.seed);
        let mut done = 0;
        let mut index = Map::new();
        for (i, range) in shards.iter().enumerate() {
            let name = match shards.len() {
                1 => "model.safetensors".to_string(),
                count => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
            };
            let tensors = &self.tensors[range.clone()];
            for tensor in tensors {
                index.insert(tensor.name.clone(), json!(name));
            }
            let path = dir.join(name);
            match write_shard(&path, tensors, &mut source, &mut done, progress) {
                Ok(()) => {}
                Err(Stop::Cancelled) => return Ok(false),
                Err(Stop::Io(source)) => return Err(Error::Io { path, source }),
            }
        }
        if shards.len() > 1 {
            let path = dir.join("model.safetensors.index.json");
            let index = json!({ "metadata": { "total_size": self.bytes() }, "weight_map": index });
            std::fs::write(&path, pretty(&index)).map_err(io(&path))?;
        }
        let path = dir.join("config.json");
        std::fs::write(&path, pretty(&self.config)).map_err(io(&path))?;
        Ok(true)
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Runs of tensors that make a file each.
fn shards(tensors: &[Planned]) -> Vec<Range<usize>> {
    let mut shards = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (i, tensor) in tensors.iter().enumerate() {
        if bytes > 0 && bytes + tensor.bytes() > SHARD_BYTES_MAX {
            shards.push(start..i);
            (start, bytes) = (i, 0);
        }
        bytes += tensor.bytes();
    }
    shards.push(start..tensors.len());
    shards
}

fn write_shard(
    path: &Path,
    tensors: &[Planned],
    source: &mut Source,
    done: &mut u64,
    progress: &mut Progress<'_>,
) -> std::result::Result<(), Stop> {
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path).map_err(Stop::Io)?);
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut at = 0;
    for tensor in tensors {
        let end = at + tensor.bytes();
        let dtype = serde_json::to_value(tensor.dtype).unwrap_or_default();
        let entry = json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [at, end] });
        header.insert(tensor.name.clone(), entry);
        at = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // Data begins at a multiple of eight, as the format asks.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(Stop::Io)?;
    out.write_all(&header).map_err(Stop::Io)?;
    for tensor in tensors {
        source.fill(&tensor.fill, tensor.bytes(), &mut |piece| {
            out.write_all(piece).map_err(Stop::Io)?;
            *done += piece.len() as u64;
            match progress(*done) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(Stop::Cancelled),
            }
        })?;
    }
    out.into_inner().map_err(|e| Stop::Io(e.into_error()))?.sync_all().map_err(Stop::Io)
}
