//! The numbers that the members may change by vote, and how.
//!
//! The list is closed. What names the network, what a key is, and how votes are counted is not on it; nor
//! is the length of an epoch, by which heights are numbered. A value is held against the checks of
//! [`Genesis::check`], together with all other numbers in force.

use crate::error::Reject;
use crate::genesis::{Genesis, GenesisError};
use crate::ids::RecordId;
use crate::record::SUMMARY_BYTES_MAX;
use crate::wire::{bytes32, field};
use assay_proto::v1;
use serde::{Deserialize, Serialize};

/// What a parameter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Things.
    Count,
    /// Milliseconds.
    Milliseconds,
    /// Millionths.
    Millionths,
    /// Millionths of a nat.
    Micronats,
    /// Points of standing.
    Points,
    /// Blocks.
    Blocks,
}

impl Unit {
    /// The unit for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Milliseconds => "ms",
            Self::Millionths => "millionths",
            Self::Micronats => "millionths of a nat",
            Self::Points => "points",
            Self::Blocks => "blocks",
        }
    }
}

/// One number in a set.
enum Place<'a> {
    /// Of 32 bits.
    Short(&'a mut u32),
    /// Of 64 bits.
    Long(&'a mut u64),
}

/// Writes the list once: the parameter, its number on the wire, its path in the genesis, the width of its
/// field, its unit and what it does.
macro_rules! parameters {
    ($($variant:ident = $number:literal, $width:ident $($field:ident).+, $path:literal, $unit:ident, $about:literal;)+) => {
        /// A number that the members may change by vote.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Parameter {
            $(#[doc = $about] #[serde(rename = $path)] $variant,)+
        }

        impl Parameter {
            /// All of them, by rising number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its number on the wire.
            #[must_use]
            pub fn number(self) -> u32 {
                match self { $(Self::$variant => $number,)+ }
            }

            /// Its path in the genesis file.
            #[must_use]
            pub fn path(self) -> &'static str {
                match self { $(Self::$variant => $path,)+ }
            }

            /// What it counts.
            #[must_use]
            pub fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit,)+ }
            }

            /// What it does, for people.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }

            /// Its value in a set.
            #[must_use]
            pub fn value(self, set: &Genesis) -> u64 {
                match self { $(Self::$variant => u64::from(set.$($field).+),)+ }
            }

            fn place(self, set: &mut Genesis) -> Place<'_> {
                match self { $(Self::$variant => Place::$width(&mut set.$($field).+),)+ }
            }
        }
    };
}

