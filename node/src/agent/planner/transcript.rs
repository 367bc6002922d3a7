//! What the model was asked, what it said, and what became of it: `HOME/agent/transcript.jsonl`.
//!
//! One JSON object a line. When the file is full it becomes `transcript.1.jsonl`, whose predecessor
//! goes. Prompts hold no text of other peers, so neither does the transcript.

use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Largest file; there are at most two.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest line that is read back.
const LINE_BYTES_MAX: u64 = 256 * 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A stranger's text was read.
    Read {
        /// Unix time in milliseconds.
        at_ms: u64,
        /// The model.
        model: String,
        /// Names the text; see [`crate::agent::quarantine::Untrusted::digest`].
        text: String,
        /// What the reader answered, if it answered.
        reading: Option<crate::agent::quarantine::Reading>,
        /// Why it did not.
        fault: Option<String>,
    },
    /// A tool was chosen.
    Chosen(Box<Choice>),
    /// What became of the choice before.
    Outcome {
        /// Unix time in milliseconds of the decision.
        at_ms: u64,
        /// In the loop's own words.
        outcome: String,
    },
}

/// One choice of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Unix time in milliseconds of the decision.
    pub at_ms: u64,
    /// The model.
    pub model: String,
    /// Seed of the draw: the same model, prompt and seed choose the same.
    pub seed: u64,
    /// The whole prompt, as the template wrote it.
    pub prompt: String,
    /// The answer as it came, markers included.
    pub answer: String,
    /// Tokens of the prompt and of the answer.
    pub tokens: (usize, usize),
    /// Time of the answer in milliseconds.
    pub millis: u64,
    /// What was chosen; to wait where the model gave no usable answer.
    pub action: crate::agent::Action,
    /// Why, as people read it.
    pub why: String,
}

/// The transcript of one home.
#[derive(Debug, Clone)]
pub struct Transcript {
    folder: PathBuf,
}

impl Transcript {
    /// The transcript in the agent's folder of a home.
    #[must_use]
    pub fn of(home: &Path) -> Self {
        Self { folder: home.join("agent") }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("transcript.jsonl")
    }

    fn older(&self) -> PathBuf {
        self.folder.join("transcript.1.jsonl")
    }

    /// Adds a line, and makes room for it before.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn add(&self, entry: &Entry) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let path = self.path();
        let held = fs::metadata(&path).map_or(0, |file| file.len());
        if held > 0 && held + line.len() as u64 > FILE_BYTES_MAX {
            fs::rename(&path, self.older())?;
        }
        OpenOptions::new().create(true).append(true).open(&path)?.write_all(&line)
    }

    /// The latest lines, oldest first, at most `most`. Lines that cannot be read are left out: a crash
    /// may have cut one.
    ///
    /// # Errors
    ///
    /// What the system says, unless nothing was written yet.
    pub fn latest(&self, most: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for path in [self.older(), self.path()] {
            match File::open(&path) {
                Ok(file) => read(file, &mut entries)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries.split_off(entries.len().saturating_sub(most)))
    }
}

fn read(file: File, entries: &mut Vec<Entry>) -> io::Result<()> {
    let mut lines = BufReader::new(file.take(2 * FILE_BYTES_MAX));
    loop {
        let mut line = Vec::new();
        if lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        entries.extend(serde_json::from_slice::<Entry>(&line).ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(at_ms: u64, outcome: &str) -> Entry {
        Entry::Outcome { at_ms, outcome: outcome.to_owned() }
    }

    #[test]
    fn the_latest_lines_come_back() {
        let home = tempfile::tempdir().unwrap();
        let transcript = Transcript::of(home.path());
        assert_eq!(transcript.latest(9).unwrap(), []);
        for at in 0..5 {
            transcript.add(&outcome(at, "done")).unwrap();
        }
        assert_eq!(transcript.latest(2).unwrap(), [outcome(3, "done"), outcome(4, "done")]);
        // A crash cut a line short, and somebody wrote nonsense.
        let mut file = OpenOptions::new().append(true).open(transcript.path()).unwrap();
        file.write_all(b"{\"outcome\": {\"at_ms\": 7, \"outc\nnonsense\n").unwrap();
        transcript.add(&outcome(8, "again")).unwrap();
        assert_eq!(transcript.latest(2).unwrap(), [outcome(4, "done"), outcome(8, "again")]);
    }

    #[test]
    fn a_full_file_makes_room() {
        let home = tempfile::tempdir().unwrap();
        let transcript = Transcript::of(home.path());
        let long = "x".repeat(100_000);
        for at in 0..100 {
            transcript.add(&outcome(at, &long)).unwrap();
        }
        let sizes = [transcript.path(), transcript.older()].map(|p| fs::metadata(p).unwrap().len());
        assert!(sizes.iter().all(|size| *size <= FILE_BYTES_MAX), "{sizes:?}");
        let kept = transcript.latest(1_000).unwrap();
        assert!((41..100).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.last(), Some(&outcome(99, &long)));
    }
}
