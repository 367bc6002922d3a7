//! What the model may call: every tool with every argument spelt out, all of them allowed right then.

use crate::agent::{
    Action, ClaimDraft, Experiment, Finding, Knob, PlanDraft, Trial, Variant, View,
};
use crate::serve::grammar::Tool;
use crate::serve::output::ToolCall;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Most choices of one argument. More would crowd out the rest of the prompt.
pub const CHOICES_MAX: usize = 48;
/// Pairs of timed loops that a first, short measurement has.
const SHORT_PAIRS: u32 = 4;

/// A tool with the calls of it that are allowed in one view.
///
/// Arguments are enumerations without exception: there is no string that the model could fill in.
#[derive(Debug, Clone, PartialEq)]
struct Offer {
    name: &'static str,
    about: &'static str,
    /// The argument's name and what it stands for; none where a tool has no choice.
    argument: Option<(&'static str, &'static str)>,
    /// The argument's values, each with what it does.
    calls: Vec<(String, Action)>,
}

/// The tools of one decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Tools(Vec<Offer>);

impl Tools {
    /// All calls that [`Action::check`] allows in `view`.
    #[must_use]
    pub fn of(view: &View) -> Self {
        let offers = [
            waiting(),
            announcing(view),
            trying(view),
            reporting(view),
            dead_ends(view),
            claiming(view),
        ];
        let allowed = offers.into_iter().filter_map(|mut offer| {
            offer.calls.retain(|(_, action)| action.check(view).is_ok());
            offer.calls.truncate(CHOICES_MAX);
            (!offer.calls.is_empty()).then_some(offer)
        });
        Self(allowed.collect())
    }

    /// The tools as the grammar takes them.
    #[must_use]
    pub fn grammar(&self) -> Vec<Tool> {
        let tool = |offer: &Offer| Tool { name: offer.name.into(), parameters: offer.parameters() };
        self.0.iter().map(tool).collect()
    }

    /// The tools as chat templates declare them.
    #[must_use]
    pub fn declarations(&self) -> Vec<Value> {
        let declared = |offer: &Offer| {
            json!({"type": "function", "function": {
                "name": offer.name, "description": offer.about, "parameters": offer.parameters(),
            }})
        };
        self.0.iter().map(declared).collect()
    }

    /// The tools in words, for templates that do not declare any.
    #[must_use]
    pub fn listed(&self) -> String {
        let line = |offer: &Offer| match offer.argument {
            None => format!("{}{{}}: {}\n", offer.name, offer.about),
            Some((argument, _)) => {
                let values: Vec<&str> =
                    offer.calls.iter().map(|(value, _)| value.as_str()).collect();
                format!(
                    "{}{{{argument}}}: {} {argument}: {}\n",
                    offer.name,
                    offer.about,
                    values.join(" | ")
                )
            }
        };
        self.0.iter().map(line).collect()
    }

    /// The names of the tools.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|offer| offer.name)
    }

    /// What a call does; none unless it is one of those that were offered.
    #[must_use]
    pub fn action(&self, call: &ToolCall) -> Option<Action> {
        let offer = self.0.iter().find(|offer| offer.name == call.name)?;
        let arguments: Map<String, Value> = serde_json::from_str(&call.arguments).ok()?;
        let chosen = match offer.argument {
            None if arguments.is_empty() => "",
            Some((argument, _)) if arguments.len() == 1 => arguments.get(argument)?.as_str()?,
            _ => return None,
        };
        offer.calls.iter().find(|(value, _)| value == chosen).map(|(_, action)| action.clone())
    }

    /// Every action that a call can have.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.0.iter().flat_map(|offer| offer.calls.iter().map(|(_, action)| action))
    }
}

impl Offer {
    fn parameters(&self) -> Value {
        let Some((argument, about)) = self.argument else {
            return json!({"type": "object", "properties": {}});
        };
        let values: Vec<&str> = self.calls.iter().map(|(value, _)| value.as_str()).collect();
        json!({
            "type": "object",
            "properties": {argument: {"type": "string", "description": about, "enum": values}},
            "required": [argument],
        })
    }
}

fn waiting() -> Offer {
    Offer {
        name: "wait",
        about: "Do nothing until something changes.",
        argument: None,
        calls: vec![(String::new(), Action::Wait)],
    }
}

