//! Rulings: what a drawn committee or a measurement says about a flag.
//!
//! A flag under one of the rules of [`Offence`] opens a ruling. What a post or a recipe's files say is
//! heard: the seats of a [`Hearing`] run the rule's predicate over what the flag names and each give one
//! [`Ballot`]; as many equal ones as the quorum asks for decide. The side that lost may have another, larger
//! committee look at it once, whose word is final. Those predicates are no part of this crate: they read
//! bodies and files that the ledger has not got.
//!
//! What a machine says is measured instead, see [`Measured`]: a charge under `path` challenges the entry, and
//! what that round finds is the ruling; one under `physics` is a sum over what the ledger holds, which every
//! node does for itself, and it has the entry measured again.

use crate::draw::Candidate;
use crate::error::Reject;
use crate::genesis::Quorum;
use crate::ids::{Beacon, BlobHash, PeerId, RecordId};
use crate::post::Flag;
use crate::sighting::Sighting;
use crate::wire::{bytes32, field};
use assay_proto::v1;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A rule whose breach can be established by running the same predicate over the same bytes or on another
/// machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offence {
    /// A post asks its readers to go on where nobody can read along.
    OffChannel,
    /// A claim's recipe is nearly that of an earlier claim on which it does not build.
    Duplicate,
    /// An accepted recipe decodes otherwise than its own prefill, or emits what its logits do not choose.
    Path,
    /// An accepted entry is faster than the memory of its class, as the ledger knows it by now.
    Physics,
}

impl Offence {
    /// All of them in the order of their numbers, which begin with 1.
    pub const ALL: [Self; 4] = [Self::OffChannel, Self::Duplicate, Self::Path, Self::Physics];

    /// The rule that a flag names so.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.word() == word)
    }

    /// The rule as flags name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OffChannel => "off-channel",
            Self::Duplicate => "duplicate",
            Self::Path => "path",
            Self::Physics => "physics",
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::OffChannel => 1,
            Self::Duplicate => 2,
            Self::Path => 3,
            Self::Physics => 4,
        }
    }
}

/// Who is accused of what, as a flag's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charge {
    /// The rule said to be broken.
    pub rule: Offence,
    /// The post or claim that is said to break it.
    pub subject: RecordId,
    /// What shows it; for a duplicate the earlier claim.
    pub evidence: Option<BlobHash>,
    /// What the flagger saw, under the rules that a measurement decides.
    pub sighting: Option<Sighting>,
}

impl Charge {
    /// The charge that a flag makes; none where no committee decides its rule.
    #[must_use]
    pub fn of(flag: &Flag) -> Option<Self> {
        let rule = Offence::of(&flag.rule)?;
        let Flag { subject, evidence, sighting, .. } = *flag;
        Some(Self { rule, subject, evidence, sighting })
    }

    pub(crate) fn to_proto(self) -> v1::Charge {
        v1::Charge {
            rule: self.rule.number(),
            subject: self.subject.to_vec(),
            evidence: self.evidence.map(BlobHash::to_vec).unwrap_or_default(),
            sighting: self.sighting.map(Sighting::to_proto),
        }
    }

    pub(crate) fn from_proto(charge: &v1::Charge) -> Result<Self, Reject> {
        let rule = Offence::ALL.into_iter().find(|rule| rule.number() == charge.rule);
        let unknown = || field("charge.rule", format!("{} is no such rule", charge.rule));
        let evidence = match charge.evidence.as_slice() {
            [] => None,
            bytes => Some(BlobHash(bytes32("charge.evidence", bytes)?)),
        };
        let rule = rule.ok_or_else(unknown)?;
        Ok(Self {
            rule,
            subject: RecordId(bytes32("charge.subject", &charge.subject)?),
            evidence,
            sighting: Sighting::from_proto(Some(rule), charge.sighting)?,
        })
    }
}

/// What one seat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// The charge holds.
    Upheld,
    /// It does not.
    Dismissed,
    /// What it is about could not be had.
    Unable,
}

impl Judgement {
    /// All of them in the order of their numbers, which begin with 1.
    pub const ALL: [Self; 3] = [Self::Upheld, Self::Dismissed, Self::Unable];

    fn number(self) -> u32 {
        match self {
            Self::Upheld => 1,
            Self::Dismissed => 2,
            Self::Unable => 3,
        }
    }

