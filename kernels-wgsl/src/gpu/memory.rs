//! How much memory an adapter has.

/// What the operator says it has.
pub(super) fn stated() -> Option<u64> {
    std::env::var("ASSAY_DEVICE_MEMORY_BYTES").ok()?.trim().parse().ok()
}

/// The largest heap that buffers are placed in, in bytes, where the driver tells: Vulkan does. On adapters
/// that share the machine's memory it is that memory.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn of(adapter: &wgpu::Adapter) -> Option<u64> {
    #[allow(unsafe_code)]
    // SAFETY: the handle is only asked for a property of the physical device while `adapter`, which owns the
    // instance behind it, is borrowed. Nothing is created, changed or destroyed through it.
    unsafe {
        let vulkan = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = vulkan.shared_instance().raw_instance();
        let memory = instance.get_physical_device_memory_properties(vulkan.raw_physical_device());
        memory.memory_heaps_as_slice().iter().map(|heap| heap.size).max()
    }
}

/// Metal has no fixed heap to ask about.
#[cfg(target_vendor = "apple")]
pub(super) fn of(_: &wgpu::Adapter) -> Option<u64> {
    None
}
