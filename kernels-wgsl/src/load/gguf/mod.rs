//! GGUF files (specification §6): header, metadata, tensors under the names of the safetensors files.

mod config;
mod cursor;
mod metadata;
mod names;
mod tensors;
#[cfg(test)]
mod tests;
mod vocabulary;
#[cfg(test)]
mod writer;

use super::{Bytes, Tensor};
use crate::config::{DrafterConfig, ModelConfig};
use crate::error::{Error, Result};
use cursor::Cursor;
pub(crate) use metadata::Metadata;
use std::collections::BTreeMap;
use std::sync::Arc;

const MAGIC: &[u8; 4] = b"GGUF";
const ALIGNMENT: &str = "general.alignment";
const TEMPLATE: &str = "tokenizer.chat_template";
const ALIGNMENT_MAX: usize = 1 << 20;
/// Fewest bytes of a key/value pair: key length, one byte of it, type and one byte of value.
const PAIR_BYTES_MIN: u64 = 8 + 1 + 4 + 1;

/// Whether `bytes` begin like a GGUF file.
pub(crate) fn is_gguf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// A target model from a GGUF file.
pub(crate) struct Target {
    pub(crate) config: ModelConfig,
    /// By the names of the safetensors files.
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// `config.json`, `generation_config.json` and, where there is one, `chat_template.jinja`.
    pub(crate) files: BTreeMap<String, Bytes>,
}

/// A GGUF file whose header has been read and checked.
pub(crate) struct Gguf {
    pub(crate) metadata: Metadata,
    /// By the names in the file.
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Gguf {
    /// Reads the header of `bytes`. Nothing is allocated from a number in it before that number was
    /// compared with the size of the file.
    pub(crate) fn read(file: &str, bytes: &Bytes) -> Result<Gguf> {
        let name: Arc<str> = file.into();
        let mut cursor = Cursor::new(file, bytes.as_slice());
        if !is_gguf(bytes.as_slice()) {
            return Err(cursor.error("does not begin with GGUF"));
        }
        cursor.skip(4)?;
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return Err(Error::Unsupported {
                what: format!("{file}: GGUF version {version}"),
                hint: "versions 2 and 3, little-endian, are read; convert the file again".into(),
            });
        }
        cursor.about("the number of tensors");
        let count = cursor.count(tensors::ENTRY_BYTES_MIN)?;
        cursor.about("the number of keys");
        let pairs = cursor.count(PAIR_BYTES_MIN)?;
        let metadata = Metadata::read(&name, bytes, &mut cursor, pairs)?;
        let alignment = metadata.integer(ALIGNMENT, 1..=ALIGNMENT_MAX)?.unwrap_or(32);
        if !alignment.is_power_of_two() {
            return Err(
                metadata.error(ALIGNMENT, format!("is {alignment}; expected a power of two"))
            );
        }
        let tensors = tensors::read(&name, bytes, &mut cursor, count, alignment)?;
        Ok(Gguf { metadata, tensors })
    }

    /// Geometry and tensors of a target model, and what it says in files beside a safetensors checkpoint.
    pub(crate) fn model(self) -> Result<Target> {
        let config::Model { config, json, generation } = config::model(&self)?;
        let mut files = BTreeMap::from([
            ("config.json".to_string(), Bytes::owned(json)),
            ("generation_config.json".to_string(), Bytes::owned(generation)),
        ]);
        if let Some(template) = self.metadata.string(TEMPLATE)? {
            files.insert("chat_template.jinja".into(), Bytes::owned(template.as_bytes().to_vec()));
        }
        let tensors = names::target(self, &config)?;
        Ok(Target { config, tensors, files })
    }

    /// The tokenizer in the metadata.
    pub(crate) fn tokenizer(&self) -> Result<tokenizers::Tokenizer> {
        vocabulary::tokenizer(&self.metadata)
    }

    /// Whether the file holds a drafter.
    pub(crate) fn is_drafter(&self) -> Result<bool> {
        config::is_drafter(self)
    }

    /// Geometry and tensors of a drafter, and its `config.json`.
    pub(crate) fn drafter(self) -> Result<(DrafterConfig, BTreeMap<String, Tensor>, Bytes)> {
        let (json, config) = config::drafter(&self)?;
        Ok((config, names::drafter(self), Bytes::owned(json)))
    }
}
