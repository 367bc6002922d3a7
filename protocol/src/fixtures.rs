//! A small network for tests: five members, a base recipe, measurements made to order.

use crate::gates::Evidence;
use crate::genesis::{
    Challenge, CommitteeRules, Genesis, MeasurementRules, Member, MembershipRules, PromptPool,
    Quorum, SignificanceRules, VotingRules,
};
use crate::ids::{Beacon, BlobHash, ClaimId, PeerId, RoundId};
use crate::measurement::{ArmReport, Environment, Measurement, Pair, Score, token_digest};
use crate::plan::{Arm, Plan, Subject, plan};
use crate::randomness::{vrf_keypair, vrf_public};
use crate::record::Recipe;
use ed25519_dalek::SigningKey;

pub(crate) fn key(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index + 1; 32])
}

pub(crate) fn peer(index: u8) -> PeerId {
    PeerId(key(index).verifying_key().to_bytes())
}

pub(crate) fn genesis() -> Genesis {
    genesis_of(5)
}

/// The same rules for another number of members.
pub(crate) fn genesis_of(members: u8) -> Genesis {
    Genesis {
        name: "test".to_owned(),
        time_ms: 1_000,
        members: (0..members)
            .map(|i| Member {
                name: format!("node {i}"),
                operator: format!("operator {i}"),
                peer: peer(i),
                vrf: vrf_public(&vrf_keypair(&key(i).to_bytes())),
                standing: 10,
            })
            .collect(),
        challenge: Challenge {
            name: "test".to_owned(),
            base: Recipe { checkpoint: BlobHash([1; 32]), bundle: None, drafter: None },
            pool: PromptPool {
                text: BlobHash([2; 32]),
                prompts: 400,
                prompt_tokens: 32,
                scored_tokens: 32,
            },
            kl_max_micronats: 50_000,
            agreement_min_ppm: 900_000,
            perplexity_ratio_max_ppm: 1_050_000,
        },
        committee: CommitteeRules {
            seats: 3,
            reserves: 1,
            quorum: 3,
            frontier: Quorum { seats: 3, quorum: 3 },
            seats_max: 3,
            seal_ms: 60_000,
            reveal_ms: 10_000,
            measuring_max: 1,
            docket_max: 8,
            open_per_operator: 4,
            audit_ppm: 0,
            null_ppm: 0,
            assumed_dishonest_ppm: 200_000,
        },
        measurement: MeasurementRules {
            pairs: 8,
            pairs_min: 8,
            decode_tokens: 32,
            reach_tokens: 32,
            context_tokens: 64,
        },
        significance: SignificanceRules {
            alpha_ppm: 1_000,
            eta_ppm: 10_000,
            gain_ppm: 30_000,
            tau_ppm: 10_000,
            tau_df: 20,
        },
        membership: MembershipRules {
            epoch_blocks: 100,
            vouches_per_epoch: 2,
            vouch_standing_min: 5,
            probation_rounds: 2,
            gain_per_epoch_max: 4,
            silent_blocks: 1_000,
        },
        voting: VotingRules { window_ms: 30_000, delay_blocks: 3 },
    }
}

/// The class of every machine, unless a test says otherwise.
pub(crate) const CLASS: &str = "test-class";

pub(crate) fn child_recipe(bundle: u8) -> Recipe {
    Recipe { bundle: Some(BlobHash([bundle; 32])), ..genesis().challenge.base }
}

/// An honest arm's report on so many pairs of the test genesis.
pub(crate) fn arm(pairs: u64) -> ArmReport {
    ArmReport {
        decoded_tokens: pairs * 32,
        scored_tokens: pairs * 32,
        path_positions: pairs * 32,
        repeat_positions: 33,
        shape: [3; 32],
        bytes_per_token: 10_000_000,
        reach_positions: 32,
        ..ArmReport::default()
    }
}

