//! Decoding token by token with a caller's choice: the same tokens with and without drafts, breaks,
//! continuations and rewinds.

mod common;

use assay_kernels::engine::DraftLen;
use assay_kernels::{
    Bundle, Checkpoint, Choose, Drafter, Engine, EngineOptions, Result, Sampler, SamplingParams,
};
use common::gpu;
use std::ops::ControlFlow;

const PROMPT_TOKENS: usize = 90;

fn prompt() -> Vec<u32> {
    common::golden("data/nano/expected.safetensors").tokens[..PROMPT_TOKENS].to_vec()
}

fn nano(options: &EngineOptions) -> Engine {
    let checkpoint = Checkpoint::embedded().expect("loads");
    Engine::new(gpu(), &checkpoint, &Bundle::builtin(), options).expect("builds")
}

fn drafting(len: impl Into<DraftLen>) -> Engine {
    let engine = nano(&EngineOptions::new(192, 7));
    engine.with_drafter(&Drafter::embedded().expect("loads"), len).expect("fits")
}

fn sampler(temperature: f32) -> Sampler {
    let params = SamplingParams {
        temperature,
        top_p: 0.95,
        repetition_penalty: 1.1,
        seed: 42,
        ..SamplingParams::default()
    };
    Sampler::new(&params, &prompt(), &[3]).expect("in range")
}

/// Prefills and decodes in pieces of odd sizes.
fn run(engine: &mut Engine, choose: &mut dyn Choose, count: usize) -> Vec<u32> {
    engine.reset();
    let mut tokens = vec![engine.prefill_chosen(&prompt(), choose).expect("runs").next];
    for count in [count / 3, count - count / 3] {
        let mut told = Vec::new();
        let mut tell = |token| {
            told.push(token);
            ControlFlow::Continue(())
        };
        let decoded = engine.decode_chosen(count, choose, &mut tell).expect("runs");
        assert_eq!(decoded.tokens, told);
        assert_eq!(told.len(), count);
        tokens.extend(told);
    }
    assert_eq!(engine.position(), PROMPT_TOKENS + count);
    tokens
}

#[test]
fn drawn_tokens_do_not_depend_on_the_drafter() {
    for temperature in [0.0, 0.8] {
        let plain = run(&mut nano(&EngineOptions::new(192, 7)), &mut sampler(temperature), 50);
        for len in [DraftLen::Fixed(1), DraftLen::Fixed(4), DraftLen::Adaptive { most: 6 }] {
            let drafted = run(&mut drafting(len), &mut sampler(temperature), 50);
            assert_eq!(plain, drafted, "temperature {temperature}, {len:?}");
        }
    }
    let mut engine = drafting(3);
    let first = run(&mut engine, &mut sampler(0.8), 50);
    assert_eq!(first, run(&mut engine, &mut sampler(0.8), 50), "the same seed draws the same");
}

/// Takes the largest logit on the device.
fn greedy() -> Sampler {
    Sampler::new(&SamplingParams::default(), &[], &[]).expect("in range")
}

#[test]
fn greedy_choices_are_those_of_greedy_decoding() {
    let mut engine = nano(&EngineOptions::new(192, 7));
    let mut expected = vec![engine.prefill(&prompt()).expect("runs").next];
    expected.extend(engine.decode_greedy(60, false).expect("runs").tokens);
    assert_eq!(run(&mut engine, &mut greedy(), 60), expected);
    for len in [DraftLen::Fixed(2), DraftLen::Adaptive { most: 5 }] {
        assert_eq!(run(&mut drafting(len), &mut greedy(), 60), expected, "{len:?}");
    }
}

/// Breaks after every seventh token and goes on.
fn run_broken(engine: &mut Engine, choose: &mut dyn Choose, count: usize) -> Vec<u32> {
    engine.reset();
    let mut tokens = vec![engine.prefill_chosen(&prompt(), choose).expect("runs").next];
    while tokens.len() <= count {
        let mut left = 7.min(count + 1 - tokens.len());
        let mut tell = |_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let decoded = engine.decode_chosen(64, choose, &mut tell).expect("runs");
        tokens.extend(decoded.tokens);
        assert_eq!(engine.position(), PROMPT_TOKENS + tokens.len() - 1);
    }
    tokens
}

#[test]
fn a_broken_loop_goes_on_where_it_stopped() {
    let mut plain = nano(&EngineOptions::new(192, 7));
    let mut with_drafts = drafting(4);
    let expected = run(&mut plain, &mut greedy(), 30);
    assert_eq!(run_broken(&mut plain, &mut greedy(), 30), expected);
    assert_eq!(run_broken(&mut with_drafts, &mut greedy(), 30), expected);
    let expected = run(&mut plain, &mut sampler(0.7), 30);
    assert_eq!(run_broken(&mut plain, &mut sampler(0.7), 30), expected);
    assert_eq!(run_broken(&mut with_drafts, &mut sampler(0.7), 30), expected);
}

