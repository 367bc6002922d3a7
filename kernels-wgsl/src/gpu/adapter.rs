//! Choosing and opening an adapter.

use super::memory;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// Which adapter to open.
#[derive(Debug, Clone, Default)]
pub struct AdapterRequest {
    /// Only adapters whose name contains this, case ignored. Without it the best one is taken:
    /// discrete, integrated, virtual, then software.
    pub name_contains: Option<String>,
}

/// What an adapter says about itself, and the class derived from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterInfo {
    /// Name as the driver gives it.
    pub name: String,
    /// Graphics interface: `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub device_type: String,
    /// PCI vendor id.
    pub vendor_id: u32,
    /// PCI device id.
    pub device_id: u32,
    /// Kind of device and identified family, such as `cpu-llvmpipe-8wide`.
    pub class: String,
    /// Largest storage buffer one kernel may see, in bytes.
    pub binding_bytes_max: u64,
    /// Largest buffer, in bytes.
    pub buffer_bytes_max: u64,
}

/// An open adapter. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    info: AdapterInfo,
    /// Memory that engines may fill, where it is known.
    memory_bytes: Option<u64>,
    /// First error that no scope caught, such as a lost device. The interface's own answer is a panic.
    fault: Arc<OnceLock<String>>,
}

impl Gpu {
    /// Opens the adapter that `request` describes, with the largest buffers it offers.
    pub fn open(request: &AdapterRequest) -> Result<Gpu> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
        let wanted = request.name_contains.as_deref().map(str::to_lowercase);
        let found: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
        let matches = |name: &str| match &wanted {
            Some(part) => name.to_lowercase().contains(part.as_str()),
            None => true,
        };
        let best = adapters
            .into_iter()
            .filter(|a| matches(&a.get_info().name))
            .min_by_key(|a| rank(a.get_info().device_type));
        let Some(adapter) = best else {
            let wanted = request.name_contains.as_deref().unwrap_or("at all");
            let found = if found.is_empty() { "none".into() } else { found.join(", ") };
            return Err(Error::NoAdapter { wanted: format!("`{wanted}`"), found });
        };
        let limits = adapter.limits();
        let info = describe(&adapter.get_info(), &limits);
        if let Some(message) = shortfall(&limits) {
            return Err(Error::Device { adapter: info.name, message });
        }
        let memory_bytes = memory::stated().or_else(|| memory::of(&adapter));
        let request = wgpu::DeviceDescriptor {
            label: Some("assay"),
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&request))
            .map_err(|e| Error::Device { adapter: info.name.clone(), message: e.to_string() })?;
        let fault = Arc::new(OnceLock::new());
        let seen = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            // Later errors follow from the first.
            let _ = seen.set(error.to_string());
        }));
        Ok(Gpu { device, queue, info, memory_bytes, fault })
    }

    /// Waits for a submission, or for all of them, and reports what went wrong since the last wait.
    pub(crate) fn wait(&self, submitted: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let poll = wgpu::PollType::Wait { submission_index: submitted, timeout: None };
        let polled = self.device.poll(poll);
        if let Some(fault) = self.fault.get() {
            return Err(self.error(fault));
        }
        polled.map_err(|e| self.error(format!("waiting for the device: {e}")))?;
        Ok(())
    }

    /// Memory for weights, caches and work together, in bytes; `None` where the interface does not tell.
    /// The environment variable `ASSAY_DEVICE_MEMORY_BYTES` overrides what the driver says.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.memory_bytes
    }

    /// The same adapter, taken to have `bytes` of memory.
    #[cfg(test)]
    pub(crate) fn assume_memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    /// What the adapter says about itself.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// An error about this adapter.
    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Error::Device { adapter: self.info.name.clone(), message: message.into() }
    }

    /// Runs `work` and turns the first validation or memory error inside it into this crate's error.
    pub(crate) fn checked<T>(&self, work: impl FnOnce() -> T) -> std::result::Result<T, String> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let done = work();
        let errors = [internal, validation, memory].map(|scope| pollster::block_on(scope.pop()));
        match errors.into_iter().flatten().next() {
            Some(error) => Err(error.to_string()),
            None => Ok(done),
        }
    }
}

