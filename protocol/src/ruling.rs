//! Rulings: what a drawn committee says about a flag.
//!
//! A flag under one of the rules of [`Offence`] opens a ruling. Its seats run the rule's predicate over
//! what the flag names and each give one [`Ballot`]; as many equal ones as the quorum asks for decide.
//! The side that lost may have another, larger committee look at it once, whose word is final.
//! The predicates are no part of this crate: they read bodies and files that the ledger has not got.

use crate::draw::Candidate;
use crate::error::Reject;
use crate::genesis::Quorum;
use crate::ids::{Beacon, BlobHash, PeerId, RecordId};
use crate::post::Flag;
use crate::wire::{bytes32, field};
use assay_proto::v1;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A rule whose breach a committee can establish by running the same predicate over the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offence {
    /// A post asks its readers to go on where nobody can read along.
    OffChannel,
    /// A claim's recipe is nearly that of an earlier claim on which it does not build.
    Duplicate,
}

impl Offence {
    /// All of them in the order of their numbers, which begin with 1.
    pub const ALL: [Self; 2] = [Self::OffChannel, Self::Duplicate];

    /// The rule as flags name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OffChannel => "off-channel",
            Self::Duplicate => "duplicate",
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::OffChannel => 1,
            Self::Duplicate => 2,
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
}

impl Charge {
    /// The charge that a flag makes; none where no committee decides its rule.
    #[must_use]
    pub fn of(flag: &Flag) -> Option<Self> {
        let rule = Offence::ALL.into_iter().find(|rule| rule.word() == flag.rule)?;
        Some(Self { rule, subject: flag.subject, evidence: flag.evidence })
    }

    pub(crate) fn to_proto(self) -> v1::Charge {
        v1::Charge {
            rule: self.rule.number(),
            subject: self.subject.to_vec(),
            evidence: self.evidence.map(BlobHash::to_vec).unwrap_or_default(),
        }
    }

    pub(crate) fn from_proto(charge: &v1::Charge) -> Result<Self, Reject> {
        let rule = Offence::ALL.into_iter().find(|rule| rule.number() == charge.rule);
        let unknown = || field("charge.rule", format!("{} is no such rule", charge.rule));
        let evidence = match charge.evidence.as_slice() {
            [] => None,
            bytes => Some(BlobHash(bytes32("charge.evidence", bytes)?)),
        };
        Ok(Self {
            rule: rule.ok_or_else(unknown)?,
            subject: RecordId(bytes32("charge.subject", &charge.subject)?),
            evidence,
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
    /// The first hearing, and the appeal if there is one.
    pub hearings: Vec<Hearing>,
}

impl Ruling {
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
        let mut last = None;
        for decision in decided {
            if last.is_none() || decision != Decision::Undecided {
                last = Some(decision);
            }
        }
        last
    }

    /// Who loses by a decision, if anybody does.
    #[must_use]
    pub fn loser(&self, decision: Decision) -> Option<PeerId> {
        match decision {
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
    /// repeat another: otherwise a friend's charge with the wrong claim would protect it for ever.
    #[must_use]
    pub fn bars(&self, charge: &Charge) -> bool {
        let same = charge.rule != Offence::Duplicate || charge.evidence == self.charge.evidence;
        match (self.open_hearing(), self.decision()) {
            (Some(_), _) | (None, None | Some(Decision::Upheld)) => true,
            (None, Some(Decision::Dismissed)) => same,
            (None, Some(Decision::Undecided)) => false,
        }
    }
}
