//! What a policy may ask for, and what of that the loop lets pass.

use super::quarantine::{Notice, Untrusted};
use super::view::{Variant, View};
use assay_protocol::post::LEVERS_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Decides what the agent does next. It may think for long: the loop runs it off the node's own
/// threads.
pub trait Policy: Send {
    /// The next action, given all that the node knows.
    fn next(&mut self, view: &View) -> Decision;

    /// Reads what others wrote, as far as this policy reads at all: of each text it tells what a call
    /// without tools found in it.
    fn read(&mut self, _texts: &[Untrusted], _now_ms: u64) -> Vec<Notice> {
        Vec::new()
    }

    /// Hears what became of the action that it chose last, in one line of the node's own words.
    fn heard(&mut self, _outcome: &str) {}
}

/// An action with its reason, which people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why, in one line.
    pub why: String,
    /// Whether there is nothing to do for long, so that an agent that was to do one search ends.
    pub over: bool,
}

impl Decision {
    /// Nothing to do for a while.
    #[must_use]
    pub fn wait(why: &str) -> Self {
        Self::act(Action::Wait, why)
    }

    /// Nothing to do before another day, or before others change something.
    #[must_use]
    pub fn over(why: &str) -> Self {
        Self { over: true, ..Self::wait(why) }
    }

    /// An action with its reason.
    #[must_use]
    pub fn act(action: Action, why: impl Into<String>) -> Self {
        Self { action, why: why.into(), over: false }
    }
}

/// One action of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Do nothing until something changes.
    Wait,
    /// Say on the board what is about to be tried.
    Announce(PlanDraft),
    /// Measure a variant against the start.
    Try(Experiment),
    /// Say on the board what came of it.
    Publish(Finding),
    /// Claim a variant that was measured.
    Claim(ClaimDraft),
}

/// A plan to announce: levers to turn from the view's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanDraft {
    /// The levers, 1 to [`LEVERS_MAX`] of the view's knobs.
    pub levers: BTreeSet<String>,
}

/// A variant to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// What to measure.
    pub variant: Variant,
    /// Pairs of timed loops, an even number.
    pub pairs: u32,
}

/// Something to report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Finding {
    /// What a variant measured, by its last trial; good or bad.
    Result(Variant),
    /// That turning these levers does not pay.
    DeadEnd(BTreeSet<String>),
}

/// A claim to make of a variant; the ratio that it seals is that of its last trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimDraft {
    /// What is claimed.
    pub variant: Variant,
}

/// Why the loop does not carry out an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A lever or choice that the node does not have.
    #[error("{0} is none of this node's knobs")]
    Unknown(String),
    /// A number of levers that no post may have.
    #[error("{0} levers; a post names 1 to {LEVERS_MAX}")]
    Levers(usize),
    /// A number of pairs that no measurement has.
    #[error("{0} pairs; an even number from 2 to {1}")]
    Pairs(u32, u32),
    /// Turning these levers is a dead end.
    #[error("{0} is a dead end from here")]
    DeadEnd(String),
    /// A report or claim of something that was not measured.
    #[error("{0} was not measured from here")]
    NotMeasured(String),
    /// A claim that the node's own measurement does not bear out.
    #[error("{0} did not measure a gain that is worth a claim")]
    NoGain(String),
    /// The network would not take it.
    #[error("{0}")]
    NotNow(&'static str),
}