/// A measurement in which the child is `ratio` times as fast, with a little noise.
pub(crate) fn measurement(plan: &Plan, ratio: f64) -> Measurement {
    let pairs = plan.prompts.iter().zip(0_u32..).map(|(prompt, i)| {
        let parent_ns = 1_000_000_000 + u64::from(i * 7 % 5) * 3_000_000;
        let noise = 1.0 + 0.002 * f64::from(i % 3);
        let child_ns = (parent_ns as f64 / ratio * noise) as u64;
        let (x_ns, y_ns) = match plan.child {
            Arm::X => (child_ns, parent_ns),
            Arm::Y => (parent_ns, child_ns),
        };
        let tokens = token_digest(&[*prompt]);
        let base_nll_micronats = 32 * 3_500_000;
        let score = Score { kl_micronats: 0, agreements: 32, nll_micronats: base_nll_micronats };
        Pair {
            prompt: *prompt,
            x_ns,
            y_ns,
            x_prefill_us: 1_000 + i % 3,
            y_prefill_us: 1_000 + i % 5,
            x_tokens: tokens,
            y_tokens: tokens,
            x_score: score,
            y_score: score,
            base_nll_micronats,
        }
    });
    Measurement {
        pairs: pairs.collect(),
        x: arm(plan.prompts.len() as u64),
        y: arm(plan.prompts.len() as u64),
        environment: Environment {
            hardware_class: CLASS.to_owned(),
            bandwidth_mb_s: 10_000,
            compute_mflop_s: 50_000,
            ..Environment::default()
        },
    }
}

/// Three seats' plans and measurements for one claim.
pub(crate) struct Committee {
    pub(crate) plans: Vec<Plan>,
    pub(crate) measurements: Vec<Measurement>,
}

impl Committee {
    /// Seats that all measured a child `ratio` times as fast and exactly as good.
    pub(crate) fn honest(ratio: f64) -> Self {
        let genesis = genesis();
        let subject = Subject {
            beacon: Beacon([7; 32]),
            round: RoundId { claim: ClaimId([8; 32]), number: 1 },
            pairs: genesis.measurement.pairs,
            parent: genesis.challenge.base,
            child: child_recipe(9),
        };
        let plans: Vec<Plan> = (1..4).map(|seat| plan(&genesis, &subject, peer(seat))).collect();
        let measurements = plans.iter().map(|plan| measurement(plan, ratio)).collect();
        Self { plans, measurements }
    }

    pub(crate) fn seats(&self) -> usize {
        self.plans.len()
    }

    pub(crate) fn evidence(&self) -> Vec<Evidence<'_>> {
        let seats = self.plans.iter().zip(&self.measurements);
        seats.map(|(plan, measurement)| Evidence { plan, measurement }).collect()
    }

    /// Changes what one seat reports of the child.
    pub(crate) fn spoil(&mut self, seat: usize, change: impl FnOnce(&mut ArmReport)) {
        change(child(&self.plans[seat], &mut self.measurements[seat]));
    }

    /// Changes every score of the child; the second argument is the base's NLL on that prompt.
    pub(crate) fn rescore(&mut self, mut change: impl FnMut(&mut Score, u64)) {
        for (plan, measurement) in self.plans.iter().zip(&mut self.measurements) {
            rescore(plan, measurement, &mut change);
        }
    }
}

/// The child's report in a measurement.
pub(crate) fn child<'a>(plan: &Plan, measurement: &'a mut Measurement) -> &'a mut ArmReport {
    match plan.child {
        Arm::X => &mut measurement.x,
        Arm::Y => &mut measurement.y,
    }
}

/// Changes every score of the child in a measurement.
pub(crate) fn rescore(
    plan: &Plan,
    measurement: &mut Measurement,
    change: &mut impl FnMut(&mut Score, u64),
) {
    for pair in &mut measurement.pairs {
        let score = match plan.child {
            Arm::X => &mut pair.x_score,
            Arm::Y => &mut pair.y_score,
        };
        change(score, pair.base_nll_micronats);
    }
}
