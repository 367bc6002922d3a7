//! What generates tokens: the engine, with the cache of the conversation before.

use assay_kernels::{Choose, DraftStats, Engine, Result};
use std::ops::ControlFlow;

/// Tokens of a prompt that run between two looks at whether anybody still waits.
const PREFILL_CHUNK: usize = 512;

/// One continuation to generate.
pub struct Turn<'a> {
    /// The whole prompt, BOS included.
    pub prompt: &'a [u32],
    /// Most tokens to generate; at least 1.
    pub most: usize,
    /// Chooses each token.
    pub choose: &'a mut dyn Choose,
    /// Hears of each token and says whether to go on.
    pub on_token: &'a mut dyn FnMut(u32) -> ControlFlow<()>,
    /// Whether nobody waits for the tokens any more.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prompt = self.prompt.len();
        f.debug_struct("Turn").field("prompt", &prompt).field("most", &self.most).finish()
    }
}

/// What a continuation cost.
#[derive(Debug, Clone, Default)]
pub struct Generated {
    /// Tokens of the prompt that the cache already held.
    pub cached: usize,
    /// Time the rest of the prompt took, in nanoseconds.
    pub prefill_ns: u64,
    /// Tokens of the decode loops and their time in nanoseconds.
    pub decoded: usize,
    /// Time of the decode loops, in nanoseconds.
    pub decode_ns: u64,
    /// What the drafter did.
    pub drafting: DraftStats,
}

/// Something that continues prompts. It is used by one request at a time.
pub trait Generate: Send {
    /// Most tokens of a prompt and its continuation together.
    fn context_tokens(&self) -> usize;

    /// Generates one continuation, token by token, until it is told to stop.
    ///
    /// # Errors
    ///
    /// What the engine or the chooser says.
    fn generate(&mut self, turn: Turn<'_>) -> Result<Generated>;
}

/// An engine that keeps its cache from one prompt to the next, as far as they begin alike.
#[derive(Debug)]
pub struct EngineModel {
    engine: Engine,
    /// The tokens whose keys and values are in the cache.
    cached: Vec<u32>,
}

impl EngineModel {
    /// Takes over an engine, with or without a drafter.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, cached: Vec::new() }
    }

    /// Keeps what `prompt` shares with the cache, but lets at least one token run.
    fn keep(&mut self, prompt: &[u32]) -> usize {
        let alike = self.cached.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let alike = alike.min(prompt.len().saturating_sub(1));
        let kept = match alike > 0 && self.engine.rewind(alike).is_ok() {
            true => alike,
            false => {
                self.engine.reset();
                0
            }
        };
        self.cached.truncate(kept);
        kept
    }

    fn run(&mut self, turn: Turn<'_>) -> Result<Generated> {
        let cached = self.keep(turn.prompt);
        let mut made = Generated { cached, ..Generated::default() };
        let mut rest = &turn.prompt[cached..];
        while rest.len() > PREFILL_CHUNK {
            let (chunk, behind) = rest.split_at(PREFILL_CHUNK);
            made.prefill_ns += self.engine.prefill(chunk)?.wall_ns;
            self.cached.extend(chunk);
            rest = behind;
            if (turn.cancelled)() {
                return Ok(made);
            }
        }
        let prefill = self.engine.prefill_chosen(rest, turn.choose)?;
        made.prefill_ns += prefill.wall_ns;
        self.cached.extend(rest);
        self.cached.push(prefill.next);
        if (turn.on_token)(prefill.next).is_continue() && turn.most > 1 {
            let decode = self.engine.decode_chosen(turn.most - 1, turn.choose, turn.on_token)?;
            made.decoded = decode.tokens.len();
            made.decode_ns = decode.wall_ns;
            made.drafting = decode.draft.unwrap_or_default();
            self.cached.extend(decode.tokens);
        }
        // The last token was chosen but has not been run.
        self.cached.truncate(self.engine.position());
        Ok(made)
    }
}

impl Generate for EngineModel {
    fn context_tokens(&self) -> usize {
        self.engine.options().context_tokens
    }

    fn generate(&mut self, turn: Turn<'_>) -> Result<Generated> {
        let made = self.run(turn);
        if made.is_err() {
            // What an aborted pass left in the cache is unknown.
            self.cached.clear();
        }
        made
    }
}