fn announcing(view: &View) -> Offer {
    let taken = |lever: &str| view.open_plans.iter().any(|plan| plan.levers.contains(lever));
    let mut levers: Vec<&String> = view.knobs.iter().map(|knob| &knob.lever).collect();
    // What nobody else is at comes first.
    levers.sort_by_key(|lever| taken(lever));
    let plan = |lever: &String| PlanDraft { levers: BTreeSet::from([lever.clone()]) };
    let mut calls: Vec<(String, Action)> =
        levers.iter().map(|lever| ((*lever).clone(), Action::Announce(plan(lever)))).collect();
    let all = PlanDraft { levers: levers.into_iter().cloned().collect() };
    calls.push(("all".to_owned(), Action::Announce(all)));
    Offer {
        name: "announce",
        about: "Tell the others which lever you will turn, before you try.",
        argument: Some(("lever", "the lever")),
        calls,
    }
}

/// Variants that were not measured at full length: single settings, and what a sound trial becomes
/// with one more setting.
fn trying(view: &View) -> Offer {
    let full = view.rules.pairs.min(view.rules.pairs_max);
    let call = |variant: Variant| {
        let pairs = match last_trial(view, &variant) {
            None => SHORT_PAIRS.min(full),
            Some(trial) if trial.pairs < full && trial.sound_ratio().is_some() => full,
            Some(_) => return None,
        };
        let text = format!("{} ({pairs} pairs)", variant.text());
        Some((text, Action::Try(Experiment { variant, pairs })))
    };
    Offer {
        name: "try",
        about: "Measure a variant on this machine against the start.",
        argument: Some(("variant", "what to turn and how long to measure")),
        calls: variants(view).into_iter().filter_map(call).collect(),
    }
}

/// Each variant once, those of one setting first.
fn variants(view: &View) -> Vec<Variant> {
    let of_knob = |knob: &Knob| {
        let lever = knob.lever.clone();
        knob.choices.iter().map(move |choice| (lever.clone(), choice.clone())).collect::<Vec<_>>()
    };
    let settings: Vec<(String, String)> = view.knobs.iter().flat_map(of_knob).collect();
    let mut variants: Vec<Variant> =
        settings.iter().map(|setting| Variant([setting.clone()].into())).collect();
    let mut known: BTreeSet<Variant> = variants.iter().cloned().collect();
    for trial in view.trials.iter().filter(|trial| trial.sound_ratio().is_some()) {
        for (lever, choice) in &settings {
            let mut variant = trial.variant.clone();
            let turned = variant.0.insert(lever.clone(), choice.clone()).is_none();
            if turned && known.insert(variant.clone()) {
                variants.push(variant);
            }
        }
    }
    variants
}

fn last_trial<'a>(view: &'a View, variant: &Variant) -> Option<&'a Trial> {
    view.trials.iter().rev().find(|trial| trial.variant == *variant)
}

/// The variants that were measured, each once, the latest first.
fn measured(view: &View) -> Vec<&Variant> {
    let mut seen = BTreeSet::new();
    let latest = view.trials.iter().rev().map(|trial| &trial.variant);
    latest.filter(|variant| seen.insert(*variant)).collect()
}

fn reporting(view: &View) -> Offer {
    let report =
        |variant: &Variant| (variant.text(), Action::Publish(Finding::Result(variant.clone())));
    let sound = |variant: &&Variant| {
        last_trial(view, variant).is_some_and(|trial| trial.sound_ratio().is_some())
    };
    let due = measured(view).into_iter().filter(sound);
    Offer {
        name: "publish_result",
        about: "Tell the others what a variant measured, good or bad.",
        argument: Some(("variant", "the variant")),
        calls: due.map(report).collect(),
    }
}

/// Levers that were tried alone and brought nothing.
fn dead_ends(view: &View) -> Offer {
    let pays = |trial: &Trial| trial.sound_ratio().is_some_and(|ratio| view.pays(ratio));
    let hopeless = |levers: &BTreeSet<String>| {
        let mut of_these = view.trials.iter().filter(|trial| trial.variant.levers() == *levers);
        of_these.all(|trial| !pays(trial))
    };
    let tried: BTreeSet<BTreeSet<String>> =
        view.trials.iter().map(|trial| trial.variant.levers()).collect();
    let due = tried.into_iter().filter(hopeless);
    let call = |levers: BTreeSet<String>| {
        let text = levers.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        (text, Action::Publish(Finding::DeadEnd(levers)))
    };
    Offer {
        name: "publish_dead_end",
        about: "Tell the others that turning these levers does not pay.",
        argument: Some(("levers", "the levers")),
        calls: due.map(call).collect(),
    }
}

fn claiming(view: &View) -> Offer {
    let claim = |variant: &Variant| {
        (variant.text(), Action::Claim(ClaimDraft { variant: variant.clone() }))
    };
    Offer {
        name: "claim",
        about: "Claim the gain that a variant measured; a committee will measure it again.",
        argument: Some(("variant", "the variant")),
        calls: measured(view).into_iter().map(claim).collect(),
    }
}

#[cfg(test)]
mod tests;
