//! Buffers and reading them back.

use super::Gpu;
use crate::error::Result;
use std::sync::mpsc::{Receiver, sync_channel};
use wgpu::{BufferDescriptor, BufferUsages, MapMode};

impl Gpu {
    /// An empty buffer of `size` bytes (rounded up to a word) with `usage`, zeroed by the interface.
    pub(crate) fn buffer(
        &self,
        label: &str,
        size: u64,
        usage: BufferUsages,
    ) -> Result<wgpu::Buffer> {
        let size = size.max(16).next_multiple_of(4);
        if size > self.info().buffer_bytes_max {
            return Err(self.error(format!(
                "buffer `{label}` needs {size} bytes, the adapter allows {}; lower the context or batch",
                self.info().buffer_bytes_max
            )));
        }
        let descriptor =
            BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        self.checked(|| self.device.create_buffer(&descriptor)).map_err(|e| self.error(e))
    }

    /// A storage buffer that kernels and copies may use.
    pub(crate) fn storage(&self, label: &str, size: u64) -> Result<wgpu::Buffer> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        if size > self.info().binding_bytes_max {
            return Err(self.error(format!(
                "tensor `{label}` needs {size} bytes, a kernel may see {}; use a smaller model or context",
                self.info().binding_bytes_max
            )));
        }
        self.buffer(label, size, usage)
    }

    /// A storage buffer holding `parts` one after the other.
    pub(crate) fn upload(&self, label: &str, parts: &[&[u8]]) -> Result<wgpu::Buffer> {
        let size: u64 = parts.iter().map(|p| p.len() as u64).sum();
        let buffer = self.storage(label, size)?;
        let mut at = 0;
        for part in parts {
            self.write(&buffer, at, part);
            at += part.len() as u64;
        }
        Ok(buffer)
    }

    /// Writes `bytes`, padded with zeros to whole words, at `offset`.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        let whole = bytes.len() & !3;
        // Big uploads go in pieces, so that the staging memory of a whole model never piles up.
        for (i, piece) in bytes[..whole].chunks(32 << 20).enumerate() {
            self.queue.write_buffer(buffer, offset + ((i * (32 << 20)) as u64), piece);
            if piece.len() == 32 << 20 {
                self.queue.submit([]);
            }
        }
        if whole < bytes.len() {
            let mut last = [0u8; 4];
            last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.queue.write_buffer(buffer, offset + whole as u64, &last);
        }
    }

    /// Copies `size` bytes of `source` to the host and waits for them.
    pub(crate) fn download(&self, source: &wgpu::Buffer, size: u64) -> Result<Vec<u8>> {
        let readback = Readback::new(self, size)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, 0, &readback.buffer, 0, size);
        let submitted = self.queue.submit([encoder.finish()]);
        readback.begin(size).wait(self, submitted)
    }
}

/// A host-readable buffer.
#[derive(Debug)]
pub(crate) struct Readback {
    pub(crate) buffer: wgpu::Buffer,
}

/// A read that has been asked for.
pub(crate) struct Pending<'a> {
    buffer: &'a wgpu::Buffer,
    size: u64,
    mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl Readback {
    pub(crate) fn new(gpu: &Gpu, size: u64) -> Result<Self> {
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        Ok(Readback { buffer: gpu.buffer("readback", size, usage)? })
    }

    /// Asks for the first `size` bytes, to be ready after the submissions made so far.
    pub(crate) fn begin(&self, size: u64) -> Pending<'_> {
        let (sender, mapped) = sync_channel(1);
        self.buffer.map_async(MapMode::Read, ..size, move |outcome| {
            // The receiver may be gone after an error elsewhere; then nobody wants the answer.
            let _ = sender.try_send(outcome);
        });
        Pending { buffer: &self.buffer, size, mapped }
    }
}

impl Pending<'_> {
    /// Waits for the submission and returns the bytes.
    pub(crate) fn wait(self, gpu: &Gpu, submitted: wgpu::SubmissionIndex) -> Result<Vec<u8>> {
        gpu.wait(Some(submitted))?;
        match self.mapped.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(gpu.error(format!("reading back: {e}"))),
            Err(_) => return Err(gpu.error("reading back: the step did not finish")),
        }
        let bytes = {
            let view = self.buffer.get_mapped_range(..self.size);
            view.map_err(|e| gpu.error(format!("reading back: {e}")))?.to_vec()
        };
        self.buffer.unmap();
        Ok(bytes)
    }
}
