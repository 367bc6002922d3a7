//! The lines that a worker writes and its parent reads.

use assay_protocol::measurement::Measurement;
use assay_protocol::plan::Arm;
use assay_protocol::sighting::Divergence;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Longest line a worker may write, in bytes. A measurement of 64 pairs takes about 20 KiB.
pub(super) const LINE_BYTES_MAX: usize = 256 << 10;
/// Most lines a worker may write; an honest one writes a few for each pair.
pub(super) const LINES_MAX: usize = 10_000;

/// How far a measurement is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub done: u32,
    /// Steps in all; 0 while the number is not known.
    pub total: u32,
    /// What is being done, for people.
    pub what: String,
    /// Where an arm's decode was seen to leave its prefill, the first time that it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parted: Option<Parted>,
}

/// Where an arm did not follow its own logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parted {
    /// Which arm.
    pub arm: Arm,
    /// Where, and what it emitted instead.
    pub seen: Divergence,
}

/// One line of a worker's standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// It is still at work.
    Progress(Progress),
    /// Its result, the last line.
    Measurement(Box<Measurement>),
    /// The hardware class of its adapter, where only that was asked for: the last line.
    Class(String),
    /// Why there is none, the last line.
    Error(String),
}

/// Reads a line without its end. One longer than `bytes_max` comes in parts of that length, all but
/// the last flagged, so that a line without end is noticed. `None` at the end of the input.
pub(super) async fn read_line(
    input: &mut (impl AsyncBufRead + Unpin),
    bytes_max: usize,
) -> std::io::Result<Option<(String, bool)>> {
    let (mut line, mut any) = (Vec::new(), false);
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() {
            let rest = any.then(|| (String::from_utf8_lossy(&line).into_owned(), false));
            return Ok(rest);
        }
        any = true;
        let room = bytes_max - line.len();
        let end = chunk.iter().take(room + 1).position(|&byte| byte == b'\n');
        let cut = end.is_none() && chunk.len() > room;
        let part = end.unwrap_or(chunk.len().min(room));
        line.extend_from_slice(&chunk[..part]);
        input.consume(part + usize::from(end.is_some()));
        if end.is_some() || cut {
            return Ok(Some((String::from_utf8_lossy(&line).into_owned(), cut)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_at_the_limit() {
        let mut input: &[u8] = b"one\n\nfour\nabcdefghi\nlast";
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input, 4).await.unwrap() {
            lines.push(line);
        }
        let expected = [
            ("one", false),
            ("", false),
            ("four", false),
            ("abcd", true),
            ("efgh", true),
            ("i", false),
            ("last", false),
        ];
        assert_eq!(lines, expected.map(|(text, cut)| (text.to_owned(), cut)));
    }

    #[test]
    fn lines_have_one_key() {
        let progress = Progress { done: 1, total: 2, what: "pair 1".to_owned(), parted: None };
        let line = serde_json::to_string(&Line::Progress(progress)).unwrap();
        assert_eq!(line, r#"{"progress":{"done":1,"total":2,"what":"pair 1"}}"#);
        let error = serde_json::to_string(&Line::Error("no".to_owned())).unwrap();
        assert_eq!(error, r#"{"error":"no"}"#);
    }
}
