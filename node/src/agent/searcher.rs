//! A policy without language: successive halving over what may be turned.
//!
//! ```text
//! rung 0   every single setting, 4 pairs each                    what does it do alone?
//!          but no longer drafts where two shorter ones in a row
//!          lost, the longer of them more
//! rung 1   the settings that gained, together: all, all but one, 8 pairs each
//!          some drawn by lot, and the best alone
//! final    the best of these, measured afresh                    its own pairs alone decide;
//!                                                                where they do not, the next one's
//! ```
//!
//! A further rung, for the better half of so few, would take longer than the final that it may spare; what is
//! left behind is a setting or two away from the next search's start.
//!
//! Screening picks the luckiest of many, so its estimates are too high (the winner's curse); what is
//! claimed is therefore what the final measured, and only where its lower bound is above the network's
//! gain. The whole search is a function of the seed and of the trials in the view: a node that restarts
//! goes on where it was.

use super::action::{Action, ClaimDraft, Decision, Experiment, Finding, PlanDraft, Policy};
use super::view::{Claimed, Knob, Trial, TrialResult, Variant, View};
use super::workshop::{DRAFT_LENGTH, WEIGHTS};
use assay_protocol::draw::Draw;
use assay_protocol::post::LEVERS_MAX;
use assay_protocol::verdict::Outcome;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Pairs of a trial in the first rung; the second has twice as many.
const FIRST_PAIRS: u32 = 4;
/// Most variants in the first rung.
const SINGLES_MAX: usize = 16;
/// Most variants in the second.
const COMBINED_MAX: usize = 4;
/// Best single settings that go on to it.
const BEST_SINGLES: usize = 2;
/// Seconds of measuring below which no trial is begun.
pub const TRIAL_SECONDS_MIN: u64 = 20;
const ONE_PPM: u64 = 1_000_000;

/// Searches by successive halving.
#[derive(Debug)]
pub struct Searcher {
    seed: u64,
}

/// Where a search stands.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// All that may be turned from here is a dead end.
    Nothing,
    /// The rest is in plans of others, which came first.
    Taken,
    /// This is to be measured next.
    Measure(Experiment, &'static str),
    /// This has a gain that is worth a claim.
    Found(Variant),
    /// All was measured, and nothing pays.
    Lost,
    /// The best candidate cannot be measured here, so that nothing is known of it.
    Unmeasured,
}

impl Searcher {
    /// A searcher whose lots are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    fn stage(&self, view: &View) -> Stage {
        let singles = singles(view, self.draw(view, "singles"));
        let all: BTreeSet<String> = singles.iter().flat_map(Variant::levers).collect();
        let known = view.trials.is_empty() && view.dead_ends.contains(&all);
        if singles.is_empty() || known {
            let any = view.knobs.iter().flat_map(settings).any(|one| !is_dead(view, &one));
            return if any && !known { Stage::Taken } else { Stage::Nothing };
        }
        let scores = Scores::new(&view.trials);
        let untried: Vec<Variant> =
            singles.iter().filter(|one| !scores.is_past_summit(one)).cloned().collect();
        if let Some(next) = scores.unmeasured(&untried, FIRST_PAIRS) {
            return Stage::Measure(next, "to see what one setting does alone");
        }
        let all = combined(view, &singles, &scores, self.draw(view, "combined"));
        let (first, most) = final_pairs(view);
        if all.len() > 1
            && FIRST_PAIRS * 2 < first
            && let Some(next) = scores.unmeasured(&all, FIRST_PAIRS * 2)
        {
            return Stage::Measure(next, "to compare it with the other candidates left");
        }
        // What fails a gate in its final fails it for its weights, whatever kernels go with them.
        let finalists = scores.finalists(all, first);
        let mut unsound: BTreeSet<&String> = BTreeSet::new();
        for candidate in &finalists {
            let weights = candidate.0.get(WEIGHTS);
            if weights.is_some_and(|weights| unsound.contains(weights)) {
                continue;
            }
            match final_of(view, &scores, candidate, [first, most]) {
                Stage::Lost => {}
                stage => return stage,
            }
            let failed = |trial: &&&Trial| trial.sound_ratio().is_none() && trial.pairs >= first;
            let failed = scores.of(candidate).iter().rev().find(failed);
            unsound.extend(failed.and_then(|trial| trial.variant.0.get(WEIGHTS)));
        }
        Stage::Lost
    }

    /// A trial, once the plan is announced and where the budget has room.
    fn begin(&self, view: &View, experiment: Experiment, why: &str) -> Decision {
        if view.budget.measuring_s < TRIAL_SECONDS_MIN {
            return Decision::over("the day's budget for measuring is spent");
        }
        if view.plan.is_none() {
            if view.budget.messages == 0 {
                let why = "the day's messages are spent, and nothing is tried unannounced";
                return Decision::over(why);
            }
            let singles = singles(view, self.draw(view, "singles"));
            let levers = singles.iter().flat_map(Variant::levers).collect();
            let why = "so that nobody tries the same beside this node";
            return Decision::act(Action::Announce(PlanDraft { levers }), why);
        }
        if !view.idle {
            return Decision::wait("a claim on the docket needs this machine first");
        }
        Decision::act(Action::Try(experiment), why)
    }

    fn draw(&self, view: &View, purpose: &str) -> Draw {
        let seed = self.seed.to_le_bytes();
        Draw::new("assay agent search v1", &[&seed, &view.start.claim.0, purpose.as_bytes()])
    }
}

