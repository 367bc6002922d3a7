//! What the person sees.

use crate::cli::output::Format;
use crate::serve::output::Event;
use std::cell::Cell;
use std::io::{IsTerminal, Write, stderr, stdout};

/// The terminal or pipe that answers go to.
pub(super) struct Screen {
    /// Answers are shown as they come; otherwise they are printed as JSON at the end.
    streams: bool,
    /// Thoughts are shown.
    thoughts: bool,
    /// Dimmed text can be seen.
    styled: bool,
    /// Greetings and hints have a reader.
    interactive: bool,
    /// A thought was shown last.
    in_thought: Cell<bool>,
}

impl Screen {
    pub(super) fn new(format: Format, thoughts: bool) -> Self {
        let terminal = stdout().is_terminal();
        Self {
            streams: format == Format::Table,
            thoughts,
            styled: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            interactive: terminal && std::io::stdin().is_terminal(),
            in_thought: Cell::new(false),
        }
    }

    /// Says what answers.
    pub(super) fn greet(&self, model: &str, adapter: &str) {
        if self.interactive {
            self.say(&format!("{model} on {adapter}. /help lists the commands."));
        }
    }

    /// A remark that is no part of the conversation.
    pub(super) fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// Why there is no answer.
    pub(super) fn fault(&self, error: &anyhow::Error) {
        eprintln!("error: {error:#}");
    }

    /// A piece of the answer.
    pub(super) fn event(&self, event: &Event) {
        if !self.streams {
            return;
        }
        match event {
            Event::Text(text) => {
                if self.in_thought.replace(false) {
                    self.write(self.style("\u{1b}[0m"));
                    self.write("\n\n");
                }
                self.write(text);
            }
            Event::Thought(text) if self.thoughts => {
                if !self.in_thought.replace(true) {
                    self.write(self.style("\u{1b}[2m"));
                }
                self.write(text);
            }
            Event::Thought(_) => {}
            Event::Call(call) => {
                self.write(&format!("\n[calls {} {}]\n", call.name, call.arguments));
            }
        }
    }

    /// The end of an answer.
    pub(super) fn end(&self, interrupted: bool) {
        if !self.streams {
            return;
        }
        if self.in_thought.replace(false) {
            self.write(self.style("\u{1b}[0m"));
        }
        self.write("\n");
        if self.interactive {
            self.write("\n");
        }
        if interrupted {
            let _ = writeln!(stderr(), "(stopped)");
        }
    }

    fn style(&self, code: &'static str) -> &'static str {
        if self.styled { code } else { "" }
    }

    fn write(&self, text: &str) {
        let mut out = stdout().lock();
        // A reader that went away ends the program at its next signal; there is nothing to add here.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
