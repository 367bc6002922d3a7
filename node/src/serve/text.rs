//! From token ids to text, as they come.

use super::output::SPELLED;
use assay_kernels::{Result, Tokenizer};
use std::collections::HashMap;

/// What every token stands for.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    tokenizer: Tokenizer,
    /// Tokens that stand for a single byte, of which text beyond the vocabulary is made.
    bytes: HashMap<u32, u8>,
    /// Markers that are one token each.
    markers: Vec<(&'static str, u32)>,
    size: usize,
}

impl Vocabulary {
    /// The vocabulary of a model with `size` tokens.
    #[must_use]
    pub fn new(tokenizer: Tokenizer, size: usize) -> Self {
        let byte = |b: u8| Some((tokenizer.token_id(&format!("<0x{b:02X}>"))?, b));
        let bytes = (0..=u8::MAX).filter_map(byte).collect();
        let whole = |marker: &&'static str| Some((*marker, tokenizer.token_id(marker)?));
        let mut markers: Vec<(&'static str, u32)> = SPELLED.iter().filter_map(whole).collect();
        markers.retain(|(_, id)| (*id as usize) < size);
        Self { tokenizer, bytes, markers, size }
    }

    /// Number of tokens.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The tokenizer itself.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The bytes of one token; a special token's are its name. None for ids the tokenizer lacks.
    #[must_use]
    pub fn token_bytes(&self, token: u32) -> Vec<u8> {
        match self.bytes.get(&token) {
            Some(byte) => vec![*byte],
            None => self.tokenizer.decode(&[token], true).unwrap_or_default().into_bytes(),
        }
    }

    /// Whether a token is a marker rather than text.
    #[must_use]
    pub fn is_special(&self, token: u32) -> bool {
        let named = self.token_bytes(token);
        let text = || self.tokenizer.decode(&[token], false).unwrap_or_default();
        let marker = SPELLED.iter().any(|marker| marker.as_bytes() == named);
        marker || (!named.is_empty() && !self.bytes.contains_key(&token) && text().is_empty())
    }

    /// The id of the marker spelt `text`, where the vocabulary has it as one token.
    #[must_use]
    pub fn marker(&self, text: &str) -> Option<u32> {
        self.markers.iter().find(|(marker, _)| *marker == text).map(|(_, id)| *id)
    }

    /// Token ids of a text in which markers are special tokens, also where a converted tokenizer lists
    /// them among its ordinary pieces.
    ///
    /// # Errors
    ///
    /// When the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let (mut tokens, mut begun) = (Vec::new(), 0);
        for (at, _) in text.match_indices('<') {
            let spelled = |(marker, _): &&(&str, u32)| text[at..].starts_with(marker);
            let Some((marker, id)) = self.markers.iter().find(spelled) else { continue };
            if begun < at {
                tokens.extend(self.tokenizer.encode(&text[begun..at])?);
            }
            tokens.push(*id);
            begun = at + marker.len();
        }
        if begun < text.len() {
            tokens.extend(self.tokenizer.encode(&text[begun..])?);
        }
        Ok(tokens)
    }

    /// Token ids of a text none of which is a marker, whatever the text spells: what spells one is cut
    /// until it is read as characters. A character that is a marker by itself is left out.
    ///
    /// # Errors
    ///
    /// When the tokenizer refuses the text.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        let tokens = self.encode(text)?;
        if !tokens.iter().any(|token| self.is_special(*token)) {
            return Ok(tokens);
        }
        let chars = text.chars().count();
        if chars < 2 {
            return Ok(Vec::new());
        }
        let middle = text.char_indices().nth(chars / 2).map_or(0, |(at, _)| at);
        let (left, right) = text.split_at(middle);
        let mut tokens = self.encode_plain(left)?;
        tokens.extend(self.encode_plain(right)?);
        Ok(tokens)
    }
}

/// Text from bytes that may stop in the middle of a character.
#[derive(Debug, Clone, Default)]
pub struct Utf8Stream {
    held: Vec<u8>,
}

impl Utf8Stream {
    /// The text that is complete with these bytes. Bytes that can never become text are replaced by
    /// U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::new();
        let mut whole = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            whole += chunk.valid().len();
            let bad = chunk.invalid();
            let at_end = whole + bad.len() == self.held.len();
            if bad.is_empty() || (at_end && may_continue(bad)) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            whole += bad.len();
        }
        self.held.drain(..whole);
        text
    }

    /// What was held back, at the end.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

