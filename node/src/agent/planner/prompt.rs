//! What the model is told before it chooses: the node's own numbers, and readings.
//!
//! Nothing in this file takes a text. A [`View`] has numbers, ids and the node's own words, a
//! [`Notice`] has a [`Reading`]; so nothing that another peer wrote can reach the prompt.
//!
//! [`Reading`]: crate::agent::quarantine::Reading

use super::tools::Tools;
use crate::agent::quarantine::Notice;
use crate::agent::{Trial, TrialResult, View};
use crate::serve::chat::{Conversation, Message, Role};
use std::fmt::Write;

/// Most trials that are told, the latest.
const TRIALS_MAX: usize = 24;
/// Most dead ends, and most plans of others, in a prompt.
const KNOWN_MAX: usize = 16;
/// Most readings that are told, the most relevant.
const NOTICES_MAX: usize = 12;

const TASK: &str = "\
You choose the next step of an agent that makes Gemma 4 decode faster. Turn one lever at a time from the \
start, measure short first, then long what looks good. Claim only what pays. Tell the others what you are \
about to try, and what came of it, also when it did not pay. Call exactly one tool.";

/// The conversation behind which the model calls a tool. With `declared`, the template declares the
/// tools; otherwise they are listed in words.
pub(super) fn conversation(view: &View, tools: &Tools, declared: bool) -> Conversation {
    let mut text = format!("{TASK}\n\n{}", situation(view));
    if !declared {
        let _ = write!(text, "\nTools:\n{}", tools.listed());
    }
    let tools = if declared { tools.declarations() } else { Vec::new() };
    Conversation {
        messages: vec![Message::new(Role::User, text)],
        tools,
        ..Conversation::default()
    }
}

/// What the node knows, a line each.
fn situation(view: &View) -> String {
    let mut text = String::new();
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    let _ = writeln!(
        text,
        "Height {}. May claim: {}. Machine free: {}.",
        view.height,
        yes_no(view.member),
        yes_no(view.idle)
    );
    let _ = writeln!(
        text,
        "Start: claim {}, {} times the base recipe. A gain pays when its lower bound is above {}.",
        view.start.claim.short(),
        ratio(view.start.ratio_to_base_ppm),
        ratio(1_000_000_u64.saturating_add(view.rules.gain_ppm)),
    );
    let left = &view.budget;
    let _ = writeln!(
        text,
        "Budget left: {} s of measuring, {} MB of disk, {} messages.",
        left.measuring_s,
        left.disk_bytes / 1_000_000,
        left.messages
    );
    let announced = if view.plan.is_some() { "announced" } else { "none announced" };
    let reported = if view.published { "yes" } else { "no" };
    let _ = writeln!(text, "Own plan: {announced}. Reported: {reported}.");
    let (open, led) =
        (view.open_claims().count(), view.claims.iter().filter(|c| c.leads && c.mine).count());
    let _ = writeln!(text, "Own claims: {open} being measured, {led} leading.");
    text.push_str("Trials, oldest first:\n");
    for trial in view.trials.iter().rev().take(TRIALS_MAX).rev() {
        let _ =
            writeln!(text, "- {}, {} pairs: {}", trial.variant.text(), trial.pairs, outcome(trial));
    }
    for levers in view.dead_ends.iter().take(KNOWN_MAX) {
        let levers: Vec<&str> = levers.iter().map(String::as_str).collect();
        let _ = writeln!(text, "Dead end: {}.", levers.join(", "));
    }
    for plan in view.open_plans.iter().take(KNOWN_MAX) {
        let levers: Vec<&str> = plan.levers.iter().map(String::as_str).collect();
        let _ = writeln!(text, "Another peer is about to turn: {}.", levers.join(", "));
    }
    text.push_str(&heard(&view.notices));
    text
}

/// What readers found in what others wrote, the most relevant first.
fn heard(notices: &[Notice]) -> String {
    let mut sorted: Vec<&Notice> = notices.iter().collect();
    sorted.sort_by_key(|notice| std::cmp::Reverse(notice.reading.relevance));
    let mut text = String::new();
    for Notice { source, reading } in sorted.into_iter().take(NOTICES_MAX) {
        let _ = writeln!(text, "A {} {}.", source.word(), reading.text());
    }
    text
}

fn outcome(trial: &Trial) -> String {
    match &trial.result {
        TrialResult::Failed => "it could not be measured".to_owned(),
        TrialResult::Measured { ratio: None, .. } => "too few pairs".to_owned(),
        TrialResult::Measured { ratio: Some(found), failed, .. } => {
            let gates = match failed.len() {
                0 => String::new(),
                failed => format!(", {failed} gates failed"),
            };
            format!(
                "{} ({} to {}){gates}",
                ratio(found.ppm),
                ratio(found.low_ppm),
                ratio(found.high_ppm)
            )
        }
    }
}

/// Millionths as a factor.
fn ratio(ppm: u64) -> String {
    format!("{}.{:03}", ppm / 1_000_000, ppm % 1_000_000 / 1_000)
}
