//! What a model's text means: answer, thoughts and tool calls, as the text arrives.
//!
//! ```text
//! <|channel>thought\n … <channel|>                 a thought
//! <|tool_call>call:NAME{key:value,…}<tool_call|>   a tool call
//! <turn|> <|tool_response> <eos>                   the end of what is the model's to say
//! ```
//!
//! [`OutputParser`] takes text in any portions and gives the same events for all of them, apart from
//! where it cuts texts and thoughts in pieces. A marker never appears in an event, whole or in part,
//! except in a tool call that cannot be read: that is given back as text, so that nothing is lost.

mod call;
mod markers;
mod value;

pub use call::ToolCall;
pub use markers::{CALL_CLOSE, CALL_OPEN, CHANNEL_CLOSE, CHANNEL_OPEN, QUOTE, SPELLED};

use markers::{ENDS, Found, find};

/// What channel the model thinks in.
const THOUGHT: &str = "thought";

/// A piece of a model's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Reasoning that is not part of the answer.
    Thought(String),
    /// A piece of the answer.
    Text(String),
    /// A complete tool call.
    Call(ToolCall),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Text,
    Thought(Label),
    Call { body: String, in_string: bool },
    Ended,
}

/// How much of a channel's name has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Name,
    Newline,
    Done,
}

/// Turns text into events, portion by portion.
#[derive(Debug, Clone)]
pub struct OutputParser {
    state: State,
    /// Text that may be the beginning of something else than text.
    pending: String,
}

impl Default for OutputParser {
    fn default() -> Self {
        Self { state: State::Text, pending: String::new() }
    }
}

impl OutputParser {
    /// A parser for what follows `prompt`, which may have opened the model's thoughts already.
    #[must_use]
    pub fn after(prompt: &str) -> Self {
        let opened = prompt.trim_end_matches('\n').strip_suffix(THOUGHT);
        let thinking = opened.is_some_and(|before| before.ends_with(CHANNEL_OPEN));
        let state = if thinking { State::Thought(Label::Done) } else { State::Text };
        Self { state, pending: String::new() }
    }

    /// Whether a marker ended the model's turn; what follows it is ignored.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether the model is thinking.
    #[must_use]
    pub fn thinking(&self) -> bool {
        matches!(self.state, State::Thought(_))
    }

    /// Reads the next portion.
    pub fn push(&mut self, text: &str, events: &mut Vec<Event>) {
        self.pending.push_str(text);
        loop {
            let found = find(&self.pending, self.active());
            match found {
                Found::Whole(at, marker) => {
                    let before: String = self.pending.drain(..at).collect();
                    self.pending.drain(..marker.len());
                    self.take(before, true, events);
                    self.marker(marker, events);
                }
                Found::Part(at) => {
                    let held = self.pending.split_off(at);
                    let before = std::mem::take(&mut self.pending);
                    self.take(before, false, events);
                    self.pending.push_str(&held);
                    return;
                }
            }
        }
    }

    /// Gives out what was held back, at the end of the output.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        let rest = std::mem::take(&mut self.pending);
        self.take(rest, true, events);
        if let State::Call { body, .. } = std::mem::replace(&mut self.state, State::Ended) {
            events.push(call::event(&body, ""));
        }
    }

    /// The markers that mean something where the parser is.
    fn active(&self) -> &'static [&'static str] {
        match self.state {
            State::Text | State::Thought(_) => markers::OUTSIDE,
            State::Call { in_string: true, .. } => markers::IN_STRING,
            State::Call { in_string: false, .. } => markers::IN_CALL,
            State::Ended => &[],
        }
    }

    /// Uses text without markers; `last` if a marker or the end follows it directly.
    fn take(&mut self, text: String, last: bool, events: &mut Vec<Event>) {
        match &mut self.state {
            State::Text if !text.is_empty() => events.push(Event::Text(text)),
            State::Text | State::Ended => {}
            State::Call { body, .. } => body.push_str(&text),
            State::Thought(label) => {
                let (thought, held) = thought(label, text, last);
                if !thought.is_empty() {
                    events.push(Event::Thought(thought));
                }
                self.pending.insert_str(0, &held);
            }
        }
    }

    fn marker(&mut self, marker: &'static str, events: &mut Vec<Event>) {
        let state = std::mem::replace(&mut self.state, State::Text);
        self.state = match state {
            State::Call { mut body, in_string } if marker == QUOTE => {
                body.push_str(QUOTE);
                State::Call { body, in_string: !in_string }
            }
            State::Call { body, .. } => {
                let closing = if marker == CALL_CLOSE { CALL_CLOSE } else { "" };
                events.push(call::event(&body, closing));
                after_call(marker)
            }
            _ if ENDS.contains(&marker) => State::Ended,
            _ if marker == CHANNEL_OPEN => State::Thought(Label::Name),
            _ if marker == CHANNEL_CLOSE => State::Text,
            _ if marker == CALL_OPEN => after_call(marker),
            // A stray closing marker says nothing.
            other => other,
        };
    }
}

/// Where the parser is behind a tool call that `marker` ended.
fn after_call(marker: &str) -> State {
    match marker {
        CALL_OPEN => State::Call { body: String::new(), in_string: false },
        CHANNEL_OPEN => State::Thought(Label::Name),
        CALL_CLOSE => State::Text,
        _ => State::Ended,
    }
}

/// The thought in `text`, without the channel's name and the line break before its end, and what must
/// be seen again together with what follows.
fn thought(label: &mut Label, text: String, last: bool) -> (String, String) {
    let mut rest = text.as_str();
    if *label == Label::Name {
        if let Some(behind) = rest.strip_prefix(THOUGHT) {
            rest = behind;
            *label = Label::Newline;
        } else if !last && THOUGHT.starts_with(rest) {
            return (String::new(), text);
        } else {
            *label = Label::Done;
        }
    }
    if *label == Label::Newline && (last || !rest.is_empty()) {
        rest = rest.strip_prefix('\n').unwrap_or(rest);
        *label = Label::Done;
    }
    let kept = rest.trim_end_matches('\n');
    let held = if last { "" } else { &rest[kept.len()..] };
    (kept.to_owned(), held.to_owned())
}

#[cfg(test)]
mod tests;
