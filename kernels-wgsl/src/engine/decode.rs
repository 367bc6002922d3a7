//! Prefill and the single-token decode loop.

use super::{Decode, Engine, PleTable, Prefill};
use crate::error::{Error, Result};
use crate::load::Dtype;
use crate::plan::Buf;
use std::time::Instant;

/// Where a decode loop's input tokens come from.
enum Feed {
    /// Each step's own greedy choice.
    Greedy,
    /// A buffer of token ids, one a step.
    Forced(wgpu::Buffer, Vec<u32>),
}

impl Engine {
    /// Runs `tokens` into the cache behind what is there and makes the greedy choice after the last one.
    ///
    /// All but the last token stop once they have written their keys and values, because nobody reads
    /// their logits; the last one takes the same single-token step that decoding takes.
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<Prefill> {
        self.check_tokens(tokens)?;
        // What was submitted before, such as a reset of a large cache, is no part of a prefill's time.
        self.gpu.wait(None)?;
        let start = Instant::now();
        let last = self.fill_cache(tokens);
        self.begin_batch(&[last]);
        let submitted = self.submit_step(0, None, None);
        let next = self.read_token(0, submitted)?;
        self.next = Some(next);
        Ok(Prefill { wall_ns: elapsed_ns(start), next })
    }

    /// Runs all but the last of `tokens`, which [`Self::check_tokens`] has seen, up to the last cache write;
    /// returns the last.
    pub(super) fn fill_cache(&mut self, tokens: &[u32]) -> u32 {
        let (last, before) = tokens.split_last().expect("check_tokens refuses an empty list");
        for chunk in before.chunks(self.options.batch_max) {
            self.begin_batch(chunk);
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let rows = (self.position, chunk.len());
                self.resolved.record(&mut pass, 0..self.plan.cache_end, rows);
            }
            self.gpu.queue.submit([encoder.finish()]);
            self.position += chunk.len();
        }
        *last
    }

    /// Decodes `count` tokens greedily from where prefill or the last decode stopped; with a drafter, the
    /// same tokens in fewer passes of the target.
    ///
    /// Step N + 1 is submitted before the token of step N is read. Each step copies its logits on the
    /// device into a history buffer, whether they are kept or not, so the two cost the same; they are read
    /// after the clock has stopped.
    pub fn decode_greedy(&mut self, count: usize, keep_logits: bool) -> Result<Decode> {
        let Some(next) = self.next else {
            return Err(Error::Input("nothing to decode from; prefill a prompt first".into()));
        };
        if self.draft.is_some() {
            return self.decode_drafted(count, keep_logits, next);
        }
        self.decode(count, keep_logits, &Feed::Greedy)
    }

    /// Runs `tokens` through the single-token step one by one, whatever the model would have chosen, and
    /// keeps the logits after each.
    pub fn decode_forced(&mut self, tokens: &[u32]) -> Result<Decode> {
        self.check_tokens(tokens)?;
        let bytes: &[u8] = bytemuck::cast_slice(tokens);
        let buffer = self.gpu.upload("forced tokens", &[bytes])?;
        self.decode(tokens.len(), true, &Feed::Forced(buffer, tokens.to_vec()))
    }

    fn decode(&mut self, count: usize, keep_logits: bool, feed: &Feed) -> Result<Decode> {
        self.check_room(count)?;
        let history = self.history_for(count)?;
        let step = [self.position as u32, 1];
        self.gpu.write(self.buffers.get(&Buf::Step), 0, bytemuck::cast_slice(&step));
        let on_host = matches!(self.ple, PleTable::Host(_));
        let mut known = match feed {
            Feed::Greedy => self.next,
            Feed::Forced(..) => None,
        };
        if let Some(token) = known {
            self.gpu.write(self.buffers.get(&Buf::Tokens), 0, &token.to_le_bytes());
        }
        let mut tokens = Vec::with_capacity(count);
        let mut waiting = None;
        let start = Instant::now();
        for i in 0..count {
            let forced = match feed {
                Feed::Forced(buffer, ids) => {
                    known = Some(ids[i]);
                    Some((buffer, 4 * i as u64))
                }
                Feed::Greedy => None,
            };
            if let (true, Some(token)) = (on_host, known) {
                self.upload_ple_rows(&[token]);
            }
            let submitted = self.submit_step(i % 2, forced, Some((&history, i)));
            if let Some((slot, earlier)) = waiting.replace((i % 2, submitted)) {
                tokens.push(self.read_token(slot, earlier)?);
            }
            // A table on the host needs the token before the next step can be prepared.
            if let (true, Feed::Greedy, Some((slot, last))) = (on_host, feed, &waiting) {
                known = Some(self.read_token(*slot, last.clone())?);
                tokens.extend(known);
                waiting = None;
            }
        }
        if let Some((slot, last)) = waiting {
            tokens.push(self.read_token(slot, last)?);
        }
        let wall_ns = elapsed_ns(start);
        self.next = tokens.last().copied().or(self.next);
        let logits = match keep_logits {
            true => Some(self.read_history(&history, count)?),
            false => None,
        };
        Ok(Decode { tokens, wall_ns, logits, draft: None })
    }

    /// Notes that the pass to come writes keys and values of `rows` tokens behind the cached ones.
    pub(super) fn note_written(&mut self, rows: usize) {
        self.written = self.written.max(self.position + rows);
    }

    /// Writes tokens, position and, where the table is on the host, per-layer rows of a batch.
    pub(super) fn begin_batch(&mut self, tokens: &[u32]) {
        self.note_written(tokens.len());
        let step = [self.position as u32, tokens.len() as u32];
        self.gpu.write(self.buffers.get(&Buf::Step), 0, bytemuck::cast_slice(&step));
        self.gpu.write(self.buffers.get(&Buf::Tokens), 0, bytemuck::cast_slice(tokens));
        self.upload_ple_rows(tokens);
    }

    pub(super) fn upload_ple_rows(&self, tokens: &[u32]) {
        let PleTable::Host(table) = &self.ple else { return };
        // Ids past the table use row 0, as the reference implementation does.
        let row =
            |token: u32| if (token as usize) < self.config.ple_vocab { token as usize } else { 0 };
        if table.dtype == Dtype::BF16 {
            let row_bytes = 2 * self.config.layers.len() * self.config.ple_width;
            let held = |&token: &u32| &table.data()[row(token) * row_bytes..][..row_bytes];
            let rows: Vec<u8> = tokens.iter().flat_map(held).copied().collect();
            self.gpu.write(self.buffers.get(&Buf::PleTable), 0, &rows);
            return;
        }
        let mut rows = Vec::new();
        tokens.iter().for_each(|&token| table.decode_row(row(token), &mut rows));
        self.gpu.write(self.buffers.get(&Buf::PleRows), 0, bytemuck::cast_slice(&rows));
    }

    /// Submits one single-token step: forward pass, argmax, token to the next step and to read-back
    /// `slot`, logits to the history.
    fn submit_step(
        &mut self,
        slot: usize,
        forced: Option<(&wgpu::Buffer, u64)>,
        history: Option<(&wgpu::Buffer, usize)>,
    ) -> wgpu::SubmissionIndex {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        if let Some((buffer, offset)) = forced {
            let tokens = self.buffers.get(&Buf::Tokens);
            encoder.copy_buffer_to_buffer(buffer, offset, tokens, 0, 4);
        }
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            // The single-token argmax directly follows the forward pass.
            self.resolved.record(&mut pass, 0..self.feed_at + 1, (self.position, 1));
        }
        if let Some((history, i)) = history {
            let row = 4 * self.config.vocab as u64;
            let logits = self.buffers.get(&Buf::Logits);
            encoder.copy_buffer_to_buffer(logits, 0, history, i as u64 * row, row);
        }
        let back = &self.tokens_back[slot].buffer;
        encoder.copy_buffer_to_buffer(self.buffers.get(&Buf::Next), 0, back, 0, 4);
        self.note_written(1);
        self.position += 1;
        self.hidden_row = 0;
        self.gpu.queue.submit([encoder.finish()])
    }

    fn read_token(&self, slot: usize, submitted: wgpu::SubmissionIndex) -> Result<u32> {
        let bytes = self.tokens_back[slot].begin(4).wait(&self.gpu, submitted)?;
        Ok(bytemuck::pod_read_unaligned(&bytes))
    }

    /// A buffer for the logits of `count` steps; made outside the clock and kept for the next loop.
    pub(super) fn history_for(&mut self, count: usize) -> Result<wgpu::Buffer> {
        let size = 4 * (self.config.vocab * count.max(1)) as u64;
        if let Some(buffer) = self.history.as_ref().filter(|b| b.size() >= size) {
            return Ok(buffer.clone());
        }
        // The old one is given back first; both at once may be more than there is.
        self.history = None;
        self.need.check_history(&self.gpu, count, size)?;
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.gpu.buffer("logit history", size, usage)?;
        self.history = Some(buffer.clone());
        Ok(buffer)
    }

    pub(super) fn read_history(&self, history: &wgpu::Buffer, count: usize) -> Result<Vec<f32>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let bytes = self.gpu.download(history, 4 * (self.config.vocab * count) as u64)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}

pub(super) fn elapsed_ns(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
