//! Standing: a peer's record of useful, honest work, as an integer that a person can add up.
//!
//! Standing is the start value plus the points of every event. What an event is worth is the table
//! of [`Rule::delta`]; what it was worth in fact can be less, because standing never falls below 1
//! while the key is a member, and because gains are capped per epoch. A [`Tally`] keeps both the
//! number of events and the points that counted, so that start + Σ points is the standing exactly.
//!
//! No good conduct buys a trick: [`Rule::is_misbehaviour`] costs more than an epoch can bring
//! ([`GAIN_PER_EPOCH_LIMIT`] bounds what a genesis may allow), stops all gains for a whole epoch
//! after it, and a seat that was caught is not drawn in that time.

use crate::calibration::Calibration;
use crate::genesis::SignificanceRules;
use crate::ids::ClaimId;
use crate::statistics::median;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Most points per epoch that a genesis may let a peer gain: less than any misbehaviour costs.
pub const GAIN_PER_EPOCH_LIMIT: u32 = 4;
/// Events of a peer that the state remembers one by one, the latest.
pub const EVENTS_MAX: usize = 16;

/// Why standing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A seat's measurement lies within the quorum's range.
    InRange,
    /// A seat's measurement lies further off than noise explains.
    Outlier,
    /// A seat counted breaks of a gate that two quorums did not find.
    Contradicted,
    /// A seat did not show a measurement although the claim was decided.
    NoShow,
    /// A seat found a gain where there is none: it copied or guessed.
    NullTrap,
    /// A challenge that the new measurement did not bear out.
    FailedChallenge,
    /// An entry of this author was debunked for what it is, and its author had not told of it.
    Debunked,
    /// A key that this member vouched for was caught.
    VoucheeCaught,
    /// A key that this member vouched for was ended.
    VoucheeEnded,
    /// The key contradicted itself and is ended.
    Ended,
    /// A spec that a confirmed claim of somebody else followed and bore out.
    CitedSpec,
    /// A part in a relay that ended in a confirmed claim: built, tried, diagnosed or shipped.
    Relayed,
    /// A drawn seat found about a flag what the quorum found.
    Judged,
    /// A drawn seat found about a flag the opposite of what stands.
    Misjudged,
    /// What this peer said or claimed breaks a rule, as a committee found.
    RuledAgainst,
    /// A flag that a committee dismissed.
    FalseFlag,
    /// An appeal against a ruling that stood.
    VainAppeal,
    /// Points that an appeal gave back.
    RulingReversed,
}

impl Rule {
    /// All rules, in the order in which they are listed for people.
    pub const ALL: [Self; 18] = [
        Self::InRange,
        Self::CitedSpec,
        Self::Relayed,
        Self::Judged,
        Self::RulingReversed,
        Self::Outlier,
        Self::Contradicted,
        Self::NoShow,
        Self::NullTrap,
        Self::FailedChallenge,
        Self::Debunked,
        Self::Misjudged,
        Self::RuledAgainst,
        Self::FalseFlag,
        Self::VainAppeal,
        Self::VoucheeCaught,
        Self::VoucheeEnded,
        Self::Ended,
    ];

    /// What an event is worth before floor and cap; `None` takes everything.
    ///
    /// Absence costs what attendance brings, so that coming and going by turns gains nothing. An
    /// outlier costs twice that, so that a coin-tossing seat loses, and a break that nobody else finds
    /// three times that, because it cost another committee's time. A caught seat loses more than
    /// any epoch brings; whoever vouched answers with half of it, and with all of it when the key
    /// had to be ended. A failed challenge costs the measurements it took a little. An
    /// entry that turns out to be another recipe than it was accepted for costs what an epoch brings and
    /// more, unless its author was the first to say so. A ruling costs the side that lost it somewhat less
    /// than that, and a seat that judged against what stands as much as an outlier; what an appeal gives
    /// back is what was taken, see [`Account::give_back`].
    #[must_use]
    pub fn delta(self) -> Option<i64> {
        match self {
            Self::RulingReversed => Some(0),
            Self::InRange | Self::CitedSpec | Self::Relayed | Self::Judged => Some(1),
            Self::Outlier | Self::Misjudged | Self::FalseFlag | Self::VainAppeal => Some(-2),
            Self::Contradicted | Self::RuledAgainst => Some(-3),
            Self::NoShow | Self::FailedChallenge => Some(-1),
            Self::NullTrap | Self::VoucheeEnded => Some(-10),
            Self::VoucheeCaught | Self::Debunked => Some(-5),
            Self::Ended => None,
        }
    }

