//! The node's own model, asked for one constrained answer at a time.

use crate::measure::files;
use crate::serve::assemble::{Assembler, Finish};
use crate::serve::chat::{ChatTemplate, Conversation, TemplateError, prompt_tokens};
use crate::serve::defaults::Defaults;
use crate::serve::grammar::{Grammars, Shape};
use crate::serve::model::{EngineModel, Generate, Turn};
use crate::serve::output::{Event, ToolCall};
use crate::serve::sampling::{Chooser, Sampling};
use crate::serve::text::Vocabulary;
use assay_kernels::{
    AdapterRequest, Bundle, Checkpoint, Engine, EngineOptions, Gpu, SamplingParams,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Positions of the model's cache: a prompt and its answer.
const CONTEXT_TOKENS: usize = 8192;
/// Tokens that run through the model at once.
const BATCH_TOKENS: usize = 32;
/// Sampling temperature where the checkpoint recommends none.
const TEMPERATURE: f32 = 1.0;

/// Why the model gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The engine or the checkpoint is at fault.
    #[error("the model failed: {0}")]
    Engine(#[from] assay_kernels::Error),
    /// The checkpoint cannot chat.
    #[error(transparent)]
    NoTemplate(#[from] TemplateError),
    /// The template dropped or changed what was to be said.
    #[error(
        "the chat template of the agent's model leaves out what it is given; take another model"
    )]
    Template,
    /// The constraint cannot be compiled.
    #[error("the constraint of the answer is unusable: {0}")]
    Grammar(String),
    /// The prompt leaves no room.
    #[error(
        "the prompt has {prompt} tokens and the answer {answer}, the model's context {context}"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that the answer may have.
        answer: usize,
        /// Tokens of the model's context.
        context: usize,
    },
    /// The answer did not end within its bound.
    #[error("the answer did not end within {0} tokens")]
    Unfinished(usize),
    /// The answer took too long.
    #[error("the answer took longer than {0:?}")]
    Late(Duration),
    /// The operator stopped the agent.
    #[error("stopped")]
    Stopped,
    /// The answer is not what it was constrained to.
    #[error("the answer is not usable: {0}")]
    Unreadable(String),
    /// The system has no randomness.
    #[error("the system gives no randomness")]
    Randomness,
}

/// What an answer may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most tokens.
    pub tokens: usize,
    /// Longest time, from the prompt's first token on.
    pub time: Duration,
}

/// What is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// The prompt's tokens.
    pub prompt: &'a [u32],
    /// The prompt as text, whose end says whether the model's thoughts were opened already.
    pub rendered: &'a str,
    /// What the answer may be.
    pub shape: Shape<'a>,
    /// Seeds the draw; the likeliest answer without it.
    pub seed: Option<u64>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Every token, markers included.
    pub raw: String,
    /// The answer's text.
    pub text: String,
    /// The first tool call.
    pub call: Option<ToolCall>,
    /// Tokens of the prompt and of the answer.
    pub tokens: (usize, usize),
    /// Time it took, in milliseconds.
    pub millis: u64,
}

/// A checkpoint with its text side, ready to answer.
pub struct LocalModel {
    generate: Box<dyn Generate>,
    vocabulary: Arc<Vocabulary>,
    template: ChatTemplate,
    grammars: Grammars,
    defaults: Defaults,
    bos: u32,
    ends: Arc<[u32]>,
    name: String,
}

impl std::fmt::Debug for LocalModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalModel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LocalModel {
    /// Loads the checkpoint in `folder`, or gemma4-nano without it, on the best adapter.
    ///
    /// # Errors
    ///
    /// [`AskError::Engine`] and [`AskError::NoTemplate`].
    pub fn open(folder: Option<&Path>) -> Result<Self, AskError> {
        let checkpoint = files::checkpoint(folder)?;
        let gpu = Gpu::open(&AdapterRequest::default())?;
        let context = CONTEXT_TOKENS.min(checkpoint.config().max_positions);
        let options =
            EngineOptions { rewind_tokens: context, ..EngineOptions::new(context, BATCH_TOKENS) };
        let engine = Engine::new(&gpu, &checkpoint, &Bundle::builtin(), &options)?;
        let name = folder.map_or_else(|| "nano".to_owned(), |folder| folder.display().to_string());
        Self::new(&checkpoint, Box::new(EngineModel::new(engine)), name)
    }

    /// The text side of `checkpoint` over something that continues prompts.
    ///
    /// # Errors
    ///
    /// [`AskError::Engine`] without a tokenizer, [`AskError::NoTemplate`] without a template.
    pub fn new(
        checkpoint: &Checkpoint,
        generate: Box<dyn Generate>,
        name: String,
    ) -> Result<Self, AskError> {
        let config = checkpoint.config();
        let vocabulary = Arc::new(Vocabulary::new(checkpoint.tokenizer()?, config.vocab));
        let defaults = Defaults::of(checkpoint);
        Ok(Self {
            generate,
            template: ChatTemplate::of(checkpoint, None)?,
            grammars: Grammars::new(Arc::clone(&vocabulary), defaults.ends.clone()),
            bos: config.bos,
            ends: defaults.ends.clone().into(),
            vocabulary,
            defaults,
            name,
        })
    }

