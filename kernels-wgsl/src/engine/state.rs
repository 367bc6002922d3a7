//! The device buffers of an engine.

use crate::plan::Buf;
use std::collections::BTreeMap;

/// Buffers by role.
pub(super) struct Buffers(pub(super) BTreeMap<Buf, wgpu::Buffer>);

impl Buffers {
    /// The buffer of a role that every engine has.
    pub(super) fn get(&self, role: &Buf) -> &wgpu::Buffer {
        self.0.get(role).expect("engine::build makes every buffer that a plan or the engine names")
    }
}