    /// Whether the rule punishes dishonesty rather than bad luck.
    #[must_use]
    pub fn is_misbehaviour(self) -> bool {
        matches!(self, Self::NullTrap | Self::VoucheeCaught | Self::VoucheeEnded | Self::Ended)
    }

    /// The rule in a few words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::InRange => "measured within the quorum's range",
            Self::Outlier => "measured further off than noise explains",
            Self::Contradicted => "counted a break that two quorums did not find",
            Self::NoShow => "held a seat and showed nothing",
            Self::NullTrap => "found a gain in a null claim",
            Self::FailedChallenge => "challenged an entry that stood",
            Self::Debunked => "its entry was debunked for what it is, untold",
            Self::VoucheeCaught => "vouched for a key that was caught",
            Self::VoucheeEnded => "vouched for a key that was ended",
            Self::Ended => "contradicted itself: key ended",
            Self::CitedSpec => "wrote a spec that a confirmed claim bore out",
            Self::Relayed => "had a part in a relay that ended in a confirmed claim",
            Self::Judged => "judged a flag as its quorum did",
            Self::Misjudged => "judged a flag otherwise than was decided",
            Self::RuledAgainst => "a committee upheld a flag against it",
            Self::FalseFlag => "raised a flag that a committee dismissed",
            Self::VainAppeal => "appealed against a ruling that stood",
            Self::RulingReversed => "was given back what a reversed ruling took",
        }
    }
}

/// How many standard deviations from the middle of its round a seat's mean may lie. Means of a
/// dozen pairs have heavier tails than the normal distribution and the middle is itself an
/// estimate; five leaves an honest seat less than one chance in a thousand of being called an
/// outlier.
pub const OUTLIER_SIGMAS: f64 = 5.0;
/// How many times the noise of its round a seat's own pairs may scatter. A dozen normal pairs scatter
/// twice as widely as they should less than once in a million; machines of one class differ as well.
pub const NOISE_FACTOR_MAX: f64 = 4.0;
/// Scatter that clocks have in any case.
const SIGMA_LEAST: f64 = 0.005;

/// How a seat's measurement lies among those of its round. Logarithms of child over parent speed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SeatFit {
    /// Mean log ratio of its pairs.
    pub mean: f64,
    /// Standard deviation of its pairs.
    pub sigma: f64,
    /// Pairs.
    pub pairs: usize,
    /// Median of all seats' σ, or the class's if that is more: what a pair's noise is taken to be. Not the seat's own, which would let a
    /// seat widen what it is judged by.
    pub noise: f64,
    /// Median of all seats' means. The median and not the pooled mean, because an outlier among
    /// three seats pulls the mean a third of the way and would make outliers of the honest.
    pub middle: f64,
    /// Largest distance from the middle that noise explains: [`OUTLIER_SIGMAS`] · √(τ² + noise²/n),
    /// with τ as it was known before the round and not as these seats show it, which an outlier
    /// inflates.
    pub reach: f64,
    /// Whether the mean lies within that reach, and the seat's own σ within [`NOISE_FACTOR_MAX`] of the
    /// noise.
    pub in_range: bool,
}

/// Where the seats of a round lie together: what each of them is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Middle {
    /// Median of the seats' means.
    pub mean: f64,
    /// Median of the seats' σ, or what the class is known for if that is more.
    pub noise: f64,
    /// Standard deviation between seats of the class, as known before the round.
    pub tau: f64,
}

impl Middle {
    /// Of seats with these log ratios, of whose class so much is known; `None` where none has any.
    #[must_use]
    pub fn of<'a>(
        class: &Calibration,
        rules: &SignificanceRules,
        seats: impl IntoIterator<Item = &'a [f64]>,
    ) -> Option<Self> {
        let (means, sigmas): (Vec<f64>, Vec<f64>) = seats.into_iter().filter_map(moments).unzip();
        // A few pairs may happen to lie close together; the class is as noisy as it was known to be.
        let noise = median(sigmas)?.max(class.sigma().unwrap_or(SIGMA_LEAST)).max(SIGMA_LEAST);
        Some(Self { mean: median(means)?, noise, tau: class.between(rules).tau })
    }

    /// How log ratios lie against it; `None` without any.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn place(&self, logs: &[f64]) -> Option<SeatFit> {
        let Self { mean: middle, noise, tau } = *self;
        let (mean, sigma) = moments(logs)?;
        let pairs = logs.len();
        let reach = OUTLIER_SIGMAS * libm::sqrt(tau * tau + noise * noise / pairs as f64);
        let in_range = libm::fabs(mean - middle) <= reach
            && sigma <= NOISE_FACTOR_MAX * noise.max(SIGMA_LEAST);
        Some(SeatFit { mean, sigma, pairs, noise, middle, reach, in_range })
    }
}

