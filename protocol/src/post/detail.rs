//! What posts say for programs, by kind.

use super::body::{filled, line};
use super::{Bound, CHANNEL_BYTES_MAX, Kind, RATIO_PPM_MAX, TITLE_BYTES_MAX, Table};
use crate::error::Reject;
use crate::ids::{BlobHash, ClaimId, RecordId};
use crate::record::is_class_name;
use crate::ruling::Offence;
use crate::sighting::Sighting;
use crate::wire::{bytes32, field};
use assay_proto::v1;
use serde::{Deserialize, Serialize};

/// Most levers that a plan or dead end names.
pub const LEVERS_MAX: usize = 8;
/// Most components of a spec.
pub const PARTS_MAX: usize = 32;
/// Most diagnostic codes.
pub const CODES_MAX: usize = 16;
/// Longest note inside a detail, in bytes.
pub const NOTE_BYTES_MAX: usize = 400;
/// Longest name of a component, in bytes.
const PART_BYTES_MAX: usize = 48;

/// Whether a text can name a channel, a lever or a rule: 1 to 32 lower-case letters, digits and
/// dashes.
#[must_use]
pub fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=CHANNEL_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// What a post says for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// See [`Kind::Plan`].
    Plan(Plan),
    /// See [`Kind::Result`].
    Result(Trial),
    /// See [`Kind::Spec`].
    Spec(Spec),
    /// See [`Kind::Checkpoint`].
    Checkpoint(BuiltCheckpoint),
    /// See [`Kind::Attempt`].
    Attempt(Attempt),
    /// See [`Kind::Diagnosis`].
    Diagnosis(Diagnosis),
    /// See [`Kind::Playbook`].
    Playbook(Playbook),
    /// See [`Kind::DeadEnd`].
    DeadEnd(DeadEnd),
    /// See [`Kind::Flag`].
    Flag(Flag),
    /// See [`Kind::Endorsement`].
    Endorsement(Endorsement),
    /// See [`Kind::Limit`].
    Limit(Limit),
}

/// What the author is about to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The claim that it starts from; none means the base recipe.
    #[serde(default)]
    pub parent: Option<ClaimId>,
    /// What it turns, in words.
    pub levers: Vec<String>,
}

/// What came out of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The claim made of it, if one was.
    #[serde(default)]
    pub claim: Option<ClaimId>,
    /// Child speed over parent speed as the author measured it, in millionths.
    pub ratio_ppm: u64,
    /// Where.
    pub hardware_class: String,
}

/// Byte-math behind a forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The model, in one line.
    pub model: String,
    /// What is read per token, by component.
    pub parts: Vec<SpecPart>,
    /// Memory bandwidth of the class, in MB/s.
    pub bandwidth_mb_s: u64,
    /// What is to be done.
    pub change: String,
    /// What would decide it.
    pub experiment: String,
}

/// One component's bytes per token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecPart {
    /// Its name.
    pub name: String,
    /// As it is.
    pub bytes_before: u64,
    /// After the change.
    pub bytes_after: u64,
}

impl Spec {
    /// Bytes per token as it is and after the change.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        self.parts.iter().fold((0, 0), |(before, after), part| {
            (before.saturating_add(part.bytes_before), after.saturating_add(part.bytes_after))
        })
    }
}

/// A checkpoint that the author made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltCheckpoint {
    /// Its manifest.
    pub manifest: BlobHash,
    /// The manifest of what it was made from.
    #[serde(default)]
    pub made_from: Option<BlobHash>,
    /// How, in one line.
    pub scheme: String,
}

/// A try at running a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// Its manifest.
    pub checkpoint: BlobHash,
    /// Whether it ran.
    pub ran: bool,
    /// The first line of what went wrong.
    #[serde(default)]
    pub error: String,
    /// The post that says that the checkpoint was built.
    #[serde(default)]
    pub built: Option<RecordId>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    /// The attempt's record.
    pub attempt: RecordId,
    /// Codes of `assay model check`.
    pub codes: Vec<String>,
    /// The manifest of a corrected checkpoint.
    #[serde(default)]
    pub corrected: Option<BlobHash>,
}

