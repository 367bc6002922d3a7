//! One thread that has the engine, and the bounded queue before it.

use super::assemble::{Assembler, Finish};
use super::grammar::Grammar;
use super::metrics::{Ending, Metrics};
use super::model::{Generate, Generated, Turn};
use super::output::Event;
use super::sampling::{Chooser, Records, Sampling, TokenLogprobs};
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// What to generate.
#[derive(Debug)]
pub struct Task {
    /// The prompt's tokens, BOS included.
    pub prompt: Vec<u32>,
    /// Most tokens to generate; at least 1.
    pub most: usize,
    /// How to choose them.
    pub sampling: Sampling,
    /// What they must spell.
    pub grammar: Option<Grammar>,
    /// Makes text of them.
    pub assembler: Assembler,
}

/// News of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// Something came; tokens whose text is still held back bring no events.
    Piece {
        /// Texts, thoughts and calls.
        events: Vec<Event>,
        /// Records of the tokens since the last piece, where they were asked for.
        logprobs: Vec<TokenLogprobs>,
    },
    /// All came.
    Done(Outcome),
    /// The engine failed.
    Failed(String),
}

/// The end of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, tokens that the cache held.
    pub cached_tokens: usize,
    /// Tokens generated, one that ended the text included.
    pub completion_tokens: usize,
    /// Of those, tokens of thoughts.
    pub reasoning_tokens: usize,
    /// Tokens proposed by the drafter and tokens of them that were kept.
    pub drafted: (usize, usize),
}

/// Why a task was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many wait already as may.
    Full,
    /// The engine's thread is gone.
    Stopped,
}

struct Job {
    task: Task,
    updates: Sender<Update>,
    received: Instant,
}

/// The way to the engine.
#[derive(Debug)]
pub struct Queue {
    jobs: Sender<Job>,
    metrics: Arc<Metrics>,
    context_tokens: usize,
}

impl Queue {
    /// Starts the thread that owns `model`. At most `queue_max` tasks wait for it. The thread ends when
    /// the queue is dropped and all tasks in it are done.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(
        model: Box<dyn Generate>,
        queue_max: usize,
        metrics: Arc<Metrics>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (jobs, waiting) = mpsc::channel(queue_max.max(1));
        let context_tokens = model.context_tokens();
        let queue = Self { jobs, metrics: Arc::clone(&metrics), context_tokens };
        let thread = std::thread::Builder::new().name("engine".into());
        let thread = thread.spawn(move || work(model, waiting, &metrics))?;
        Ok((queue, thread))
    }

    /// Most tokens of a prompt and its continuation together.
    #[must_use]
    pub fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// Whether as many tasks wait as may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.jobs.capacity() == 0
    }

    /// Whether the engine's thread is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Puts a task into the queue. Dropping the receiver cancels it.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub fn submit(&self, task: Task) -> Result<Receiver<Update>, Refusal> {
        // Room for an update of every token and the end: the engine never waits for a client.
        let (updates, receiver) = mpsc::channel(task.most + 2);
        let job = Job { task, updates, received: Instant::now() };
        let place = self.jobs.try_reserve().map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(()) => Refusal::Full,
            mpsc::error::TrySendError::Closed(()) => Refusal::Stopped,
        })?;
        self.metrics.queued();
        place.send(job);
        Ok(receiver)
    }
}

fn work(mut model: Box<dyn Generate>, mut waiting: Receiver<Job>, metrics: &Metrics) {
    while let Some(job) = waiting.blocking_recv() {
        metrics.started();
        let ending = run(model.as_mut(), job, metrics);
        metrics.ended(ending);
    }
}

/// What has come of a task so far.
struct Progress<'a> {
    assembler: Assembler,
    updates: &'a Sender<Update>,
    records: Records,
    tokens: usize,
}

impl Progress<'_> {
    /// Passes a token on; stops where the text ends or nobody listens.
    fn token(&mut self, token: u32) -> ControlFlow<()> {
        self.tokens += 1;
        let events = self.assembler.push(token);
        let mut logprobs: Vec<_> = self.records.borrow_mut().drain(..).collect();
        if self.assembler.is_end(token) {
            logprobs.clear();
        }
        let sent = match events.is_empty() && logprobs.is_empty() {
            true => !self.updates.is_closed(),
            false => self.updates.try_send(Update::Piece { events, logprobs }).is_ok(),
        };
        match sent && !self.assembler.ended() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }
}

fn run(model: &mut dyn Generate, job: Job, metrics: &Metrics) -> Ending {
    let Job { task, updates, received } = job;
    if updates.is_closed() {
        return Ending::cancelled;
    }
    let records = Records::default();
    let chooser = Chooser::new(task.sampling, &task.prompt, task.grammar, Rc::clone(&records));
    let mut progress =
        Progress { assembler: task.assembler, updates: &updates, records, tokens: 0 };
    let made = chooser.and_then(|mut chooser| {
        model.generate(Turn {
            prompt: &task.prompt,
            most: task.most,
            choose: &mut chooser,
            on_token: &mut |token| {
                if progress.tokens == 0 {
                    metrics.first_token(received.elapsed());
                }
                progress.token(token)
            },
            cancelled: &|| updates.is_closed(),
        })
    });
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            tracing::error!(%error, "a generation failed");
            let _ = updates.try_send(Update::Failed(error.to_string()));
            return Ending::error;
        }
    };
    let Progress { assembler, tokens, .. } = progress;
    metrics.generated(task.prompt.len(), tokens, &made);
    if updates.is_closed() {
        return Ending::cancelled;
    }
    finish(assembler, &updates, task.prompt.len(), tokens, &made)
}

/// Sends the rest and the figures.
fn finish(
    mut assembler: Assembler,
    updates: &Sender<Update>,
    prompt_tokens: usize,
    completion_tokens: usize,
    made: &Generated,
) -> Ending {
    let (events, finish) = assembler.finish();
    if !events.is_empty() {
        let _ = updates.try_send(Update::Piece { events, logprobs: Vec::new() });
    }
    let rounds = made.drafting.rounds.iter();
    let drafted = rounds.fold((0, 0), |sum, round| (sum.0 + round.0, sum.1 + round.1));
    let _ = updates.try_send(Update::Done(Outcome {
        finish,
        prompt_tokens,
        cached_tokens: made.cached,
        completion_tokens,
        reasoning_tokens: assembler.reasoning_tokens(),
        drafted,
    }));
    match finish {
        Finish::Stop => Ending::stop,
        Finish::Length => Ending::length,
        Finish::ToolCalls => Ending::tool_calls,
    }
}