impl Policy for Searcher {
    fn next(&mut self, view: &View) -> Decision {
        if !view.member {
            return Decision::over(
                "the network takes no claims of this node; a member must vouch for it",
            );
        }
        if view.published {
            return Decision::over("this search is over; the next begins when another entry leads");
        }
        if let Some(claimed) = &view.claimed {
            return after_claim(view, claimed);
        }
        if let Some(variant) = &view.refused {
            let finding = Finding::Result(variant.clone());
            return Decision::act(Action::Publish(finding), "the network refuses its claim");
        }
        if view.open_claims().next().is_some() {
            return Decision::wait("a claim of this node is being measured");
        }
        if view.plan_waits {
            return Decision::wait("its plan is not on the ledger yet, which says who came first");
        }
        match self.stage(view) {
            Stage::Nothing => Decision::over("all that can be turned from here is a dead end"),
            Stage::Taken => Decision::wait("others announced first what is left to turn from here"),
            Stage::Measure(experiment, why) => self.begin(view, experiment, why),
            Stage::Found(variant) => {
                let why = format!("{} is faster by more than the network asks", variant.text());
                Decision::act(Action::Claim(ClaimDraft { variant }), why)
            }
            Stage::Unmeasured => Decision::over(
                "the best candidate could not be measured in the time that a trial has",
            ),
            Stage::Lost => lost(view),
        }
    }
}

/// What is said of a search that found no gain.
fn lost(view: &View) -> Decision {
    // What could not be measured is no dead end, only unknown.
    let tried = view.trials.iter().filter(|trial| trial.result != TrialResult::Failed);
    let levers: BTreeSet<String> = tried.flat_map(|trial| trial.variant.levers()).collect();
    if levers.is_empty() {
        return Decision::over("nothing that can be turned from here could be measured");
    }
    let levers = levers.into_iter().take(LEVERS_MAX).collect();
    let finding = Action::Publish(Finding::DeadEnd(levers));
    Decision::act(finding, "nothing that was tried from here pays")
}

/// What follows a claim of this search. Nothing is told of it before its committee decided: seats must
/// not know what its author measured.
fn after_claim(view: &View, claimed: &Claimed) -> Decision {
    let seen = view.claims.iter().find(|claim| claim.id == claimed.claim);
    let (finding, why) = match seen.and_then(|claim| claim.outcome) {
        None => {
            let claim = claimed.claim.short();
            return Decision::wait(&format!("a committee is to measure claim {claim}"));
        }
        Some(Outcome::Refuted) => {
            (Finding::DeadEnd(claimed.variant.levers()), "its committee refuted the claim")
        }
        Some(_) => (Finding::Result(claimed.variant.clone()), "its committee decided on the claim"),
    };
    Decision::act(Action::Publish(finding), why)
}

