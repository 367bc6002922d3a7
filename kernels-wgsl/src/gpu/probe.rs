//! Measured memory bandwidth and arithmetic: what a hardware class is worth, whatever it is called.

use super::Gpu;
use crate::error::Result;
use std::time::Instant;
use wgpu::util::DeviceExt;

/// Bytes moved by one timed copy.
const COPY_BYTES: u64 = 64 << 20;
/// Timed runs; the fastest counts, because anything slower was disturbed.
const RUNS: usize = 5;
/// Invocations of the arithmetic probe: enough to fill any adapter.
const INVOCATIONS: u32 = 1 << 16;
/// Floating-point operations of one invocation in one round: four vectors of four multiply-adds.
const OPERATIONS_PER_ROUND: u64 = 4 * 4 * 2;
/// A timed dispatch lasts at least this long, so that submitting it does not count; well below the
/// time after which drivers end a dispatch.
const DISPATCH_NS_MIN: u64 = 10_000_000;
/// Most rounds of an invocation.
const ROUNDS_MAX: u32 = 1 << 16;

impl Gpu {
    /// Memory bandwidth in MB/s (10^6 bytes), counting the bytes read plus the bytes written by the
    /// fastest of five 64 MiB buffer copies.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn probe_bandwidth_mb_s(&self) -> Result<u64> {
        let size = COPY_BYTES.min(self.info().binding_bytes_max);
        let from = self.storage("bandwidth source", size)?;
        let to = self.storage("bandwidth target", size)?;
        let best_ns = self.fastest_ns(|encoder| {
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, size);
        })?;
        Ok(per_time(size * 2, best_ns, 1_000))
    }

    /// Arithmetic in MFLOP/s (10^6 f32 operations a second, a multiply-add counts as two): the fastest
    /// of five dispatches of independent multiply-adds that touch no memory until they end.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn probe_compute_mflop_s(&self) -> Result<u64> {
        let sums = self.storage("arithmetic sums", u64::from(INVOCATIONS) * 4)?;
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("arithmetic"),
            layout: None,
            module: &self.device.create_shader_module(wgpu::include_wgsl!("probe.wgsl")),
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let mut rounds = 64;
        loop {
            let best_ns = self.arithmetic_ns(&pipeline, &sums, rounds)?;
            if best_ns >= DISPATCH_NS_MIN || rounds >= ROUNDS_MAX {
                let operations = u64::from(INVOCATIONS) * u64::from(rounds) * OPERATIONS_PER_ROUND;
                return Ok(per_time(operations, best_ns, 1_000));
            }
            rounds *= 4;
        }
    }

    fn arithmetic_ns(
        &self,
        pipeline: &wgpu::ComputePipeline,
        sums: &wgpu::Buffer,
        rounds: u32,
    ) -> Result<u64> {
        let params = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("arithmetic rounds"),
            contents: &[rounds.to_le_bytes(), [0; 4], [0; 4], [0; 4]].concat(),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("arithmetic"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: sums.as_entire_binding() },
            ],
        });
        self.fastest_ns(|encoder| {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(INVOCATIONS / 64, 1, 1);
        })
    }

    /// The least time from submitting what `record` records until the device has done it.
    fn fastest_ns(&self, record: impl Fn(&mut wgpu::CommandEncoder)) -> Result<u64> {
        let mut best_ns = u64::MAX;
        // The first round pages buffers in and wakes the device, and is not timed.
        for run in 0..=RUNS {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            record(&mut encoder);
            let commands = encoder.finish();
            let start = Instant::now();
            let submitted = self.queue.submit([commands]);
            self.wait(Some(submitted))?;
            if run > 0 {
                let elapsed_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                best_ns = best_ns.min(elapsed_ns.max(1));
            }
        }
        Ok(best_ns)
    }
}

/// `amount` in `time_ns`, as a rate per `1/scale` nanoseconds; saturates.
fn per_time(amount: u64, time_ns: u64, scale: u128) -> u64 {
    u64::try_from(u128::from(amount) * scale / u128::from(time_ns)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::{AdapterRequest, Gpu};

    #[test]
    fn both_probes_give_a_rate() {
        let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
        assert!(gpu.probe_bandwidth_mb_s().unwrap() > 0);
        assert!(gpu.probe_compute_mflop_s().unwrap() > 0);
    }

    #[test]
    fn rates_have_their_units() {
        // 64 MB in 1 ms is 64,000 MB/s; an impossible time saturates.
        assert_eq!(super::per_time(64_000_000, 1_000_000, 1_000), 64_000);
        assert_eq!(super::per_time(u64::MAX, 1, 1_000), u64::MAX);
    }
}