parameters! {
    KlMax = 1, Long challenge.kl_max_micronats, "challenge.kl_max_micronats", Micronats,
        "Largest mean KL(base || recipe) per timed token.";
    AgreementMin = 2, Long challenge.agreement_min_ppm, "challenge.agreement_min_ppm", Millionths,
        "Smallest share of timed tokens on which recipe and base agree.";
    PerplexityRatioMax = 3, Long challenge.perplexity_ratio_max_ppm,
        "challenge.perplexity_ratio_max_ppm", Millionths, "Largest perplexity ratio of recipe to base.";
    Seats = 4, Short committee.seats, "committee.seats", Count, "Seats of a first committee.";
    Quorum = 5, Short committee.quorum, "committee.quorum", Count,
        "Reveals that the verdict of a first committee needs.";
    Reserves = 6, Short committee.reserves, "committee.reserves", Count,
        "Peers that step in for silent seats.";
    FrontierSeats = 7, Short committee.frontier.seats, "committee.frontier.seats", Count,
        "Seats of a committee that confirms a leader of its track.";
    FrontierQuorum = 8, Short committee.frontier.quorum, "committee.frontier.quorum", Count,
        "Reveals that the verdict of such a committee needs.";
    SeatsMax = 9, Short committee.seats_max, "committee.seats_max", Count,
        "Most seats of any committee.";
    SealMs = 10, Long committee.seal_ms, "committee.seal_ms", Milliseconds,
        "Time to seal, from the draw.";
    RevealMs = 11, Long committee.reveal_ms, "committee.reveal_ms", Milliseconds,
        "Time to reveal, from the last seal.";
    MeasuringMax = 12, Short committee.measuring_max, "committee.measuring_max", Count,
        "Claims measured at once.";
    DocketMax = 13, Short committee.docket_max, "committee.docket_max", Count,
        "Claims that may wait, measured ones included.";
    OpenPerOperator = 14, Short committee.open_per_operator, "committee.open_per_operator", Count,
        "Claims of one operator that may wait.";
    AuditShare = 15, Long committee.audit_ppm, "committee.audit_ppm", Millionths,
        "Probability that an entry causes another to be measured again.";
    NullShare = 16, Long committee.null_ppm, "committee.null_ppm", Millionths,
        "Null claims that the members make by lot for every entry.";
    Pairs = 17, Short measurement.pairs, "measurement.pairs", Count, "Most pairs a seat; even.";
    PairsMin = 18, Short measurement.pairs_min, "measurement.pairs_min", Count,
        "Fewest pairs a seat; even.";
    Eta = 19, Long significance.eta_ppm, "significance.eta_ppm", Millionths,
        "Gain that the lower bound of a claim's ratio must exceed.";
    Gain = 20, Long significance.gain_ppm, "significance.gain_ppm", Millionths,
        "True gain that nine of ten claims are to be found with: pairs are planned for it.";
    VouchesPerEpoch = 21, Short membership.vouches_per_epoch, "membership.vouches_per_epoch", Count,
        "Vouches that a member has in an epoch.";
    VouchStandingMin = 22, Short membership.vouch_standing_min, "membership.vouch_standing_min", Points,
        "Standing that vouching needs.";
    ProbationRounds = 23, Short membership.probation_rounds, "membership.probation_rounds", Count,
        "Measurements in a row that must agree before probation ends.";
    GainPerEpochMax = 24, Short membership.gain_per_epoch_max, "membership.gain_per_epoch_max", Points,
        "Most standing that a peer gains in an epoch.";
    SilentBlocks = 25, Long membership.silent_blocks, "membership.silent_blocks", Blocks,
        "Blocks in which a validator proposes none before its place goes to somebody else.";
}

impl Parameter {
    /// The parameter with this path, or with this last part of a path where only one has it.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        if let Some(found) = Self::ALL.iter().find(|one| one.path() == text) {
            return Some(*found);
        }
        let ends = |one: &&Self| one.path().rsplit('.').next() == Some(text);
        let mut found = Self::ALL.iter().filter(ends);
        match (found.next(), found.next()) {
            (Some(one), None) => Some(*one),
            _ => None,
        }
    }

    /// A set with this parameter at another value, if all its numbers make a working network.
    ///
    /// # Errors
    ///
    /// [`GenesisError`] with the first number that does not.
    pub fn set(self, set: &Genesis, value: u64) -> Result<Genesis, GenesisError> {
        let mut changed = set.clone();
        match self.place(&mut changed) {
            Place::Long(place) => *place = value,
            Place::Short(place) => {
                let reason = "at most 4294967295";
                let too_large = |_| GenesisError::Field { field: self.path(), reason };
                *place = u32::try_from(value).map_err(too_large)?;
            }
        }
        changed.check()?;
        Ok(changed)
    }
}

/// "Let this parameter be so much."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What is to change.
    pub parameter: Parameter,
    /// Its value afterwards.
    pub value: u64,
    /// Why, in one line for people.
    pub why: String,
    /// The epoch in which it counts, so that an old one cannot be replayed.
    pub epoch: u64,
}

impl Proposal {
    pub(crate) fn to_proto(&self) -> v1::Proposal {
        v1::Proposal {
            parameter: self.parameter.number(),
            value: self.value,
            why: self.why.clone(),
            epoch: self.epoch,
        }
    }

