//! An MTP drafter: four query-only layers that read the target's K/V (specification §7).

use super::checkpoint::{
    drop_gguf_beside_config, gguf_of, gguf_path, missing_tensor, read_folder, read_gguf,
    read_tensors,
};
use super::gguf::Gguf;
use super::matrix::expect_numbers;
use super::{Bytes, Dtype, Matrix, Tensor, embedded_drafter_files};
use crate::config::{DrafterConfig, ModelConfig};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// A drafter checkpoint whose shapes agree with its configuration.
#[derive(Debug, Clone)]
pub struct Drafter {
    config: DrafterConfig,
    tensors: BTreeMap<String, Tensor>,
}

impl Drafter {
    /// gemma4-nano's drafter, which is inside the binary.
    pub fn embedded() -> Result<Self> {
        let files = embedded_drafter_files().into_iter();
        Self::new(files.map(|(name, bytes)| (name.to_string(), Bytes::embedded(bytes))).collect())
    }

    /// A drafter folder with `config.json` and `model.safetensors`, or a GGUF file.
    pub fn open(path: &Path) -> Result<Self> {
        match gguf_path(path)? {
            Some(file) => Self::new(read_gguf(&file)?),
            None => Self::new(read_folder(path, &[])?),
        }
    }

    /// The same from files in memory, by name.
    pub fn from_files(files: BTreeMap<String, Vec<u8>>) -> Result<Self> {
        Self::new(files.into_iter().map(|(name, bytes)| (name, Bytes::owned(bytes))).collect())
    }

    fn new(mut files: BTreeMap<String, Bytes>) -> Result<Self> {
        drop_gguf_beside_config(&mut files);
        if let Some((name, bytes)) = gguf_of(&files) {
            let (config, tensors, _) = Gguf::read(name, bytes)?.drafter()?;
            return Ok(Drafter { config, tensors });
        }
        let config = files.get("config.json").ok_or_else(|| Error::MissingFile {
            file: "config.json".into(),
            hint: "a drafter has config.json and model.safetensors".into(),
        })?;
        let config = DrafterConfig::parse(config.as_slice())?;
        let named = read_tensors(&files)?.into_iter().map(|(name, mut tensor)| {
            let short = name.strip_prefix("model.").unwrap_or(&name).to_string();
            tensor.name.clone_from(&short);
            (short, tensor)
        });
        let drafter = Drafter { config, tensors: named.collect() };
        drafter.token_ordering()?;
        Ok(drafter)
    }

    /// The drafter's geometry.
    pub fn config(&self) -> &DrafterConfig {
        &self.config
    }

    /// Bytes of the tensors on a device; ids are stored in four bytes there.
    pub(crate) fn device_bytes(&self) -> u64 {
        let size = |tensor: &Tensor| match tensor.dtype {
            Dtype::I64 => tensor.data().len() as u64 / 2,
            _ => tensor.data().len() as u64,
        };
        self.tensors.values().map(size).sum()
    }

    /// Errors unless this drafter can read the cache of `target`.
    pub fn check_target(&self, target: &ModelConfig) -> Result<()> {
        let mismatch = |what: &str, own: usize, other: usize| {
            Err(Error::Unsupported {
                what: format!("a drafter with {what} {own} for a target with {other}"),
                hint: "use the drafter that was made for this target".into(),
            })
        };
        let text = &self.config.text;
        if self.config.backbone_hidden != target.hidden {
            return mismatch("backbone_hidden_size", self.config.backbone_hidden, target.hidden);
        }
        if text.vocab != target.vocab {
            return mismatch("vocab_size", text.vocab, target.vocab);
        }
        if text.sliding_window != target.sliding_window {
            return mismatch("sliding_window", text.sliding_window, target.sliding_window);
        }
        for layer in &text.layers {
            let Some(source) = target.kv_source_of(layer.kind) else {
                return mismatch("cached layers of a kind", 1, 0);
            };
            let source = &target.layers[source];
            if layer.head_dim != source.head_dim {
                return mismatch("head_dim", layer.head_dim, source.head_dim);
            }
            if !text.heads.is_multiple_of(source.kv_heads) {
                return mismatch("query heads", text.heads, source.kv_heads);
            }
        }
        Ok(())
    }

    pub(crate) fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix<'_>> {
        expect_numbers(&self.tensors, name)?;
        Matrix::find(&self.tensors, name, rows, cols, missing_tensor)
    }

    /// The output head `[vocab, width]`: `lm_head` where the file has one, else the tied embedding.
    pub(crate) fn head(&self) -> Result<Matrix<'_>> {
        let (vocab, width) = (self.config.text.vocab, self.config.text.hidden);
        let own = ["weight", "weight_packed"].map(|kind| format!("lm_head.{kind}"));
        let untied = own.iter().any(|name| self.tensors.contains_key(name));
        self.matrix(if untied { "lm_head" } else { "embed_tokens" }, vocab, width)
    }

    pub(crate) fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let tensor = self.tensors.get(name).ok_or_else(|| missing_tensor(name))?;
        tensor.expect_shape(&[length])?;
        tensor.expect_numbers()?;
        tensor.to_f32()
    }

    /// Token ids in cluster order, `[centroids, vocab / centroids]`; empty for a dense head. Every id is
    /// checked, because the kernels use them to index the head.
    pub(crate) fn token_ordering(&self) -> Result<Vec<u32>> {
        if self.config.centroids == 0 {
            return Ok(Vec::new());
        }
        let name = "masked_embedding.token_ordering";
        let tensor = self.tensors.get(name).ok_or_else(|| missing_tensor(name))?;
        let vocab = self.config.text.vocab;
        if tensor.shape.iter().product::<usize>() != vocab || tensor.dtype != Dtype::I64 {
            return Err(tensor.error(format!("must hold {vocab} I64 token ids")));
        }
        let ids = tensor.data().chunks_exact(8);
        ids.map(|b| {
            let id = i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
            let known = u32::try_from(id).ok().filter(|&id| (id as usize) < vocab);
            known.ok_or_else(|| tensor.error(format!("holds {id}, which is not a token id")))
        })
        .collect()
    }
}
