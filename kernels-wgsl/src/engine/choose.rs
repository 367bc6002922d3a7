//! Decoding with a caller's choice of every token, told token by token.

use super::decode::elapsed_ns;
use super::{Decode, DraftStats, Engine, Prefill};
use crate::error::{Error, Result};
use crate::plan::Buf;
use crate::sample::Choose;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Greedy steps run ahead of the caller for at most so long, so that a stream stays smooth.
const AHEAD: Duration = Duration::from_millis(40);
/// Most greedy steps run ahead of the caller.
const AHEAD_STEPS_MAX: usize = 8;

impl Engine {
    /// [`Engine::prefill`] whose next token `choose` picks; [`Engine::decode_chosen`] goes on from it.
    pub fn prefill_chosen(&mut self, tokens: &[u32], choose: &mut dyn Choose) -> Result<Prefill> {
        if choose.is_greedy() {
            return self.prefill(tokens);
        }
        self.check_tokens(tokens)?;
        self.gpu.wait(None)?;
        let start = Instant::now();
        let last = self.fill_cache(tokens);
        self.run_round(last, 0, None)?;
        self.keep(1);
        let next = choose.choose(&mut self.logit_rows(1)?)?;
        let next = self.known_token(next)?;
        self.next = Some(next);
        Ok(Prefill { wall_ns: elapsed_ns(start), next })
    }

    /// Decodes up to `count` tokens that `choose` picks, with drafts where there is a drafter. Every token
    /// goes to `on_token` as soon as it is known; where that breaks, the loop ends and the next decode
    /// goes on behind that token.
    ///
    /// The tokens do not depend on the drafter: a draft is kept exactly where it is the token that `choose`
    /// picks from the target's logits, which are the bits of a single-token step.
    pub fn decode_chosen(
        &mut self,
        count: usize,
        choose: &mut dyn Choose,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Decode> {
        let Some(next) = self.next else {
            return Err(Error::Input("nothing to decode from; prefill a prompt first".into()));
        };
        self.check_room(count)?;
        if choose.is_greedy() && self.draft.is_none() {
            return self.decode_ahead(count, on_token);
        }
        // An error on the way leaves tokens that nobody was told of; then nothing is ready to go on from.
        self.next = None;
        let mut tokens = vec![next];
        let mut stats = DraftStats::default();
        let start = Instant::now();
        let mut flow = ControlFlow::Continue(());
        while tokens.len() <= count && flow.is_continue() {
            let drafts = self.drafts_for(count + 1 - tokens.len());
            let round_start = Instant::now();
            let before = tokens.len();
            flow = self.chosen_round(drafts, choose, &mut tokens, on_token)?;
            self.learn(drafts, tokens.len() - before - 1, round_start, &mut stats);
        }
        self.next = tokens.last().copied();
        tokens.remove(0);
        let draft = self.draft.is_some().then_some(stats);
        Ok(Decode { tokens, wall_ns: elapsed_ns(start), logits: None, draft })
    }

    /// One round behind the last of `tokens`; adds what it keeps.
    fn chosen_round(
        &mut self,
        drafts: usize,
        choose: &mut dyn Choose,
        tokens: &mut Vec<u32>,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let token = *tokens.last().expect("decode_chosen begins with the token that is ready");
        let round = self.run_round(token, drafts, None)?;
        let mut rows = match choose.is_greedy() {
            true => Vec::new(),
            false => self.logit_rows(drafts + 1)?,
        };
        let mut flow = ControlFlow::Continue(());
        let mut kept = 0;
        for row in 0..=drafts {
            let chosen = match choose.is_greedy() {
                true => round.choices[row],
                false => {
                    let vocab = self.config.vocab;
                    let chosen = choose.choose(&mut rows[row * vocab..(row + 1) * vocab])?;
                    self.known_token(chosen)?
                }
            };
            kept += 1;
            tokens.push(chosen);
            flow = on_token(chosen);
            if flow.is_break() || round.batch.get(row + 1) != Some(&chosen) {
                break;
            }
        }
        self.keep(kept);
        Ok(flow)
    }

    /// Greedy decoding on the device in short bursts.
    fn decode_ahead(
        &mut self,
        count: usize,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Decode> {
        let mut all = Decode { tokens: Vec::new(), wall_ns: 0, logits: None, draft: None };
        let most = AHEAD_STEPS_MAX.min(self.options.batch_max).max(1);
        let mut burst = 1;
        while all.tokens.len() < count {
            let wanted = burst.min(count - all.tokens.len());
            let done = self.decode_greedy(wanted, false)?;
            all.wall_ns += done.wall_ns;
            for (i, &token) in done.tokens.iter().enumerate() {
                all.tokens.push(token);
                if on_token(token).is_break() {
                    // Steps past the break are taken back; a burst is no longer than the rings allow.
                    self.position -= wanted - 1 - i;
                    self.next = Some(token);
                    return Ok(all);
                }
            }
            let step_ns = done.wall_ns / wanted as u64 + 1;
            let fitting = AHEAD.as_nanos() as u64 / step_ns;
            burst = usize::try_from(fitting).unwrap_or(most).clamp(1, most);
        }
        Ok(all)
    }

    /// The first `rows` rows of logits.
    fn logit_rows(&self, rows: usize) -> Result<Vec<f32>> {
        let size = 4 * (rows * self.config.vocab) as u64;
        let bytes = self.gpu.download(self.buffers.get(&Buf::Logits), size)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    fn known_token(&self, token: u32) -> Result<u32> {
        let vocab = self.config.vocab;
        match (token as usize) < vocab {
            true => Ok(token),
            false => Err(Error::Input(format!(
                "chosen token {token} is not below the vocabulary {vocab}"
            ))),
        }
    }
}
