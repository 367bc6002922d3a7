//! A round of decoding: the drafter proposes, one batch of the target verifies.
//!
//! A round with newest token τ at position n: the drafter runs K steps on the device, each feeding the
//! next; the target runs [τ, d1, …, dK] at positions n … n + K as one batch; the longest prefix of drafts
//! that are the tokens chosen from the target's own logits is kept, and with it the choice after it. Because
//! a batch row has the bits of a single-token step, the tokens are exactly those of decoding without a
//! drafter, greedy or drawn. Keys and values of refused drafts lie behind the new position, where nothing
//! reads them before the next round writes over them; the sliding rings are a batch longer than the window,
//! so no live key is lost.

use super::decode::elapsed_ns;
use super::{Decode, DraftStats, Engine, PleTable};
use crate::error::Result;
use crate::plan::{Buf, DraftBuf};
use std::time::Instant;

/// What a round's batch was and what the target makes of it.
pub(super) struct Round {
    /// The newest token and the drafts behind it.
    pub(super) batch: Vec<u32>,
    /// The target's greedy choice after each of them.
    pub(super) choices: Vec<u32>,
}

impl Round {
    /// The tokens that greedy decoding keeps: the drafts that were right and the choice after them.
    pub(super) fn greedy(mut self) -> Vec<u32> {
        let pairs = self.batch[1..].iter().zip(&self.choices);
        let kept = pairs.take_while(|(draft, own)| draft == own).count();
        self.choices.truncate(kept + 1);
        self.choices
    }
}

impl Engine {
    /// Greedy decoding with a drafter; `next` is the token that is ready.
    pub(super) fn decode_drafted(
        &mut self,
        count: usize,
        keep_logits: bool,
        mut next: u32,
    ) -> Result<Decode> {
        self.check_room(count)?;
        let most = self.drafter()?.plan.steps.len();
        // A round's refused rows are copied too; the next round writes over them.
        let history = self.history_for(count + most)?;
        let mut tokens = Vec::with_capacity(count);
        let mut stats = DraftStats::default();
        let start = Instant::now();
        while tokens.len() < count {
            let drafts = self.drafts_for(count - tokens.len());
            let round_start = Instant::now();
            let kept = self.run_round(next, drafts, Some((&history, tokens.len())))?.greedy();
            self.keep(kept.len());
            self.learn(drafts, kept.len() - 1, round_start, &mut stats);
            next = *kept.last().expect("a round keeps at least the target's own choice");
            tokens.extend(kept);
        }
        let wall_ns = elapsed_ns(start);
        self.next = Some(next);
        let logits = match keep_logits {
            true => Some(self.read_history(&history, count)?),
            false => None,
        };
        Ok(Decode { tokens, wall_ns, logits, draft: Some(stats) })
    }

    /// How many tokens to draft where `left` are still wanted.
    pub(super) fn drafts_for(&mut self, left: usize) -> usize {
        match &mut self.draft {
            Some(draft) => draft.lengths.next().min(left - 1),
            None => 0,
        }
    }

    /// Notes how a round with a drafter went.
    pub(super) fn learn(
        &mut self,
        drafted: usize,
        kept: usize,
        start: Instant,
        stats: &mut DraftStats,
    ) {
        stats.rounds.push((drafted, kept));
        if let Some(draft) = &mut self.draft {
            draft.lengths.learn(drafted, kept, elapsed_ns(start));
        }
    }

    /// Moves behind the `kept` tokens of a round's batch that stay in the cache.
    pub(super) fn keep(&mut self, kept: usize) {
        self.position += kept;
        self.hidden_row = kept - 1;
    }

    /// Position and token of a round whose batch has `drafts` drafts.
    pub(super) fn begin_round(&self, token: u32, drafts: usize, drafting: bool) {
        let step = [self.position as u32, drafts as u32 + 1];
        self.gpu.write(self.buffers.get(&Buf::Step), 0, bytemuck::cast_slice(&step));
        self.gpu.write(self.buffers.get(&Buf::Tokens), 0, &token.to_le_bytes());
        if drafting {
            let alone = [self.position as u32, 1];
            let draft_step = self.buffers.get(&Buf::Draft(DraftBuf::Step));
            self.gpu.write(draft_step, 0, bytemuck::cast_slice(&alone));
        }
    }

    /// The first draft is fed with the target's final hidden state of the last token it has run.
    pub(super) fn copy_hidden(&self, encoder: &mut wgpu::CommandEncoder) {
        let size = 4 * self.config.hidden as u64;
        let to = self.buffers.get(&Buf::Draft(DraftBuf::Hidden));
        let from = self.buffers.get(&Buf::Normed);
        encoder.copy_buffer_to_buffer(from, self.hidden_row as u64 * size, to, 0, size);
    }

    /// Drafts `drafts` tokens behind `token` and runs them all through the target. Logits go to the rows of
    /// the history from the given one on. The position stays; see [`Self::keep`].
    pub(super) fn run_round(
        &mut self,
        token: u32,
        drafts: usize,
        history: Option<(&wgpu::Buffer, usize)>,
    ) -> Result<Round> {
        let rows = drafts + 1;
        self.note_written(rows);
        self.begin_round(token, drafts, drafts > 0);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        if drafts > 0 {
            self.copy_hidden(&mut encoder);
            self.record_drafts(&mut encoder, drafts)?;
        }
        if matches!(self.ple, PleTable::Host(_)) {
            let batch = match drafts {
                0 => vec![token],
                _ => {
                    // The table's rows of the drafts can only be uploaded once the drafts are known.
                    self.gpu.queue.submit([encoder.finish()]);
                    encoder = self.gpu.device.create_command_encoder(&Default::default());
                    self.words(&Buf::Tokens, rows)?
                }
            };
            self.upload_ple_rows(&batch);
        }
        self.record_verification(&mut encoder, rows);
        if let Some((history, done)) = history {
            let row = 4 * self.config.vocab as u64;
            let logits = self.buffers.get(&Buf::Logits);
            encoder.copy_buffer_to_buffer(logits, 0, history, done as u64 * row, rows as u64 * row);
        }
        let size = 4 * rows as u64;
        let back = &self.tokens_back[0];
        encoder.copy_buffer_to_buffer(self.buffers.get(&Buf::Next), 0, &back.buffer, 0, size);
        let drafted = self.buffers.get(&Buf::Tokens);
        encoder.copy_buffer_to_buffer(drafted, 0, &back.buffer, size, size);
        let submitted = self.gpu.queue.submit([encoder.finish()]);
        let bytes = back.begin(2 * size).wait(&self.gpu, submitted)?;
        let mut choices: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let batch = choices.split_off(rows);
        Ok(Round { batch, choices })
    }

    fn record_drafts(&self, encoder: &mut wgpu::CommandEncoder, drafts: usize) -> Result<()> {
        let draft = self.drafter()?;
        let end = draft.plan.steps[drafts - 1].end;
        let mut pass = encoder.begin_compute_pass(&Default::default());
        draft.resolved.record(&mut pass, 0..end, (self.position, 1));
        Ok(())
    }
}
