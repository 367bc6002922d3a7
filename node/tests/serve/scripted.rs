//! A model that says what the test wants, by what its prompt contains.

use assay_kernels::{Checkpoint, Error, Result, embedded_files};
use assay_node::serve::model::{Generate, Generated, Turn};
use assay_node::serve::text::Vocabulary;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Logit of the scripted token where all others have 0.
const SURE: f32 = 30.0;
const EOS: u32 = 1;
/// The reply of a model that fails.
pub(crate) const FAILS: &str = "fails";
/// The reply of a model that panics.
pub(crate) const PANICS: &str = "panics";

/// Answers by the first rule whose text the prompt contains.
pub(crate) struct Scripted {
    vocabulary: Vocabulary,
    rules: Vec<(&'static str, &'static str)>,
    pace: Duration,
    seen: Seen,
}

/// The prompts that came, spelt out, and the tokens that were generated.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) prompts: Arc<Mutex<Vec<String>>>,
    pub(crate) tokens: Arc<Mutex<usize>>,
}

/// Nano's files with the markers of Gemma 4 as special tokens, and a chat template in its form.
pub(crate) fn checkpoint() -> Checkpoint {
    let mut files: BTreeMap<String, Vec<u8>> = embedded_files()
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect();
    files.insert("chat_template.jinja".into(), include_bytes!("gemma4.jinja").to_vec());
    let tokenizer = files.get_mut("tokenizer.json").unwrap();
    *tokenizer = with_markers(tokenizer);
    Checkpoint::from_files(files).unwrap()
}

/// A tokenizer in which markers take the places of the last pieces.
fn with_markers(tokenizer: &[u8]) -> Vec<u8> {
    let markers =
        ["<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<|\"|>"];
    let mut file: Value = serde_json::from_slice(tokenizer).unwrap();
    let vocabulary = file["model"]["vocab"].as_object_mut().unwrap();
    let size = vocabulary.len();
    let mut added = Vec::new();
    let mut gone = Vec::new();
    for (i, marker) in markers.into_iter().enumerate() {
        let id = size - 1 - i;
        let piece = vocabulary.iter().find(|(_, at)| **at == id).unwrap().0.clone();
        vocabulary.remove(&piece);
        vocabulary.insert(marker.into(), id.into());
        gone.push(piece);
        added.push(json!({
            "id": id, "content": marker, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }));
    }
    let merges = file["model"]["merges"].as_array_mut().unwrap();
    merges.retain(|pair| {
        let part = |i: usize| pair[i].as_str().unwrap().to_owned();
        let whole = part(0) + &part(1);
        ![part(0), part(1), whole].iter().any(|piece| gone.contains(piece))
    });
    file["added_tokens"].as_array_mut().unwrap().extend(added);
    serde_json::to_vec(&file).unwrap()
}

impl Scripted {
    pub(crate) fn new(rules: &[(&'static str, &'static str)]) -> Self {
        let checkpoint = checkpoint();
        let vocabulary =
            Vocabulary::new(checkpoint.tokenizer().unwrap(), checkpoint.config().vocab);
        Self { vocabulary, rules: rules.to_vec(), pace: Duration::ZERO, seen: Seen::default() }
    }

    /// Takes so long for every token.
    pub(crate) fn at_pace(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.clone()
    }

    fn spell(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> =
            tokens.iter().flat_map(|token| self.vocabulary.token_bytes(*token)).collect();
        String::from_utf8(bytes).unwrap()
    }
}

impl Generate for Scripted {
    fn context_tokens(&self) -> usize {
        8192
    }

    fn generate(&mut self, turn: Turn<'_>) -> Result<Generated> {
        let prompt = self.spell(turn.prompt);
        let rule = self.rules.iter().find(|(part, _)| prompt.contains(part));
        let reply = rule.map_or("I have nothing to say.", |(_, reply)| reply);
        self.seen.prompts.lock().unwrap().push(prompt);
        match reply {
            FAILS => return Err(Error::Input("as the test wants".into())),
            PANICS => panic!("as the test wants"),
            _ => {}
        }
        let script = self.vocabulary.encode(reply).unwrap();
        for token in script.into_iter().chain(std::iter::repeat(EOS)).take(turn.most) {
            std::thread::sleep(self.pace);
            let mut logits = vec![0.0; self.vocabulary.size()];
            logits[token as usize] = SURE;
            let chosen = turn.choose.choose(&mut logits)?;
            *self.seen.tokens.lock().unwrap() += 1;
            if (turn.on_token)(chosen).is_break() {
                break;
            }
        }
        Ok(Generated::default())
    }
}
