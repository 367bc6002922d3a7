//! Choosing the next token as a request asks for: penalties, biases, a grammar, then the sampler; and
//! what the model thought of its choice.

use super::grammar::Grammar;
use assay_kernels::{Choose, Error, Result, Sampler, SamplingParams};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// How tokens are chosen.
#[derive(Debug, Clone)]
pub struct Sampling {
    /// Temperature, cuts, repetition penalty and seed.
    pub params: SamplingParams,
    /// Taken from a token's logit for each time it was generated.
    pub frequency_penalty: f32,
    /// Taken from a token's logit once it was generated.
    pub presence_penalty: f32,
    /// Added to the logits of tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Tokens that are never generated.
    pub suppress: Vec<u32>,
    /// How many of the likeliest tokens to report at each place, where logprobs are asked for.
    pub logprobs: Option<usize>,
}

impl Sampling {
    /// The likeliest token at each place, and nothing else.
    #[must_use]
    pub fn greedy() -> Self {
        Self {
            params: SamplingParams::default(),
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            suppress: Vec::new(),
            logprobs: None,
        }
    }
}

/// How likely a chosen token and its rivals were, as the model's own logits have it.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// The chosen token.
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The likeliest tokens with theirs, likeliest first.
    pub top: Vec<(u32, f32)>,
}

/// Records of chosen tokens that nobody has taken yet, oldest first.
pub(crate) type Records = Rc<RefCell<VecDeque<TokenLogprobs>>>;

/// Chooses tokens for one request.
pub(crate) struct Chooser {
    sampling: Sampling,
    sampler: Sampler,
    grammar: Option<Grammar>,
    counts: HashMap<u32, u32>,
    records: Records,
}

impl Chooser {
    /// A chooser behind `prompt`.
    ///
    /// # Errors
    ///
    /// When a setting is out of its range.
    pub(crate) fn new(
        sampling: Sampling,
        prompt: &[u32],
        grammar: Option<Grammar>,
        records: Records,
    ) -> Result<Self> {
        let sampler = Sampler::new(&sampling.params, prompt, &sampling.suppress)?;
        Ok(Self { sampling, sampler, grammar, counts: HashMap::new(), records })
    }

    fn adjust(&self, logits: &mut [f32]) {
        let penalised =
            self.sampling.frequency_penalty != 0.0 || self.sampling.presence_penalty != 0.0;
        for (token, count) in self.counts.iter().filter(|_| penalised) {
            if let Some(logit) = logits.get_mut(*token as usize) {
                #[allow(clippy::cast_precision_loss, reason = "counts are small")]
                let repeated = *count as f32 * self.sampling.frequency_penalty;
                *logit -= repeated + self.sampling.presence_penalty;
            }
        }
        for (token, bias) in &self.sampling.logit_bias {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
    }
}

impl Choose for Chooser {
    fn choose(&mut self, logits: &mut [f32]) -> Result<u32> {
        let seen = self.sampling.logprobs.map(|count| Normalised::of(logits, count));
        self.adjust(logits);
        if let Some(grammar) = &mut self.grammar {
            grammar.mask(logits).map_err(Error::Input)?;
        }
        let token = self.sampler.choose(logits)?;
        if let Some(grammar) = &mut self.grammar {
            grammar.accept(token).map_err(Error::Input)?;
        }
        *self.counts.entry(token).or_default() += 1;
        if let Some(seen) = seen {
            self.records.borrow_mut().push_back(seen.record(token));
        }
        Ok(token)
    }

    fn is_greedy(&self) -> bool {
        let Sampling { frequency_penalty, presence_penalty, logit_bias, logprobs, .. } =
            &self.sampling;
        let adjusted =
            *frequency_penalty != 0.0 || *presence_penalty != 0.0 || !logit_bias.is_empty();
        self.sampler.is_greedy() && !adjusted && logprobs.is_none() && self.grammar.is_none()
    }
}

/// Logits of one place and what turns them into logarithms of probabilities.
struct Normalised {
    logits: Vec<f32>,
    log_sum: f32,
    top: Vec<(u32, f32)>,
}

impl Normalised {
    fn of(logits: &[f32], count: usize) -> Self {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
        #[allow(clippy::cast_possible_truncation, reason = "a logarithm fits")]
        let log_sum = sum.ln() as f32 + most;
        Self { logits: logits.to_vec(), log_sum, top: likeliest(logits, count) }
    }

    fn record(self, token: u32) -> TokenLogprobs {
        let logit = self.logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        let top = self.top.into_iter().map(|(id, logit)| (id, logit - self.log_sum)).collect();
        TokenLogprobs { token, logprob: logit - self.log_sum, top }
    }
}

/// The `count` largest logits, largest first, the lower id first among equals.
fn likeliest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut top: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (id, &logit) in (0_u32..).zip(logits) {
        let full = top.len() == count;
        if count == 0 || (full && top.last().is_some_and(|(_, least)| *least >= logit)) {
            continue;
        }
        let at = top.partition_point(|(_, other)| *other >= logit);
        top.insert(at, (id, logit));
        top.truncate(count);
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chooser(sampling: Sampling) -> (Chooser, Records) {
        let records = Records::default();
        (Chooser::new(sampling, &[2], None, Rc::clone(&records)).unwrap(), records)
    }

    #[test]
    fn penalties_and_biases_move_the_choice() {
        let logits = || vec![0.0, 3.0, 2.5, 1.0];
        let (mut plain, _) = chooser(Sampling::greedy());
        assert_eq!([(); 2].map(|()| plain.choose(&mut logits()).unwrap()), [1, 1]);
        let frequency = Sampling { frequency_penalty: 0.4, ..Sampling::greedy() };
        let (mut frequency, _) = chooser(frequency);
        assert_eq!([(); 4].map(|()| frequency.choose(&mut logits()).unwrap()), [1, 1, 2, 1]);
        let presence = Sampling { presence_penalty: 1.9, ..Sampling::greedy() };
        let (mut presence, _) = chooser(presence);
        assert_eq!([(); 4].map(|()| presence.choose(&mut logits()).unwrap()), [1, 2, 1, 1]);
        let bias = Sampling { logit_bias: vec![(3, 100.0), (99, 1.0)], ..Sampling::greedy() };
        assert_eq!(chooser(bias).0.choose(&mut logits()).unwrap(), 3);
        let suppress = Sampling { suppress: vec![1], ..Sampling::greedy() };
        assert_eq!(chooser(suppress).0.choose(&mut logits()).unwrap(), 2);
    }

    #[test]
    fn logprobs_are_those_of_the_model() {
        let biased =
            Sampling { logprobs: Some(2), logit_bias: vec![(0, 100.0)], ..Sampling::greedy() };
        let (mut chooser, records) = chooser(biased);
        assert_eq!(chooser.choose(&mut [1.0, 2.0, 3.0, 3.0]).unwrap(), 0);
        let record = records.borrow_mut().pop_front().unwrap();
        let sum = (1_f64.exp() + 2_f64.exp() + 2.0 * 3_f64.exp()).ln();
        assert!((f64::from(record.logprob) - (1.0 - sum)).abs() < 1e-5);
        assert_eq!(record.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 3]);
        assert!((f64::from(record.top[0].1) - (3.0 - sum)).abs() < 1e-5);
        assert!(likeliest(&[1.0, 2.0], 0).is_empty());
    }
}
