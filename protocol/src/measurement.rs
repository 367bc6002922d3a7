//! One seat's raw data, validated for form. Whether it convinces is for the gates.

use crate::error::Reject;
use crate::plan::Scope;
use assay_proto::v1;
use serde::{Deserialize, Serialize};

/// Most pairs in one measurement.
pub const PAIRS_MAX: usize = 64;
/// Longest decode loop, in nanoseconds: an hour.
pub const PAIR_NS_MAX: u64 = 3_600_000_000_000;
/// Longest prefill, in microseconds: what four bytes of a varint hold, some four minutes. A longer one
/// is said to be as long.
pub const PREFILL_US_MAX: u32 = (1 << 28) - 1;
/// Largest sum of nats over one prompt, in millionths: 4096 tokens of a thousand nats each.
pub const MICRONATS_MAX: u64 = 4_096_000_000_000;
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
    /// Prefill of arm X before it, in microseconds, which the ratio leaves out.
    pub x_prefill_us: u32,
    /// Prefill of arm Y.
    pub y_prefill_us: u32,
    /// Digest of the tokens that X generated.
    pub x_tokens: [u8; 16],
    /// Digest of the tokens that Y generated.
    pub y_tokens: [u8; 16],
    /// How close X came to the base checkpoint.
    pub x_score: Score,
    /// How close Y came to the base checkpoint.
    pub y_score: Score,
    /// The base checkpoint's negative log-likelihood of the scored tokens, in millionths of a nat.
    pub base_nll_micronats: u64,
}

/// How close one arm came to the base checkpoint on one prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// KL(base ‖ arm) summed over the timed tokens, in millionths of a nat.
    pub kl_micronats: u64,
    /// Timed tokens on whose argmax arm and base agree.
    pub agreements: u32,
    /// Negative log-likelihood of the scored tokens, summed, in millionths of a nat.
    pub nll_micronats: u64,
}