    /// The judgement in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Upheld => "upheld",
            Self::Dismissed => "dismissed",
            Self::Unable => "unable",
        }
    }
}

/// A seat's word about a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ballot {
    /// The ruling: the flag's record.
    pub charge: RecordId,
    /// Which of its hearings, from 1.
    pub hearing: u32,
    /// What it found, and the digest of why.
    pub vote: Vote,
}

/// What a seat found, as the ledger keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The finding.
    pub finding: Judgement,
    /// Hash of the predicate's words, for whoever runs it again.
    pub digest: BlobHash,
}

impl Ballot {
    pub(crate) fn to_proto(self) -> v1::RulingBallot {
        v1::RulingBallot {
            charge: self.charge.to_vec(),
            hearing: self.hearing,
            finding: self.vote.finding.number(),
            digest: self.vote.digest.to_vec(),
        }
    }

    pub(crate) fn from_proto(ballot: &v1::RulingBallot) -> Result<Self, Reject> {
        if !(1..=HEARINGS_MAX).contains(&ballot.hearing) {
            return Err(field("hearing", format!("{}, not 1 or 2", ballot.hearing)));
        }
        let finding = Judgement::ALL.into_iter().find(|one| one.number() == ballot.finding);
        let unknown = || field("finding", format!("{} is no finding", ballot.finding));
        let digest = BlobHash(bytes32("digest", &ballot.digest)?);
        Ok(Self {
            charge: RecordId(bytes32("charge", &ballot.charge)?),
            hearing: ballot.hearing,
            vote: Vote { finding: finding.ok_or_else(unknown)?, digest },
        })
    }
}

/// "Let other seats look at it."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appeal {
    /// The ruling: the flag's record.
    pub charge: RecordId,
}

/// Hearings that a ruling has at most: the first and the appeal.
pub const HEARINGS_MAX: u32 = 2;

/// What a hearing decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The charge holds.
    Upheld,
    /// It does not.
    Dismissed,
    /// No quorum of seats found the same.
    Undecided,
}

impl Decision {
    /// The decision in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Upheld => "upheld",
            Self::Dismissed => "dismissed",
            Self::Undecided => "undecided",
        }
    }

    /// The finding of the seats that decided so.
    #[must_use]
    pub fn judgement(self) -> Option<Judgement> {
        match self {
            Self::Upheld => Some(Judgement::Upheld),
            Self::Dismissed => Some(Judgement::Dismissed),
            Self::Undecided => None,
        }
    }
}

/// One committee's look at a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hearing {
    /// The block that ordered the flag or the appeal. Who may be drawn is fixed with it.
    pub called_at: u64,
    /// Who appealed; none in the first hearing.
    pub appellant: Option<PeerId>,
    /// Who may be drawn, until the draw.
    pub candidates: Vec<Candidate>,
    /// Seats and quorum.
    pub size: Quorum,
    /// Randomness fixed two blocks after the call.
    pub beacon: Option<Beacon>,
    /// Who looks, in the order drawn.
    pub seats: Vec<PeerId>,
    /// When the seats' time is over; none before the draw.
    pub until_ms: Option<u64>,
    /// What the seats found.
    pub ballots: BTreeMap<PeerId, Vote>,
    /// What that decides; none while it is open.
    pub decision: Option<Decision>,
    /// The block that decided.
    pub decided_at: Option<u64>,
    /// Points of standing that the side which lost it lost by it: an appeal that succeeds gives them
    /// back.
    pub lost: u64,
    /// Points that seats lost for having found the opposite: an appeal that finds it too gives them back.
    pub seats_lost: BTreeMap<PeerId, u64>,
}

impl Hearing {
    pub(crate) fn called(
        called_at: u64,
        appellant: Option<PeerId>,
        size: Quorum,
        candidates: Vec<Candidate>,
    ) -> Self {
        Self {
            called_at,
            appellant,
            candidates,
            size,
            beacon: None,
            seats: Vec::new(),
            until_ms: None,
            ballots: BTreeMap::new(),
            decision: None,
            decided_at: None,
            lost: 0,
            seats_lost: BTreeMap::new(),
        }
    }

