//! Text to token ids and back, as `tokenizer.json` or a GGUF file says.

use super::Bytes;
use super::gguf::Gguf;
use crate::error::{Error, Result};

/// A checkpoint's tokenizer. It never adds a BOS token: callers put it where a sequence begins.
#[derive(Debug, Clone)]
pub struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        tokenizers::Tokenizer::from_bytes(bytes)
            .map(Tokenizer)
            .map_err(|e| Error::Corrupt { file: "tokenizer.json".into(), message: e.to_string() })
    }

    /// Rebuilds the tokenizer that a GGUF file stores as a list of pieces.
    pub(crate) fn from_gguf(file: &str, bytes: &Bytes) -> Result<Self> {
        Gguf::read(file, bytes)?.tokenizer().map(Tokenizer)
    }

    /// The bytes of a `tokenizer.json` that makes the same tokenizer.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let json = self.0.to_string(false);
        json.map(String::into_bytes).map_err(|e| Error::Tokenizer(format!("writing: {e}")))
    }

    /// Token ids of `text`, special tokens in it included, none added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding =
            self.0.encode(text, false).map_err(|e| Error::Tokenizer(format!("encoding: {e}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of `tokens`; `keep_special` writes special tokens out by name instead of dropping them.
    pub fn decode(&self, tokens: &[u32], keep_special: bool) -> Result<String> {
        self.0.decode(tokens, !keep_special).map_err(|e| Error::Tokenizer(format!("decoding: {e}")))
    }

    /// Pieces of the vocabulary, with the tokens added to it or without.
    pub fn vocab_size(&self, with_added: bool) -> usize {
        self.0.get_vocab_size(with_added)
    }

    /// The id of the token spelt exactly `token`.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }
}
