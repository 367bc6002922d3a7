//! Choosing the next token from logits: the greedy choice, or a draw from a shaped distribution.
//!
//! The order of the steps and their definitions are those of transformers' logits processors: repetition
//! penalty, temperature, top-k, top-p, min-p, then one draw.

use crate::error::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Picks the next token of a sequence.
///
/// An engine calls [`choose`](Choose::choose) once for every token it emits, in order, whether a drafter
/// proposed the token or not; so what is drawn does not depend on drafting.
pub trait Choose {
    /// The token to emit, given the logits `[vocab]` behind the tokens so far. May change the logits.
    fn choose(&mut self, logits: &mut [f32]) -> Result<u32>;

    /// The choice is always the largest logit, the lowest token where several are equal. The engine then
    /// leaves the choosing to the device, reads no logits back, and does not call `choose`.
    fn is_greedy(&self) -> bool {
        false
    }
}

/// How a distribution is shaped before a token is drawn from it.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Logits are divided by it; 0 takes the largest instead of drawing.
    pub temperature: f32,
    /// Only so many of the likeliest tokens stay; 0 keeps all.
    pub top_k: usize,
    /// The likeliest tokens stay whose probabilities before them sum to less than this; 1 keeps all.
    pub top_p: f32,
    /// Tokens below this share of the likeliest one's probability are dropped; 0 keeps all.
    pub min_p: f32,
    /// Logits of tokens that occurred are divided by it where positive, multiplied where negative; 1 is off.
    pub repetition_penalty: f32,
    /// The same seed, prompt and parameters draw the same tokens.
    pub seed: u64,
}

impl Default for SamplingParams {
    /// The greedy choice.
    fn default() -> Self {
        SamplingParams {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl SamplingParams {
    /// Errors unless every parameter is within its range.
    pub fn check(&self) -> Result<()> {
        let refuse = |name: &str, value: f32, range: &str| {
            Err(Error::Input(format!("{name} is {value}; it must be {range}")))
        };
        // Written so that NaN is out of every range.
        if !(0.0..=100.0).contains(&self.temperature) {
            return refuse("temperature", self.temperature, "0 to 100");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", self.top_p, "above 0 and at most 1");
        }
        if !(0.0..1.0).contains(&self.min_p) {
            return refuse("min_p", self.min_p, "at least 0 and below 1");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty <= 100.0) {
            return refuse(
                "repetition_penalty",
                self.repetition_penalty,
                "above 0 and at most 100",
            );
        }
        Ok(())
    }
}

/// A token that may be drawn and its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    logit: f32,
    token: u32,
}

/// Likeliest first; equal logits in order of their tokens, so that there is one order.
fn likeliest_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// Draws tokens by [`SamplingParams`].
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    /// Tokens that occurred in the prompt or were chosen; kept only where there is a penalty.
    occurred: BTreeSet<u32>,
    suppressed: Vec<u32>,
    random: ChaCha8Rng,
}

impl Sampler {
    /// A sampler for a sequence that begins with `prompt`; tokens in `suppressed` are never chosen.
    ///
    /// Errors where a parameter is out of range.
    pub fn new(params: &SamplingParams, prompt: &[u32], suppressed: &[u32]) -> Result<Self> {
        params.check()?;
        let mut sampler = Sampler {
            params: params.clone(),
            occurred: BTreeSet::new(),
            suppressed: suppressed.to_vec(),
            random: ChaCha8Rng::seed_from_u64(params.seed),
        };
        if sampler.penalises() {
            sampler.occurred.extend(prompt);
        }
        Ok(sampler)
    }

    fn penalises(&self) -> bool {
        self.params.repetition_penalty != 1.0
    }

    fn penalise(&self, logits: &mut [f32]) {
        let penalty = self.params.repetition_penalty;
        for &token in &self.occurred {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
        }
        for &token in &self.suppressed {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// The tokens that stay and their probabilities.
    fn distribution(&self, logits: &[f32]) -> Result<Vec<(u32, f64)>> {
        let params = &self.params;
        let highest = f64::from(highest(logits)?);
        let mut kept: Vec<Candidate> = (0u32..)
            .zip(logits)
            .filter(|(_, logit)| **logit > f32::NEG_INFINITY)
            .map(|(token, &logit)| Candidate { token, logit })
            .collect();
        if params.top_k > 0 && params.top_k < kept.len() {
            kept.select_nth_unstable_by(params.top_k - 1, likeliest_first);
            kept.truncate(params.top_k);
        }
        // Relative to the likeliest token, whose weight is one.
        let temperature = f64::from(params.temperature);
        let weight = |c: &Candidate| libm::exp((f64::from(c.logit) - highest) / temperature);
        if params.top_p < 1.0 {
            let top_p = f64::from(params.top_p);
            let total: f64 = kept.iter().map(weight).sum();
            // A token below this share is outside every nucleus: all such tokens together hold less than
            // 1 - top_p. Dropping them first spares sorting the whole vocabulary.
            let least = (1.0 - top_p) / kept.len() as f64 * total;
            kept.retain(|c| weight(c) >= least);
            kept.sort_unstable_by(likeliest_first);
            let mut before = 0.0;
            kept.retain(|c| {
                let stays = before < top_p * total;
                before += weight(c);
                stays
            });
        }
        kept.retain(|c| weight(c) >= f64::from(params.min_p));
        // The order of the sums must not depend on how the selection happened to permute its part.
        kept.sort_unstable_by_key(|c| c.token);
        let total: f64 = kept.iter().map(weight).sum();
        Ok(kept.iter().map(|c| (c.token, weight(c) / total)).collect())
    }

    /// One draw, by inverting the cumulative distribution at a uniform number of 53 bits.
    fn draw(&mut self, distribution: &[(u32, f64)]) -> Option<u32> {
        let uniform = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut sum = 0.0;
        let found = distribution.iter().find(|(_, share)| {
            sum += share;
            uniform < sum
        });
        // Rounding can leave the sum a little below one.
        found.or(distribution.last()).map(|(token, _)| *token)
    }
}

impl Choose for Sampler {
    fn choose(&mut self, logits: &mut [f32]) -> Result<u32> {
        self.penalise(logits);
        let token = if self.params.temperature == 0.0 {
            let highest = highest(logits)?;
            logits.iter().position(|l| *l == highest).and_then(|at| u32::try_from(at).ok())
        } else {
            let distribution = self.distribution(logits)?;
            self.draw(&distribution)
        };
        let token = token.ok_or_else(no_token)?;
        if self.penalises() {
            self.occurred.insert(token);
        }
        Ok(token)
    }

    fn is_greedy(&self) -> bool {
        self.params.temperature == 0.0 && !self.penalises() && self.suppressed.is_empty()
    }
}

fn no_token() -> Error {
    Error::Input("no token may be chosen: every logit is minus infinity".into())
}

/// The largest logit. Errors on NaN and where nothing is above minus infinity.
fn highest(logits: &[f32]) -> Result<f32> {
    let mut highest = f32::NEG_INFINITY;
    for &logit in logits {
        if logit.is_nan() {
            return Err(Error::Input(
                "the logits hold NaN; `assay model check` looks for its cause in the weights"
                    .into(),
            ));
        }
        highest = highest.max(logit);
    }
    if highest == f32::NEG_INFINITY { Err(no_token()) } else { Ok(highest) }
}

#[cfg(test)]
mod tests;
