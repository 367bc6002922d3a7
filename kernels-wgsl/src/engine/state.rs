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

    /// Key and value caches.
    pub(super) fn caches(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        let cache = |role: &&Buf| matches!(role, Buf::Keys(_) | Buf::Values(_));
        self.0.iter().filter(move |(role, _)| cache(role)).map(|(_, buffer)| buffer)
    }
}
