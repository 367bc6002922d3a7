//! A model that a test scripts, and views to decide on.

use assay_kernels::{Checkpoint, Result};
use assay_node::agent::planner::{Bounds, LocalModel, Planner, PlannerOptions, Transcript};
use assay_node::agent::quarantine::{Notice, ReaderLimits, Reading, Source};
use assay_node::agent::{
    BudgetLeft, Knob, OpenPlan, Rules, Start, Trial, TrialResult, Variant, View,
};
use assay_node::serve::model::{Generate, Generated, Turn};
use assay_node::serve::text::Vocabulary;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::verdict::Estimate;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const EOS: u32 = 1;
/// Logit of the scripted token where all others have 0.
const SURE: f32 = 30.0;

/// The prompts that a scripted model saw.
pub(crate) type Seen = Arc<Mutex<Vec<String>>>;

/// Says what `reply` makes of the prompt, as far as the grammar lets it.
struct Scripted<F> {
    vocabulary: Vocabulary,
    reply: F,
    seen: Seen,
}

impl<F: FnMut(&str) -> String + Send> Generate for Scripted<F> {
    fn context_tokens(&self) -> usize {
        8192
    }

    fn generate(&mut self, turn: Turn<'_>) -> Result<Generated> {
        let bytes: Vec<u8> =
            turn.prompt.iter().flat_map(|token| self.vocabulary.token_bytes(*token)).collect();
        let prompt = String::from_utf8_lossy(&bytes).into_owned();
        let reply = self.vocabulary.encode(&(self.reply)(&prompt)).unwrap();
        self.seen.lock().unwrap().push(prompt);
        for token in reply.into_iter().chain(std::iter::repeat(EOS)).take(turn.most) {
            let mut logits = vec![0.0; self.vocabulary.size()];
            logits[token as usize] = SURE;
            let chosen = turn.choose.choose(&mut logits)?;
            if (turn.on_token)(chosen).is_break() {
                break;
            }
        }
        Ok(Generated::default())
    }
}

/// A planner on `checkpoint`, whose model says what `reply` makes of each prompt.
fn on(
    checkpoint: &Checkpoint,
    reply: impl FnMut(&str) -> String + Send + 'static,
    options: PlannerOptions,
    transcript: Option<Transcript>,
) -> (Planner, Seen) {
    let vocabulary = Vocabulary::new(checkpoint.tokenizer().unwrap(), checkpoint.config().vocab);
    let seen = Seen::default();
    let scripted = Scripted { vocabulary, reply, seen: Arc::clone(&seen) };
    let model = LocalModel::new(checkpoint, Box::new(scripted), "scripted".to_owned()).unwrap();
    (Planner::new(model, options, transcript), seen)
}

/// A planner whose model says what `reply` makes of each prompt.
pub(crate) fn planner_of(
    reply: impl FnMut(&str) -> String + Send + 'static,
    options: PlannerOptions,
    transcript: Option<Transcript>,
) -> (Planner, Seen) {
    on(&Checkpoint::embedded().unwrap(), reply, options, transcript)
}

/// The same with the usual bounds.
pub(crate) fn scripted(
    reply: impl FnMut(&str) -> String + Send + 'static,
    transcript: Option<Transcript>,
) -> (Planner, Seen) {
    planner_of(reply, options(), transcript)
}

/// The same with a chat template in the form of Gemma 4's.
pub(crate) fn gemma4(reply: impl FnMut(&str) -> String + Send + 'static) -> (Planner, Seen) {
    let files = assay_kernels::embedded_files().into_iter();
    let mut files: BTreeMap<String, Vec<u8>> =
        files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
    let template = include_bytes!("../serve/gemma4.jinja").to_vec();
    files.insert("chat_template.jinja".to_owned(), template);
    on(&Checkpoint::from_files(files).unwrap(), reply, options(), None)
}

/// A planner on gemma4-nano.
pub(crate) fn nano(seed: u64) -> Planner {
    let model = LocalModel::open(None).unwrap();
    Planner::new(model, PlannerOptions { seed, ..options() }, None)
}

/// Bounds that no slow machine reaches.
pub(crate) fn options() -> PlannerOptions {
    let time = Duration::from_secs(600);
    PlannerOptions {
        choice: Bounds { tokens: 256, time },
        reader: ReaderLimits { text_tokens: 128, answer: Bounds { tokens: 192, time } },
        ..PlannerOptions::default()
    }
}

/// Whether a prompt is the reader's.
pub(crate) fn is_reading(prompt: &str) -> bool {
    prompt.contains("Classify a ")
}

pub(crate) fn notice(source: Source, reading: &Reading) -> Notice {
    Notice { source, reading: reading.clone() }
}

/// A search under way: one trial that pays, one that does not, and somebody else's plan.
pub(crate) fn view(notices: Vec<Notice>) -> View {
    let variant =
        |lever: &str, choice: &str| Variant([(lever.to_owned(), choice.to_owned())].into());
    let trial = |variant, pairs, ppm| {
        let ratio = Some(Estimate { ppm, low_ppm: ppm - 10_000, high_ppm: ppm + 10_000 });
        let result = TrialResult::Measured { ratio, failed: Vec::new(), lossless: true };
        Trial { variant, pairs, result }
    };
    let knob = |lever: &str, choices: &[&str]| Knob {
        lever: lever.to_owned(),
        choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
    };
    View {
        now_ms: 1_700_000_000_000,
        height: 120,
        member: true,
        idle: true,
        start: Start { claim: ClaimId([3; 32]), ratio_to_base_ppm: 1_100_000 },
        knobs: vec![
            knob("attention", &["built-in", "fused"]),
            knob("draft-length", &["1", "2", "3", "7"]),
            knob("matmul-bf16", &["64", "128"]),
        ],
        trials: vec![
            trial(variant("attention", "fused"), 4, 930_000),
            trial(variant("draft-length", "2"), 12, 1_280_000),
        ],
        dead_ends: [["matmul-bf16".to_owned()].into()].into(),
        open_plans: vec![OpenPlan {
            post: RecordId([9; 32]),
            levers: ["attention".to_owned()].into(),
        }],
        plan: None,
        planned: Default::default(),
        plan_waits: false,
        refused: None,
        claimed: None,
        published: false,
        claims: Vec::new(),
        notices,
        budget: BudgetLeft { measuring_s: 300, disk_bytes: 1 << 30, messages: 10 },
        rules: Rules { gain_ppm: 30_000, pairs: 12, pairs_max: 64 },
    }
}

/// A view so much later that a planner which chose to wait is asked again.
pub(crate) fn later(view: View, hours: u64) -> View {
    View { now_ms: view.now_ms + hours * 3_600_000, ..view }
}

/// A search that has not begun: a prompt that is short for nano.
pub(crate) fn early_view(notices: Vec<Notice>) -> View {
    let whole = view(notices);
    let knobs = whole.knobs[..2].to_vec();
    let (dead_ends, open_plans) = Default::default();
    View { knobs, trials: Vec::new(), dead_ends, open_plans, ..whole }
}
