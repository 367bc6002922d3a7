//! What a measurement finds about honest and dishonest recipes.

use crate::support::{AMPLE, Bench, run};
use assay_protocol::measurement::{ArmReport, Measurement, Pair, Score};
use assay_protocol::plan::Arm;

fn assert_nothing_broken(arm: &ArmReport) {
    let broken = [
        arm.identity_breaks,
        arm.choice_breaks,
        arm.path_breaks,
        arm.repeat_breaks,
        arm.reach_breaks,
        arm.nonfinite_logits,
    ];
    assert_eq!(broken, [0; 6], "{arm:?}");
    assert_eq!((arm.decoded_tokens, arm.scored_tokens), (8, 12));
    // Both pairs are compared, four positions each; one is decoded again, prefill's choice included.
    assert_eq!((arm.path_positions, arm.repeat_positions, arm.reach_positions), (8, 5, 5));
    assert!(arm.bytes_per_token > 1_000_000);
}

/// The scores of arm X or of arm Y, with the base's log-likelihood.
fn scores(measurement: &Measurement, arm: Arm) -> Vec<(Score, u64)> {
    let score = |pair: &Pair| if arm == Arm::X { pair.x_score } else { pair.y_score };
    measurement.pairs.iter().map(|pair| (score(pair), pair.base_nll_micronats)).collect()
}

fn assert_same_quality_as_the_base(measurement: &Measurement, arm: Arm) {
    for (score, base_nll_micronats) in scores(measurement, arm) {
        assert_eq!((score.kl_micronats, score.agreements), (0, 4), "{score:?}");
        assert_eq!(score.nll_micronats, base_nll_micronats);
        assert!(score.nll_micronats > 1_000_000, "{score:?}");
    }
}

fn token_digests_agree(measurement: &Measurement) -> bool {
    measurement.pairs.iter().all(|pair| pair.x_tokens == pair.y_tokens)
}

#[tokio::test]
async fn measure_base_against_itself() {
    let bench = Bench::new();
    let job = bench.job(bench.base(), bench.base());
    let mut heard = Vec::new();
    let options = bench.options(AMPLE);
    let hear = |progress: assay_node::measure::Progress| heard.push(progress);
    let measured =
        assay_node::measure::run(&job, &options, hear, std::future::pending()).await.unwrap();
    assert_nothing_broken(&measured.x);
    assert_nothing_broken(&measured.y);
    assert_same_quality_as_the_base(&measured, Arm::X);
    assert_same_quality_as_the_base(&measured, Arm::Y);
    assert!(token_digests_agree(&measured));
    assert_eq!(measured.x.shape, measured.y.shape);
    let prompts: Vec<u32> = measured.pairs.iter().map(|pair| pair.prompt).collect();
    assert_eq!(prompts, job.plan.prompts);
    assert!(measured.environment.bandwidth_mb_s > 0);
    assert!(measured.environment.engine.starts_with("assay-kernels "));
    assert!(!measured.environment.hardware_class.is_empty());
    // Loading, warm-up, two steps a pair, the reach probe; more where an attempt was repeated.
    assert!(heard.len() >= 7, "{heard:?}");
    assert!(heard.iter().all(|step| step.total == 7 || step.total == 0));
}

#[tokio::test]
async fn measure_honest_and_dishonest_kernels() {
    let bench = Bench::new();
    let job = bench.job(bench.with_bundle("serial-rows"), bench.with_bundle("half-dot"));
    let measured = run(&job, &bench.options(AMPLE)).await.unwrap();
    assert_nothing_broken(&measured.x);
    assert_same_quality_as_the_base(&measured, Arm::X);
    let dishonest = &measured.y;
    assert!(dishonest.identity_breaks > dishonest.near_ties, "{dishonest:?}");
    assert!(dishonest.reach_breaks > 0, "{dishonest:?}");
    let scores = scores(&measured, Arm::Y);
    let kl_micronats: u64 = scores.iter().map(|(score, _)| score.kl_micronats).sum();
    assert!(kl_micronats / dishonest.decoded_tokens > 100_000, "{scores:?}");
    assert!(scores.iter().any(|(score, _)| score.agreements < 4));
    assert!(!token_digests_agree(&measured));
}

#[tokio::test]
async fn measure_int4_against_its_original() {
    let bench = Bench::new();
    let job = bench.job(bench.int4(), bench.base());
    let measured = run(&job, &bench.options(AMPLE)).await.unwrap();
    // Int4 is lossless relative to its own checkpoint, close to the base and of its shape.
    assert_nothing_broken(&measured.x);
    assert_nothing_broken(&measured.y);
    assert_same_quality_as_the_base(&measured, Arm::Y);
    assert!(scores(&measured, Arm::X).iter().all(|(score, _)| score.kl_micronats > 0));
    assert!(measured.x.bytes_per_token < measured.y.bytes_per_token);
    assert_eq!(measured.x.shape, measured.y.shape);
}

#[tokio::test]
async fn measure_a_drafter_against_its_target() {
    let bench = Bench::new();
    let job = bench.job(bench.with_drafter(2), bench.base());
    let measured = run(&job, &bench.options(AMPLE)).await.unwrap();
    assert_nothing_broken(&measured.x);
    assert_nothing_broken(&measured.y);
    assert_same_quality_as_the_base(&measured, Arm::X);
    assert_same_quality_as_the_base(&measured, Arm::Y);
    assert!(token_digests_agree(&measured));
    assert!(measured.x.bytes_per_token <= measured.y.bytes_per_token);
}