impl Action {
    /// Whether an agent with this view may do this.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the reason.
    pub fn check(&self, view: &View) -> Result<(), Refused> {
        match self {
            Self::Wait => Ok(()),
            Self::Announce(plan) => {
                if view.plan.is_some() {
                    return Err(Refused::NotNow("a plan was announced for this start already"));
                }
                check_levers(view, &plan.levers)
            }
            Self::Try(Experiment { variant, pairs }) => check_trial(view, variant, *pairs),
            Self::Publish(_) if view.published => {
                Err(Refused::NotNow("what came of this search was published already"))
            }
            Self::Publish(_) if is_sealed(view) => {
                Err(Refused::NotNow("no seat may hear what its author measured before the verdict"))
            }
            Self::Publish(Finding::Result(variant)) => last_trial(view, variant).map(|_| ()),
            Self::Publish(Finding::DeadEnd(levers)) => {
                check_levers(view, levers)?;
                let tried = |trial: &super::Trial| trial.variant.levers().is_subset(levers);
                match view.trials.iter().any(tried) {
                    true => Ok(()),
                    false => Err(Refused::NotMeasured(listed(levers))),
                }
            }
            Self::Claim(ClaimDraft { variant }) if view.refused.as_ref() == Some(variant) => {
                Err(Refused::NotNow("the network refused this claim already"))
            }
            Self::Claim(ClaimDraft { variant }) => {
                let open = view.claimed.is_some() || view.open_claims().next().is_some();
                if !view.member || open {
                    return Err(Refused::NotNow("this node may not claim at present"));
                }
                let ratio = last_trial(view, variant)?.sound_ratio();
                match ratio.is_some_and(|ratio| view.pays(ratio)) {
                    true => Ok(()),
                    false => Err(Refused::NoGain(variant.text())),
                }
            }
        }
    }
}

/// Whether a committee is yet to decide on what this node claimed from here.
fn is_sealed(view: &View) -> bool {
    view.claimed.as_ref().is_some_and(|claimed| {
        let seen = view.claims.iter().find(|claim| claim.id == claimed.claim);
        seen.is_none_or(|claim| claim.outcome.is_none())
    })
}

fn check_trial(view: &View, variant: &Variant, pairs: u32) -> Result<(), Refused> {
    if !view.knows(variant) {
        return Err(Refused::Unknown(variant.text()));
    }
    if !(2..=view.rules.pairs_max).contains(&pairs) || !pairs.is_multiple_of(2) {
        return Err(Refused::Pairs(pairs, view.rules.pairs_max));
    }
    if !view.idle {
        return Err(Refused::NotNow("a claim on the docket needs this machine"));
    }
    match view.dead_ends.contains(&variant.levers()) {
        true => Err(Refused::DeadEnd(listed(&variant.levers()))),
        false => Ok(()),
    }
}

fn check_levers(view: &View, levers: &BTreeSet<String>) -> Result<(), Refused> {
    if !(1..=LEVERS_MAX).contains(&levers.len()) {
        return Err(Refused::Levers(levers.len()));
    }
    let known = |lever: &String| view.knobs.iter().any(|knob| knob.lever == *lever);
    match levers.iter().find(|lever| !known(lever)) {
        Some(lever) => Err(Refused::Unknown(lever.clone())),
        None => Ok(()),
    }
}

fn last_trial<'a>(view: &'a View, variant: &Variant) -> Result<&'a super::Trial, Refused> {
    let trial = view.trials.iter().rev().find(|trial| trial.variant == *variant);
    trial.ok_or_else(|| Refused::NotMeasured(variant.text()))
}

