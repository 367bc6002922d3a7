//! A machine that is made up: what its knobs bring, how it measures, and what was asked of it.

use crate::agent::{
    Asks, Attempt, ClaimSeen, Experiment, Finding, Knob, Made, OpenPlan, PlanDraft, Report, Rules,
    Sight, Start, TrialResult, Variant, World,
};
use crate::api::SubmitError;
use assay_protocol::draw::Draw;
use assay_protocol::gates::Gate;
use assay_protocol::ids::{BlobHash, ClaimId, RecordId};
use assay_protocol::verdict::{Estimate, Outcome};
use futures::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) const BASE: Start = Start { claim: ClaimId([0; 32]), ratio_to_base_ppm: 1_000_000 };
pub(super) const CLAIM: ClaimId = ClaimId([7; 32]);

/// A knob's choices with the speed that each brings, and whether it breaks the quality.
pub(super) type Truth = (&'static str, &'static [(&'static str, f64, bool)]);

pub(super) const GAINS: &[Truth] = &[
    ("attention", &[("k1", 1.06, false), ("k2", 0.97, false)]),
    ("draft-length", &[("1", 0.62, false), ("2", 0.88, false), ("3", 0.7, false)]),
    ("matmul-bf16", &[("built-in", 1.2, false), ("k1", 1.4, false), ("lane-rows-2", 0.9, false)]),
    ("weights", &[("int4-g32", 2.0, true)]),
];
pub(super) const LOSSES: &[Truth] = &[("attention", &[("k1", 0.97, false), ("k2", 0.9, false)])];

/// Draft lengths that lose more and more, and so on to a longer one that would gain.
pub(super) const FALLING: &[Truth] = &[(
    "draft-length",
    &[("1", 0.8, false), ("2", 0.6, false), ("3", 0.5, false), ("4", 1.4, false)],
)];
/// Draft lengths of which the longer ones are better.
pub(super) const RISING: &[Truth] = &[(
    "draft-length",
    &[("1", 0.6, false), ("2", 0.8, false), ("3", 0.9, false), ("4", 0.95, false)],
)];
/// Draft lengths of which the second breaks something.
pub(super) const FAILING: &[Truth] = &[(
    "draft-length",
    &[("1", 0.8, false), ("2", 0.9, true), ("3", 1.2, false), ("4", 1.3, false)],
)];

/// More settings than one search tries, none of which pays.
pub(super) const MANY: &[Truth] = &[
    ("a", &[("1", 0.9, false), ("2", 0.9, false), ("3", 0.9, false), ("4", 0.9, false)]),
    ("b", &[("1", 0.9, false), ("2", 0.9, false), ("3", 0.9, false), ("4", 0.9, false)]),
    ("c", &[("1", 0.9, false), ("2", 0.9, false), ("3", 0.9, false), ("4", 0.9, false)]),
    ("d", &[("1", 0.9, false), ("2", 0.9, false), ("3", 0.9, false), ("4", 0.9, false)]),
    ("e", &[("1", 0.9, false), ("2", 0.9, false), ("3", 0.9, false), ("4", 0.9, false)]),
    ("f", &[("1", 0.9, false), ("2", 0.9, false), ("3", 0.9, false), ("4", 0.9, false)]),
];

/// What the agent did, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Did {
    Announced(BTreeSet<String>),
    Tried(Variant, u32),
    Claimed(Variant, u64),
    Published(Finding),
    Deleted(BlobHash),
}

#[derive(Default)]
pub(super) struct Machine {
    pub(super) truth: &'static [Truth],
    pub(super) dead_ends: BTreeSet<BTreeSet<String>>,
    pub(super) open_plans: Vec<OpenPlan>,
    pub(super) outcome: Option<Outcome>,
    /// Measures for ever, as a machine that hangs.
    pub(super) hangs: bool,
    pub(super) seconds_a_pair: u64,
    /// Pairs from which a broken quality shows.
    pub(super) shows_from: u32,
    /// The network takes no claim of this.
    pub(super) refuses: bool,
    /// The ledger does not order what this node says.
    pub(super) plan_waits: bool,
    pub(super) seed: u64,
    pub(super) did: Arc<Mutex<Vec<Did>>>,
}

/// The manifest that stands for the files of a variant.
pub(super) fn files_of(variant: &Variant) -> BlobHash {
    BlobHash(assay_protocol::ids::hash_parts("files", &[variant.text().as_bytes()]))
}

impl Machine {
    pub(super) fn of(truth: &'static [Truth]) -> Self {
        let outcome = Some(Outcome::Accepted);
        Self { truth, outcome, seconds_a_pair: 1, ..Self::default() }
    }

    fn did(&self, what: Did) {
        self.did.lock().unwrap().push(what);
    }

    /// A ratio with the noise of a small machine: 3 % a pair.
    fn measured(&self, Experiment { variant, pairs }: &Experiment) -> TrialResult {
        let mut failed = BTreeSet::new();
        let mut ratio = 1.0;
        for (lever, choice) in &variant.0 {
            let (_, choices) = self.truth.iter().find(|(name, _)| name == lever).unwrap();
            let (_, speed, breaks) = choices.iter().find(|(name, ..)| name == choice).unwrap();
            ratio *= speed;
            failed.extend((*breaks && *pairs >= self.shows_from).then_some(Gate::Quality));
        }
        let mut draw = Draw::new("noise", &[variant.text().as_bytes(), &pairs.to_le_bytes()]);
        let noise = |draw: &mut Draw| draw.below(2_001) as f64 / 1_000.0 - 1.0;
        let spread = 0.03 / f64::from(*pairs).sqrt();
        ratio *= 1.0 + spread * noise(&mut draw);
        let ppm = |value: f64| (value * 1e6) as u64;
        let (low_ppm, high_ppm) =
            (ppm(ratio * (1.0 - 3.0 * spread)), ppm(ratio * (1.0 + 3.0 * spread)));
        let ratio = Some(Estimate { ppm: ppm(ratio), low_ppm, high_ppm });
        let lossless = failed.is_empty();
        TrialResult::Measured { ratio, failed: failed.into_iter().collect(), lossless }
    }
}

impl World for Machine {
    fn pause(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn seat_wanted(&self) -> Asks {
        Arc::new(|| false)
    }

    fn discard<'a>(
        &'a self,
        made: &'a [BlobHash],
        kept: &'a [BlobHash],
    ) -> BoxFuture<'a, Result<(), String>> {
        assert!(made.iter().all(|hash| !kept.contains(hash)));
        made.iter().for_each(|hash| self.did(Did::Deleted(*hash)));
        Box::pin(async { Ok(()) })
    }

    fn look(&self, start: Option<Start>) -> BoxFuture<'_, Result<Sight, String>> {
        let did = self.did.lock().unwrap().clone();
        let claimed = did.iter().any(|did| matches!(did, Did::Claimed(..)));
        let claim = ClaimSeen {
            id: CLAIM,
            parent: BASE.claim,
            mine: true,
            outcome: self.outcome,
            ratio_ppm: None,
            leads: false,
        };
        let knobs = self.truth.iter().map(|(lever, choices)| Knob {
            lever: (*lever).to_owned(),
            choices: choices.iter().map(|(choice, ..)| (*choice).to_owned()).collect(),
        });
        assert!(start.is_none_or(|start| start == BASE));
        let sight = Sight {
            now_ms: 1_000,
            height: 1,
            member: true,
            idle: true,
            plan_waits: self.plan_waits,
            frontier: BASE,
            knobs: knobs.collect(),
            dead_ends: self.dead_ends.clone(),
            open_plans: self.open_plans.clone(),
            claims: if claimed { vec![claim] } else { Vec::new() },
            texts: Vec::new(),
            rules: Rules { gain_ppm: 30_000, pairs: 12, pairs_max: 64 },
        };
        Box::pin(async move { Ok(sight) })
    }

    fn bytes_of(&self, _: Start, _: &Variant) -> u64 {
        1_000
    }

    fn attempt<'a>(
        &'a self,
        _: Start,
        experiment: &'a Experiment,
        within: Duration,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Attempt> {
        Box::pin(async move {
            self.did(Did::Tried(experiment.variant.clone(), experiment.pairs));
            if self.hangs {
                stop.await;
                let worked = Duration::from_secs(3);
                let (made, said) = (Made::default(), "stopped".to_owned());
                return Attempt { result: None, made, worked, said };
            }
            let needed = Duration::from_secs(self.seconds_a_pair * u64::from(experiment.pairs));
            let result = match needed <= within {
                true => self.measured(experiment),
                false => TrialResult::Failed,
            };
            Attempt {
                result: Some(result),
                made: Made { manifests: vec![files_of(&experiment.variant)], bytes: 700 },
                worked: needed.min(within),
                said: "measured".to_owned(),
            }
        })
    }

    fn announce(&self, _: Start, plan: &PlanDraft) -> Result<RecordId, String> {
        self.did(Did::Announced(plan.levers.clone()));
        Ok(RecordId([1; 32]))
    }

    fn report(&self, report: Report<'_>) -> Result<RecordId, String> {
        self.did(Did::Published(report.finding.clone()));
        Ok(RecordId([2; 32]))
    }

    fn claim<'a>(
        &'a self,
        _: Start,
        variant: &'a Variant,
        ratio_ppm: u64,
    ) -> BoxFuture<'a, Result<ClaimId, SubmitError>> {
        if self.refuses {
            let refused = SubmitError::Refused("the recipe is on the docket".to_owned());
            return Box::pin(async { Err(refused) });
        }
        self.did(Did::Claimed(variant.clone(), ratio_ppm));
        Box::pin(async { Ok(CLAIM) })
    }
}
