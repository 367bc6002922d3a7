//! A conversation: its messages, the model that answers, what that cost.

use crate::cli::output::fields;
use crate::serve::assemble::{Assembler, Finish};
use crate::serve::chat::{ChatTemplate, Conversation, Message, Role, prompt_tokens};
use crate::serve::model::{EngineModel, Generate, Generated, Turn};
use crate::serve::output::Event;
use crate::serve::sampling::{Chooser, Sampling};
use crate::serve::text::Vocabulary;
use anyhow::{Context, bail};
use assay_kernels::measure::per_second;
use serde::Serialize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Ctrl-C while the model answers stops the answer; a second time, or elsewhere, it ends the program.
pub(super) struct Interrupts(Arc<State>);

#[derive(Default)]
struct State {
    answering: AtomicBool,
    count: AtomicUsize,
}

impl Interrupts {
    pub(super) fn install() -> anyhow::Result<Self> {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        ctrlc::set_handler(move || {
            let before = seen.count.fetch_add(1, Ordering::SeqCst);
            if !seen.answering.load(Ordering::SeqCst) || before > 0 {
                // A dimmed thought may be on the screen.
                eprintln!("\u{1b}[0m");
                std::process::exit(130);
            }
        })
        .context("cannot watch for Ctrl-C")?;
        Ok(Self(state))
    }

    fn begin(&self) {
        self.0.count.store(0, Ordering::SeqCst);
        self.0.answering.store(true, Ordering::SeqCst);
    }

    fn came(&self) -> bool {
        self.0.count.load(Ordering::SeqCst) > 0
    }

    fn end(&self) {
        self.0.answering.store(false, Ordering::SeqCst);
    }
}

/// A conversation with a model.
pub(super) struct Session {
    pub(super) model: EngineModel,
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) template: ChatTemplate,
    pub(super) bos: u32,
    pub(super) ends: Arc<[u32]>,
    pub(super) sampling: Sampling,
    pub(super) stop: Vec<String>,
    pub(super) max_tokens: usize,
    pub(super) thinking: bool,
    pub(super) messages: Vec<Message>,
    pub(super) last: Option<Last>,
}

/// Figures of the latest answer.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Last {
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
    finish: Finish,
    first_token_ms: f64,
    decode_tps: Option<f64>,
    draft_accepted_per_step: Option<f64>,
    context_tokens: usize,
}

impl Session {
    /// Forgets everything but the system message.
    pub(super) fn reset(&mut self, system: Option<String>) {
        self.messages = system.map(|text| Message::new(Role::System, text)).into_iter().collect();
    }

    /// The system message, if there is one.
    pub(super) fn system(&self) -> Option<&str> {
        let first = self.messages.first().filter(|message| message.role == Role::System);
        first.map(|message| message.content.as_str())
    }

    /// Answers `text`; tells whether Ctrl-C cut the answer short. A text that gets no answer is not
    /// part of the conversation.
    pub(super) fn answer(
        &mut self,
        text: &str,
        interrupts: &Interrupts,
        on_event: impl FnMut(&Event),
    ) -> anyhow::Result<bool> {
        self.messages.push(Message::new(Role::User, text));
        interrupts.begin();
        let answered = self.generate(interrupts, on_event);
        interrupts.end();
        match answered {
            // Nothing was said before Ctrl-C, so nothing was asked either.
            Ok(message) if message.content.is_empty() && interrupts.came() => {
                self.messages.pop();
            }
            Ok(message) => self.messages.push(message),
            Err(error) => {
                self.messages.pop();
                return Err(error);
            }
        }
        Ok(interrupts.came())
    }

