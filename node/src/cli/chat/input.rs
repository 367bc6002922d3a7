//! What the person types, line by line or in longer texts.

use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use std::io::{BufRead, IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

/// Lines that are remembered.
const HISTORY_MAX: usize = 1000;
/// Longest line that is read from a pipe, in bytes.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Begins and ends a text of several lines.
const FENCE: &str = "\"\"\"";

/// Where texts come from.
pub(super) enum Input {
    /// A terminal, with line editing and a history.
    Terminal { editor: Box<Editor<(), FileHistory>>, history: PathBuf, leaving: bool },
    /// Anything else.
    Pipe,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A text or a command.
    Text(String),
    /// Nothing to answer.
    Nothing,
    /// Nothing more comes.
    End,
}

impl Input {
    /// Opens the terminal with the history in `home`, or standard input.
    pub(super) fn open(home: &Path) -> anyhow::Result<Self> {
        if !stdin().is_terminal() {
            return Ok(Self::Pipe);
        }
        let config = Config::builder().max_history_size(HISTORY_MAX)?.auto_add_history(true);
        let mut editor = Editor::with_config(config.build()).context("cannot use this terminal")?;
        let history = home.join("chat_history");
        // Without a file there is no history yet.
        let _ =
            std::fs::create_dir_all(home).ok().and_then(|()| editor.load_history(&history).ok());
        Ok(Self::Terminal { editor: Box::new(editor), history, leaving: false })
    }

    /// The next text.
    pub(super) fn read(&mut self) -> anyhow::Result<Entry> {
        let Some(first) = self.line("› ")? else { return Ok(Entry::End) };
        let mut text = match first {
            Line::Interrupted => {
                let Self::Terminal { leaving, .. } = self else { return Ok(Entry::End) };
                if std::mem::replace(leaving, true) {
                    return Ok(Entry::End);
                }
                eprintln!("(Ctrl-C again or Ctrl-D leaves, /help helps)");
                return Ok(Entry::Nothing);
            }
            Line::Text(line) => line,
        };
        if let Self::Terminal { leaving, .. } = self {
            *leaving = false;
        }
        if let Some(begun) = text.trim_start().strip_prefix(FENCE) {
            let mut text = begun.to_owned();
            loop {
                if let Some(whole) = text.trim_end().strip_suffix(FENCE) {
                    return Ok(entry(whole));
                }
                match self.line("… ")? {
                    Some(Line::Text(line)) => text = format!("{text}\n{line}"),
                    Some(Line::Interrupted) => return Ok(Entry::Nothing),
                    None => return Ok(entry(&text)),
                }
            }
        }
        while let Some(kept) = text.strip_suffix('\\') {
            match self.line("… ")? {
                Some(Line::Text(line)) => text = format!("{kept}\n{line}"),
                Some(Line::Interrupted) => return Ok(Entry::Nothing),
                None => return Ok(entry(kept)),
            }
        }
        Ok(entry(&text))
    }

    /// Keeps the history.
    pub(super) fn close(&mut self) {
        if let Self::Terminal { editor, history, .. } = self
            && let Err(error) = editor.save_history(history)
        {
            eprintln!("the history was not kept in {}: {error}", history.display());
        }
    }

    /// The next line, without its end.
    fn line(&mut self, prompt: &str) -> anyhow::Result<Option<Line>> {
        match self {
            Self::Terminal { editor, .. } => match editor.readline(prompt) {
                Ok(line) => Ok(Some(Line::Text(line))),
                Err(ReadlineError::Interrupted) => Ok(Some(Line::Interrupted)),
                Err(ReadlineError::Eof) => Ok(None),
                Err(error) => Err(error).context("cannot read the terminal"),
            },
            Self::Pipe => pipe_line(&mut stdin().lock()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Text(String),
    Interrupted,
}

fn entry(text: &str) -> Entry {
    match text.trim() {
        "" => Entry::Nothing,
        text => Entry::Text(text.to_owned()),
    }
}

fn pipe_line(from: &mut impl BufRead) -> anyhow::Result<Option<Line>> {
    let mut line = Vec::new();
    let read = from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
    if read.context("cannot read standard input")? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8(line).context("standard input is not UTF-8")?;
    Ok(Some(Line::Text(line.trim_end_matches(['\r', '\n']).to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends() {
        let mut text = b"one\r\n\ntwo".as_slice();
        let mut next = || pipe_line(&mut text).unwrap();
        let line = |text: &str| Some(Line::Text(text.into()));
        assert_eq!([next(), next(), next(), next()], [line("one"), line(""), line("two"), None]);
        assert!(pipe_line(&mut b"\xFF\n".as_slice()).is_err());
    }
}