/// How the final of one candidate stands, which is measured with so many pairs, and with more where those
/// could not show a gain that is there.
fn final_of(view: &View, scores: &Scores<'_>, candidate: &Variant, finals: [u32; 2]) -> Stage {
    for pairs in finals {
        let Some(found) = scores.last_with(candidate, pairs) else {
            let experiment = Experiment { variant: candidate.clone(), pairs };
            return Stage::Measure(experiment, "to measure one of the best afresh");
        };
        match found.sound_ratio() {
            None if found.result == TrialResult::Failed => return Stage::Unmeasured,
            Some(ratio) if view.pays(ratio) => return Stage::Found(candidate.clone()),
            // More pairs may show what these could not.
            Some(ratio) if ratio.ppm > ONE_PPM.saturating_add(view.rules.gain_ppm) => {}
            _ => return Stage::Lost,
        }
    }
    Stage::Lost
}

/// Pairs of the final, and of the one after it; both even, and more than any rung before has.
fn final_pairs(view: &View) -> (u32, u32) {
    let most = view.rules.pairs_max / 2 * 2;
    let first = view.rules.pairs.saturating_mul(2).max(FIRST_PAIRS * 4).min(most);
    (first, most)
}

/// Whether somebody found that turning these levers does not pay.
fn is_dead(view: &View, variant: &Variant) -> bool {
    view.dead_ends.contains(&variant.levers())
}

/// Whether they are a dead end, or somebody else is about to try them, who said so first.
fn is_taken(view: &View, variant: &Variant) -> bool {
    let levers = variant.levers();
    is_dead(view, variant) || view.open_plans.iter().any(|plan| levers.is_subset(&plan.levers))
}

/// Every setting of a knob.
fn settings(knob: &Knob) -> impl Iterator<Item = Variant> {
    let of = |choice: &String| Variant(BTreeMap::from([(knob.lever.clone(), choice.clone())]));
    knob.choices.iter().map(of)
}

/// The settings of as many knobs as a plan may name; some of either, drawn by lot, where there are too
/// many. What was measured stays, whatever plans others announce or end meanwhile.
fn singles(view: &View, mut draw: Draw) -> Vec<Variant> {
    let known = |variant: &Variant| view.trials.iter().any(|trial| trial.variant == *variant);
    let free = |variant: &Variant| known(variant) || !is_taken(view, variant);
    // What an announced plan does not name was not announced.
    let planned = |knob: &&Knob| view.planned.is_empty() || view.planned.contains(&knob.lever);
    let knobs = view.knobs.iter().filter(planned);
    let by_knob = knobs.map(|knob| settings(knob).filter(free).collect());
    let by_knob: Vec<Vec<Variant>> = by_knob.filter(|of: &Vec<_>| !of.is_empty()).collect();
    let all: Vec<Variant> = some(by_knob, LEVERS_MAX, &mut draw).into_iter().flatten().collect();
    some(all, SINGLES_MAX, &mut draw)
}

/// So many of them, drawn by lot, in their order.
fn some<T>(all: Vec<T>, most: usize, draw: &mut Draw) -> Vec<T> {
    let chosen = draw.distinct(most, u64::try_from(all.len()).unwrap_or(0));
    let chosen: BTreeSet<usize> =
        chosen.into_iter().filter_map(|index| usize::try_from(index).ok()).collect();
    let all = all.into_iter().enumerate();
    all.filter(|(index, _)| chosen.contains(index)).map(|(_, one)| one).collect()
}

/// The settings that gained alone, put together.
fn combined(view: &View, singles: &[Variant], scores: &Scores<'_>, mut draw: Draw) -> Vec<Variant> {
    let alone = |variant: &Variant| scores.ppm(variant, FIRST_PAIRS);
    let mut gained: Vec<&Variant> = singles.iter().filter(|v| alone(v) > ONE_PPM).collect();
    gained.sort_by_key(|variant| Reverse(alone(variant)));
    // The choices of every lever, the best first.
    let mut by_lever: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
    for (lever, choice) in gained.iter().flat_map(|variant| variant.0.iter()) {
        by_lever.entry(lever).or_default().push(choice);
    }
    let of_each = |mut place: Box<dyn FnMut(usize) -> usize + '_>| {
        let chosen = by_lever.iter().filter_map(|(lever, choices)| {
            Some(((*lever).clone(), (*choices.get(place(choices.len()))?).clone()))
        });
        Variant(chosen.collect())
    };
    let best = of_each(Box::new(|_| 0));
    let mut found = vec![best.clone()];
    found.extend(gained.iter().take(BEST_SINGLES).map(|variant| (*variant).clone()));
    for lever in best.0.keys() {
        let mut less = best.clone();
        less.0.remove(lever);
        found.push(less);
    }
    // A setting that is second best alone may be the best in company.
    for _ in 0..COMBINED_MAX {
        found.push(of_each(Box::new(|count| {
            usize::try_from(draw.below(u64::try_from(count).unwrap_or(1))).unwrap_or(0)
        })));
    }
    let mut seen = BTreeSet::new();
    found.retain(|v| !v.0.is_empty() && !is_taken(view, v) && seen.insert(v.clone()));
    found.truncate(COMBINED_MAX);
    found
}

