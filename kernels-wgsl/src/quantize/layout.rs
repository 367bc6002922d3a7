//! The quantised file: its header from what is known before a weight is read, then its tensors in order.
//!
//! Of a GGUF file, tensors in block types that are not quantised anew become bf16, and Gemma 3's norms lose
//! the 1 that the conversion to GGUF added.

use super::copy::Copied;
use super::encode::{Differences, encode};
use super::names::{EMBEDDING, kept, quantised};
use super::{Follow, Options, Progress, Scheme, TensorError};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::load::{Checkpoint, HEAD, Tensor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;

/// Bytes of weights that are encoded at once.
const CHUNK_BYTES: usize = 4 << 20;

/// A linear layer to quantise.
struct Linear {
    /// Name without `.weight`.
    name: String,
    /// The tensor its weights are in.
    source: String,
    scheme: Scheme,
    shape: [usize; 2],
}

/// Ends the writing where whoever follows it says so.
fn go_on(flow: ControlFlow<()>) -> io::Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(io::Error::new(io::ErrorKind::Interrupted, "stopped")),
    }
}

/// Everything about the result that does not depend on the weights' values.
pub(super) struct Layout {
    /// What stands before the names of the text model.
    prefix: &'static str,
    linear: Vec<Linear>,
    /// Tensors that are not quantised: those of four bytes a number, and those of two.
    copied: [Vec<Copied>; 2],
    /// Linear layers among them that a reader would take for quantised ones.
    ignored: Vec<String>,
    scheme: Scheme,
    untied: bool,
    header: Vec<u8>,
    bytes: u64,
}

/// Adds a tensor's name, type, shape and bytes to a header.
type Put<'a> = dyn FnMut(String, &str, &[usize], usize) + 'a;

impl Layout {
    pub(super) fn new(checkpoint: &Checkpoint, options: &Options) -> Result<Layout> {
        let mut chosen = quantised(checkpoint, options)?;
        let config = checkpoint.config();
        let untied = config.tied_head && options.head.is_some();
        let written = written_config(checkpoint)?;
        let less_one = written.norm_plus_one && !config.norm_plus_one;
        let mut copied = [Vec::new(), Vec::new()];
        for (name, tensor) in checkpoint.tensors() {
            if !tensor.dtype.is_weight() {
                let what = format!("{}: `{name}` in {}", tensor.file, tensor.dtype.name());
                let hint = "quantise the checkpoint in bf16 that it was made from".into();
                return Err(Error::Unsupported { what, hint });
            }
            let module = name.strip_suffix(".weight").unwrap_or(name);
            if !chosen.contains_key(module) {
                let copy = Copied::of(name, tensor, less_one);
                copied[usize::from(!copy.is_wide())].push(copy);
            }
        }
        let mut linear = Vec::new();
        let head = chosen.remove(HEAD);
        for (name, scheme) in chosen.into_iter().chain(head.map(|scheme| (HEAD.into(), scheme))) {
            let source = if untied && name == HEAD { EMBEDDING } else { &name };
            let source = format!("{source}.weight");
            let tensor = checkpoint.tensors().get(&source);
            let tensor = tensor.ok_or_else(|| Error::Tensor {
                file: super::WEIGHTS.into(),
                tensor: source.clone(),
                message: "is missing; the checkpoint may be quantised already".into(),
            })?;
            let [rows, cols] = tensor.shape[..] else { return Err(tensor.error("is no matrix")) };
            linear.push(Linear { name, source, scheme, shape: [rows, cols] });
        }
        let nested = checkpoint.file(super::CONFIG).and_then(|c| serde_json::from_slice(c).ok());
        let nested = nested.is_some_and(|value: Value| value.get("text_config").is_some());
        let mut layout = Layout {
            prefix: if nested { "model.language_model." } else { "model." },
            ignored: ignored(checkpoint, &linear, options),
            linear,
            copied,
            scheme: options.scheme,
            untied,
            header: Vec::new(),
            bytes: 0,
        };
        layout.make_header(checkpoint);
        Ok(layout)
    }