/// What the kernels need and the adapter does not offer, as a message; `None` when it suffices.
///
/// The figures are the guaranteed ones of WebGPU, within which every registered kernel stays, so
/// that only adapters short of WebGPU are refused.
fn shortfall(limits: &wgpu::Limits) -> Option<String> {
    let least = wgpu::Limits::default();
    let needs = [
        (
            "storage buffers per kernel",
            u64::from(limits.max_storage_buffers_per_shader_stage),
            u64::from(least.max_storage_buffers_per_shader_stage),
        ),
        (
            "invocations per workgroup",
            u64::from(limits.max_compute_invocations_per_workgroup),
            u64::from(least.max_compute_invocations_per_workgroup),
        ),
        (
            "bytes of workgroup memory",
            u64::from(limits.max_compute_workgroup_storage_size),
            u64::from(least.max_compute_workgroup_storage_size),
        ),
        (
            "bytes per storage binding",
            limits.max_storage_buffer_binding_size,
            least.max_storage_buffer_binding_size,
        ),
    ];
    let (what, has, needed) = needs.into_iter().find(|(_, has, needed)| has < needed)?;
    Some(format!(
        "offers {has} {what}, the kernels need {needed}; choose another with --adapter, or install \
         mesa-vulkan-drivers for a software one"
    ))
}

fn rank(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Cpu => 3,
        wgpu::DeviceType::Other => 4,
    }
}

fn describe(info: &wgpu::AdapterInfo, limits: &wgpu::Limits) -> AdapterInfo {
    let device_type = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "cpu",
        wgpu::DeviceType::Other => "other",
    };
    AdapterInfo {
        name: info.name.clone(),
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        device_type: device_type.into(),
        vendor_id: info.vendor,
        device_id: info.device,
        class: class(&info.name, device_type),
        binding_bytes_max: limits.max_storage_buffer_binding_size,
        buffer_bytes_max: limits.max_buffer_size,
    }
}

/// Kind of device and family. A software rasteriser's speed follows from its vector width, which its name
/// tells; any other adapter's family is its name without what is in brackets.
fn class(name: &str, device_type: &str) -> String {
    let lower = name.to_lowercase();
    if let Some(details) = lower.strip_prefix("llvmpipe") {
        let bits = details.split([' ', ',', '(']).zip(details.split([' ', ',', '(']).skip(1));
        let bits = bits.filter(|(_, unit)| unit.starts_with("bits"));
        let lanes = bits.filter_map(|(n, _)| n.parse::<u32>().ok()).next().map(|b| b / 32);
        return match lanes {
            Some(lanes) => format!("{device_type}-llvmpipe-{lanes}wide"),
            None => format!("{device_type}-llvmpipe"),
        };
    }
    let family = lower.split(['(', '/']).next().unwrap_or("").trim();
    let words: Vec<String> = family
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|w| !w.is_empty())
        .take(6)
        .map(str::to_string)
        .collect();
    format!("{device_type}-{}", words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::{AdapterRequest, Gpu, class, shortfall};

    #[test]
    fn adapters_are_found_by_name_and_measured() {
        let nobody = AdapterRequest { name_contains: Some("no such adapter".into()) };
        let error = Gpu::open(&nobody).unwrap_err().to_string();
        assert!(error.contains("no such adapter") && error.contains("found"), "{error}");
        let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
        let same = AdapterRequest { name_contains: Some(gpu.info().name.to_uppercase()) };
        assert_eq!(Gpu::open(&same).unwrap().info(), gpu.info());
    }

    #[test]
    fn classes_come_from_the_family() {
        assert_eq!(class("llvmpipe (LLVM 15.0.6, 256 bits)", "cpu"), "cpu-llvmpipe-8wide");
        assert_eq!(class("llvmpipe", "cpu"), "cpu-llvmpipe");
        assert_eq!(
            class("NVIDIA GeForce RTX 4090", "discrete"),
            "discrete-nvidia-geforce-rtx-4090"
        );
        assert_eq!(
            class("AMD Radeon 780M (RADV PHOENIX)", "integrated"),
            "integrated-amd-radeon-780m"
        );
        assert_eq!(class("", "other"), "other-");
    }

    #[test]
    fn an_adapter_short_of_a_limit_is_refused_with_what_is_missing() {
        assert_eq!(shortfall(&wgpu::Limits::default()), None);
        let small =
            wgpu::Limits { max_compute_workgroup_storage_size: 8_192, ..wgpu::Limits::default() };
        let message = shortfall(&small).unwrap_or_default();
        assert!(message.contains("8192 bytes of workgroup memory"), "{message}");
        assert!(message.contains("--adapter"), "{message}");
    }
}