#[test]
fn rewinding_leaves_what_a_fresh_start_gives() {
    // Longer than the sliding window, so that the rings have wrapped.
    let options = EngineOptions { rewind_tokens: 40, ..EngineOptions::new(512, 4) };
    let mut engine = nano(&options);
    let window = engine.config().sliding_window;
    let long: Vec<u32> = prompt().iter().cycle().copied().take(window + 120).collect();
    let keep = long.len() - 30;
    let other: Vec<u32> = [5, 900, 17, 33].into();
    engine.prefill(&[&long[..keep], other.as_slice()].concat()).expect("runs");
    let expected = engine.decode_greedy(12, true).expect("runs");
    engine.reset();
    engine.prefill(&long).expect("runs");
    engine.rewind(keep).expect("thirty tokens are held");
    assert!(engine.decode_greedy(1, false).is_err(), "nothing is ready after a rewind");
    engine.prefill(&other).expect("runs");
    let found = engine.decode_greedy(12, true).expect("runs");
    assert_eq!(found.tokens, expected.tokens);
    assert!(
        common::bits(&found.logits.expect("kept")) == common::bits(&expected.logits.expect("kept"))
    );
    let error = engine.rewind(5).expect_err("long overwritten").to_string();
    assert!(error.contains("rewind_tokens"), "{error}");
    assert!(engine.rewind(engine.position() + 1).is_err(), "not reached yet");
    engine.rewind(0).expect("an empty cache needs nothing");
}

/// The tokens and logit bits that a fresh engine gives behind `kept` and `other`.
fn fresh(options: &EngineOptions, kept: &[u32], other: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut engine = nano(options);
    engine.prefill(kept).expect("runs");
    go_on(&mut engine, other)
}

fn go_on(engine: &mut Engine, other: &[u32]) -> (Vec<u32>, Vec<u32>) {
    engine.prefill(other).expect("runs");
    let found = engine.decode_greedy(6, true).expect("runs");
    (found.tokens, common::bits(&found.logits.expect("kept")))
}

#[test]
fn a_second_rewind_knows_how_far_the_first_sequence_went() {
    let options = EngineOptions { rewind_tokens: 40, ..EngineOptions::new(512, 4) };
    let mut engine = nano(&options);
    let long: Vec<u32> = prompt().iter().cycle().copied().take(300).collect();
    engine.prefill(&long).expect("runs");
    engine.rewind(265).expect("within what is held");
    engine.prefill(&[5]).expect("runs");
    // Position 230 is 36 behind the present one, and 70 behind the furthest that was written.
    let error = engine.rewind(230).expect_err("its window was written over").to_string();
    assert!(error.contains("rewind_tokens"), "{error}");
    engine.rewind(262).expect("its window is still there");
    assert!(go_on(&mut engine, &[7, 11]) == fresh(&options, &long[..262], &[7, 11]));
    engine.reset();
    engine.prefill(&long[..200]).expect("runs");
    engine.rewind(165).expect("a reset forgets how far the sequence before went");
}

#[test]
fn refused_drafts_count_as_written() {
    let options = EngineOptions { rewind_tokens: 8, ..EngineOptions::new(512, 7) };
    let drafter = Drafter::embedded().expect("loads");
    let mut engine = nano(&options).with_drafter(&drafter, 6).expect("fits");
    let long: Vec<u32> = prompt().iter().cycle().copied().take(200).collect();
    let first = engine.prefill(&long).expect("runs").next;
    let mut tokens = long;
    tokens.push(first);
    tokens.extend(engine.decode_greedy(60, false).expect("runs").tokens);
    let held = engine.position();
    // What the first rewind allows leaves what a fresh start gives, however many drafts were refused.
    let oldest = (0..=held).find(|&p| p > 0 && rewinds(&mut engine, &tokens, p)).expect("one does");
    assert!(oldest <= held - 8, "the promised tokens can be taken back: {oldest} of {held}");
}

/// Whether the engine takes `position`; if so, it must leave what a fresh start gives.
fn rewinds(engine: &mut Engine, tokens: &[u32], position: usize) -> bool {
    if engine.rewind(position).is_err() {
        return false;
    }
    let options = EngineOptions { rewind_tokens: 8, ..EngineOptions::new(512, 7) };
    let other = [9, 33];
    assert!(go_on(engine, &other) == fresh(&options, &tokens[..position], &other), "{position}");
    true
}

/// Chooses what no vocabulary holds.
struct Beyond;

impl Choose for Beyond {
    fn choose(&mut self, logits: &mut [f32]) -> Result<u32> {
        Ok(logits.len() as u32)
    }
}

#[test]
fn choices_outside_the_vocabulary_are_refused() {
    let mut engine = nano(&EngineOptions::new(192, 7));
    assert!(engine.decode_chosen(1, &mut greedy(), &mut |_| ControlFlow::Continue(())).is_err());
    assert!(engine.prefill_chosen(&prompt(), &mut Beyond).is_err());
}
