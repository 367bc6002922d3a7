//! Everything that touches wgpu: the adapter, buffers, pipelines, and recording a planned step.

mod adapter;
mod buffers;
mod memory;
mod pipelines;
mod probe;
mod recorder;

pub use adapter::{AdapterInfo, AdapterRequest, Gpu};
pub(crate) use buffers::Readback;
pub(crate) use pipelines::Pipelines;
pub(crate) use recorder::Resolved;
