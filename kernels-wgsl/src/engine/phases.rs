//! Where a decode step spends its time, by op.

use super::Engine;
use super::decode::elapsed_ns;
use crate::error::Result;
use crate::plan::Dispatch;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Time of one op's share of a single-token step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// Name of the op.
    pub op: &'static str,
    /// Launches of it in one step.
    pub launches: usize,
    /// Wall time of these launches alone, in nanoseconds; the fastest of the repetitions.
    pub wall_ns: u64,
}

impl Engine {
    /// Times the launches of each op by themselves, as often as `repetitions` says, with one row at the
    /// present position. The sum is more than a step takes, because every phase pays for a submission.
    /// Empties the cache afterwards, since the phases leave nonsense in it.
    pub fn phases(&mut self, repetitions: usize) -> Result<Vec<Phase>> {
        self.begin_batch(&[self.config.bos]);
        let mut of_op: BTreeMap<&'static str, Vec<usize>> = BTreeMap::new();
        let name = |d: &Dispatch| d.op.entry().name;
        for (i, dispatch) in self.plan.dispatches.iter().chain([&self.plan.choose]).enumerate() {
            // The plan's own dispatches are followed by `feed`, then `choose`.
            let at = if i < self.feed_at { i } else { self.feed_at + 1 };
            of_op.entry(name(dispatch)).or_default().push(at);
        }
        let mut phases = Vec::with_capacity(of_op.len());
        for (op, launches) in of_op {
            let mut best_ns = u64::MAX;
            for _ in 0..repetitions.max(1) {
                let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
                {
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    for &at in &launches {
                        self.resolved.record(&mut pass, at..at + 1, (self.position, 1));
                    }
                }
                let commands = encoder.finish();
                let start = Instant::now();
                self.gpu.queue.submit([commands]);
                self.gpu.wait(None)?;
                best_ns = best_ns.min(elapsed_ns(start));
            }
            phases.push(Phase { op, launches: launches.len(), wall_ns: best_ns });
        }
        self.reset();
        Ok(phases)
    }
}
