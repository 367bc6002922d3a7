//! Output that must follow a grammar: JSON of a schema, or tool calls.
//!
//! `llguidance` says which tokens may come next; everything else is masked before the sampler sees the
//! logits. Grammars are written in its Lark dialect, in which `<[7]>` is the token with id 7.

mod tools;

pub use tools::Tool;

use super::output::{CALL_CLOSE, CALL_OPEN, CHANNEL_CLOSE, CHANNEL_OPEN, QUOTE};
use super::text::Vocabulary;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// White space between the parts of a JSON text: a space, or a new line with its indentation. Without a
/// bound a weak model pads for ever.
const JSON_SPACE: &str = r"( |\n[ \t]{0,16})?";

/// Any text; it ends before the next special token.
const ANY: &str = r"/(.|\n)*/";

/// What an output may be: an answer in JSON, or calls of tools, or either.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape<'a> {
    /// JSON schema of the answer.
    pub schema: Option<&'a Value>,
    /// Whether the answer has no white space between its parts.
    pub compact: bool,
    /// Tools of which one must be called, unless there is a schema as well.
    pub tools: &'a [Tool],
    /// Whether several calls may follow one another.
    pub parallel_calls: bool,
    /// Whether a thought may come first.
    pub thinking: bool,
}

/// Where a request is in its grammar.
pub struct Grammar(Matcher);

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grammar(…)")
    }
}

impl Grammar {
    /// Makes every token impossible that may not come next.
    pub(super) fn mask(&mut self, logits: &mut [f32]) -> Result<(), String> {
        let allowed = self.0.compute_mask_or_eos().map_err(|error| error.to_string())?;
        for (token, logit) in (0_u32..).zip(logits) {
            if !allowed.is_allowed(token) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// Goes on behind a chosen token. Behind the end of the grammar anything may follow.
    pub(super) fn accept(&mut self, token: u32) -> Result<(), String> {
        if self.0.is_stopped() {
            return Ok(());
        }
        self.0.consume_token(token).map_err(|error| error.to_string())
    }
}

/// Makes grammars for one vocabulary.
pub struct Grammars {
    vocabulary: Arc<Vocabulary>,
    ends: Vec<u32>,
    /// Building the tree of all tokens takes a moment, so the first request with a grammar does it.
    factory: OnceLock<Result<ParserFactory, String>>,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Grammars {
    /// Grammars over `vocabulary` for a model whose texts end with one of `ends`.
    #[must_use]
    pub fn new(vocabulary: Arc<Vocabulary>, ends: Vec<u32>) -> Self {
        Self { vocabulary, ends, factory: OnceLock::new() }
    }

    /// What an output may be.
    ///
    /// # Errors
    ///
    /// What is wrong with the schema or a tool's parameters.
    pub fn grammar(&self, shape: &Shape<'_>) -> Result<Grammar, String> {
        let mut rules = String::new();
        let mut choices = Vec::new();
        if let Some(schema) = shape.schema {
            let Value::Object(mut schema) = schema.clone() else {
                return Err("the schema must be an object".into());
            };
            let space = match shape.compact {
                true => json!({"whitespace_flexible": false}),
                false => json!({"whitespace_pattern": JSON_SPACE}),
            };
            schema.insert("x-guidance".into(), space);
            rules.push_str(&format!("answer: %json {}\n", Value::Object(schema)));
            choices.push("answer");
        }
        if !shape.tools.is_empty() {
            let markers = tools::Markers {
                open: self.marker(CALL_OPEN),
                close: self.marker(CALL_CLOSE),
                quote: self.marker(QUOTE),
                text: if self.vocabulary.marker(QUOTE).is_some() { ANY } else { "/[^<]*/" },
            };
            rules.push_str(&tools::rules(shape.tools, &markers));
            choices.push(if shape.parallel_calls { "call+" } else { "call" });
        }
        let thought = self.thought(shape.thinking);
        self.compile(format!("start: {thought} ({})\n{rules}", choices.join(" | ")))
    }

    fn thought(&self, thinking: bool) -> String {
        match (thinking, self.vocabulary.marker(CHANNEL_OPEN)) {
            (true, Some(_)) => {
                let (open, close) = (self.marker(CHANNEL_OPEN), self.marker(CHANNEL_CLOSE));
                format!("[{open} {ANY} {close}]")
            }
            _ => String::new(),
        }
    }

    /// A marker as one token, or spelt out where the vocabulary does not have it.
    fn marker(&self, text: &str) -> String {
        match self.vocabulary.marker(text) {
            Some(id) => format!("<[{id}]>"),
            None => Value::from(text).to_string(),
        }
    }

    fn compile(&self, lark: String) -> Result<Grammar, String> {
        let factory = self.factory.get_or_init(|| factory(&self.vocabulary, &self.ends));
        let factory = factory.as_ref().map_err(Clone::clone)?;
        let parser = factory.create_parser(TopLevelGrammar::from_lark(lark));
        let mut matcher = Matcher::new(parser);
        match matcher.get_error() {
            Some(error) => Err(first_line(&error)),
            // The first mask shows whether the limits allow the grammar at all.
            None => match matcher.compute_mask() {
                Ok(_) => Ok(Grammar(matcher)),
                Err(error) => Err(first_line(&error.to_string())),
            },
        }
    }
}

/// What an error says, without its place in a grammar that nobody but this module has seen.
fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let said = line.strip_prefix("at ").and_then(|rest| rest.split_once(": "));
    said.map_or(line, |(_, said)| said).to_owned()
}

fn factory(vocabulary: &Arc<Vocabulary>, ends: &[u32]) -> Result<ParserFactory, String> {
    let first = *ends.first().ok_or("the model has no token that ends a text")?;
    let size = u32::try_from(vocabulary.size()).map_err(|error| error.to_string())?;
    let words: Vec<Vec<u8>> = (0..size)
        .map(|token| {
            let mut bytes = vocabulary.token_bytes(token);
            if vocabulary.is_special(token) {
                bytes.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
            }
            bytes
        })
        .collect();
    let trie = TokTrie::from(&TokRxInfo::new(size, first), &words).with_eos_tokens(ends);
    let environment: TokEnv = Arc::new(Tokens { trie, vocabulary: Arc::clone(vocabulary) });
    let mut factory = ParserFactory::new_simple(&environment).map_err(|error| error.to_string())?;
    factory.quiet();
    factory.limits_mut().verbose_errors = false;
    Ok(factory)
}

/// The vocabulary as `llguidance` wants it.
struct Tokens {
    trie: TokTrie,
    vocabulary: Arc<Vocabulary>,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let text = std::str::from_utf8(bytes).ok();
        let tokens = text.and_then(|text| self.vocabulary.encode(text).ok());
        tokens.unwrap_or_else(|| self.trie.greedy_tokenize(bytes))
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
