//! Perplexity and speed, measured through the public engine.

use crate::engine::{Engine, Path};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A perplexity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Perplexity {
    /// Mean negative log-likelihood per scored token, in nats.
    pub nll: f64,
    /// Tokens scored.
    pub tokens: usize,
    /// e to the `nll`.
    pub ppl: f64,
}

/// Negative log-likelihood of `token` under the softmax of `logits`, in f64.
pub fn negative_log_likelihood(logits: &[f32], token: u32) -> f64 {
    let highest = logits.iter().fold(f64::NEG_INFINITY, |m, &z| m.max(f64::from(z)));
    let total: f64 = logits.iter().map(|&z| libm::exp(f64::from(z) - highest)).sum();
    highest + libm::log(total) - f64::from(logits[token as usize])
}

/// Perplexity of `tokens` (text without BOS) in windows of `context` positions, each beginning with BOS;
/// every token of a window after its BOS is scored once.
pub fn ppl(engine: &mut Engine, tokens: &[u32], context: usize, path: Path) -> Result<Perplexity> {
    if context < 2 || context > engine.options().context_tokens {
        let most = engine.options().context_tokens;
        return Err(Error::Input(format!("context is {context}; it must be 2 to {most}")));
    }
    if tokens.is_empty() {
        return Err(Error::Input("there is no text to score".into()));
    }
    let (bos, vocab) = (engine.config().bos, engine.config().vocab);
    let mut total = 0.0;
    for window in tokens.chunks(context - 1) {
        let mut input = Vec::with_capacity(window.len());
        input.push(bos);
        input.extend_from_slice(&window[..window.len() - 1]);
        if let Some(bad) = window.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::Input(format!("token {bad} is not below the vocabulary {vocab}")));
        }
        let mut left = window.iter();
        engine.visit_logits(&input, path, &mut |rows| {
            for (logits, &token) in rows.logits.chunks(vocab).zip(left.by_ref()) {
                total += negative_log_likelihood(logits, token);
            }
        })?;
    }
    let nll = total / tokens.len() as f64;
    Ok(Perplexity { nll, tokens: tokens.len(), ppl: libm::exp(nll) })
}

/// Samples of one figure with their median and range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Middle sample, or the mean of the two middle ones.
    pub median: f64,
    /// Smallest sample.
    pub min: f64,
    /// Largest sample.
    pub max: f64,
    /// Every sample in the order taken.
    pub samples: Vec<f64>,
}

impl Samples {
    /// Summarises `samples`; `None` where there are none.
    pub fn of(samples: Vec<f64>) -> Option<Self> {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        };
        Some(Samples { median, min, max, samples })
    }
}

/// What a benchmark runs.
#[derive(Debug, Clone, Serialize)]
pub struct BenchOptions {
    /// Prompt token ids.
    pub prompt: Vec<u32>,
    /// Decode steps per run.
    pub steps: usize,
    /// Timed runs; one more goes before them untimed.
    pub runs: usize,
}

/// Speed of an engine, in tokens per second of wall time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Decode steps divided by the wall time of the decode loop.
    pub decode_tps: Samples,
    /// Prompt tokens divided by the wall time of the prefill.
    pub prefill_tps: Samples,
    /// Tokens of the last run: the prefill's choice, then one per step.
    pub tokens: Vec<u32>,
}

/// Times prefill and decode of one prompt, each run from an empty cache.
pub fn bench(engine: &mut Engine, options: &BenchOptions) -> Result<Bench> {
    let (mut decode, mut prefill, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..=options.runs {
        engine.reset();
        let filled = engine.prefill(&options.prompt)?;
        let decoded = engine.decode_greedy(options.steps, false)?;
        if run == 0 {
            continue;
        }
        prefill.push(per_second(options.prompt.len(), filled.wall_ns));
        decode.push(per_second(options.steps, decoded.wall_ns));
        tokens = std::iter::once(filled.next).chain(decoded.tokens).collect();
    }
    match (Samples::of(decode), Samples::of(prefill)) {
        (Some(decode_tps), Some(prefill_tps)) => Ok(Bench { decode_tps, prefill_tps, tokens }),
        _ => Err(Error::Input("a benchmark needs at least one run".into())),
    }
}

/// `count` things in `wall_ns` nanoseconds, per second.
pub fn per_second(count: usize, wall_ns: u64) -> f64 {
    count as f64 * 1e9 / wall_ns.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Samples::of(vec![]), None);
        assert_eq!(Samples::of(vec![3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Samples::of(vec![4.0, 1.0]).unwrap().median, 2.5);
    }

    #[test]
    fn likelihood_of_a_uniform_choice() {
        let nll = negative_log_likelihood(&[1.0; 8], 3);
        assert!((nll - libm::log(8.0)).abs() < 1e-12);
    }
}
