//! Round-to-nearest quantisation in the compressed-tensors layout (`pack-quantized`, symmetric).
//!
//! Attention, MLP and experts are quantised. Embeddings, norms, layer scalars and routers stay as they are,
//! and so do the per-layer table and its projections unless they are asked for: they are the riskiest to
//! quantise without training (specification §8.3). The output head is a tensor of its own once it is
//! quantised; the embedding table keeps its type.
//!
//! The source may be a folder of safetensors or a GGUF file of any type; the latter's weights are rounded a
//! second time, unless they are F32, F16 or BF16.
//!
//! Tensors are read, encoded and written in chunks of rows: neither the checkpoint nor the result is ever in
//! memory as a whole.

mod copy;
mod encode;
mod layout;
mod names;

use crate::error::{Error, Result};
use crate::load::Checkpoint;
pub use encode::Scheme;
use layout::Layout;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
/// Files that go with a checkpoint unchanged.
const COMPANIONS: [&str; 4] =
    [TOKENIZER, "tokenizer_config.json", "generation_config.json", "chat_template.jinja"];

/// What to quantise, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// For the linear layers.
    pub scheme: Scheme,
    /// For the output head; `None` leaves it as it is.
    pub head: Option<Scheme>,
    /// Quantise the projections of per-layer embeddings too.
    pub per_layer_projections: bool,
    /// Tensors to leave as they are: patterns over names without their checkpoint prefix, in which `*`
    /// stands for anything and `?` for one character.
    pub keep: Vec<String>,
}

/// How far one quantised tensor is from its original.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorError {
    /// Tensor name without its checkpoint prefix.
    pub tensor: String,
    /// How it is stored: with a smaller group than asked for where that does not divide its rows.
    pub scheme: Scheme,
    /// Number of weights.
    pub weights: usize,
    /// Root of the mean squared difference.
    pub rms_error: f64,
    /// `rms_error` divided by the root mean square of the original.
    pub relative_error: f64,
    /// Largest single difference.
    pub max_error: f64,
}

/// A quantised checkpoint in memory.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// Files by name, as [`Checkpoint::from_files`] takes them.
    pub files: BTreeMap<String, Vec<u8>>,
    /// One line per quantised tensor, in the order of the file.
    pub report: Vec<TensorError>,
}

/// Bytes of weights written so far, and in all.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The tensor being written.
    pub tensor: &'a str,
    /// Bytes written.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// Follows how a checkpoint is written, tensor by tensor, and may end it.
pub type Follow<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + 'a;

/// Quantises every linear layer of `checkpoint` but the output head to int4 in groups of 32, in memory.
///
/// Errors where the checkpoint is quantised already.
pub fn int4_g32(checkpoint: &Checkpoint) -> Result<Quantized> {
    let scheme = Scheme::Int4(32);
    let options = Options { scheme, head: None, per_layer_projections: true, keep: Vec::new() };
    let layout = Layout::new(checkpoint, &options)?;
    let mut weights = Vec::with_capacity(layout.bytes() as usize);
    let report = layout.write(checkpoint, &mut weights, &mut |_| ControlFlow::Continue(()));
    let report = report.map_err(|e| io(WEIGHTS, e))?;
    let mut files = companions(checkpoint)?;
    files.insert(CONFIG.into(), layout.config(checkpoint)?);
    files.insert(WEIGHTS.into(), weights);
    Ok(Quantized { files, report })
}

/// Writes a quantised checkpoint into the existing, empty folder `out` and tells how far each tensor is from
/// its original.
///
/// Errors where the checkpoint is in compressed-tensors already, a tensor has no number of weights that a group divides,
/// the folder cannot be written, or `progress` ends it; what was written by then stays.
pub fn write(
    checkpoint: &Checkpoint,
    options: &Options,
    out: &Path,
    progress: &mut Follow<'_>,
) -> Result<Vec<TensorError>> {
    let layout = Layout::new(checkpoint, options)?;
    let place = |name: &str| out.join(name);
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(place(name), bytes).map_err(|e| io(&place(name).display().to_string(), e))
    };
    put(CONFIG, &layout.config(checkpoint)?)?;
    for (name, bytes) in companions(checkpoint)? {
        put(&name, &bytes)?;
    }
    let path = place(WEIGHTS);
    let failed = |e| io(&path.display().to_string(), e);
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).map_err(failed)?);
    let report = layout.write(checkpoint, &mut file, progress).map_err(failed)?;
    file.flush().map_err(failed)?;
    Ok(report)
}

fn io(path: &str, source: std::io::Error) -> Error {
    Error::Io { path: path.into(), source }
}

fn companions(checkpoint: &Checkpoint) -> Result<BTreeMap<String, Vec<u8>>> {
    let held = |name: &str| Some((name.to_string(), checkpoint.file(name)?.to_vec()));
    let mut files: BTreeMap<String, Vec<u8>> = COMPANIONS.into_iter().filter_map(held).collect();
    // A GGUF file without a vocabulary becomes a folder without a tokenizer.
    if let (false, Ok(tokenizer)) = (files.contains_key(TOKENIZER), checkpoint.tokenizer()) {
        files.insert(TOKENIZER.into(), tokenizer.to_json()?);
    }
    Ok(files)
}