/// The trials, by what was tried.
struct Scores<'a>(BTreeMap<&'a Variant, Vec<&'a Trial>>);

impl<'a> Scores<'a> {
    fn new(trials: &'a [Trial]) -> Self {
        let mut by_variant: BTreeMap<&Variant, Vec<&Trial>> = BTreeMap::new();
        for trial in trials {
            by_variant.entry(&trial.variant).or_default().push(trial);
        }
        Self(by_variant)
    }

    fn of(&self, variant: &Variant) -> &[&'a Trial] {
        self.0.get(variant).map(Vec::as_slice).unwrap_or_default()
    }

    fn last_with(&self, variant: &Variant, pairs: u32) -> Option<&'a Trial> {
        self.of(variant).iter().rev().find(|trial| trial.pairs == pairs).copied()
    }

    fn unmeasured(&self, rung: &[Variant], pairs: u32) -> Option<Experiment> {
        let next = rung.iter().find(|variant| self.last_with(variant, pairs).is_none())?;
        Some(Experiment { variant: next.clone(), pairs })
    }

    /// Whether a draft length alone needs no trial, because two shorter ones in a row lost and the longer of
    /// them lost more: a further draft costs as much as the one before and is kept more rarely, so that the
    /// speed over the length has one summit.
    fn is_past_summit(&self, variant: &Variant) -> bool {
        let length = variant.0.get(DRAFT_LENGTH).and_then(|length| length.parse::<u32>().ok());
        let Some(length) = length.filter(|_| variant.0.len() == 1) else { return false };
        let ppm = |length: u32| {
            let alone = Variant(BTreeMap::from([(DRAFT_LENGTH.to_owned(), length.to_string())]));
            // What failed says nothing about the speed of others.
            Some(self.last_with(&alone, FIRST_PAIRS)?.sound_ratio()?.ppm)
        };
        let pairs = (2..length).map(|longer| (ppm(longer.saturating_sub(1)), ppm(longer)));
        let mut measured = pairs.filter_map(|(shorter, longer)| shorter.zip(longer));
        measured.any(|(shorter, longer)| longer < shorter && shorter < ONE_PPM)
    }

    /// The geometric mean of a variant's ratios, weighted with their pairs; 0 where it failed a gate or
    /// a trial, which no speed makes up for. Trials of more pairs than `most` came after the rung that
    /// asks, and do not change how it was decided.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn ppm(&self, variant: &Variant, most: u32) -> u64 {
        let (mut sum, mut weight) = (0.0, 0.0);
        for trial in self.of(variant).iter().filter(|trial| trial.pairs <= most) {
            let Some(ratio) = trial.sound_ratio().filter(|ratio| ratio.ppm > 0) else { return 0 };
            sum += (ratio.ppm as f64).ln() * f64::from(trial.pairs);
            weight += f64::from(trial.pairs);
        }
        // Without trials there is no mean, and NaN becomes 0.
        (sum / weight).exp().round() as u64
    }

    /// Who has a final, the best first: what a final finds wrong with one candidate need not be wrong with the
    /// next. Nothing that is not faster than the start.
    fn finalists(&self, mut all: Vec<Variant>, first: u32) -> Vec<Variant> {
        let score = |variant: &Variant| self.ppm(variant, first.saturating_sub(1));
        all.retain(|variant| score(variant) > ONE_PPM);
        all.sort_by_key(|variant| Reverse(score(variant)));
        all
    }
}