    pub(crate) fn from_proto(proposal: v1::Proposal) -> Result<Self, Reject> {
        let v1::Proposal { parameter, value, why, epoch } = proposal;
        let found = Parameter::ALL.iter().find(|one| one.number() == parameter);
        let unknown = || field("parameter", format!("{parameter} is none that can be changed"));
        let parameter = *found.ok_or_else(unknown)?;
        let plain = !why.chars().any(char::is_control) && !why.trim().is_empty();
        if !plain || why.len() > SUMMARY_BYTES_MAX {
            let reason = format!("1 to {SUMMARY_BYTES_MAX} bytes without control characters");
            return Err(field("why", reason));
        }
        Ok(Self { parameter, value, why, epoch })
    }
}

/// An operator's word on a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    /// The proposal's record.
    pub proposal: RecordId,
    /// Whether it agrees.
    pub yes: bool,
}

impl Voice {
    pub(crate) fn to_proto(self) -> v1::Voice {
        v1::Voice { proposal: self.proposal.to_vec(), yes: self.yes }
    }

    pub(crate) fn from_proto(voice: &v1::Voice) -> Result<Self, Reject> {
        Ok(Self { proposal: RecordId(bytes32("proposal", &voice.proposal)?), yes: voice.yes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::genesis;
    use std::collections::BTreeSet;

    #[test]
    fn every_parameter_is_the_field_of_the_genesis_that_its_path_names() {
        let start = genesis();
        let json = serde_json::to_value(&start).unwrap();
        for parameter in Parameter::ALL {
            let pointer = format!("/{}", parameter.path().replace('.', "/"));
            assert_eq!(json.pointer(&pointer).unwrap(), parameter.value(&start), "{pointer}");
            assert_eq!(serde_json::to_value(parameter).unwrap(), parameter.path());
            let mut changed = start.clone();
            match parameter.place(&mut changed) {
                Place::Short(place) => *place += 2,
                Place::Long(place) => *place += 2,
            }
            let value = parameter.value(&changed);
            assert_eq!(value, parameter.value(&start) + 2, "{pointer}");
            let json = serde_json::to_value(&changed).unwrap();
            assert_eq!(json.pointer(&pointer).unwrap(), value);
            if let Ok(set) = parameter.set(&start, value) {
                assert_eq!(set, changed);
            }
        }
        let numbers: Vec<u32> = Parameter::ALL.iter().map(|one| one.number()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
        let paths: BTreeSet<&str> = Parameter::ALL.iter().map(|one| one.path()).collect();
        assert_eq!(paths.len(), numbers.len());
    }

    #[test]
    fn a_value_is_held_against_the_checks_of_the_genesis() {
        let start = genesis();
        let refusal = |parameter: Parameter, value| parameter.set(&start, value).unwrap_err();
        let text = refusal(Parameter::Quorum, 4).to_string();
        assert_eq!(text, "genesis field committee.quorum: 1 to committee.seats");
        assert!(refusal(Parameter::Seats, 2).to_string().contains("committee.quorum"));
        assert!(refusal(Parameter::Gain, 9_999).to_string().contains("significance.gain_ppm"));
        assert!(refusal(Parameter::Pairs, 9).to_string().contains("even"));
        assert!(refusal(Parameter::Seats, u64::MAX).to_string().contains("4294967295"));
        let found = Parameter::Eta.set(&start, 20_000).unwrap();
        assert_eq!(found.significance.eta_ppm, 20_000);
    }

    #[test]
    fn a_parameter_is_found_by_its_path_or_by_a_name_of_its_own() {
        assert_eq!(Parameter::named("significance.eta_ppm"), Some(Parameter::Eta));
        assert_eq!(Parameter::named("eta_ppm"), Some(Parameter::Eta));
        assert_eq!(Parameter::named("seats"), None, "two have it");
        assert_eq!(Parameter::named("committee.seats"), Some(Parameter::Seats));
        assert_eq!(Parameter::named("voting.window_ms"), None);
    }
}
