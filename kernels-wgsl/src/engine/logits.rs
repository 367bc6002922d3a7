//! Logits of every position, by the path one asks for.

use super::Engine;
use crate::error::{Error, Result};
use crate::plan::Buf;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a sequence is run through the model. All paths give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Path {
    /// In chunks of the engine's largest batch.
    Prefill,
    /// Token by token.
    Decode,
    /// In chunks of this many tokens, as a drafter's candidates are verified.
    Batch(usize),
}

impl FromStr for Path {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let batch = |m: &str| m.parse().ok().filter(|&m: &usize| m > 0).map(Path::Batch);
        match text {
            "prefill" => Some(Path::Prefill),
            "decode" => Some(Path::Decode),
            other => other.strip_prefix("batch:").and_then(batch),
        }
        .ok_or_else(|| {
            Error::Input(format!("path `{text}` is none of prefill, decode and batch:M"))
        })
    }
}

impl TryFrom<String> for Path {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Prefill => f.write_str("prefill"),
            Path::Decode => f.write_str("decode"),
            Path::Batch(m) => write!(f, "batch:{m}"),
        }
    }
}

impl From<Path> for String {
    fn from(path: Path) -> String {
        path.to_string()
    }
}

/// Outputs of every position of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitRows {
    /// `[tokens, vocab]`, after the soft-cap.
    pub logits: Vec<f32>,
    /// `[tokens, hidden]`, after the final norm.
    pub hidden: Vec<f32>,
}

impl Engine {
    /// Empties the cache and runs `tokens` from position 0, keeping logits and final hidden states of
    /// every position. The cache holds the sequence afterwards; nothing is ready to decode from.
    pub fn logits(&mut self, tokens: &[u32], path: Path) -> Result<LogitRows> {
        let mut rows = LogitRows { logits: Vec::new(), hidden: Vec::new() };
        self.visit_logits(tokens, path, &mut |chunk| {
            rows.logits.extend_from_slice(&chunk.logits);
            rows.hidden.extend_from_slice(&chunk.hidden);
        })?;
        Ok(rows)
    }

    /// [`Self::logits`], chunk of positions by chunk: a long sequence of a large vocabulary is never in the
    /// host's memory as a whole.
    pub fn visit_logits(
        &mut self,
        tokens: &[u32],
        path: Path,
        visit: &mut dyn FnMut(&LogitRows),
    ) -> Result<()> {
        self.reset();
        self.check_tokens(tokens)?;
        let chunk = match path {
            Path::Prefill => self.options.batch_max,
            Path::Decode => 1,
            Path::Batch(m) if (1..=self.options.batch_max).contains(&m) => m,
            Path::Batch(m) => {
                let most = self.options.batch_max;
                return Err(Error::Input(format!("batch:{m} is not within 1 to {most}")));
            }
        };
        for chunk in tokens.chunks(chunk) {
            self.run_batch(chunk)?;
            visit(&LogitRows {
                logits: self.read_rows(Buf::Logits, chunk.len() * self.config.vocab)?,
                hidden: self.read_rows(Buf::Normed, chunk.len() * self.config.hidden)?,
            });
        }
        Ok(())
    }

    /// One forward pass of `tokens`, all rows to the logits and their argmax.
    pub(super) fn run_batch(&mut self, tokens: &[u32]) -> Result<wgpu::SubmissionIndex> {
        self.check_room(tokens.len())?;
        self.begin_batch(tokens);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.record_verification(&mut encoder, tokens.len());
        self.position += tokens.len();
        Ok(self.gpu.queue.submit([encoder.finish()]))
    }

    /// The whole forward pass of `rows` tokens and the greedy choice after each.
    pub(super) fn record_verification(&self, encoder: &mut wgpu::CommandEncoder, rows: usize) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        let rows = (self.position, rows);
        self.resolved.record(&mut pass, 0..self.feed_at, rows);
        // The batch argmax is behind the single-token one, which is left out.
        self.resolved.record(&mut pass, self.feed_at + 1..self.feed_at + 2, rows);
    }

    fn read_rows(&self, role: Buf, count: usize) -> Result<Vec<f32>> {
        let bytes = self.gpu.download(self.buffers.get(&role), 4 * count as u64)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn paths_parse_and_print() {
        for path in [Path::Prefill, Path::Decode, Path::Batch(5)] {
            assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
        }
        for bad in ["", "batch", "batch:", "batch:0", "batch:-1", "Prefill"] {
            assert!(bad.parse::<Path>().is_err(), "{bad}");
        }
    }
}