/// Whether `bytes` begin a character that more bytes can complete.
fn may_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Ends a text before the first of some strings.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopStrings {
    /// Empty strings stop nothing.
    #[must_use]
    pub fn new(strings: Vec<String>) -> Self {
        let strings = strings.into_iter().filter(|s| !s.is_empty()).collect();
        Self { strings, held: String::new(), stopped: false }
    }

    /// Whether one of the strings came.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The text that certainly stands before any of the strings.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        if let Some(at) = self.strings.iter().filter_map(|s| self.held.find(s.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let begins = |at: &usize| self.strings.iter().any(|s| s.starts_with(&self.held[*at..]));
        let longest = self.strings.iter().map(String::len).max().unwrap_or(0);
        let first = self.held.len().saturating_sub(longest);
        let mut places = self.held.char_indices().map(|(at, _)| at).filter(|at| *at >= first);
        let keep = places.find(begins).unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// What was held back, at the end.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_kernels::Checkpoint;
    use proptest::prelude::*;

    #[test]
    fn characters_are_given_out_whole() {
        let mut stream = Utf8Stream::default();
        let llama = "🦙".as_bytes();
        assert_eq!(stream.push(&llama[..1]), "");
        assert_eq!(stream.push(&llama[1..3]), "");
        assert_eq!(stream.push(&llama[3..]), "🦙");
        assert_eq!(stream.push(&[0xFF, b'a', 0xE2, 0x82]), "\u{FFFD}a");
        assert_eq!(stream.push(b"b"), "\u{FFFD}b");
        assert_eq!(stream.push(&[0xE2, 0x82]), "");
        assert_eq!(stream.finish(), "\u{FFFD}");
    }

    #[test]
    fn text_ends_before_a_stop_string() {
        let mut stop = StopStrings::new(vec!["END".into(), String::new(), "\n\n".into()]);
        assert_eq!(stop.push("some E"), "some ");
        assert_eq!(stop.push("N"), "");
        assert_eq!(stop.push("ough E"), "ENough ");
        assert_eq!(stop.push("ND tail"), "");
        assert!(stop.stopped());
        assert_eq!(stop.push("more"), "");
        let mut stop = StopStrings::new(vec!["END".into()]);
        assert_eq!(stop.push("EN") + &stop.finish(), "EN");
    }

    #[test]
    fn markers_are_one_token_wherever_they_stand() {
        let checkpoint = Checkpoint::embedded().unwrap();
        let tokenizer = checkpoint.tokenizer().unwrap();
        let vocabulary = Vocabulary::new(tokenizer.clone(), checkpoint.config().vocab);
        for text in ["<|turn>user\nHi<turn|>\n<bos>", "<", "", "a < b <turn|", "<bos><bos>x<eos>"] {
            assert_eq!(vocabulary.encode(text).unwrap(), tokenizer.encode(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn tokens_spell_the_text_they_came_from() {
        let checkpoint = Checkpoint::embedded().unwrap();
        let vocabulary =
            Vocabulary::new(checkpoint.tokenizer().unwrap(), checkpoint.config().vocab);
        let text = "In the beginning 🦙 was the naïve word";
        let bytes: Vec<u8> = vocabulary
            .encode(text)
            .unwrap()
            .into_iter()
            .flat_map(|token| vocabulary.token_bytes(token))
            .collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
        let turn = vocabulary.marker("<|turn>").unwrap();
        assert!(vocabulary.is_special(turn) && !vocabulary.is_special(300));
        assert_eq!(vocabulary.token_bytes(turn), b"<|turn>");
        assert!(vocabulary.marker("<|channel>").is_none());
    }

    proptest! {
        #[test]
        fn a_stop_string_cuts_any_portions_alike(
            text in "[abc]{0,20}", stop in "[abc]{1,3}", other in "[ab]{0,2}", cut in 0_usize..20,
        ) {
            let strings = vec![stop.clone(), other.clone()];
            let first = strings.iter().filter(|s| !s.is_empty()).filter_map(|s| text.find(s.as_str()));
            let expected = first.min().map_or(text.as_str(), |at| &text[..at]);
            let (a, b) = text.split_at(cut.min(text.len()));
            let mut stop = StopStrings::new(strings);
            let cut = stop.push(a) + &stop.push(b);
            prop_assert_eq!(cut + &stop.finish(), expected);
        }

        #[test]
        fn any_bytes_in_any_portions_become_their_text(
            bytes in prop::collection::vec(any::<u8>(), 0..40), cut in 0_usize..40,
        ) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut stream = Utf8Stream::default();
            let text = stream.push(a) + &stream.push(b) + &stream.finish();
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
