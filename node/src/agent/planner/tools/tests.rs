use super::*;
use crate::agent::{BudgetLeft, OpenPlan, Rules, Start, TrialResult};
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::verdict::Estimate;

fn variant(settings: &[(&str, &str)]) -> Variant {
    Variant(settings.iter().map(|(l, c)| ((*l).to_owned(), (*c).to_owned())).collect())
}

fn trial(settings: &[(&str, &str)], pairs: u32, ppm: u64) -> Trial {
    let ratio = Some(Estimate { ppm, low_ppm: ppm - 10_000, high_ppm: ppm + 10_000 });
    let result = TrialResult::Measured { ratio, failed: Vec::new(), lossless: true };
    Trial { variant: variant(settings), pairs, result }
}

fn view(trials: Vec<Trial>) -> View {
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
        knobs: vec![knob("attention", &["fused"]), knob("draft-length", &["1", "2", "3"])],
        trials,
        dead_ends: BTreeSet::new(),
        open_plans: Vec::new(),
        plan: None,
        planned: Default::default(),
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

/// The values of a tool's argument.
fn values(view: &View, tool: &str) -> Vec<String> {
    let Tools(offers) = Tools::of(view);
    let offer = offers.into_iter().find(|offer| offer.name == tool);
    offer.into_iter().flat_map(|offer| offer.calls).map(|(value, _)| value).collect()
}

#[test]
fn only_what_the_loop_lets_pass_is_offered() {
    let paying = trial(&[("draft-length", "2")], 12, 1_300_000);
    let losing = trial(&[("attention", "fused")], 4, 900_000);
    let begun = view(vec![losing, paying]);
    assert_eq!(
        values(&begun, "try"),
        [
            "attention=fused (12 pairs)",
            "draft-length=1 (4 pairs)",
            "draft-length=3 (4 pairs)",
            "attention=fused, draft-length=1 (4 pairs)",
            "attention=fused, draft-length=2 (4 pairs)",
            "attention=fused, draft-length=3 (4 pairs)",
        ]
    );
    assert_eq!(values(&begun, "claim"), ["draft-length=2"]);
    assert_eq!(values(&begun, "publish_result"), ["draft-length=2", "attention=fused"]);
    assert_eq!(values(&begun, "publish_dead_end"), ["attention"]);
    assert_eq!(values(&begun, "announce"), ["attention", "draft-length", "all"]);
    for view in [
        begun.clone(),
        View { member: false, ..begun.clone() },
        View { published: true, plan: Some(RecordId([1; 32])), ..begun.clone() },
        View { idle: false, dead_ends: [["attention".to_owned()].into()].into(), ..begun.clone() },
    ] {
        let tools = Tools::of(&view);
        assert!(tools.names().any(|name| name == "wait"));
        for action in tools.actions() {
            assert_eq!(action.check(&view), Ok(()), "{action:?}");
        }
    }
    let quiet = View { knobs: Vec::new(), trials: Vec::new(), ..begun };
    assert_eq!(Tools::of(&quiet).names().collect::<Vec<_>>(), ["wait"]);
}

#[test]
fn what_nobody_is_at_comes_first() {
    let plan = OpenPlan { post: RecordId([7; 32]), levers: ["attention".to_owned()].into() };
    let taken = View { open_plans: vec![plan], ..view(Vec::new()) };
    assert_eq!(values(&taken, "announce"), ["draft-length", "attention", "all"]);
}

#[test]
fn choices_are_bounded() {
    let choices = (0..500).map(|n| n.to_string()).collect();
    let knobs = vec![Knob { lever: "draft-length".to_owned(), choices }];
    let wide = View { knobs, ..view(Vec::new()) };
    assert_eq!(values(&wide, "try").len(), CHOICES_MAX);
}

#[test]
fn a_call_is_one_of_those_offered_or_nothing() {
    let tools = Tools::of(&view(Vec::new()));
    let action = |name: &str, arguments: &str| {
        tools.action(&ToolCall { name: name.to_owned(), arguments: arguments.to_owned() })
    };
    assert_eq!(action("wait", "{}"), Some(Action::Wait));
    let tried = action("try", r#"{"variant": "draft-length=2 (4 pairs)"}"#);
    let variant = variant(&[("draft-length", "2")]);
    assert_eq!(tried, Some(Action::Try(Experiment { variant, pairs: 4 })));
    for (name, arguments) in [
        ("try", "{}"),
        ("try", r#"{"variant": "draft-length=2 (64 pairs)"}"#),
        ("try", r#"{"variant": "draft-length=2 (4 pairs)", "host": "203.0.113.7"}"#),
        ("try", r#"{"variant": 3}"#),
        ("try", "[]"),
        ("try", "no json"),
        ("wait", r#"{"for": "ever"}"#),
        ("claim", r#"{"variant": "draft-length=2"}"#),
        ("wire", "{}"),
    ] {
        assert_eq!(action(name, arguments), None, "{name} {arguments}");
    }
    assert!(tools.listed().contains("try{variant}: "));
}
