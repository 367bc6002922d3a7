//! Where a measurement is taken: adapter, bandwidth, load.

use assay_kernels::{AdapterInfo, Bundle};
use assay_protocol::measurement::{ENVIRONMENT_TEXT_BYTES_MAX, Environment};

/// One-minute load average times 1000; 0 where the system has none.
pub(super) fn load_milli() -> u32 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    parse_load_milli(&text).unwrap_or(0)
}

/// The first figure of `/proc/loadavg`, such as `1.53`, times 1000.
fn parse_load_milli(text: &str) -> Option<u32> {
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    // A float to integer cast saturates, and a load is never negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    load.is_finite().then(|| (load * 1000.0).round() as u32)
}

/// The environment on `adapter`, its loads still to be filled in.
pub(super) fn describe(adapter: &AdapterInfo, bandwidth_mb_s: u64) -> Environment {
    let kernels = hex::encode(&Bundle::builtin().digest()[..4]);
    Environment {
        adapter: cut(&adapter.name),
        backend: cut(&adapter.backend),
        driver: cut(&adapter.driver),
        hardware_class: cut(&adapter.class),
        bandwidth_mb_s,
        engine: format!("assay-kernels {} {kernels}", env!("CARGO_PKG_VERSION")),
        ..Environment::default()
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
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut("llvmpipe"), "llvmpipe");
        let long = cut(&"é".repeat(100));
        assert_eq!(long.len(), 120);
        assert_eq!(cut(&format!("x{}", "é".repeat(100))).len(), 119);
    }
}
