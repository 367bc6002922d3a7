//! The prompt pool: windows of a text, tokenised once by the base checkpoint's tokenizer.

use super::WorkerError;
use crate::measure::Job;
use assay_kernels::Checkpoint;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest pool text, in bytes.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// The pool's tokens and how they are cut.
pub(super) struct Pool {
    tokens: Vec<u32>,
    bos: u32,
    prompt_tokens: usize,
    scored_tokens: usize,
}

/// One prompt and the text after it.
pub(super) struct Window {
    /// BOS and the prompt's tokens.
    pub(super) prompt: Vec<u32>,
    /// The tokens that follow in the text.
    pub(super) scored: Vec<u32>,
}

impl Pool {
    /// Reads and tokenises the job's pool text.
    pub(super) fn open(job: &Job, base: &Checkpoint) -> Result<Self, WorkerError> {
        let text = read_text(&job.pool)?;
        let pool = Self {
            tokens: base.tokenizer()?.encode(&text)?,
            bos: base.config().bos,
            prompt_tokens: job.prompt_tokens as usize,
            scored_tokens: job.scored_tokens as usize,
        };
        let windows = u64::from(job.pool_prompts)
            * (u64::from(job.prompt_tokens) + u64::from(job.scored_tokens));
        let needed = windows.max(u64::from(job.context_tokens) + u64::from(job.reach_tokens));
        if (pool.tokens.len() as u64) < needed {
            return Err(WorkerError::Pool {
                path: job.pool.clone(),
                reason: format!(
                    "has {} tokens, and {} prompts and the reach probe need {needed}; use a longer \
                     text, fewer prompts or a shorter context",
                    pool.tokens.len(),
                    job.pool_prompts
                ),
            });
        }
        Ok(pool)
    }

    /// Window `index`, which the job's check found to be inside the pool.
    pub(super) fn window(&self, index: u32) -> Window {
        let start = index as usize * (self.prompt_tokens + self.scored_tokens);
        let (text, after) = self.tokens[start..].split_at(self.prompt_tokens);
        Window {
            prompt: std::iter::once(self.bos).chain(text.iter().copied()).collect(),
            scored: after[..self.scored_tokens].to_vec(),
        }
    }

    /// BOS and `context` tokens of the text from window `index` on, and the `after` tokens behind
    /// them; from as late as the text allows where it ends too soon.
    pub(super) fn passage(&self, index: u32, context: usize, after: usize) -> (Vec<u32>, &[u32]) {
        // `open` found the text to be long enough for this.
        let latest = self.tokens.len() - context - after;
        let start = latest.min(index as usize * (self.prompt_tokens + self.scored_tokens));
        let (text, rest) = self.tokens[start..].split_at(context);
        (std::iter::once(self.bos).chain(text.iter().copied()).collect(), &rest[..after])
    }
}

fn read_text(path: &Path) -> Result<String, WorkerError> {
    let fail = |reason: String| WorkerError::Pool { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|e| fail(e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| fail(e.to_string()))?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(fail(format!("is longer than {TEXT_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|e| fail(format!("is not UTF-8: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_one_another_without_overlap() {
        let pool = Pool { tokens: (10..40).collect(), bos: 2, prompt_tokens: 3, scored_tokens: 2 };
        let window = pool.window(0);
        assert_eq!(window.prompt, [2, 10, 11, 12]);
        assert_eq!(window.scored, [13, 14]);
        let last = pool.window(5);
        assert_eq!(last.prompt, [2, 35, 36, 37]);
        assert_eq!(last.scored, [38, 39]);
    }

    #[test]
    fn passages_begin_at_their_window_or_end_with_the_text() {
        let pool = Pool { tokens: (10..40).collect(), bos: 2, prompt_tokens: 3, scored_tokens: 2 };
        assert_eq!(pool.passage(1, 4, 2), (vec![2, 15, 16, 17, 18], [19, 20].as_slice()));
        assert_eq!(pool.passage(5, 4, 2), (vec![2, 34, 35, 36, 37], [38, 39].as_slice()));
    }

    #[test]
    fn a_text_that_is_not_utf8_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.txt");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read_text(&path).unwrap_err().to_string().contains("not UTF-8"));
        assert!(read_text(Path::new("/no/such/pool.txt")).is_err());
    }
}