    /// Size of the weights' file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A tensor's name in the file: the output head is outside the text model.
    fn full(&self, name: &str) -> String {
        let prefix = if name.starts_with(HEAD) { "" } else { self.prefix };
        format!("{prefix}{name}")
    }

    /// Lays the tensors out one after the other and describes them.
    fn make_header(&mut self, checkpoint: &Checkpoint) {
        let mut entries = Map::from_iter([("__metadata__".to_string(), json!({ "format": "pt" }))]);
        let mut at = 0;
        let mut put = |name: String, dtype: &str, shape: &[usize], size: usize| {
            let end = at + size;
            let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, end] });
            entries.insert(name, entry);
            at = end;
        };
        // Readers expect numbers at multiples of their size, so the widest types come first.
        for linear in &self.linear {
            put(self.full(&format!("{}.weight_shape", linear.name)), "I64", &[2], 16);
        }
        let copy = |copies: &[Copied], put: &mut Put<'_>| {
            for copy in copies {
                let Some(tensor) = checkpoint.tensors().get(&copy.name) else { continue };
                put(self.full(&copy.name), copy.dtype, &tensor.shape, copy.bytes);
            }
        };
        copy(&self.copied[0], &mut put);
        for linear in &self.linear {
            let [rows, cols] = linear.shape;
            let key = |part: &str| self.full(&format!("{}.{part}", linear.name));
            let words = cols * linear.scheme.bits() / 32;
            let groups = cols / linear.scheme.group(cols);
            put(key("weight_packed"), "I32", &[rows, words], 4 * rows * words);
            put(key("weight_scale"), "BF16", &[rows, groups], 2 * rows * groups);
        }
        copy(&self.copied[1], &mut put);
        let mut header = serde_json::to_vec(&Value::Object(entries)).unwrap_or_default();
        header.resize(header.len().next_multiple_of(8), b' ');
        self.bytes = (8 + header.len() + at) as u64;
        self.header = header;
    }

    /// Writes the whole file.
    pub(super) fn write(
        &self,
        checkpoint: &Checkpoint,
        out: &mut dyn Write,
        progress: &mut Follow<'_>,
    ) -> io::Result<Vec<TensorError>> {
        out.write_all(&(self.header.len() as u64).to_le_bytes())?;
        out.write_all(&self.header)?;
        let mut done = 8 + self.header.len() as u64;
        for linear in &self.linear {
            let shape = linear.shape.map(|n| (n as i64).to_le_bytes()).concat();
            out.write_all(&shape)?;
            done += shape.len() as u64;
        }
        done = self.copy(0, done, checkpoint, out, progress)?;
        let mut report = Vec::with_capacity(self.linear.len());
        for linear in &self.linear {
            let Some(tensor) = checkpoint.tensors().get(&linear.source) else { continue };
            go_on(progress(Progress { tensor: &linear.name, done, total: self.bytes }))?;
            done += write_linear(linear, tensor, out, &mut report)?;
        }
        self.copy(1, done, checkpoint, out, progress)?;
        Ok(report)
    }

    /// Writes one half of the tensors that stay as they are.
    fn copy(
        &self,
        half: usize,
        mut done: u64,
        checkpoint: &Checkpoint,
        out: &mut dyn Write,
        progress: &mut Follow<'_>,
    ) -> io::Result<u64> {
        for copy in &self.copied[half] {
            let Some(tensor) = checkpoint.tensors().get(&copy.name) else { continue };
            go_on(progress(Progress { tensor: &copy.name, done, total: self.bytes }))?;
            copy.write(tensor, out)?;
            done += copy.bytes as u64;
        }
        Ok(done)
    }

    /// The original configuration with a `quantization_config` as compressed-tensors writes it.
    pub(super) fn config(&self, checkpoint: &Checkpoint) -> Result<Vec<u8>> {
        let corrupt = |message: String| Error::Corrupt { file: super::CONFIG.into(), message };
        let original = checkpoint.file(super::CONFIG).unwrap_or_default();
        let mut value: Value =
            serde_json::from_slice(original).map_err(|e| corrupt(e.to_string()))?;
        let top = value.as_object_mut().ok_or_else(|| corrupt("is not an object".into()))?;
        let mut groups = BTreeMap::from([("group_0".to_string(), self.group(self.scheme, None))]);
        let mut others: BTreeMap<Scheme, Vec<String>> = BTreeMap::new();
        for linear in self.linear.iter().filter(|l| l.scheme != self.scheme) {
            others.entry(linear.scheme).or_default().push(self.full(&linear.name));
        }
        for (i, (scheme, names)) in (1..).zip(others) {
            groups.insert(format!("group_{i}"), self.group(scheme, Some(names)));
        }
        let quantisation = json!({
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "config_groups": groups,
            "ignore": self.ignored.iter().map(|name| self.full(name)).collect::<Vec<_>>(),
        });
        if self.linear.is_empty() {
            // Where everything is kept the result is a plain checkpoint.
            top.remove("quantization_config");
        } else {
            top.insert("quantization_config".into(), quantisation);
        }
        if self.untied {
            top.insert("tie_word_embeddings".into(), false.into());
            if let Some(text) = top.get_mut("text_config").and_then(Value::as_object_mut) {
                text.insert("tie_word_embeddings".into(), false.into());
            }
        }
        serde_json::to_vec_pretty(&value).map_err(|e| corrupt(e.to_string()))
    }

    fn group(&self, scheme: Scheme, names: Option<Vec<String>>) -> Value {
        let (strategy, size) = match scheme {
            Scheme::Int4(group) => ("group", Some(group)),
            Scheme::Int8 => ("channel", None),
        };
        json!({
            "targets": names.unwrap_or_else(|| vec!["Linear".into()]),
            "weights": {
                "num_bits": scheme.bits(), "type": "int", "symmetric": true,
                "strategy": strategy, "group_size": size,
            },
        })
    }
}