fn listed(levers: &BTreeSet<String>) -> String {
    levers.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{BudgetLeft, Knob, Rules, Start, Trial, TrialResult};
    use assay_protocol::gates::Gate;
    use assay_protocol::ids::ClaimId;
    use assay_protocol::verdict::Estimate;

    fn variant(settings: &[(&str, &str)]) -> Variant {
        Variant(settings.iter().map(|(l, c)| ((*l).to_owned(), (*c).to_owned())).collect())
    }

    fn view() -> View {
        let knob = |lever: &str, choices: &[&str]| Knob {
            lever: lever.to_owned(),
            choices: choices.iter().map(|c| (*c).to_owned()).collect(),
        };
        View {
            now_ms: 0,
            height: 1,
            member: true,
            idle: true,
            start: Start { claim: ClaimId([0; 32]), ratio_to_base_ppm: 1_000_000 },
            knobs: vec![knob("draft-length", &["1", "2"]), knob("attention", &["built-in"])],
            trials: Vec::new(),
            dead_ends: BTreeSet::from([BTreeSet::from(["attention".to_owned()])]),
            open_plans: Vec::new(),
            plan: None,
            planned: BTreeSet::new(),
            plan_waits: false,
            refused: None,
            claimed: None,
            published: false,
            claims: Vec::new(),
            notices: Vec::new(),
            budget: BudgetLeft { measuring_s: 60, disk_bytes: 1, messages: 1 },
            rules: Rules { gain_ppm: 30_000, pairs: 12, pairs_max: 64 },
        }
    }

    fn trial(ppm: u64, failed: Vec<Gate>) -> Trial {
        let ratio = Some(Estimate { ppm, low_ppm: ppm - 10_000, high_ppm: ppm + 10_000 });
        let result = TrialResult::Measured { ratio, failed, lossless: true };
        Trial { variant: variant(&[("draft-length", "2")]), pairs: 12, result }
    }

    #[test]
    fn only_known_levers_choices_and_pairs_are_tried() {
        let try_it = |settings: &[(&str, &str)], pairs| {
            Action::Try(Experiment { variant: variant(settings), pairs }).check(&view())
        };
        assert_eq!(try_it(&[("draft-length", "2")], 4), Ok(()));
        assert!(matches!(try_it(&[("draft-length", "9")], 4), Err(Refused::Unknown(_))));
        assert!(matches!(try_it(&[("rm -rf", "2")], 4), Err(Refused::Unknown(_))));
        assert!(matches!(try_it(&[], 4), Err(Refused::Unknown(_))));
        for pairs in [0, 3, 66] {
            let refused = try_it(&[("draft-length", "2")], pairs);
            assert_eq!(refused, Err(Refused::Pairs(pairs, 64)));
        }
        assert!(matches!(try_it(&[("attention", "built-in")], 4), Err(Refused::DeadEnd(_))));
        let combined = try_it(&[("attention", "built-in"), ("draft-length", "1")], 4);
        assert_eq!(combined, Ok(()), "a dead end says nothing of more levers");
    }

    #[test]
    fn a_claim_needs_a_measured_gain_and_sound_gates() {
        let claim = Action::Claim(ClaimDraft { variant: variant(&[("draft-length", "2")]) });
        let with = |trials| claim.check(&View { trials, ..view() });
        assert!(matches!(with(Vec::new()), Err(Refused::NotMeasured(_))));
        assert!(matches!(with(vec![trial(1_039_000, Vec::new())]), Err(Refused::NoGain(_))));
        assert!(matches!(with(vec![trial(1_300_000, vec![Gate::Path])]), Err(Refused::NoGain(_))));
        assert_eq!(with(vec![trial(1_300_000, Vec::new())]), Ok(()));
        // The last trial counts, not the best.
        let fell = vec![trial(1_300_000, Vec::new()), trial(1_010_000, Vec::new())];
        assert!(matches!(with(fell), Err(Refused::NoGain(_))));
    }

    #[test]
    fn posts_name_known_levers_and_what_was_tried() {
        let levers = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let announce = |names: &[&str]| Action::Announce(PlanDraft { levers: levers(names) });
        assert_eq!(announce(&["draft-length"]).check(&view()), Ok(()));
        assert_eq!(announce(&[]).check(&view()), Err(Refused::Levers(0)));
        assert!(matches!(announce(&["gossip"]).check(&view()), Err(Refused::Unknown(_))));
        let dead = Action::Publish(Finding::DeadEnd(levers(&["draft-length"])));
        assert!(matches!(dead.check(&view()), Err(Refused::NotMeasured(_))));
        let tried = View { trials: vec![trial(990_000, Vec::new())], ..view() };
        assert_eq!(dead.check(&tried), Ok(()));
    }
}
