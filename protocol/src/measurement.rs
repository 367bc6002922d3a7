//! One seat's raw data, validated for form. Whether it convinces is for the gates.

use crate::error::Reject;
use assay_proto::v1;
use serde::{Deserialize, Serialize};

/// Most pairs in one measurement.
pub const PAIRS_MAX: usize = 64;
/// Longest text in an environment field, in bytes.
pub const ENVIRONMENT_TEXT_BYTES_MAX: usize = 120;

/// Everything that one seat reveals about one claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// One entry a prompt, in the order measured.
    pub pairs: Vec<Pair>,
    /// Sums over arm X.
    pub x: ArmReport,
    /// Sums over arm Y.
    pub y: ArmReport,
    /// Where it was measured.
    pub environment: Environment,
}

/// One prompt decoded by both arms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Index in the pinned pool.
    pub prompt: u32,
    /// Decode loop of arm X: first submit to last token read back.
    pub x_ns: u64,
    /// Decode loop of arm Y.
    pub y_ns: u64,
    /// Digest of the tokens that X generated.
    pub x_tokens: [u8; 16],
    /// Digest of the tokens that Y generated.
    pub y_tokens: [u8; 16],
}

/// Counts and sums over everything an arm decoded; the schema documents each field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ArmReport {
    pub decoded_tokens: u64,
    pub prefill_ns: u64,
    pub scored_tokens: u64,
    pub nll_nanonats: u64,
    pub base_nll_nanonats: u64,
    pub kl_nanonats: u64,
    pub agreements: u64,
    pub identity_breaks: u64,
    pub near_ties: u64,
    pub path_breaks: u64,
    pub path_positions: u64,
    pub repeat_breaks: u64,
    pub nonfinite_logits: u64,
    pub shape: [u8; 32],
    pub bytes_per_token: u64,
    pub reach_positions: u64,
    pub reach_breaks: u64,
}

/// Where a measurement was taken; the schema documents each field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Environment {
    pub adapter: String,
    pub backend: String,
    pub driver: String,
    pub hardware_class: String,
    pub bandwidth_mb_s: u64,
    pub load_before_milli: u32,
    pub load_after_milli: u32,
    pub repeats: u32,
    pub engine: String,
    pub compute_mflop_s: u64,
    pub clock_before_mhz: u32,
    pub clock_after_mhz: u32,
    pub temperature_before_celsius: u32,
    pub temperature_after_celsius: u32,
}

