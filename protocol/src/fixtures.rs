//! A small network for tests: five members, a base recipe, measurements made to order.

use crate::genesis::{
    Challenge, CommitteeRules, Genesis, MeasurementRules, Member, MembershipRules, PromptPool,
    Quorum, SignificanceRules,
};
use crate::ids::{BlobHash, PeerId};
use crate::measurement::{ArmReport, Environment, Measurement, Pair, token_digest};
use crate::plan::{Arm, Plan};
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
            seal_ms: 60_000,
            reveal_ms: 10_000,
            measuring_max: 1,
            docket_max: 8,
            open_per_operator: 4,
            audit_ppm: 0,
            assumed_dishonest_ppm: 200_000,
        },
        measurement: MeasurementRules { pairs: 8, decode_tokens: 32, reach_tokens: 32 },
        significance: SignificanceRules {
            alpha_ppm: 1_000,
            eta_ppm: 10_000,
            tau_ppm: 10_000,
            tau_df: 20,
        },
        membership: MembershipRules {
            epoch_blocks: 100,
            vouches_per_epoch: 2,
            vouch_standing_min: 5,
            probation_rounds: 2,
            gain_per_epoch_max: 4,
        },
    }
}

pub(crate) fn child_recipe(bundle: u8) -> Recipe {
    Recipe { bundle: Some(BlobHash([bundle; 32])), ..genesis().challenge.base }
}

/// An honest arm's report for a plan of the test genesis.
pub(crate) fn arm() -> ArmReport {
    ArmReport {
        decoded_tokens: 8 * 32,
        prefill_ns: 1_000_000,
        scored_tokens: 8 * 32,
        nll_nanonats: 8 * 32 * 3_500_000_000,
        base_nll_nanonats: 8 * 32 * 3_500_000_000,
        agreements: 8 * 32,
        path_positions: 64,
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
        Pair { prompt: *prompt, x_ns, y_ns, x_tokens: tokens, y_tokens: tokens }
    });
    Measurement {
        pairs: pairs.collect(),
        x: arm(),
        y: arm(),
        environment: Environment { bandwidth_mb_s: 10_000, ..Environment::default() },
    }
}
