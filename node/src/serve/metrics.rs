//! Figures of a running server in Prometheus' text format.

use super::model::Generated;
use assay_kernels::measure::per_second;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// An HTTP request, counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    path: String,
    status: u16,
}

/// How a generation ended, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "label values are written as the names are")]
pub(super) enum Ending {
    /// By the model or a stop string.
    stop,
    /// At the token limit.
    length,
    /// With tool calls.
    tool_calls,
    /// The client went away.
    cancelled,
    /// The engine failed.
    error,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    reason: Ending,
}

/// Counters and distributions of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    generations: Family<Ended, Counter>,
    queued: Gauge,
    running: Gauge,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generated_tokens: Counter,
    drafted_tokens: Counter,
    accepted_tokens: Counter,
    first_token_s: Histogram,
    decode_tps: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
        let tps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];
        let mut metrics = Self {
            registry: Registry::with_prefix("assay"),
            requests: Family::default(),
            generations: Family::default(),
            queued: Gauge::default(),
            running: Gauge::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generated_tokens: Counter::default(),
            drafted_tokens: Counter::default(),
            accepted_tokens: Counter::default(),
            first_token_s: Histogram::new(seconds),
            decode_tps: Histogram::new(tps),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "HTTP requests by path and status", self.requests.clone());
        r.register("generations", "Generations by how they ended", self.generations.clone());
        r.register("queue_depth", "Requests that wait for the engine", self.queued.clone());
        r.register("running", "Requests that the engine works on", self.running.clone());
        r.register("prompt_tokens", "Tokens of prompts", self.prompt_tokens.clone());
        let help = "Tokens of prompts that the cache held already";
        r.register("prompt_tokens_cached", help, self.cached_tokens.clone());
        r.register("generated_tokens", "Tokens generated", self.generated_tokens.clone());
        r.register("draft_tokens", "Tokens that the drafter proposed", self.drafted_tokens.clone());
        let help = "Proposed tokens that the model kept";
        r.register("draft_tokens_accepted", help, self.accepted_tokens.clone());
        let help = "Seconds from the request to its first token";
        r.register("time_to_first_token_seconds", help, self.first_token_s.clone());
        let help = "Decoding speed of a generation in tokens per second";
        r.register("decode_tokens_per_second", help, self.decode_tps.clone());
    }

    /// All figures as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; an incomplete text would show in the missing end mark.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(super) fn answered(&self, path: &str, status: u16) {
        self.requests.get_or_create(&Answered { path: path.to_owned(), status }).inc();
    }

    pub(super) fn queued(&self) {
        self.queued.inc();
    }

    pub(super) fn started(&self) {
        self.queued.dec();
        self.running.inc();
    }

    pub(super) fn first_token(&self, after: Duration) {
        self.first_token_s.observe(after.as_secs_f64());
    }

    pub(super) fn ended(&self, reason: Ending) {
        self.running.dec();
        self.generations.get_or_create(&Ended { reason }).inc();
    }

    /// Counts what a generation cost.
    pub(super) fn generated(&self, prompt_tokens: usize, tokens: usize, made: &Generated) {
        self.prompt_tokens.inc_by(prompt_tokens as u64);
        self.cached_tokens.inc_by(made.cached as u64);
        self.generated_tokens.inc_by(tokens as u64);
        let (drafted, kept) = made
            .drafting
            .rounds
            .iter()
            .fold((0, 0), |sum, round| (sum.0 + round.0 as u64, sum.1 + round.1 as u64));
        self.drafted_tokens.inc_by(drafted);
        self.accepted_tokens.inc_by(kept);
        if made.decoded > 0 {
            self.decode_tps.observe(per_second(made.decoded, made.decode_ns));
        }
    }
}
