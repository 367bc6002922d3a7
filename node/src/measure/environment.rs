//! Where a measurement is taken: adapter, bandwidth, arithmetic, load, clock, temperature.

use assay_kernels::{AdapterInfo, AdapterRequest, Bundle, Gpu};
use assay_protocol::measurement::{ENVIRONMENT_TEXT_BYTES_MAX, Environment};
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// Where Linux keeps the figures of the processor's cores.
const CORES: &str = "/sys/devices/system/cpu";
/// Where Linux keeps the sensors of mainboard, processor and graphics adapters.
const SENSORS: &str = "/sys/class/hwmon";
/// Most entries of such a folder that are looked at.
const ENTRIES_MAX: usize = 256;
/// Hotter readings are of broken sensors.
const CELSIUS_MAX: u64 = 200;

/// What changes on a machine while it measures; 0 for what the system does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    /// One-minute load average times 1000.
    load_milli: u32,
    /// Clock of the fastest processor core in MHz.
    clock_mhz: u32,
    /// Hottest sensor in degrees Celsius.
    temperature_celsius: u32,
}

/// The conditions at this moment.
pub(super) fn conditions() -> Conditions {
    Conditions {
        load_milli: load_milli(),
        clock_mhz: clock_mhz(Path::new(CORES)),
        temperature_celsius: temperature_celsius(Path::new(SENSORS)),
    }
}

/// One-minute load average times 1000; 0 where the system does not tell.
pub(super) fn load_milli() -> u32 {
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    parse_load_milli(&load).unwrap_or(0)
}

/// The first figure of `/proc/loadavg`, such as `1.53`, times 1000.
fn parse_load_milli(text: &str) -> Option<u32> {
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    // A float to integer cast saturates, and a load is never negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    load.is_finite().then(|| (load * 1000.0).round() as u32)
}

/// The fastest core: cores without work slow down, and the one that feeds the adapter does not.
fn clock_mhz(cores: &Path) -> u32 {
    let khz = entries(cores)
        .into_iter()
        .filter_map(|core| number(&core.join("cpufreq/scaling_cur_freq")));
    u32::try_from(khz.max().unwrap_or(0) / 1000).unwrap_or(0)
}

/// The hottest input of every sensor, which are in thousandths of a degree.
fn temperature_celsius(sensors: &Path) -> u32 {
    let is_input = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("");
        name.starts_with("temp") && name.ends_with("_input")
    };
    let inputs = entries(sensors).into_iter().flat_map(|sensor| entries(&sensor)).filter(is_input);
    let celsius = inputs.filter_map(|input| number(&input)).map(|milli| milli / 1000);
    let hottest = celsius.filter(|celsius| *celsius <= CELSIUS_MAX).max().unwrap_or(0);
    u32::try_from(hottest).unwrap_or(0)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = read_dir(folder).into_iter().flatten().flatten();
    listed.take(ENTRIES_MAX).map(|entry| entry.path()).collect()
}

fn number(file: &Path) -> Option<u64> {
    read_to_string(file).ok()?.trim().parse().ok()
}

/// The hardware class of the adapter whose name contains `adapter`; without a name, of the best one.
///
/// # Errors
///
/// When there is no such adapter.
pub(super) fn hardware_class(adapter: Option<String>) -> assay_kernels::Result<String> {
    let gpu = Gpu::open(&AdapterRequest { name_contains: adapter })?;
    Ok(cut(&gpu.info().class))
}

/// The environment on the adapter that `gpu` is, as it was `before` the measurement.
///
/// # Errors
///
/// When the device fails while it is probed.
pub(super) fn describe(gpu: &Gpu, before: Conditions) -> assay_kernels::Result<Environment> {
    let AdapterInfo { name, backend, driver, class, .. } = gpu.info();
    let kernels = hex::encode(&Bundle::builtin().digest()[..4]);
    Ok(Environment {
        adapter: cut(name),
        backend: cut(backend),
        driver: cut(driver),
        hardware_class: cut(class),
        bandwidth_mb_s: gpu.probe_bandwidth_mb_s()?,
        compute_mflop_s: gpu.probe_compute_mflop_s()?,
        engine: format!("assay-kernels {} {kernels}", env!("CARGO_PKG_VERSION")),
        load_before_milli: before.load_milli,
        clock_before_mhz: before.clock_mhz,
        temperature_before_celsius: before.temperature_celsius,
        ..Environment::default()
    })
}

/// Adds the conditions `after` the measurement.
pub(super) fn finish(environment: Environment, after: Conditions) -> Environment {
    Environment {
        load_after_milli: after.load_milli,
        clock_after_mhz: after.clock_mhz,
        temperature_after_celsius: after.temperature_celsius,
        ..environment
    }
}

/// The longest beginning of `text` that an environment field holds.
fn cut(text: &str) -> String {
    let fits = |at: &usize| text.is_char_boundary(*at);
    let end = (0..=ENVIRONMENT_TEXT_BYTES_MAX.min(text.len())).rev().find(fits);
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_read() {
        assert_eq!(parse_load_milli("1.53 0.90 0.42 3/512 99\n"), Some(1530));
        assert_eq!(parse_load_milli(""), None);
        assert_eq!(parse_load_milli("nan 1 1"), None);
        assert_eq!(parse_load_milli("-1 1 1"), Some(0));
    }

    #[test]
    fn clocks_and_temperatures_are_read_where_the_system_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        assert_eq!(clock_mhz(folder.path()), 0);
        assert_eq!(temperature_celsius(&folder.path().join("nowhere")), 0);
        write("cpu0/cpufreq/scaling_cur_freq", "1400000\n");
        write("cpu1/cpufreq/scaling_cur_freq", "3599999\n");
        write("cpu2/cpufreq/scaling_cur_freq", "unknown\n");
        assert_eq!(clock_mhz(folder.path()), 3599);
        write("hwmon0/temp1_input", "41500\n");
        write("hwmon0/temp1_crit", "99000\n");
        write("hwmon1/temp2_input", "67250\n");
        write("hwmon1/temp3_input", "-4000\n");
        write("hwmon2/temp1_input", "65261850\n");
        assert_eq!(temperature_celsius(folder.path()), 67);
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut("llvmpipe"), "llvmpipe");
        let long = cut(&"é".repeat(100));
        assert_eq!(long.len(), 120);
        assert_eq!(cut(&format!("x{}", "é".repeat(100))).len(), 119);
    }
}