/// A knowledge article; the words are the post's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    /// The revision before this one; none is the first.
    #[serde(default)]
    pub revises: Option<RecordId>,
    /// What programs may look up in it.
    #[serde(default)]
    pub table: Option<Table>,
}

/// What does not pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadEnd {
    /// What was turned, in words.
    pub levers: Vec<String>,
    /// The refuted claim that shows it.
    #[serde(default)]
    pub claim: Option<ClaimId>,
}

/// An accusation with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// The rule broken, in one word.
    pub rule: String,
    /// The record, claim or peer accused.
    pub subject: RecordId,
    /// Names whatever shows it.
    #[serde(default)]
    pub evidence: Option<BlobHash>,
    /// What its author saw; flags under the rules `path` and `physics` have one, and no others.
    #[serde(default)]
    pub sighting: Option<Sighting>,
}

/// Support for a playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endorsement {
    /// The revision endorsed.
    pub playbook: RecordId,
}

/// How far something is held to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What cannot be turned further, in words.
    pub levers: Vec<String>,
    /// The predicate; the header repeats it, so that the ledger has it.
    pub bound: Bound,
}

impl Detail {
    /// The predicate, where there is one.
    #[must_use]
    pub fn bound(&self) -> Option<&Bound> {
        match self {
            Self::Limit(limit) => Some(&limit.bound),
            _ => None,
        }
    }

