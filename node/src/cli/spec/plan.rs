//! From a model and a change to bytes per token, before and after.

use crate::cli::model::{named, open};
use assay_kernels::ModelConfig;
use assay_kernels::byte_math::{Parts, stored_bytes};
use assay_kernels::engine::kv_cache_bytes;
use assay_kernels::synth::{Like, Quant, Request, Synth};
use assay_protocol::post::{Spec, SpecPart};
use std::path::Path;
use std::str::FromStr;

/// Bytes of a cached number in this engine.
const CACHED_BYTES: u64 = 4;
/// Components that `--weights` stores otherwise.
const LINEAR: [&str; 4] = ["attention", "experts", "mlp", "per-layer"];

/// A way to store weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Storage {
    bits: u64,
    /// Weights to a scale; 0 without scales.
    group: u64,
}

impl FromStr for Storage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (bits, group) = match text {
            "bf16" => (16, 0),
            "int8" => (8, 0),
            "int4-g32" => (4, 32),
            "int4-g64" => (4, 64),
            "int4-g128" => (4, 128),
            _ => return Err("choose one of bf16, int8, int4-g32, int4-g64, int4-g128".to_owned()),
        };
        Ok(Self { bits, group })
    }
}

impl Storage {
    fn name(self) -> String {
        match (self.bits, self.group) {
            (16, _) => "bf16".to_owned(),
            (bits, 0) => format!("int{bits}"),
            (bits, group) => format!("int{bits}-g{group}"),
        }
    }

    /// A change in words.
    pub(super) fn words(weights: Option<Self>, head: Option<Self>) -> String {
        let said = [("linear layers in", weights), ("head in", head)];
        let said =
            said.iter().filter_map(|(what, form)| Some(format!("{what} {}", (*form)?.name())));
        said.collect::<Vec<_>>().join(", ")
    }
}

/// What a token reads.
pub(super) struct Math {
    parts: Parts,
    cache_bytes: u64,
}

/// The model's name and what one of its tokens reads with `context` tokens in the cache.
///
/// # Errors
///
/// When the checkpoint cannot be read or no published model has this name.
pub(super) fn source(
    home: &Path,
    model: Option<&Path>,
    like: Option<&str>,
    context: usize,
) -> anyhow::Result<(String, Math)> {
    if let Some(name) = like {
        let found = Like::ALL.into_iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        let Some((like, name)) = found else {
            let names: Vec<&str> = Like::ALL.iter().map(|(_, name)| *name).collect();
            anyhow::bail!("--like: choose one of {}", names.join(", "));
        };
        let synth = Synth::model(&Request { like, quant: Quant::Bf16, layers: None, seed: 1 })?;
        let config = ModelConfig::parse(synth.config().to_string().as_bytes())?;
        let cache_bytes = kv_cache_bytes(&config, context, CACHED_BYTES);
        return Ok((format!("{name} in bf16"), Math { parts: synth.parts, cache_bytes }));
    }
    let path = model.unwrap_or(Path::new("nano"));
    let (checkpoint, name) = open(&named(home, path)?)?;
    let cache_bytes = kv_cache_bytes(checkpoint.config(), context, CACHED_BYTES);
    Ok((name, Math { parts: checkpoint.parts_per_token(), cache_bytes }))
}

impl Math {
    /// The components before and after a change, the cache among them.
    pub(super) fn parts(&self, weights: Option<Storage>, head: Option<Storage>) -> Vec<SpecPart> {
        let mut rows: Vec<SpecPart> = self
            .parts
            .iter()
            .map(|(name, part)| {
                let form = match *name {
                    "head" => head,
                    name if LINEAR.contains(&name) => weights,
                    _ => None,
                };
                let after = form.filter(|_| part.weights > 0);
                let after = after.map(|form| stored_bytes(part.weights, form.bits, form.group));
                SpecPart {
                    name: (*name).to_owned(),
                    bytes_before: part.bytes,
                    bytes_after: after.unwrap_or(part.bytes),
                }
            })
            .collect();
        rows.push(SpecPart {
            name: "cache".to_owned(),
            bytes_before: self.cache_bytes,
            bytes_after: self.cache_bytes,
        });
        rows
    }

    /// Time per token before over time after, in millionths: bytes by bandwidth, and what a token
    /// costs besides.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating")]
    pub(super) fn ratio_ppm(spec: &Spec, overhead_us: f64) -> u64 {
        let (before, after) = spec.bytes();
        // Bytes over MB/s are microseconds.
        let micros = |bytes: u64| bytes as f64 / spec.bandwidth_mb_s.max(1) as f64 + overhead_us;
        (micros(before) / micros(after).max(1e-9) * 1e6).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(weights: Option<Storage>, head: Option<Storage>) -> Spec {
        let (model, math) = source(Path::new("/nowhere"), None, Some("e4b"), 0).unwrap();
        let parts = math.parts(weights, head);
        Spec { model, parts, bandwidth_mb_s: 600_000, change: "x".into(), experiment: "x".into() }
    }

    /// The byte-math of E4B: 9288.9 MB in bf16, 3391.8 with int4 in groups of 128 and the head in
    /// bf16, 2395.6 with the head quantised too.
    #[test]
    fn forecasts_are_the_byte_math() {
        let int4: Storage = "int4-g128".parse().unwrap();
        let near =
            |bytes: u64, mega: f64| assert!((bytes as f64 / 1e6 - mega).abs() < 1.0, "{bytes}");
        let body = spec(Some(int4), None);
        near(body.bytes().0, 9288.9);
        near(body.bytes().1, 3391.8);
        near(spec(Some(int4), Some(int4)).bytes().1, 2395.6);
        let ratio = Math::ratio_ppm(&body, 0.0) as f64 / 1e6;
        assert!((ratio - 9288.9 / 3391.8).abs() < 0.01, "{ratio}");
        // 15.48 ms and 5.65 ms of reading; with 5 ms besides there is less to gain.
        let slowed = Math::ratio_ppm(&body, 5_000.0) as f64 / 1e6;
        assert!((slowed - 20.48 / 10.65).abs() < 0.01, "{slowed}");
        assert_eq!(Math::ratio_ppm(&spec(None, None), 0.0), 1_000_000);
        assert!("int3".parse::<Storage>().is_err());
        assert_eq!(Storage::words(Some(int4), None), "linear layers in int4-g128");
    }
}
