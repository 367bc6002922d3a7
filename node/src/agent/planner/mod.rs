//! The planner: a policy that asks the node's own model which tool to call next.
//!
//! ```text
//!  View ─┬─► Tools: every call that is allowed right then ─► grammar ─┐
//!        └─► prompt: numbers, the node's words, readings ─► template ─┴─► LocalModel ─► one call ─► Action
//!  Untrusted ─► quarantine: a call without tools ─► Reading ─► the next View
//! ```
//!
//! The model chooses among calls; it writes nothing. Every argument of every tool is an enumeration of
//! what the view allows, so that any answer at all, of a trained model, an untrained one or one that
//! somebody captured, is a call that the loop could have made. Where the model fails, the planner
//! waits and says why.

mod model;
mod prompt;
mod tools;
mod transcript;

pub use model::{Answered, AskError, Bounds, LocalModel, Question};
pub use tools::{CHOICES_MAX, Tools};
pub use transcript::{Choice, Entry, FILE_BYTES_MAX, Transcript};

use super::quarantine::{Notice, ReaderLimits, Readings, Untrusted, read_with};
use super::{Action, Decision, Policy, View};
use crate::measure::lock::HostLock;
use crate::serve::grammar::Shape;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Most texts that are read before one decision; the others wait for the next one.
const READ_MAX: usize = 8;

/// Time after which a model that chose to wait is asked again in any case, in milliseconds.
const WAIT_MS: u64 = 10 * 60 * 1000;

/// How a planner behaves.
#[derive(Clone)]
pub struct PlannerOptions {
    /// What one choice may cost.
    pub choice: Bounds,
    /// What reading one text may cost.
    pub reader: ReaderLimits,
    /// Seeds the first choice; each further one has the next number.
    pub seed: u64,
    /// The measuring lock: while a measurement holds it, the model stays silent.
    pub lock: Option<PathBuf>,
    /// Whether the operator stopped the agent, or a seat of this node waits for the machine.
    pub stop: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for PlannerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { choice, reader, seed, lock, .. } = self;
        let mut shown = f.debug_struct("PlannerOptions");
        shown.field("choice", choice).field("reader", reader).field("seed", seed);
        shown.field("lock", lock).finish_non_exhaustive()
    }
}

impl Default for PlannerOptions {
    fn default() -> Self {
        Self {
            choice: Bounds { tokens: 256, time: Duration::from_secs(120) },
            reader: ReaderLimits::default(),
            seed: 0,
            lock: None,
            stop: Arc::new(|| false),
        }
    }
}

/// The policy.
#[derive(Debug)]
pub struct Planner {
    model: LocalModel,
    options: PlannerOptions,
    readings: Readings,
    transcript: Option<Transcript>,
    /// When the last choice was made.
    chosen_ms: u64,
    /// Whether the transcript still lacks the outcome of the last choice.
    asked: bool,
    /// What was known when the model chose to wait.
    waiting: Option<View>,
}

/// Why there is no choice, with what is known of it.
struct NoChoice {
    error: AskError,
    prompt: String,
}

impl Planner {
    /// A planner on `model`, with or without a transcript.
    #[must_use]
    pub fn new(model: LocalModel, options: PlannerOptions, transcript: Option<Transcript>) -> Self {
        let readings = Readings::default();
        Self { model, options, readings, transcript, chosen_ms: 0, asked: false, waiting: None }
    }

    /// The lock, if the machine is free to be used.
    fn machine(&self) -> Option<Option<HostLock>> {
        match &self.options.lock {
            None => Some(None),
            Some(path) => HostLock::try_take(path).ok().flatten().map(Some),
        }
    }

    /// Whether the model chose to wait and would be asked the same again. Asking all the time would
    /// load the machine for nothing.
    fn is_waiting(&self, view: &View) -> bool {
        let lately = view.now_ms < self.chosen_ms.saturating_add(WAIT_MS);
        lately && self.waiting.as_ref().is_some_and(|known| *known == timeless(view))
    }

