//! Measured memory bandwidth.

use super::Gpu;
use crate::error::Result;
use std::time::Instant;

/// Bytes moved by one timed copy.
const COPY_BYTES: u64 = 64 << 20;
/// Timed copies; the fastest counts, because anything slower was disturbed.
const RUNS: usize = 5;

impl Gpu {
    /// Memory bandwidth in MB/s (10^6 bytes), counting the bytes read plus the bytes written by the
    /// fastest of five 64 MiB buffer copies.
    pub fn probe_bandwidth_mb_s(&self) -> Result<u64> {
        let size = COPY_BYTES.min(self.info().binding_bytes_max);
        let from = self.storage("bandwidth source", size)?;
        let to = self.storage("bandwidth target", size)?;
        let mut best_ns = u128::MAX;
        // The first round pages the buffers in and is not timed.
        for run in 0..=RUNS {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, size);
            let commands = encoder.finish();
            let start = Instant::now();
            let submitted = self.queue.submit([commands]);
            self.wait(Some(submitted))?;
            if run > 0 {
                best_ns = best_ns.min(start.elapsed().as_nanos().max(1));
            }
        }
        let mb_s = u128::from(size) * 2 * 1000 / best_ns;
        Ok(u64::try_from(mb_s).unwrap_or(u64::MAX))
    }
}