    /// Whether it waits for anything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.decision.is_none()
    }

    /// Whether nothing said later can change what it decides at `time_ms`: all seats gave their ballots,
    /// their time is over, or there are too few of them.
    pub(crate) fn is_over(&self, time_ms: u64) -> bool {
        let Some(until_ms) = self.until_ms else { return false };
        let all = self.ballots.len() >= self.seats.len();
        all || time_ms >= until_ms || self.seats.len() < self.quorum()
    }

    /// What its ballots decide.
    pub(crate) fn outcome(&self) -> Decision {
        let reached = |decision: &Decision| {
            let alike = |vote: &&Vote| Some(vote.finding) == decision.judgement();
            self.ballots.values().filter(alike).count() >= self.quorum()
        };
        let decisions = [Decision::Upheld, Decision::Dismissed];
        // A quorum of half the seats or fewer could be reached twice: then nothing is decided.
        let mut found = decisions.into_iter().filter(reached);
        match (found.next(), found.next()) {
            (Some(decision), None) => decision,
            _ => Decision::Undecided,
        }
    }

    fn quorum(&self) -> usize {
        usize::try_from(self.size.quorum).unwrap_or(usize::MAX)
    }
}

/// How a measurement decides a charge, without any ballot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The round of the claim that the charge opened, and of several, because the first divided its
    /// seats, the one that decided.
    pub round: u32,
    /// What was decided: of `path` by the round, of `physics` with the flag; none while the round is open.
    pub decision: Option<Decision>,
    /// The block that decided.
    pub decided_at: Option<u64>,
}

/// A charge and everything that the ledger knows about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// The flag's record.
    pub id: RecordId,
    /// Who flagged.
    pub by: PeerId,
    /// What for.
    pub charge: Charge,
    /// Who answers for the subject.
    pub accused: PeerId,
    /// Height of the block that ordered the flag.
    pub opened_at: u64,
    /// The first hearing, and the appeal if there is one; none where a measurement decides.
    pub hearings: Vec<Hearing>,
    /// The measurement that decides instead.
    pub measured: Option<Measured>,
}

impl Ruling {
    /// Whether it waits for anything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let is_measuring = self.measured.is_some_and(|measured| measured.decision.is_none());
        is_measuring || self.open_hearing().is_some()
    }

    /// The hearing that waits for something, with its number.
    #[must_use]
    pub fn open_hearing(&self) -> Option<(u32, &Hearing)> {
        (1..).zip(&self.hearings).find(|(_, hearing)| hearing.is_open())
    }

    /// One hearing by its number, from 1.
    #[must_use]
    pub fn hearing(&self, number: u32) -> Option<&Hearing> {
        self.hearings.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// What stands: the last decision, but an appeal that decided nothing leaves the first as it is. None
    /// while nothing was decided yet.
    #[must_use]
    pub fn decision(&self) -> Option<Decision> {
        let decided = self.hearings.iter().filter_map(|hearing| hearing.decision);
        let mut last = self.measured.and_then(|measured| measured.decision);
        for decision in decided {
            if last.is_none() || decision != Decision::Undecided {
                last = Some(decision);
            }
        }
        last
    }

    /// Who loses by a decision, if anybody does. Where a measurement decides, what it costs whom is said by
    /// the rules of challenges and audits, and the ruling takes nothing.
    #[must_use]
    pub fn loser(&self, decision: Decision) -> Option<PeerId> {
        match decision {
            _ if self.measured.is_some() => None,
            Decision::Upheld => Some(self.accused),
            Decision::Dismissed => Some(self.by),
            Decision::Undecided => None,
        }
    }

    /// How it stands in one word: `open`, `upheld`, `dismissed`, `undecided` or `appealed`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self.open_hearing(), self.decision()) {
            (Some((1, _)), _) | (None, None) => "open",
            (Some(_), _) => "appealed",
            (None, Some(decision)) => decision.word(),
        }
    }

    /// Whether it stands in the way of another charge about its subject: while it is open, when it was
    /// upheld, and when the same was dismissed. A duplicate that was said to repeat one claim may still
    /// repeat another, and a path that one round found to be whole may break on other prompts: otherwise a
    /// friend's charge would protect a claim for ever. How often an entry is challenged has other bounds.
    #[must_use]
    pub fn bars(&self, charge: &Charge) -> bool {
        let is_another = match charge.rule {
            Offence::Duplicate => charge.evidence != self.charge.evidence,
            Offence::Path => true,
            Offence::OffChannel | Offence::Physics => false,
        };
        match self.decision() {
            _ if self.is_open() => true,
            None | Some(Decision::Upheld) => true,
            Some(Decision::Dismissed) => !is_another,
            Some(Decision::Undecided) => false,
        }
    }
}