/// Linear layers that stay as they are, and the head where it does.
fn ignored(checkpoint: &Checkpoint, linear: &[Linear], options: &Options) -> Vec<String> {
    let is_linear = |name: &str| linear.iter().any(|l| l.name == name);
    let mut names: Vec<String> = (0..checkpoint.config().layers.len())
        .flat_map(|i| checkpoint.layer_matrices(i))
        .map(|(name, ..)| name)
        .collect();
    names.push("per_layer_model_projection".into());
    names.retain(|name| {
        !is_linear(name) && checkpoint.tensors().contains_key(&format!("{name}.weight"))
    });
    if options.head.is_none() || kept(&options.keep, HEAD) {
        names.push(HEAD.into());
    }
    names
}

/// What a reader of the result's `config.json` will make of it. Errors where a GGUF file's layers differ in a
/// way that no `config.json` can say.
fn written_config(checkpoint: &Checkpoint) -> Result<ModelConfig> {
    let config = checkpoint.config();
    let written = ModelConfig::parse(checkpoint.file(super::CONFIG).unwrap_or_default())?;
    match written.layers == config.layers {
        true => Ok(written),
        false => Err(Error::Unsupported {
            what: "full layers of which only some take their keys for values".into(),
            hint: "start from the safetensors checkpoint that the GGUF file was made from".into(),
        }),
    }
}

fn write_linear(
    linear: &Linear,
    tensor: &Tensor,
    out: &mut dyn Write,
    report: &mut Vec<TensorError>,
) -> io::Result<u64> {
    let [rows, cols] = linear.shape;
    let mut written = 0;
    let mut differences = Differences::default();
    let (mut weights, mut codes, mut scales) = (Vec::new(), Vec::new(), Vec::new());
    let chunk = (CHUNK_BYTES / (4 * cols).max(1)).max(1);
    for start in (0..rows).step_by(chunk) {
        weights.clear();
        codes.clear();
        (start..(start + chunk).min(rows)).for_each(|row| tensor.decode_row(row, &mut weights));
        encode(linear.scheme, cols, &weights, &mut codes, &mut scales, &mut differences);
        out.write_all(&codes)?;
        written += codes.len() as u64;
    }
    out.write_all(&scales)?;
    report.push(differences.report(&linear.name, linear.scheme));
    Ok(written + scales.len() as u64)
}