/// Counts and sums over everything an arm decoded; the schema documents each field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ArmReport {
    pub decoded_tokens: u64,
    pub scored_tokens: u64,
    pub identity_breaks: u64,
    pub near_ties: u64,
    pub choice_breaks: u64,
    pub path_breaks: u64,
    pub path_positions: u64,
    pub repeat_breaks: u64,
    pub repeat_positions: u64,
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
            pairs: self.pairs.iter().map(Pair::to_proto).collect(),
            x: Some(self.x.to_proto()),
            y: Some(self.y.to_proto()),
            environment: Some(self.environment.to_proto()),
            x_prefill_us: self.pairs.iter().map(|pair| pair.x_prefill_us).collect(),
            y_prefill_us: self.pairs.iter().map(|pair| pair.y_prefill_us).collect(),
        }
    }

    /// Checks that the measurement covers what was drawn for its seat, no less and no more, and that no
    /// count exceeds what it counts.
    ///
    /// # Errors
    ///
    /// [`Reject::Plan`] naming the first count at fault.
    pub fn check(&self, scope: &Scope<'_>) -> Result<(), Reject> {
        if !self.pairs.iter().map(|pair| pair.prompt).eq(scope.prompts.iter().copied()) {
            return Err(Reject::Plan("other prompts than those drawn".to_owned()));
        }
        let decode = u64::from(scope.decode_tokens);
        let pairs = self.pairs.len() as u64;
        let (decoded, scored) = (pairs * decode, pairs * u64::from(scope.scored_tokens));
        for arm in [&self.x, &self.y] {
            let exact = [
                ("decoded tokens", arm.decoded_tokens, decoded),
                ("scored tokens", arm.scored_tokens, scored),
                ("reach positions", arm.reach_positions, u64::from(scope.reach_tokens)),
                ("path positions", arm.path_positions, decoded),
                // The probe decodes one prompt again, from the token that its prefill chose.
                ("repeat positions", arm.repeat_positions, decode + 1),
            ];
            if let Some((what, found, drawn)) = exact.iter().find(|(_, a, b)| a != b) {
                return Err(Reject::Plan(format!("{found} {what} instead of {drawn}")));
            }
            // Every generated token can break identity, the prefill's choice included.
            let generated = decoded + pairs;
            if arm.identity_breaks > generated {
                let breaks = arm.identity_breaks;
                return Err(Reject::Plan(format!(
                    "{breaks} identity breaks of {generated} tokens"
                )));
            }
        }
        let scores = self.pairs.iter().flat_map(|pair| [&pair.x_score, &pair.y_score]);
        match scores
            .map(|score| score.agreements)
            .find(|agreements| *agreements > scope.decode_tokens)
        {
            Some(found) => Err(Reject::Plan(format!("{found} agreements of {decode} tokens"))),
            None => Ok(()),
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
        let (x, y) = (&message.x_prefill_us, &message.y_prefill_us);
        for (name, list) in [("x_prefill_us", x), ("y_prefill_us", y)] {
            if list.len() != message.pairs.len() {
                return Err(field(name, format!("{} of {}", list.len(), message.pairs.len())));
            }
        }
        let prefills = x.iter().copied().zip(y.iter().copied());
        let pairs = message.pairs.into_iter().zip(prefills);
        let pairs = pairs.map(|(pair, us)| Pair::from_proto(pair, us)).collect::<Result<_, _>>()?;
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
    fn to_proto(&self) -> v1::Pair {
        v1::Pair {
            prompt: self.prompt,
            x_ns: self.x_ns,
            y_ns: self.y_ns,
            x_tokens: self.x_tokens.to_vec(),
            y_tokens: self.y_tokens.to_vec(),
            x_score: Some(self.x_score.to_proto()),
            y_score: Some(self.y_score.to_proto()),
            base_nll_micronats: self.base_nll_micronats,
        }
    }

    fn from_proto(pair: v1::Pair, (x_us, y_us): (u32, u32)) -> Result<Self, Reject> {
        if pair.x_ns == 0 || pair.y_ns == 0 || x_us == 0 || y_us == 0 {
            return Err(field("pair", "a time of zero".to_owned()));
        }
        if pair.x_ns > PAIR_NS_MAX || pair.y_ns > PAIR_NS_MAX {
            return Err(field("pair", "a time of more than an hour".to_owned()));
        }
        if x_us > PREFILL_US_MAX || y_us > PREFILL_US_MAX {
            return Err(field("pair", format!("a prefill of more than {PREFILL_US_MAX} us")));
        }
        let digest = |name, bytes: Vec<u8>| {
            <[u8; 16]>::try_from(bytes).map_err(|b| field(name, format!("{} bytes", b.len())))
        };
        Ok(Self {
            prompt: pair.prompt,
            x_ns: pair.x_ns,
            y_ns: pair.y_ns,
            x_prefill_us: x_us,
            y_prefill_us: y_us,
            x_tokens: digest("x_tokens", pair.x_tokens)?,
            y_tokens: digest("y_tokens", pair.y_tokens)?,
            x_score: Score::from_proto(pair.x_score)?,
            y_score: Score::from_proto(pair.y_score)?,
            base_nll_micronats: micronats("base_nll_micronats", pair.base_nll_micronats)?,
        })
    }
}

impl Score {
    fn to_proto(self) -> v1::Score {
        v1::Score {
            kl_micronats: self.kl_micronats,
            agreements: self.agreements,
            nll_micronats: self.nll_micronats,
        }
    }

    fn from_proto(score: Option<v1::Score>) -> Result<Self, Reject> {
        let score = score.ok_or_else(|| field("score", "missing".to_owned()))?;
        Ok(Self {
            kl_micronats: micronats("kl_micronats", score.kl_micronats)?,
            agreements: score.agreements,
            nll_micronats: micronats("nll_micronats", score.nll_micronats)?,
        })
    }
}

impl ArmReport {
    fn to_proto(&self) -> v1::ArmReport {
        v1::ArmReport {
            decoded_tokens: self.decoded_tokens,
            scored_tokens: self.scored_tokens,
            identity_breaks: self.identity_breaks,
            near_ties: self.near_ties,
            choice_breaks: self.choice_breaks,
            path_breaks: self.path_breaks,
            path_positions: self.path_positions,
            repeat_breaks: self.repeat_breaks,
            repeat_positions: self.repeat_positions,
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
        // What excuses or qualifies a count is part of it.
        for (name, part, whole) in [
            ("near_ties", arm.near_ties, arm.identity_breaks),
            ("choice_breaks", arm.choice_breaks, arm.decoded_tokens),
            ("path_breaks", arm.path_breaks, arm.path_positions),
            ("repeat_breaks", arm.repeat_breaks, arm.repeat_positions),
            ("reach_breaks", arm.reach_breaks, arm.reach_positions),
        ] {
            if part > whole {
                return Err(field(name, format!("{part} of {whole}")));
            }
        }
        Ok(Self {
            decoded_tokens: arm.decoded_tokens,
            scored_tokens: arm.scored_tokens,
            identity_breaks: arm.identity_breaks,
            near_ties: arm.near_ties,
            choice_breaks: arm.choice_breaks,
            path_breaks: arm.path_breaks,
            path_positions: arm.path_positions,
            repeat_breaks: arm.repeat_breaks,
            repeat_positions: arm.repeat_positions,
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

fn micronats(name: &'static str, value: u64) -> Result<u64, Reject> {
    if value > MICRONATS_MAX {
        return Err(field(name, format!("{value} millionths of a nat")));
    }
    Ok(value)
}

fn text(name: &'static str, value: String) -> Result<String, Reject> {
    if value.len() > ENVIRONMENT_TEXT_BYTES_MAX {
        return Err(field(name, format!("{} bytes of text", value.len())));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_proto::limits::MEASUREMENT_BYTES_MAX;
    use prost::Message;

    fn largest() -> Measurement {
        let score =
            Score { kl_micronats: MICRONATS_MAX, agreements: 4096, nll_micronats: MICRONATS_MAX };
        let pair = Pair {
            prompt: u32::MAX,
            x_ns: PAIR_NS_MAX,
            y_ns: PAIR_NS_MAX,
            x_prefill_us: PREFILL_US_MAX,
            y_prefill_us: PREFILL_US_MAX,
            x_tokens: [255; 16],
            y_tokens: [255; 16],
            x_score: score,
            y_score: score,
            base_nll_micronats: MICRONATS_MAX,
        };
        let arm = ArmReport {
            decoded_tokens: u64::MAX,
            scored_tokens: u64::MAX,
            identity_breaks: u64::MAX,
            near_ties: u64::MAX,
            choice_breaks: u64::MAX,
            path_breaks: u64::MAX,
            path_positions: u64::MAX,
            repeat_breaks: u64::MAX,
            repeat_positions: u64::MAX,
            nonfinite_logits: u64::MAX,
            shape: [255; 32],
            bytes_per_token: u64::MAX,
            reach_positions: u64::MAX,
            reach_breaks: u64::MAX,
        };
        let text = "x".repeat(ENVIRONMENT_TEXT_BYTES_MAX);
        let environment = Environment {
            adapter: text.clone(),
            backend: text.clone(),
            driver: text.clone(),
            hardware_class: text.clone(),
            engine: text,
            bandwidth_mb_s: u64::MAX,
            load_before_milli: u32::MAX,
            load_after_milli: u32::MAX,
            repeats: u32::MAX,
            compute_mflop_s: u64::MAX,
            clock_before_mhz: u32::MAX,
            clock_after_mhz: u32::MAX,
            temperature_before_celsius: u32::MAX,
            temperature_after_celsius: u32::MAX,
        };
        Measurement { pairs: vec![pair; PAIRS_MAX], x: arm.clone(), y: arm, environment }
    }

    #[test]
    fn the_largest_measurement_fits_the_limit_and_reads_back() {
        let largest = largest();
        let packed = largest.to_proto();
        assert!(packed.encoded_len() <= MEASUREMENT_BYTES_MAX, "{} bytes", packed.encoded_len());
        assert_eq!(Measurement::from_proto(packed), Ok(largest));
    }

    #[test]
    fn absurd_figures_are_refused_by_name() {
        let spoil = |change: &dyn Fn(&mut Measurement), name: &str| {
            let mut measurement = largest();
            change(&mut measurement);
            let reject = Measurement::from_proto(measurement.to_proto()).unwrap_err();
            assert!(reject.to_string().contains(name), "{name}: {reject}");
        };
        spoil(&|m| m.pairs[3].x_ns = 0, "time of zero");
        spoil(&|m| m.pairs[3].y_ns = PAIR_NS_MAX + 1, "more than an hour");
        spoil(&|m| m.pairs[3].x_prefill_us = 0, "time of zero");
        spoil(&|m| m.pairs[3].y_prefill_us = PREFILL_US_MAX + 1, "prefill");
        spoil(&|m| m.pairs[3].x_score.kl_micronats = MICRONATS_MAX + 1, "kl_micronats");
        spoil(&|m| m.pairs[3].y_score.nll_micronats = u64::MAX, "nll_micronats");
        spoil(&|m| m.pairs[3].base_nll_micronats = u64::MAX, "base_nll_micronats");
        spoil(&|m| m.x.identity_breaks = 1, "near_ties");
        spoil(&|m| m.y.path_positions = 1, "path_breaks");
        spoil(&|m| m.y.repeat_positions = 1, "repeat_breaks");
        spoil(&|m| m.y.reach_positions = 1, "reach_breaks");
        spoil(&|m| m.x.decoded_tokens = 1, "choice_breaks");
        let pair = largest().pairs[0].clone();
        spoil(&|m| m.pairs.push(pair.clone()), "65 pairs");
    }

    #[test]
    fn prefills_are_as_many_as_pairs() {
        for (count, name) in [(63, "x_prefill_us"), (65, "y_prefill_us")] {
            let mut packed = largest().to_proto();
            match name {
                "x_prefill_us" => packed.x_prefill_us.resize(count, 1),
                _ => packed.y_prefill_us.resize(count, 1),
            }
            let reject = Measurement::from_proto(packed).unwrap_err();
            assert!(reject.to_string().contains(name), "{name}: {reject}");
        }
    }

    #[test]
    fn a_pair_without_scores_is_refused() {
        let mut packed = largest().to_proto();
        packed.pairs[0].y_score = None;
        let reject = Measurement::from_proto(packed).unwrap_err();
        assert!(reject.to_string().contains("score"), "{reject}");
    }
}