/// Mean and standard deviation; `None` without values.
#[allow(clippy::cast_precision_loss)]
fn moments(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    Some((mean, libm::sqrt(squares / (n - 1.0).max(1.0))))
}

/// When and over what something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occasion {
    /// Height of the block.
    pub height: u64,
    /// The claim it was about, if any.
    pub claim: Option<ClaimId>,
    /// The round of the claim, if any.
    pub round: Option<u32>,
}

/// One change of standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingEvent {
    /// When and over what.
    #[serde(flatten)]
    pub occasion: Occasion,
    /// Why.
    pub rule: Rule,
    /// The points that counted, after floor and cap.
    pub delta: i64,
}

/// Events of one rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The points that counted.
    pub points: i64,
}

/// The numbers that a genesis sets for standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// Most points that a peer gains in an epoch.
    pub gain_per_epoch: u32,
}

/// One peer's standing with everything that it is derived from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    start: u64,
    tallies: BTreeMap<Rule, Tally>,
    recent: VecDeque<StandingEvent>,
    epoch: u64,
    gained: u32,
    /// Height until which nothing is gained, after misbehaviour.
    frozen_until: u64,
    /// Height until which the peer is not drawn, after being caught.
    suspended_until: u64,
    ended: bool,
}

impl Account {
    /// A fresh account; standing starts at 1 at least.
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self {
            start: start.max(1),
            tallies: BTreeMap::new(),
            recent: VecDeque::new(),
            epoch: 0,
            gained: 0,
            frozen_until: 0,
            suspended_until: 0,
            ended: false,
        }
    }

    /// What the account started from.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Start plus the points of every rule.
    #[must_use]
    pub fn standing(&self) -> u64 {
        let points: i64 = self.tallies.values().map(|tally| tally.points).sum();
        self.start.saturating_add_signed(points)
    }

    /// Events and points by rule; rules without events are left out.
    #[must_use]
    pub fn tallies(&self) -> &BTreeMap<Rule, Tally> {
        &self.tallies
    }

    /// The latest events, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &StandingEvent> {
        self.recent.iter()
    }

    /// Whether the peer is kept from being drawn at `height`.
    #[must_use]
    pub fn is_suspended(&self, height: u64) -> bool {
        self.ended || height < self.suspended_until
    }

    /// The height from which the peer may be drawn again, if it is suspended at `height`.
    #[must_use]
    pub fn suspended_until(&self, height: u64) -> Option<u64> {
        (height < self.suspended_until).then_some(self.suspended_until)
    }

    /// Books one event and returns the points that counted.
    pub fn book(&mut self, rule: Rule, occasion: Occasion, limits: Limits) -> i64 {
        let epoch = occasion.height.checked_div(limits.epoch_blocks).unwrap_or(0);
        if epoch != self.epoch {
            self.epoch = epoch;
            self.gained = 0;
        }
        let standing = i64::try_from(self.standing()).unwrap_or(i64::MAX);
        let delta = match rule.delta() {
            _ if self.ended => 0,
            None => -standing,
            Some(loss) if loss < 0 => loss.max(1 - standing),
            Some(_) if occasion.height < self.frozen_until => 0,
            Some(gain) => gain.min(i64::from(limits.gain_per_epoch.saturating_sub(self.gained))),
        };
        if let Ok(gain) = u32::try_from(delta) {
            self.gained = self.gained.saturating_add(gain);
        }
        if rule.is_misbehaviour() {
            let until = occasion.height.saturating_add(limits.epoch_blocks);
            self.frozen_until = until;
            if rule == Rule::NullTrap {
                self.suspended_until = until;
            }
        }
        self.ended |= rule == Rule::Ended;
        self.note(rule, delta, occasion);
        delta
    }

    /// Gives back what a ruling took that was reversed; no gain in the sense of the bound on gains.
    pub fn give_back(&mut self, points: u64, occasion: Occasion) {
        let points = if self.ended { 0 } else { points };
        self.note(Rule::RulingReversed, i64::try_from(points).unwrap_or(i64::MAX), occasion);
    }

    fn note(&mut self, rule: Rule, delta: i64, occasion: Occasion) {
        let tally = self.tallies.entry(rule).or_default();
        tally.count = tally.count.saturating_add(1);
        tally.points = tally.points.saturating_add(delta);
        if self.recent.len() >= EVENTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(StandingEvent { occasion, rule, delta });
    }
}

#[cfg(test)]
mod tests;