/// Digest of a token stream: the first 16 bytes of BLAKE3 over the ids as little-endian u32.
#[must_use]
pub fn token_digest(tokens: &[u32]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for token in tokens {
        hasher.update(&token.to_le_bytes());
    }
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

impl Measurement {
    /// The measurement as a message.
    #[must_use]
    pub fn to_proto(&self) -> v1::Measurement {
        v1::Measurement {
            pairs: self
                .pairs
                .iter()
                .map(|pair| v1::Pair {
                    prompt: pair.prompt,
                    x_ns: pair.x_ns,
                    y_ns: pair.y_ns,
                    x_tokens: pair.x_tokens.to_vec(),
                    y_tokens: pair.y_tokens.to_vec(),
                })
                .collect(),
            x: Some(self.x.to_proto()),
            y: Some(self.y.to_proto()),
            environment: Some(self.environment.to_proto()),
        }
    }

    /// Reads a message, checking lengths, counts and that times are positive.
    ///
    /// # Errors
    ///
    /// [`Reject::Field`] naming the field.
    pub fn from_proto(message: v1::Measurement) -> Result<Self, Reject> {
        if message.pairs.len() > PAIRS_MAX {
            return Err(field("pairs", format!("{} pairs", message.pairs.len())));
        }
        let pairs = message.pairs.into_iter().map(Pair::from_proto).collect::<Result<_, _>>()?;
        let missing = |name| move || field(name, "missing".to_owned());
        Ok(Self {
            pairs,
            x: ArmReport::from_proto(message.x.ok_or_else(missing("x"))?)?,
            y: ArmReport::from_proto(message.y.ok_or_else(missing("y"))?)?,
            environment: Environment::from_proto(
                message.environment.ok_or_else(missing("environment"))?,
            )?,
        })
    }
}

impl Pair {
    fn from_proto(pair: v1::Pair) -> Result<Self, Reject> {
        if pair.x_ns == 0 || pair.y_ns == 0 {
            return Err(field("pair", "a time of zero".to_owned()));
        }
        let digest = |name, bytes: Vec<u8>| {
            <[u8; 16]>::try_from(bytes).map_err(|b| field(name, format!("{} bytes", b.len())))
        };
        Ok(Self {
            prompt: pair.prompt,
            x_ns: pair.x_ns,
            y_ns: pair.y_ns,
            x_tokens: digest("x_tokens", pair.x_tokens)?,
            y_tokens: digest("y_tokens", pair.y_tokens)?,
        })
    }
}

impl ArmReport {
    fn to_proto(&self) -> v1::ArmReport {
        v1::ArmReport {
            decoded_tokens: self.decoded_tokens,
            prefill_ns: self.prefill_ns,
            scored_tokens: self.scored_tokens,
            nll_nanonats: self.nll_nanonats,
            base_nll_nanonats: self.base_nll_nanonats,
            kl_nanonats: self.kl_nanonats,
            agreements: self.agreements,
            identity_breaks: self.identity_breaks,
            near_ties: self.near_ties,
            path_breaks: self.path_breaks,
            path_positions: self.path_positions,
            repeat_breaks: self.repeat_breaks,
            nonfinite_logits: self.nonfinite_logits,
            shape: self.shape.to_vec(),
            bytes_per_token: self.bytes_per_token,
            reach_positions: self.reach_positions,
            reach_breaks: self.reach_breaks,
        }
    }

    fn from_proto(arm: v1::ArmReport) -> Result<Self, Reject> {
        let shape = <[u8; 32]>::try_from(arm.shape)
            .map_err(|b| field("shape", format!("{} bytes", b.len())))?;
        Ok(Self {
            decoded_tokens: arm.decoded_tokens,
            prefill_ns: arm.prefill_ns,
            scored_tokens: arm.scored_tokens,
            nll_nanonats: arm.nll_nanonats,
            base_nll_nanonats: arm.base_nll_nanonats,
            kl_nanonats: arm.kl_nanonats,
            agreements: arm.agreements,
            identity_breaks: arm.identity_breaks,
            near_ties: arm.near_ties,
            path_breaks: arm.path_breaks,
            path_positions: arm.path_positions,
            repeat_breaks: arm.repeat_breaks,
            nonfinite_logits: arm.nonfinite_logits,
            shape,
            bytes_per_token: arm.bytes_per_token,
            reach_positions: arm.reach_positions,
            reach_breaks: arm.reach_breaks,
        })
    }
}

impl Environment {
    fn to_proto(&self) -> v1::Environment {
        v1::Environment {
            adapter: self.adapter.clone(),
            backend: self.backend.clone(),
            driver: self.driver.clone(),
            hardware_class: self.hardware_class.clone(),
            bandwidth_mb_s: self.bandwidth_mb_s,
            load_before_milli: self.load_before_milli,
            load_after_milli: self.load_after_milli,
            repeats: self.repeats,
            engine: self.engine.clone(),
            compute_mflop_s: self.compute_mflop_s,
            clock_before_mhz: self.clock_before_mhz,
            clock_after_mhz: self.clock_after_mhz,
            temperature_before_celsius: self.temperature_before_celsius,
            temperature_after_celsius: self.temperature_after_celsius,
        }
    }

    fn from_proto(environment: v1::Environment) -> Result<Self, Reject> {
        Ok(Self {
            adapter: text("adapter", environment.adapter)?,
            backend: text("backend", environment.backend)?,
            driver: text("driver", environment.driver)?,
            hardware_class: text("hardware_class", environment.hardware_class)?,
            bandwidth_mb_s: environment.bandwidth_mb_s,
            load_before_milli: environment.load_before_milli,
            load_after_milli: environment.load_after_milli,
            repeats: environment.repeats,
            engine: text("engine", environment.engine)?,
            compute_mflop_s: environment.compute_mflop_s,
            clock_before_mhz: environment.clock_before_mhz,
            clock_after_mhz: environment.clock_after_mhz,
            temperature_before_celsius: environment.temperature_before_celsius,
            temperature_after_celsius: environment.temperature_after_celsius,
        })
    }
}

fn field(field: &'static str, reason: String) -> Reject {
    Reject::Field { field, reason }
}

fn text(name: &'static str, value: String) -> Result<String, Reject> {
    if value.len() > ENVIRONMENT_TEXT_BYTES_MAX {
        return Err(field(name, format!("{} bytes of text", value.len())));
    }
    Ok(value)
}