    /// The kind of post that has it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Plan(_) => Kind::Plan,
            Self::Result(_) => Kind::Result,
            Self::Spec(_) => Kind::Spec,
            Self::Checkpoint(_) => Kind::Checkpoint,
            Self::Attempt(_) => Kind::Attempt,
            Self::Diagnosis(_) => Kind::Diagnosis,
            Self::Playbook(_) => Kind::Playbook,
            Self::DeadEnd(_) => Kind::DeadEnd,
            Self::Flag(_) => Kind::Flag,
            Self::Endorsement(_) => Kind::Endorsement,
            Self::Limit(_) => Kind::Limit,
        }
    }

    /// The things that it names, besides the post's own references.
    #[must_use]
    pub fn names(&self) -> Vec<[u8; 32]> {
        let list: [Option<[u8; 32]>; 2] = match self {
            Self::Plan(plan) => [plan.parent.map(|id| id.0), None],
            Self::Result(result) => [result.claim.map(|id| id.0), None],
            Self::Spec(_) => [None, None],
            Self::Checkpoint(built) => [Some(built.manifest.0), built.made_from.map(|id| id.0)],
            Self::Attempt(tried) => [Some(tried.checkpoint.0), tried.built.map(|id| id.0)],
            Self::Diagnosis(found) => [Some(found.attempt.0), found.corrected.map(|id| id.0)],
            Self::Playbook(playbook) => [playbook.revises.map(|id| id.0), None],
            Self::DeadEnd(end) => [end.claim.map(|id| id.0), None],
            Self::Flag(flag) => [Some(flag.subject.0), flag.evidence.map(|id| id.0)],
            Self::Endorsement(endorsement) => [Some(endorsement.playbook.0), None],
            Self::Limit(limit) => [limit.bound.checkpoint.map(|id| id.0), None],
        };
        let mut names: Vec<[u8; 32]> = list.into_iter().flatten().collect();
        if let Self::Playbook(Playbook { table: Some(table), .. }) = self {
            names.extend(table.claims().map(|id| id.0));
        }
        names
    }

    pub(super) fn to_proto(&self) -> v1::post_body::Detail {
        use v1::post_body::Detail as Wire;
        let hash = |hash: Option<BlobHash>| hash.map(BlobHash::to_vec).unwrap_or_default();
        let claim = |claim: Option<ClaimId>| claim.map(ClaimId::to_vec).unwrap_or_default();
        match self {
            Self::Plan(plan) => {
                Wire::Plan(v1::Plan { parent: claim(plan.parent), levers: plan.levers.clone() })
            }
            Self::Result(result) => Wire::Result(v1::Result {
                claim: claim(result.claim),
                ratio_ppm: result.ratio_ppm,
                hardware_class: result.hardware_class.clone(),
            }),
            Self::Spec(spec) => Wire::Spec(spec.to_proto()),
            Self::Checkpoint(built) => Wire::Checkpoint(v1::BuiltCheckpoint {
                manifest: built.manifest.to_vec(),
                made_from: hash(built.made_from),
                scheme: built.scheme.clone(),
            }),
            Self::Attempt(attempt) => Wire::Attempt(v1::Attempt {
                checkpoint: attempt.checkpoint.to_vec(),
                ran: attempt.ran,
                error: attempt.error.clone(),
                built: attempt.built.map(RecordId::to_vec).unwrap_or_default(),
            }),
            Self::Diagnosis(found) => Wire::Diagnosis(v1::Diagnosis {
                attempt: found.attempt.to_vec(),
                codes: found.codes.clone(),
                corrected: hash(found.corrected),
            }),
            Self::Playbook(playbook) => Wire::Playbook(v1::Playbook {
                revises: playbook.revises.map(RecordId::to_vec).unwrap_or_default(),
                table: playbook.table.as_ref().map(Table::to_proto),
            }),
            Self::DeadEnd(end) => {
                Wire::DeadEnd(v1::DeadEnd { levers: end.levers.clone(), claim: claim(end.claim) })
            }
            Self::Flag(flag) => Wire::Flag(v1::Flag {
                rule: flag.rule.clone(),
                subject: flag.subject.to_vec(),
                evidence: hash(flag.evidence),
                sighting: flag.sighting.map(Sighting::to_proto),
            }),
            Self::Endorsement(endorsement) => {
                Wire::Endorsement(v1::Endorsement { playbook: endorsement.playbook.to_vec() })
            }
            Self::Limit(limit) => Wire::Limit(v1::Limit {
                levers: limit.levers.clone(),
                bound: Some(limit.bound.to_proto()),
            }),
        }
    }

    pub(super) fn from_proto(detail: v1::post_body::Detail) -> Result<Self, Reject> {
        use v1::post_body::Detail as Wire;
        Ok(match detail {
            Wire::Plan(plan) => Self::Plan(Plan {
                parent: optional("plan.parent", &plan.parent)?.map(ClaimId),
                levers: words("plan.levers", plan.levers)?,
            }),
            Wire::Result(result) => Self::Result(Trial {
                claim: optional("result.claim", &result.claim)?.map(ClaimId),
                ratio_ppm: ratio("result.ratio_ppm", result.ratio_ppm)?,
                hardware_class: class("result.hardware_class", result.hardware_class)?,
            }),
            Wire::Spec(spec) => Self::Spec(Spec::from_proto(spec)?),
            Wire::Checkpoint(built) => Self::Checkpoint(BuiltCheckpoint {
                manifest: BlobHash(bytes32("checkpoint.manifest", &built.manifest)?),
                made_from: optional("checkpoint.made_from", &built.made_from)?.map(BlobHash),
                scheme: line("checkpoint.scheme", built.scheme, TITLE_BYTES_MAX)?,
            }),
            Wire::Attempt(attempt) => Self::Attempt(Attempt {
                checkpoint: BlobHash(bytes32("attempt.checkpoint", &attempt.checkpoint)?),
                ran: attempt.ran,
                error: line("attempt.error", attempt.error, NOTE_BYTES_MAX)?,
                built: optional("attempt.built", &attempt.built)?.map(RecordId),
            }),
            Wire::Diagnosis(found) => Self::Diagnosis(Diagnosis {
                attempt: RecordId(bytes32("diagnosis.attempt", &found.attempt)?),
                codes: codes(found.codes)?,
                corrected: optional("diagnosis.corrected", &found.corrected)?.map(BlobHash),
            }),
            Wire::Playbook(playbook) => Self::Playbook(Playbook {
                revises: optional("playbook.revises", &playbook.revises)?.map(RecordId),
                table: playbook.table.map(Table::from_proto).transpose()?,
            }),
            Wire::DeadEnd(end) => Self::DeadEnd(DeadEnd {
                levers: words("dead_end.levers", end.levers)?,
                claim: optional("dead_end.claim", &end.claim)?.map(ClaimId),
            }),
            Wire::Flag(flag) => Self::Flag(Flag {
                sighting: Sighting::from_proto(Offence::of(&flag.rule), flag.sighting)?,
                rule: word("flag.rule", flag.rule)?,
                subject: RecordId(bytes32("flag.subject", &flag.subject)?),
                evidence: optional("flag.evidence", &flag.evidence)?.map(BlobHash),
            }),
            Wire::Endorsement(endorsement) => Self::Endorsement(Endorsement {
                playbook: RecordId(bytes32("endorsement.playbook", &endorsement.playbook)?),
            }),
            Wire::Limit(limit) => Self::Limit(Limit {
                levers: words("limit.levers", limit.levers)?,
                bound: match limit.bound {
                    Some(bound) => Bound::from_proto(bound)?,
                    None => return Err(field("limit.bound", "missing".to_owned())),
                },
            }),
        })
    }
}

