//! The tokenizer of a GGUF file, rebuilt as the `tokenizer.json` pipeline (specification §9).

use super::Metadata;
use crate::error::{Error, Result};
use std::collections::HashMap;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::Replace;
use tokenizers::{AddedToken, Tokenizer};

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
/// What a space is written as.
const SPACE: &str = "\u{2581}";
/// Token types: those left out of text, and those that text may contain and that stay whole.
const CONTROL: f64 = 3.0;
const USER_DEFINED: f64 = 4.0;
/// Longest piece that scores are turned into merges for, in bytes; real ones have 93 at most.
const PIECE_BYTES_MAX: usize = 256;

/// Builds the tokenizer.
pub(super) fn tokenizer(m: &Metadata) -> Result<Tokenizer> {
    let must = |found: Option<_>, key: &str| found.ok_or_else(|| m.error(key, "is missing"));
    let tokens = must(m.strings(TOKENS)?, TOKENS)?;
    let types = m.numbers(TYPES)?.unwrap_or_else(|| vec![1.0; tokens.len()]);
    if types.len() != tokens.len() {
        let (found, wanted) = (types.len(), tokens.len());
        return Err(m.error(TYPES, format!("has {found} entries for {wanted} tokens")));
    }
    let merges = match m.string(MODEL)? {
        Some("gemma4") => stored_merges(m)?,
        Some("llama") => merges_from_scores(m, &tokens)?,
        other => {
            return Err(Error::Unsupported {
                what: format!("{}: tokenizer model `{}`", m.file(), other.unwrap_or("")),
                hint: "Gemma files have `gemma4` or `llama`".into(),
            });
        }
    };
    let failed = |e: tokenizers::Error| Error::Tokenizer(format!("{}: {e}", m.file()));
    let unknown = m.integer(UNKNOWN, 0..=tokens.len().saturating_sub(1))?.unwrap_or(3);
    let vocab: Vocab = (0..).zip(&tokens).map(|(id, text)| ((*text).to_string(), id)).collect();
    let model = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .unk_token((*tokens.get(unknown).unwrap_or(&"<unk>")).to_string())
        .fuse_unk(true)
        .byte_fallback(true)
        .build()
        .map_err(failed)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(Replace::new(" ", SPACE).map_err(failed)?)).map_err(failed)?;
    let decoders: Vec<DecoderWrapper> = vec![
        Replace::new(SPACE, " ").map_err(failed)?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    tokenizer.with_decoder(Some(Sequence::new(decoders)));
    let of_type = |kind: f64| {
        let pairs =
            tokens.iter().zip(&types).filter(move |(text, t)| **t == kind && !text.is_empty());
        pairs.map(move |(text, _)| {
            AddedToken::from((*text).to_string(), kind == CONTROL).normalized(false)
        })
    };
    tokenizer.add_special_tokens(of_type(CONTROL)).map_err(failed)?;
    tokenizer.add_tokens(of_type(USER_DEFINED)).map_err(failed)?;
    Ok(tokenizer)
}

/// Merges as the file lists them: two pieces with a space between. A piece may begin with a space of its
/// own, so the first byte never separates.
fn stored_merges(m: &Metadata) -> Result<Merges> {
    let lines = m.strings(MERGES)?.ok_or_else(|| m.error(MERGES, "is missing"))?;
    let split = |line: &str| {
        let first = line.chars().next()?.len_utf8();
        let at = first + line[first..].find(' ')?;
        Some((line[..at].to_string(), line[at + 1..].to_string()))
    };
    let pairs = lines.into_iter().map(|line| {
        split(line).ok_or_else(|| m.error(MERGES, format!("`{line}` is not two pieces")))
    });
    pairs.collect()
}

/// Merges that give the pieces a SentencePiece model with these scores gives: every way to put a piece
/// together from two others, better pieces first.
fn merges_from_scores(m: &Metadata, tokens: &[&str]) -> Result<Merges> {
    let scores = m.numbers(SCORES)?.ok_or_else(|| m.error(SCORES, "is missing"))?;
    if scores.len() != tokens.len() {
        let (found, wanted) = (scores.len(), tokens.len());
        return Err(m.error(SCORES, format!("has {found} entries for {wanted} tokens")));
    }
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(id, text)| (*text, id)).collect();
    let mut found = Vec::new();
    for (id, text) in tokens.iter().enumerate().filter(|(_, text)| text.len() <= PIECE_BYTES_MAX) {
        let splits = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        for (left, right) in splits {
            if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                found.push((scores[id], l, r));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let text = |id: usize| tokens[id].to_string();
    Ok(found.into_iter().map(|(_, l, r)| (text(l), text(r))).collect())
}
