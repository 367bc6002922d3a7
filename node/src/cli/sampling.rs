//! How `generate` and `chat` choose tokens.

use crate::serve::defaults::Defaults;
use crate::serve::sampling::Sampling;
use assay_kernels::SamplingParams;

/// Options of sampling. What is not given is taken from the checkpoint's `generation_config.json`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SamplingArgs {
    /// Only the K likeliest tokens may come; 0 for all [default: generation_config.json, or 0]
    #[arg(long, value_name = "K", help_heading = "Sampling")]
    top_k: Option<usize>,
    /// Only the likeliest tokens that together reach this probability may come [default:
    /// generation_config.json, or 1]
    #[arg(long, value_name = "P", help_heading = "Sampling")]
    top_p: Option<f32>,
    /// Only tokens with this share of the likeliest one's probability may come [default:
    /// generation_config.json, or 0]
    #[arg(long, value_name = "P", help_heading = "Sampling")]
    min_p: Option<f32>,
    /// Make tokens that came before less likely; 1 for not [default: generation_config.json, or 1]
    #[arg(long, value_name = "R", help_heading = "Sampling")]
    repetition_penalty: Option<f32>,
    /// The same seed gives the same text; without it every run differs
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    seed: Option<u64>,
    /// End before this text; repeat for several
    #[arg(long, value_name = "TEXT", help_heading = "Sampling")]
    pub(super) stop: Vec<String>,
}

impl SamplingArgs {
    /// The sampling that was asked for, at this temperature.
    ///
    /// # Errors
    ///
    /// When a setting is out of its range.
    pub(super) fn sampling(
        &self,
        temperature: f32,
        defaults: &Defaults,
    ) -> anyhow::Result<Sampling> {
        let penalty = self.repetition_penalty;
        // The greedy choice is what others can repeat, so no recommendation changes it.
        let recommended = if temperature > 0.0 { defaults.repetition_penalty } else { 1.0 };
        let params = SamplingParams {
            temperature,
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: penalty.unwrap_or(recommended),
            seed: self.seed.unwrap_or_else(|| getrandom::u64().unwrap_or_default()),
        };
        params.check()?;
        Ok(Sampling { params, suppress: defaults.suppress.clone(), ..Sampling::greedy() })
    }
}