    fn choose(&mut self, view: &View, seed: u64) -> Result<Choice, NoChoice> {
        let tools = Tools::of(view);
        let (rendered, prompt) = self.prompt(view, &tools)?;
        let offered = tools.grammar();
        let shape = Shape { tools: &offered, ..Shape::default() };
        let question = Question { prompt: &prompt, rendered: &rendered, shape, seed: Some(seed) };
        let stop = Arc::clone(&self.options.stop);
        let answered = self.model.ask(question, self.options.choice, &|| stop());
        let no_choice = |error| NoChoice { error, prompt: rendered.clone() };
        let Answered { raw, call, tokens, millis, .. } = answered.map_err(no_choice)?;
        let unreadable = || no_choice(AskError::Unreadable(crate::text::line(&raw)));
        let call = call.ok_or_else(unreadable)?;
        let action = tools.action(&call).ok_or_else(unreadable)?;
        let why = format!("{} chose {} {}", self.model.name(), call.name, call.arguments);
        let (at_ms, model) = (view.now_ms, self.model.name().to_owned());
        Ok(Choice {
            at_ms,
            model,
            seed,
            prompt: rendered,
            answer: raw,
            tokens,
            millis,
            action,
            why,
        })
    }

    /// The prompt as text and as tokens.
    fn prompt(&self, view: &View, tools: &Tools) -> Result<(String, Vec<u32>), NoChoice> {
        let none = |error| NoChoice { error, prompt: String::new() };
        let declared = self.model.render(&prompt::conversation(view, tools, true)).map_err(none)?;
        let whole = tools.names().all(|name| declared.contains(name));
        let rendered = match whole {
            true => declared,
            // The template knows nothing of tools.
            false => self.model.render(&prompt::conversation(view, tools, false)).map_err(none)?,
        };
        let tokens = self.model.tokens(&rendered).map_err(none)?;
        Ok((rendered, tokens))
    }

    fn record(&self, entry: &Entry) {
        let Some(transcript) = &self.transcript else { return };
        if let Err(error) = transcript.add(entry) {
            tracing::warn!(%error, "the agent's transcript cannot be written");
        }
    }
}

/// A view without what changes by itself.
fn timeless(view: &View) -> View {
    View { now_ms: 0, height: 0, ..view.clone() }
}

impl Policy for Planner {
    fn next(&mut self, view: &View) -> Decision {
        if self.is_waiting(view) {
            return Decision::wait("nothing changed since the model chose to wait");
        }
        if view.budget.measuring_s == 0 {
            return Decision::over("the day's budget for measuring and thinking is spent");
        }
        let Some(_machine) = self.machine() else {
            return Decision::wait("a measurement has the machine, and thinking would disturb it");
        };
        let seed = self.options.seed;
        self.options.seed = seed.wrapping_add(1);
        let choice = self.choose(view, seed).unwrap_or_else(|NoChoice { error, prompt }| Choice {
            at_ms: view.now_ms,
            model: self.model.name().to_owned(),
            seed,
            prompt,
            answer: String::new(),
            tokens: (0, 0),
            millis: 0,
            action: Action::Wait,
            why: format!("the model gave no usable answer: {error}"),
        });
        (self.chosen_ms, self.asked) = (view.now_ms, true);
        // Who starts the agent again does not want to wait for a change.
        let waits = choice.action == Action::Wait && !(self.options.stop)();
        self.waiting = waits.then(|| timeless(view));
        let decision = Decision::act(choice.action.clone(), choice.why.clone());
        self.record(&Entry::Chosen(Box::new(choice)));
        decision
    }

    fn heard(&mut self, outcome: &str) {
        if !std::mem::take(&mut self.asked) {
            return;
        }
        let (at_ms, outcome) = (self.chosen_ms, outcome.to_owned());
        self.record(&Entry::Outcome { at_ms, outcome });
    }

    fn read(&mut self, texts: &[Untrusted], now_ms: u64) -> Vec<Notice> {
        let unread: Vec<&Untrusted> =
            texts.iter().filter(|text| !self.readings.knows(text)).take(READ_MAX).collect();
        for text in unread {
            let Some(_machine) = self.machine() else { break };
            let stop = Arc::clone(&self.options.stop);
            let read = read_with(&mut self.model, text, self.options.reader, &|| stop());
            if matches!(read, Err(AskError::Stopped)) {
                break;
            }
            self.record(&Entry::Read {
                at_ms: now_ms,
                model: self.model.name().to_owned(),
                text: hex::encode(text.digest()),
                reading: read.as_ref().ok().cloned(),
                fault: read.as_ref().err().map(ToString::to_string),
            });
            self.readings.remember(text, read.ok());
        }
        texts.iter().filter_map(|text| self.readings.notice(text)).collect()
    }
}
