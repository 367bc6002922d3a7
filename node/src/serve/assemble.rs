//! From a request's tokens to its events: text, marker by marker, until something ends it.

use super::output::{Event, OutputParser, SPELLED};
use super::text::{StopStrings, Utf8Stream, Vocabulary};
use serde::Serialize;
use std::sync::Arc;

/// Why an output ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended it, or a stop string came.
    Stop,
    /// As many tokens came as were asked for.
    Length,
    /// The model waits for the results of its tool calls.
    ToolCalls,
}

/// Makes events of tokens.
#[derive(Debug, Clone)]
pub struct Assembler {
    vocabulary: Arc<Vocabulary>,
    ends: Arc<[u32]>,
    utf8: Utf8Stream,
    /// None where the text is taken as it is.
    parser: Option<OutputParser>,
    stop: StopStrings,
    /// Whether the output ends with its first tool call.
    one_call: bool,
    calls: usize,
    reasoning_tokens: usize,
    ended: bool,
}

impl Assembler {
    /// Takes text as it is until a token of `ends` or one of the `stop` strings.
    #[must_use]
    pub fn plain(vocabulary: Arc<Vocabulary>, ends: Arc<[u32]>, stop: Vec<String>) -> Self {
        let stop = StopStrings::new(stop);
        let utf8 = Utf8Stream::default();
        Self {
            vocabulary,
            ends,
            utf8,
            parser: None,
            stop,
            one_call: false,
            calls: 0,
            reasoning_tokens: 0,
            ended: false,
        }
    }

    /// The same, telling answer, thoughts and tool calls apart. `prompt` is what the model continues.
    #[must_use]
    pub fn chat(self, prompt: &str, parallel_calls: bool) -> Self {
        Self { parser: Some(OutputParser::after(prompt)), one_call: !parallel_calls, ..self }
    }

    /// Whether nothing more is to come.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Tokens of thoughts so far, their markers included.
    #[must_use]
    pub fn reasoning_tokens(&self) -> usize {
        self.reasoning_tokens
    }

    /// Whether a token only ends the text.
    #[must_use]
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// Reads the next token.
    pub fn push(&mut self, token: u32) -> Vec<Event> {
        let mut events = Vec::new();
        if self.ended {
            return events;
        }
        if self.is_end(token) {
            self.ended = true;
            return events;
        }
        let thinking = |parser: &OutputParser| usize::from(parser.thinking());
        self.reasoning_tokens += self.parser.as_ref().map_or(0, thinking);
        let bytes = self.vocabulary.token_bytes(token);
        if self.vocabulary.is_special(token) {
            // Text stands complete before a marker, and markers are no text of an answer.
            let text = self.utf8.finish();
            self.text(&text, &mut events);
            let named = SPELLED.iter().find(|marker| marker.as_bytes() == bytes);
            if let (Some(marker), true) = (named, self.parser.is_some()) {
                self.text(marker, &mut events);
            }
        } else {
            let text = self.utf8.push(&bytes);
            self.text(&text, &mut events);
        }
        events
    }

    /// Gives out what was held back and says why the output ended.
    pub fn finish(&mut self) -> (Vec<Event>, Finish) {
        let mut events = Vec::new();
        let rest = self.utf8.finish();
        if !self.stop.stopped() {
            self.text(&rest, &mut events);
            let mut parsed = Vec::new();
            if let Some(parser) = &mut self.parser {
                parser.finish(&mut parsed);
            }
            self.pass(parsed, &mut events);
            let held = self.stop.finish();
            push_text(held, &mut events);
        }
        let finish = match (self.calls, self.ended) {
            (1.., _) => Finish::ToolCalls,
            (_, true) => Finish::Stop,
            (_, false) => Finish::Length,
        };
        (events, finish)
    }

    fn text(&mut self, text: &str, events: &mut Vec<Event>) {
        let mut parsed = Vec::new();
        match &mut self.parser {
            Some(parser) => {
                parser.push(text, &mut parsed);
                self.ended |= parser.ended();
            }
            None => parsed.push(Event::Text(text.to_owned())),
        }
        self.pass(parsed, events);
    }

    /// Looks for stop strings in the answer and counts calls.
    fn pass(&mut self, parsed: Vec<Event>, events: &mut Vec<Event>) {
        for event in parsed {
            if self.stop.stopped() || (self.one_call && self.calls > 0) {
                return;
            }
            match event {
                Event::Text(text) => {
                    let text = self.stop.push(&text);
                    push_text(text, events);
                    self.ended |= self.stop.stopped();
                }
                other => {
                    push_text(self.stop.finish(), events);
                    if matches!(other, Event::Call(_)) {
                        self.calls += 1;
                        self.ended |= self.one_call;
                    }
                    events.push(other);
                }
            }
        }
    }
}

fn push_text(text: String, events: &mut Vec<Event>) {
    if !text.is_empty() {
        events.push(Event::Text(text));
    }
}