    /// How the transcript calls the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's vocabulary.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// A conversation as the model's own template writes it.
    ///
    /// # Errors
    ///
    /// [`AskError::NoTemplate`] when the template refuses it.
    pub fn render(&self, conversation: &Conversation) -> Result<String, AskError> {
        Ok(self.template.render(conversation)?)
    }

    /// The tokens of a rendered prompt or of its beginning, with one BOS.
    ///
    /// # Errors
    ///
    /// [`AskError::Engine`] when the tokenizer refuses it.
    pub fn tokens(&self, rendered: &str) -> Result<Vec<u32>, AskError> {
        Ok(prompt_tokens(&self.vocabulary, self.bos, rendered)?)
    }

    /// The tokens of a rendered prompt's later part.
    ///
    /// # Errors
    ///
    /// [`AskError::Engine`] when the tokenizer refuses it.
    pub fn continued(&self, rendered: &str) -> Result<Vec<u32>, AskError> {
        let mut tokens = self.tokens(rendered)?;
        tokens.remove(0);
        Ok(tokens)
    }

    /// Asks for one answer; `stop` ends it at the next token.
    ///
    /// # Errors
    ///
    /// [`AskError`]: whatever keeps the answer from being whole and as it was constrained.
    pub fn ask(
        &mut self,
        question: Question<'_>,
        bounds: Bounds,
        stop: &dyn Fn() -> bool,
    ) -> Result<Answered, AskError> {
        let Question { prompt, rendered, shape, seed } = question;
        let context = self.generate.context_tokens();
        if prompt.len() + bounds.tokens > context {
            let (prompt, answer) = (prompt.len(), bounds.tokens);
            return Err(AskError::TooLong { prompt, answer, context });
        }
        let grammar = self.grammars.grammar(&shape).map_err(AskError::Grammar)?;
        let sampling = self.sampling(seed);
        let mut chooser = Chooser::new(sampling, prompt, Some(grammar), Default::default())?;
        let plain = Assembler::plain(Arc::clone(&self.vocabulary), self.ends.clone(), Vec::new());
        let mut answer = Collected::of(plain.chat(rendered, false));
        let begun = Instant::now();
        let ended = || match (stop(), begun.elapsed() > bounds.time) {
            (true, _) => Some(AskError::Stopped),
            (_, true) => Some(AskError::Late(bounds.time)),
            _ => None,
        };
        let vocabulary = &self.vocabulary;
        let mut cut = None;
        self.generate.generate(Turn {
            prompt,
            most: bounds.tokens,
            choose: &mut chooser,
            on_token: &mut |token| {
                answer.token(token, vocabulary);
                cut = ended();
                match answer.assembler.ended() || cut.is_some() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            },
            cancelled: &|| ended().is_some(),
        })?;
        // A prompt that was given up in its middle has no token behind it.
        let none = answer.tokens == 0;
        if let Some(error) = cut.or_else(|| if none { ended() } else { None }) {
            return Err(error);
        }
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        answer.finish(prompt.len(), bounds.tokens, millis)
    }

    fn sampling(&self, seed: Option<u64>) -> Sampling {
        let Some(seed) = seed else { return Sampling::greedy() };
        let Defaults { temperature, top_k, top_p, min_p, suppress, .. } = &self.defaults;
        let params = SamplingParams {
            temperature: temperature.unwrap_or(TEMPERATURE),
            top_k: *top_k,
            top_p: *top_p,
            min_p: *min_p,
            repetition_penalty: 1.0,
            seed,
        };
        Sampling { params, suppress: suppress.clone(), ..Sampling::greedy() }
    }
}

/// An answer as it comes.
struct Collected {
    assembler: Assembler,
    raw: Vec<u8>,
    text: String,
    call: Option<ToolCall>,
    tokens: usize,
}

impl Collected {
    fn of(assembler: Assembler) -> Self {
        Self { assembler, raw: Vec::new(), text: String::new(), call: None, tokens: 0 }
    }

    fn token(&mut self, token: u32, vocabulary: &Vocabulary) {
        self.tokens += 1;
        self.raw.extend(vocabulary.token_bytes(token));
        let events = self.assembler.push(token);
        self.take(events);
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Text(text) => self.text.push_str(&text),
                Event::Call(call) => self.call = self.call.take().or(Some(call)),
                Event::Thought(_) => {}
            }
        }
    }

    fn finish(mut self, prompt: usize, most: usize, millis: u64) -> Result<Answered, AskError> {
        let (events, finish) = self.assembler.finish();
        self.take(events);
        if finish == Finish::Length {
            return Err(AskError::Unfinished(most));
        }
        let raw = String::from_utf8_lossy(&self.raw).into_owned();
        let tokens = (prompt, self.tokens);
        Ok(Answered { raw, text: self.text, call: self.call, tokens, millis })
    }
}
