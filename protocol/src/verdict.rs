//! The verdict: a deterministic function of the revealed measurements.

use crate::gates::{self, Evidence, Flag, Gain, GateResult, PPM};
use crate::genesis::{Genesis, Quorum};
use crate::ids::PeerId;
use crate::statistics::binomial_at_least;
use serde::{Deserialize, Serialize};

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every gate passed.
    Accepted,
    /// A gate failed; the entry says which.
    Refuted,
    /// Too few seats revealed a measurement.
    Inconclusive,
}

/// An estimate with its bounds, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub ppm: u64,
    /// Lower bound, one-sided at the network's α.
    pub low_ppm: u64,
    /// Upper bound, one-sided at the network's α.
    pub high_ppm: u64,
}

/// The ledger's word on a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Accepted, refuted or inconclusive.
    pub outcome: Outcome,
    /// Whether the recipe decodes exactly what its checkpoint says; lossless and lossy recipes
    /// are never ranked together.
    pub lossless: bool,
    /// Child speed over parent speed.
    pub ratio: Option<Estimate>,
    /// Perplexity of the parent on the seats' prompts, in millionths.
    pub perplexity_parent_ppm: Option<u64>,
    /// Perplexity of the child on the same prompts, in millionths.
    pub perplexity_child_ppm: Option<u64>,
    /// Perplexity of the child over the base checkpoint's on the same prompts, in millionths.
    pub perplexity_ratio_ppm: Option<u64>,
    /// KL(base || child) per timed token, in millionths of a nat, rounded up.
    pub kl_micronats: Option<u64>,
    /// Every gate with its numbers.
    pub gates: Vec<GateResult>,
    /// What looked impossible or evasive on some seat; refuses nothing.
    pub flags: Vec<Flag>,
    /// Whose measurements it rests on.
    pub attested_by: Vec<PeerId>,
    /// Probability that dishonest seats alone fill the quorum, at the share that the genesis
    /// assumes, in parts per thousand million.
    pub forged_quorum_ppb: u64,
}

/// Whether a seat's own pairs alone prove a gain above η, at the network's α and with the spread
/// between seats that the class is known for. On a claim without a gain an honest seat says so with
/// probability α.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn reports_gain(genesis: &Genesis, seat: Evidence<'_>) -> bool {
    let rules = &genesis.significance;
    gates::gain(genesis, &[seat]).is_some_and(|gain| {
        let (low, _) = gain.pooled.bounds(rules.alpha_ppm as f64 / PPM);
        low > libm::log1p(rules.eta_ppm as f64 / PPM)
    })
}

/// A float as whole millionths; saturates, and NaN becomes 0.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn to_ppm(value: f64) -> u64 {
    // A float-to-integer cast saturates and maps NaN to zero, which is what is wanted here.
    libm::round(value * PPM) as u64
}

/// The child's divergence from the base per timed token, rounded up, so that only an exact zero
/// is zero.
fn kl_micronats(seats: &[Evidence<'_>]) -> Option<u64> {
    let pairs = seats.iter().flat_map(Evidence::pairs);
    let total: u128 = pairs.map(|pair| u128::from(pair.child.kl_micronats)).sum();
    let tokens: u128 = seats.iter().map(|seat| u128::from(seat.child().decoded_tokens)).sum();
    (tokens > 0).then(|| u64::try_from(total.div_ceil(tokens)).ok()).flatten()
}

/// Decides a round of a committee of `size` on the revealed measurements.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn decide(genesis: &Genesis, size: Quorum, evidence: &[(PeerId, Evidence<'_>)]) -> Verdict {
    let attested_by = evidence.iter().map(|(peer, _)| *peer).collect();
    let dishonest = genesis.committee.assumed_dishonest_ppm as f64 / PPM;
    let forged = binomial_at_least(size.seats, size.quorum, dishonest);
    let mut verdict = Verdict {
        outcome: Outcome::Inconclusive,
        lossless: false,
        ratio: None,
        perplexity_parent_ppm: None,
        perplexity_child_ppm: None,
        perplexity_ratio_ppm: None,
        kl_micronats: None,
        gates: Vec::new(),
        flags: Vec::new(),
        attested_by,
        forged_quorum_ppb: to_ppm(forged * 1_000.0),
    };
    let seats: Vec<Evidence<'_>> = evidence.iter().map(|(_, seat)| *seat).collect();
    if seats.len() < usize::try_from(size.quorum).unwrap_or(usize::MAX) {
        return verdict;
    }

    let gain = gates::gain(genesis, &seats);
    verdict.gates = vec![
        gates::identity(&seats),
        gates::path(&seats),
        gates::quality(genesis, &seats),
        gates::reach(&seats),
        gates::shape(&seats),
        gates::physics(&seats),
        gates::speed(&genesis.significance, gain.as_ref()),
        gates::repeat(&seats),
    ];
    verdict.flags = gates::flags(&seats);
    verdict.lossless = verdict.gates.iter().any(|g| g.gate == gates::Gate::Identity && g.pass);
    verdict.ratio = gain.map(|Gain { pooled, .. }| {
        let (low, high) = pooled.bounds(genesis.significance.alpha_ppm as f64 / PPM);
        Estimate {
            ppm: to_ppm(libm::exp(pooled.mean)),
            low_ppm: to_ppm(libm::exp(low)),
            high_ppm: to_ppm(libm::exp(high)),
        }
    });
    verdict.perplexity_parent_ppm = gates::perplexity_parent(&seats).map(to_ppm);
    let (base, child) = (gates::perplexity_base(&seats), gates::perplexity_child(&seats));
    verdict.perplexity_child_ppm = child.map(to_ppm);
    verdict.perplexity_ratio_ppm = child.zip(base).map(|(child, base)| to_ppm(child / base));
    verdict.kl_micronats = kl_micronats(&seats);
    // Identity decides the track; a lossy recipe stands or falls by the quality gate.
    let accepted = verdict.gates.iter().all(|g| g.pass || g.gate == gates::Gate::Identity);
    verdict.outcome = if accepted { Outcome::Accepted } else { Outcome::Refuted };
    verdict
}
