//! What a policy sees: numbers, enumerations and ids, no text of other peers.

use super::quarantine::Notice;
use assay_protocol::gates::Gate;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::verdict::{Estimate, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Something that may be turned, with what it may be turned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knob {
    /// Its word, also the lever that plans and dead ends name: `matmul-bf16`, `draft-length`.
    pub lever: String,
    /// Words of what it may be turned to, in a fixed order; not turning it is no choice of these.
    pub choices: Vec<String>,
}

/// A recipe as a change of the one that a search starts from: a choice for every lever that is turned.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variant(pub BTreeMap<String, String>);

impl Variant {
    /// The levers that it turns.
    #[must_use]
    pub fn levers(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// It in one line: `draft-length=3, matmul-bf16=built-in`.
    #[must_use]
    pub fn text(&self) -> String {
        let settings = self.0.iter().map(|(lever, choice)| format!("{lever}={choice}"));
        settings.collect::<Vec<_>>().join(", ")
    }
}

/// What a trial came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialResult {
    /// Measured, by the rules of a committee of this node alone.
    Measured {
        /// Speed over the start's; none with too few pairs for bounds.
        ratio: Option<Estimate>,
        /// Gates besides those of speed and identity that a committee would surely fail.
        failed: Vec<Gate>,
        /// Whether it decodes exactly what its checkpoint says.
        lossless: bool,
    },
    /// It could not be made, loaded or measured in the time that it had.
    Failed,
}

/// A variant that this node measured against the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What was measured.
    pub variant: Variant,
    /// Pairs of timed loops.
    pub pairs: u32,
    /// What came of it.
    pub result: TrialResult,
}

impl Trial {
    /// The speed ratio where it was measured and no gate stands against it.
    #[must_use]
    pub fn sound_ratio(&self) -> Option<Estimate> {
        match &self.result {
            TrialResult::Measured { ratio, failed, .. } if failed.is_empty() => *ratio,
            _ => None,
        }
    }

    /// Whether it was sound, and faster than the start.
    #[must_use]
    pub fn gained(&self) -> bool {
        self.sound_ratio().is_some_and(|ratio| ratio.ppm > 1_000_000)
    }
}

/// What a search starts from, and is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The claim; the base recipe's id where nothing leads.
    pub claim: ClaimId,
    /// Its speed over the base recipe's, in millionths.
    pub ratio_to_base_ppm: u64,
}

/// A claim on the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimSeen {
    /// The claim.
    pub id: ClaimId,
    /// What it is compared with.
    pub parent: ClaimId,
    /// Whether this node made it.
    pub mine: bool,
    /// What became of it; none while it is measured.
    pub outcome: Option<Outcome>,
    /// Speed over the parent's, as its committee measured it, in millionths.
    pub ratio_ppm: Option<u64>,
    /// Whether it leads its track.
    pub leads: bool,
}

/// The claim that this node made of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// The claim.
    pub claim: ClaimId,
    /// What it is of.
    pub variant: Variant,
}

/// A plan of another peer that goes first and is not done yet, as far as anybody knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPlan {
    /// Its post.
    pub post: RecordId,
    /// Those of its levers that are levers of this node's knobs.
    pub levers: BTreeSet<String>,
}

/// What is left of the operator's budget today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetLeft {
    /// Seconds of measuring, whichever of time and energy ends first.
    pub measuring_s: u64,
    /// Bytes that candidates may still take on disk.
    pub disk_bytes: u64,
    /// Posts and claims.
    pub messages: u64,
}

/// The network's rules that decide what is worth claiming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The gain that a committee is laid out to find, in millionths above 1.
    pub gain_ppm: u64,
    /// Pairs that a seat measures.
    pub pairs: u32,
    /// Most pairs that one measurement may have.
    pub pairs_max: u32,
}

/// What the node knows at the moment of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Unix time in milliseconds.
    pub now_ms: u64,
    /// Height of the ledger.
    pub height: u64,
    /// Whether the network takes claims of this node.
    pub member: bool,
    /// Whether no seat of this node has anything to measure.
    pub idle: bool,
    /// What the search starts from.
    pub start: Start,
    /// What may be turned.
    pub knobs: Vec<Knob>,
    /// What was measured from this start, oldest first.
    pub trials: Vec<Trial>,
    /// Lever sets that are known not to pay from this start.
    pub dead_ends: BTreeSet<BTreeSet<String>>,
    /// What others are about to try from this start.
    pub open_plans: Vec<OpenPlan>,
    /// This node's announced plan for this start.
    pub plan: Option<RecordId>,
    /// The levers that it names.
    pub planned: BTreeSet<String>,
    /// Whether that plan waits for its place on the ledger, which says whose plan came first.
    pub plan_waits: bool,
    /// What this node claimed from this start.
    pub claimed: Option<Claimed>,
    /// What the network will not take a claim of.
    pub refused: Option<Variant>,
    /// Whether what came of the search from this start was published, so that it is over.
    pub published: bool,
    /// Claims on the ledger, newest first, at most 64.
    pub claims: Vec<ClaimSeen>,
    /// What a reader found in what others wrote: words from fixed lists, never text.
    pub notices: Vec<Notice>,
    /// What is left of the budget.
    pub budget: BudgetLeft,
    /// What is worth claiming.
    pub rules: Rules,
}

impl View {
    /// Whether a ratio is worth a claim: its lower bound is above the network's gain.
    #[must_use]
    pub fn pays(&self, ratio: Estimate) -> bool {
        ratio.low_ppm > 1_000_000_u64.saturating_add(self.rules.gain_ppm)
    }

    /// This node's claims that are not decided yet.
    pub fn open_claims(&self) -> impl Iterator<Item = &ClaimSeen> {
        self.claims.iter().filter(|claim| claim.mine && claim.outcome.is_none())
    }

    /// Whether every lever and choice of a variant is among the knobs, and it turns something.
    #[must_use]
    pub fn knows(&self, variant: &Variant) -> bool {
        let known = |(lever, choice): (&String, &String)| {
            let mut knobs = self.knobs.iter();
            knobs.any(|knob| knob.lever == *lever && knob.choices.contains(choice))
        };
        !variant.0.is_empty() && variant.0.iter().all(known)
    }
}
