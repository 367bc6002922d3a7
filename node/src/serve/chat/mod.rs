//! From messages to a prompt: the checkpoint's own chat template, and exactly one BOS.

mod message;
mod template;

pub use message::{Message, Role};
pub use template::{ChatTemplate, Conversation, TemplateError};

use super::output::SPELLED;
use super::text::Vocabulary;
use assay_kernels::Result;

/// Marks a place where text must not be read as the marker it spells. Unicode promises that no text
/// has this character.
const SEAM: char = '\u{FDD0}';

/// `text` such that a marker spelt in it stays text when the prompt is tokenised: what a user or a
/// tool writes cannot end its turn or begin another's.
fn guarded(text: &str) -> String {
    let mut text = text.replace(SEAM, "");
    for marker in SPELLED {
        if text.contains(marker) {
            text = text.replace(marker, &format!("<{SEAM}{}", &marker[1..]));
        }
    }
    text
}

/// The tokens of a rendered prompt, with one BOS at the beginning.
///
/// # Errors
///
/// When the tokenizer refuses the text.
pub fn prompt_tokens(vocabulary: &Vocabulary, bos: u32, rendered: &str) -> Result<Vec<u32>> {
    let mut tokens = vec![bos];
    for piece in rendered.split(SEAM).filter(|piece| !piece.is_empty()) {
        tokens.extend(vocabulary.encode(piece)?);
    }
    let again = tokens[1..].iter().take_while(|token| **token == bos).count();
    tokens.drain(1..=again);
    Ok(tokens)
}

#[cfg(test)]
mod tests;