impl Spec {
    fn to_proto(&self) -> v1::Spec {
        v1::Spec {
            model: self.model.clone(),
            parts: self
                .parts
                .iter()
                .map(|part| v1::SpecPart {
                    name: part.name.clone(),
                    bytes_before: part.bytes_before,
                    bytes_after: part.bytes_after,
                })
                .collect(),
            bandwidth_mb_s: self.bandwidth_mb_s,
            change: self.change.clone(),
            experiment: self.experiment.clone(),
        }
    }

    fn from_proto(spec: v1::Spec) -> Result<Self, Reject> {
        if !(1..=PARTS_MAX).contains(&spec.parts.len()) {
            let reason = format!("{}, not 1 to {PARTS_MAX}", spec.parts.len());
            return Err(field("spec.parts", reason));
        }
        let mut parts = Vec::with_capacity(spec.parts.len());
        for part in spec.parts {
            parts.push(SpecPart {
                name: filled("spec.parts.name", part.name, PART_BYTES_MAX)?,
                bytes_before: part.bytes_before,
                bytes_after: part.bytes_after,
            });
        }
        Ok(Self {
            model: filled("spec.model", spec.model, TITLE_BYTES_MAX)?,
            parts,
            bandwidth_mb_s: spec.bandwidth_mb_s,
            change: filled("spec.change", spec.change, NOTE_BYTES_MAX)?,
            experiment: filled("spec.experiment", spec.experiment, NOTE_BYTES_MAX)?,
        })
    }
}

fn optional(name: &'static str, bytes: &[u8]) -> Result<Option<[u8; 32]>, Reject> {
    match bytes {
        [] => Ok(None),
        bytes => bytes32(name, bytes).map(Some),
    }
}

fn word(name: &'static str, text: String) -> Result<String, Reject> {
    if !is_word(&text) {
        return Err(field(name, "lower-case letters, digits and dashes, 1 to 32".to_owned()));
    }
    Ok(text)
}

fn words(name: &'static str, list: Vec<String>) -> Result<Vec<String>, Reject> {
    if !(1..=LEVERS_MAX).contains(&list.len()) {
        return Err(field(name, format!("{}, not 1 to {LEVERS_MAX}", list.len())));
    }
    list.into_iter().map(|text| word(name, text)).collect()
}

fn codes(list: Vec<String>) -> Result<Vec<String>, Reject> {
    let plain = |code: &String| {
        (1..=16).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if list.len() > CODES_MAX || !list.iter().all(plain) {
        let reason = format!("at most {CODES_MAX} codes of letters and digits");
        return Err(field("diagnosis.codes", reason));
    }
    Ok(list)
}

fn ratio(name: &'static str, ratio_ppm: u64) -> Result<u64, Reject> {
    if !(1..=RATIO_PPM_MAX).contains(&ratio_ppm) {
        return Err(field(name, format!("{ratio_ppm}, not 1 to {RATIO_PPM_MAX}")));
    }
    Ok(ratio_ppm)
}

fn class(name: &'static str, text: String) -> Result<String, Reject> {
    if !is_class_name(&text) {
        return Err(field(name, "letters, digits and dashes, at most 120 of them".to_owned()));
    }
    Ok(text)
}
