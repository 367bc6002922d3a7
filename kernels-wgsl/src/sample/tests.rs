//! Shapes against transformers' processors, draws against their shapes.

use super::{Choose, Sampler, SamplingParams};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Expected {
    logits: Vec<f32>,
    prompt: Vec<u32>,
    cases: Vec<ExpectedCase>,
}

#[derive(Deserialize)]
struct ExpectedCase {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    repetition_penalty: f32,
    probabilities: Vec<f64>,
}

impl ExpectedCase {
    fn params(&self) -> SamplingParams {
        let &ExpectedCase { temperature, top_k, top_p, min_p, repetition_penalty, .. } = self;
        SamplingParams { temperature, top_k, top_p, min_p, repetition_penalty, seed: 11 }
    }
}

fn expected() -> Expected {
    let text = include_str!("../../tests/fixtures/sampling/expected.json");
    serde_json::from_str(text).expect("the fixture parses")
}

fn drawing(temperature: f32) -> SamplingParams {
    SamplingParams { temperature, ..SamplingParams::default() }
}

#[test]
fn distributions_are_those_of_transformers() {
    let expected = expected();
    for case in &expected.cases {
        let sampler = Sampler::new(&case.params(), &expected.prompt, &[]).expect("in range");
        let mut logits = expected.logits.clone();
        sampler.penalise(&mut logits);
        let found: BTreeMap<u32, f64> =
            sampler.distribution(&logits).expect("finite").into_iter().collect();
        for (token, share) in (0u32..).zip(&case.probabilities) {
            let own = found.get(&token).copied().unwrap_or(0.0);
            // Parameters are f32, so a temperature of 0.7 is off by 2e-8 already.
            assert!(
                (own - share).abs() < 1e-6,
                "{:?}: token {token}: {own} {share}",
                case.params()
            );
        }
    }
}

#[test]
fn draws_have_the_shape_they_are_drawn_from() {
    let expected = expected();
    for case in &expected.cases {
        let params = SamplingParams { repetition_penalty: 1.0, ..case.params() };
        let mut sampler = Sampler::new(&params, &[], &[]).expect("in range");
        let shares: BTreeMap<u32, f64> =
            sampler.distribution(&expected.logits).expect("finite").into_iter().collect();
        let draws = 20_000;
        let mut counts = BTreeMap::new();
        for _ in 0..draws {
            let token = sampler.choose(&mut expected.logits.clone()).expect("draws");
            *counts.entry(token).or_insert(0u32) += 1;
        }
        assert!(counts.keys().all(|token| shares.contains_key(token)), "{params:?}");
        // Pearson's statistic over cells of at least five; mean n - 1, deviation sqrt(2 (n - 1)).
        let cells = shares.iter().filter(|(_, share)| **share * f64::from(draws) >= 5.0);
        let (mut statistic, mut n) = (0.0, 0.0);
        for (token, share) in cells {
            let want = share * f64::from(draws);
            let got = f64::from(counts.get(token).copied().unwrap_or(0));
            statistic += (got - want) * (got - want) / want;
            n += 1.0;
        }
        assert!(statistic < n + 6.0 * f64::sqrt(2.0 * n), "{params:?}: {statistic} over {n}");
    }
}

#[test]
fn seeds_repeat_and_differ() {
    let logits = expected().logits;
    let draw = |seed: u64| -> Vec<u32> {
        let params = SamplingParams { seed, ..drawing(1.5) };
        let mut sampler = Sampler::new(&params, &[], &[]).expect("in range");
        (0..40).map(|_| sampler.choose(&mut logits.clone()).expect("draws")).collect()
    };
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
}

#[test]
fn greedy_takes_the_lowest_of_equals_and_never_what_is_suppressed() {
    let mut greedy = Sampler::new(&SamplingParams::default(), &[], &[]).expect("in range");
    assert!(greedy.is_greedy());
    assert_eq!(greedy.choose(&mut [0.0, 2.0, 2.0, -1.0]).expect("finite"), 1);
    for temperature in [0.0, 1.0] {
        let mut sampler = Sampler::new(&drawing(temperature), &[], &[1, 2, 900]).expect("in range");
        assert!(!sampler.is_greedy());
        for _ in 0..50 {
            let token = sampler.choose(&mut [0.0, 9.0, 9.0, -1.0]).expect("two are left");
            assert!(token == 0 || token == 3);
        }
    }
    let penalty = SamplingParams { repetition_penalty: 4.0, ..SamplingParams::default() };
    let mut sampler = Sampler::new(&penalty, &[1], &[]).expect("in range");
    // 3 / 4 loses to 2, which then loses to 1, which is negative only where it is penalised.
    assert_eq!(sampler.choose(&mut [1.0, 3.0, 2.0]).expect("finite"), 2);
    assert_eq!(sampler.choose(&mut [1.0, 3.0, 2.0]).expect("finite"), 0);
}

#[test]
fn bad_parameters_and_logits_are_errors() {
    for bad in [
        drawing(-0.1),
        drawing(f32::NAN),
        drawing(f32::INFINITY),
        SamplingParams { top_p: 0.0, ..drawing(1.0) },
        SamplingParams { top_p: 1.1, ..drawing(1.0) },
        SamplingParams { min_p: 1.0, ..drawing(1.0) },
        SamplingParams { min_p: -0.5, ..drawing(1.0) },
        SamplingParams { repetition_penalty: 0.0, ..drawing(1.0) },
    ] {
        assert!(Sampler::new(&bad, &[], &[]).is_err(), "{bad:?}");
    }
    for temperature in [0.0, 0.9] {
        let mut sampler = Sampler::new(&drawing(temperature), &[], &[0]).expect("in range");
        assert!(sampler.choose(&mut [1.0, f32::NAN]).is_err());
        assert!(sampler.choose(&mut [1.0]).is_err(), "only a suppressed token is left");
        assert!(sampler.choose(&mut []).is_err());
    }
    // A tiny temperature neither overflows nor divides by zero.
    let mut cold = Sampler::new(&drawing(1e-30), &[], &[]).expect("in range");
    assert_eq!(cold.choose(&mut [1.0, 30.0, -30.0, 29.0]).expect("finite"), 1);
}