    fn generate(
        &mut self,
        interrupts: &Interrupts,
        on_event: impl FnMut(&Event),
    ) -> anyhow::Result<Message> {
        let conversation = Conversation {
            messages: self.messages.clone(),
            thinking: self.thinking,
            ..Conversation::default()
        };
        let rendered = self.template.render(&conversation)?;
        let prompt = prompt_tokens(&self.vocabulary, self.bos, &rendered)?;
        let context = self.model.context_tokens();
        let left = context.saturating_sub(prompt.len());
        if left == 0 {
            bail!(
                "the conversation has {} tokens and its context holds {context}; /reset begins afresh, \
                 --context gives more room",
                prompt.len()
            );
        }
        let ends = Arc::clone(&self.ends);
        let plain = Assembler::plain(Arc::clone(&self.vocabulary), ends, self.stop.clone());
        let mut answer =
            Answer { assembler: plain.chat(&rendered, true), on_event, tokens: 0, message: None };
        let mut chooser = Chooser::new(self.sampling.clone(), &prompt, None, Default::default())?;
        let made = self.model.generate(Turn {
            prompt: &prompt,
            most: self.max_tokens.min(left),
            choose: &mut chooser,
            on_token: &mut |token| match answer.token(token) && !interrupts.came() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            },
            cancelled: &|| interrupts.came(),
        })?;
        // Every answer shall differ from the one before, so the seed moves on.
        self.sampling.params.seed = self.sampling.params.seed.wrapping_add(1);
        let (events, finish) = answer.assembler.finish();
        answer.take(events);
        self.last = Some(last(prompt.len(), answer.tokens, finish, &made, context));
        Ok(answer.message.unwrap_or_else(|| Message::new(Role::Assistant, "")))
    }

    /// The figures of the latest answer as text.
    pub(super) fn stats(&self) -> String {
        let Some(last) = &self.last else { return "nothing was answered yet".to_owned() };
        let held = last.prompt_tokens + last.completion_tokens;
        let tps =
            last.decode_tps.map_or_else(|| "-".to_owned(), |tps| format!("{tps:.1} tokens/s"));
        let mut rows = vec![
            (
                "prompt",
                format!("{} tokens, {} from the cache", last.prompt_tokens, last.cached_tokens),
            ),
            ("answer", format!("{} tokens", last.completion_tokens)),
            ("first token", format!("{:.0} ms", last.first_token_ms)),
            ("decode", tps),
            ("context", format!("{held} of {} tokens", last.context_tokens)),
        ];
        let kept = last.draft_accepted_per_step.map(|kept| format!("{kept:.2} kept per step"));
        rows.extend(kept.map(|kept| ("drafts", kept)));
        fields(&rows)
    }
}

fn last(prompt: usize, tokens: usize, finish: Finish, made: &Generated, context: usize) -> Last {
    let drafted = !made.drafting.rounds.is_empty();
    Last {
        prompt_tokens: prompt,
        cached_tokens: made.cached,
        completion_tokens: tokens,
        finish,
        first_token_ms: crate::cli::engine::ms(made.prefill_ns),
        decode_tps: (made.decoded > 0).then(|| per_second(made.decoded, made.decode_ns)),
        draft_accepted_per_step: drafted.then(|| made.drafting.accepted_per_round()),
        context_tokens: context,
    }
}

/// An answer as it comes.
struct Answer<F> {
    assembler: Assembler,
    on_event: F,
    tokens: usize,
    message: Option<Message>,
}

impl<F: FnMut(&Event)> Answer<F> {
    /// Takes a token; false when the answer is complete.
    fn token(&mut self, token: u32) -> bool {
        self.tokens += 1;
        let events = self.assembler.push(token);
        self.take(events);
        !self.assembler.ended()
    }

    fn take(&mut self, events: Vec<Event>) {
        let message = self.message.get_or_insert_with(|| Message::new(Role::Assistant, ""));
        for event in events {
            (self.on_event)(&event);
            match event {
                Event::Text(text) => message.content.push_str(&text),
                Event::Thought(text) => {
                    message.reasoning.get_or_insert_default().push_str(&text);
                }
                // Nobody declared a tool, so a call is only shown.
                Event::Call(_) => {}
            }
        }
    }
}
