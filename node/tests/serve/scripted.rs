//! A model that says what the test wants, by what its prompt contains.

use assay_kernels::{Checkpoint, Result, embedded_files};
use assay_node::serve::model::{Generate, Generated, Turn};
use assay_node::serve::text::Vocabulary;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Logit of the scripted token where all others have 0.
const SURE: f32 = 30.0;
const EOS: u32 = 1;

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

/// Nano's files with a chat template in the form of Gemma 4's.
pub(crate) fn checkpoint() -> Checkpoint {
    let mut files: BTreeMap<String, Vec<u8>> = embedded_files()
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect();
    files.insert("chat_template.jinja".into(), include_bytes!("gemma4.jinja").to_vec());
    Checkpoint::from_files(files).unwrap()
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
        2048
    }

    fn generate(&mut self, turn: Turn<'_>) -> Result<Generated> {
        let prompt = self.spell(turn.prompt);
        let rule = self.rules.iter().find(|(part, _)| prompt.contains(part));
        let reply = rule.map_or("I have nothing to say.", |(_, reply)| reply);
        self.seen.prompts.lock().unwrap().push(prompt);
        let mut script = self.vocabulary.encode(reply).unwrap();
        script.push(EOS);
        for token in script.into_iter().take(turn.most) {
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
