//! The verdict: a deterministic function of the revealed measurements.

use crate::calibration::Calibration;
use crate::dissent::Dissent;
use crate::gates::{self, Evidence, Flag, Gain, Gate, GateResult, PPM, to_ppm};
use crate::genesis::{Genesis, Quorum};
use crate::ids::PeerId;
use crate::measurement::Environment;
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
    /// The quality is attested; too few of the seats are of the claim's hardware class to say
    /// anything about its speed.
    Pending,
    /// All seats together would refute it, a quorum of them would not: another committee measures.
    Contested,
}

impl Outcome {
    /// Whether a quorum of the claim's class measured its speed.
    #[must_use]
    pub fn has_speed(self) -> bool {
        matches!(self, Self::Accepted | Self::Refuted)
    }
}

/// The hardware class that a claim is about, with what its rounds have shown.
#[derive(Debug, Clone, Copy)]
pub struct SpeedClass<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is known of it.
    pub calibration: Calibration,
}

impl<'a> SpeedClass<'a> {
    /// A class of which nothing is known yet.
    #[must_use]
    pub fn unmeasured(name: &'a str) -> Self {
        Self { name, calibration: Calibration::default() }
    }

    /// Whether a seat may speak about the speed: its adapter is identified as one of the class, and
    /// its probes are those of the class.
    #[must_use]
    pub fn fits(&self, environment: &Environment) -> bool {
        environment.hardware_class == self.name && self.calibration.check(environment).is_ok()
    }
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
    /// Accepted, refuted or inconclusive; pending where too few seats of the class timed it, contested
    /// where a quorum of the seats says otherwise than all of them together.
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
    /// How many of them the speed rests on: those of the claim's hardware class.
    pub timed_by: usize,
    /// What looked impossible or evasive on some seat; refuses nothing.
    pub flags: Vec<Flag>,
    /// Whose measurements it rests on.
    pub attested_by: Vec<PeerId>,
    /// Seats whose measurements stand against it, and which another quorum did not bear out.
    pub dissent: Vec<Dissent>,
    /// Probability that dishonest seats alone fill the quorum, at the share that the genesis
    /// assumes, in parts per thousand million.
    pub forged_quorum_ppb: u64,
}

/// The bounds of what some seats' pairs alone say about the log ratio, at the network's α and with the
/// spread between seats that the class is known for; `None` with too few pairs.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn gain_bounds(
    genesis: &Genesis,
    class: &SpeedClass<'_>,
    seats: &[Evidence<'_>],
) -> Option<(f64, f64)> {
    let rules = &genesis.significance;
    let gain = gates::gain(rules, class.calibration.between(rules), seats)?;
    Some(gain.pooled.bounds(rules.alpha_ppm as f64 / PPM))
}

/// The child's divergence from the base per timed token, rounded up, so that only an exact zero
/// is zero.
fn kl_micronats(seats: &[Evidence<'_>]) -> Option<u64> {
    let pairs = seats.iter().flat_map(Evidence::pairs);
    let total: u128 = pairs.map(|pair| u128::from(pair.child.kl_micronats)).sum();
    let tokens: u128 = seats.iter().map(|seat| u128::from(seat.child().decoded_tokens)).sum();
    (tokens > 0).then(|| u64::try_from(total.div_ceil(tokens)).ok()).flatten()
}

/// Decides a round of a committee of `size` on the revealed measurements. All of them speak about the
/// quality, those of the claim's hardware class about the speed.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn decide(
    genesis: &Genesis,
    size: Quorum,
    class: &SpeedClass<'_>,
    evidence: &[(PeerId, Evidence<'_>)],
) -> Verdict {
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
        timed_by: 0,
        flags: Vec::new(),
        attested_by,
        dissent: Vec::new(),
        forged_quorum_ppb: to_ppm(forged * 1_000.0),
    };
    let seats: Vec<Evidence<'_>> = evidence.iter().map(|(_, seat)| *seat).collect();
    if seats.len() < usize::try_from(size.quorum).unwrap_or(usize::MAX) {
        return verdict;
    }

    let rules = &genesis.significance;
    let of_class = |seat: &&Evidence<'_>| class.fits(&seat.measurement.environment);
    let timed: Vec<Evidence<'_>> = seats.iter().filter(of_class).copied().collect();
    verdict.timed_by = timed.len();
    let has_speed = timed.len() >= usize::try_from(size.quorum).unwrap_or(usize::MAX);
    let gain =
        has_speed.then(|| gates::gain(rules, class.calibration.between(rules), &timed)).flatten();
    verdict.gates = vec![
        gates::identity(&seats),
        gates::path(&seats),
        gates::quality(genesis, &seats),
        gates::reach(&seats),
        gates::shape(&seats),
        gates::physics(class, &seats),
        match has_speed {
            true => gates::speed(rules, gain.as_ref()),
            false => gates::speed_pending(class.name, timed.len(), size.quorum),
        },
        gates::repeat(&seats),
    ];
    verdict.flags = gates::flags(class, &seats);
    verdict.lossless = verdict.gates.iter().any(|g| g.gate == Gate::Identity && g.pass);
    verdict.ratio = gain.map(|Gain { pooled, .. }| {
        let (low, high) = pooled.bounds(genesis.significance.alpha_ppm as f64 / PPM);
        Estimate {
            ppm: to_ppm(libm::exp(pooled.mean)),
            low_ppm: to_ppm(libm::exp(low)),
            high_ppm: to_ppm(libm::exp(high)),
        }
    });
    verdict.perplexity_parent_ppm = gates::perplexity_parent(&seats).map(to_ppm);
    verdict.perplexity_child_ppm = gates::perplexity_child(&seats).map(to_ppm);
    verdict.perplexity_ratio_ppm = gates::perplexity_to_base(&seats).map(to_ppm);
    verdict.kl_micronats = kl_micronats(&seats);
    verdict.outcome = outcome(&verdict.gates, has_speed);
    verdict
}

/// What the gates decide together. Identity decides the track only: a lossy recipe stands or falls by
/// the quality gate.
fn outcome(results: &[GateResult], has_speed: bool) -> Outcome {
    let failed = |gate: Gate| results.iter().any(|found| found.gate == gate && !found.pass);
    let others = results.iter().filter(|g| !matches!(g.gate, Gate::Identity | Gate::Speed));
    if !others.into_iter().all(|found| found.pass) {
        return Outcome::Refuted;
    }
    match (failed(Gate::Speed), has_speed) {
        (false, _) => Outcome::Accepted,
        (true, true) => Outcome::Refuted,
        (true, false) => Outcome::Pending,
    }
}
