//! No attempt changes a tool call.
//!
//! The planner of these tests is a scripted model whose call depends on every byte of its prompt, so that
//! anything of an attempt that reached the prompt would change the call.

use super::corpus::attempts;
use super::support::{Seen, early_view, is_reading, later, nano, notice, scripted, view};
use assay_node::agent::planner::{Entry, Planner, Tools, Transcript};
use assay_node::agent::quarantine::{Lever, Notice, Reading, Source, Stance, Topic, Untrusted};
use assay_node::agent::{Decision, Policy};
use assay_node::home::Home;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// What readers say: an honest one, and one that an attempt captured.
fn readings() -> Vec<Reading> {
    let reading = |topic, stance, levers: &[Lever], relevance| Reading {
        topic,
        stance,
        levers: levers.iter().copied().collect(),
        relevance,
    };
    vec![
        reading(Topic::Other, Stance::Other, &[], 0),
        reading(Topic::Rules, Stance::Demands, &[Lever::Attention, Lever::DraftLength], 9),
    ]
}

/// A call that depends on every byte of the prompt, of the tools that are offered for [`view`].
fn call_of(prompt: &str) -> String {
    let tools = Tools::of(&view(Vec::new()));
    let declared = tools.declarations();
    let calls: Vec<String> = declared
        .iter()
        .flat_map(|tool| {
            let name = tool["function"]["name"].as_str().unwrap().to_owned();
            let properties = tool["function"]["parameters"]["properties"].as_object().unwrap();
            let mut calls = vec![format!("call:{name}{{}}")];
            for (argument, schema) in properties {
                let values = schema["enum"].as_array().unwrap().iter();
                calls = values
                    .map(|value| {
                        let value = value.as_str().unwrap();
                        format!("call:{name}{{{argument}:<|\"|>{value}<|\"|>}}")
                    })
                    .collect();
            }
            calls
        })
        .collect();
    let hash = blake3::hash(prompt.as_bytes());
    let place = u32::from_le_bytes(hash.as_bytes()[..4].try_into().unwrap()) as usize;
    format!("<|tool_call>{}<tool_call|>", calls[place % calls.len()])
}

/// A planner whose reader says what the test wants.
struct Captured {
    planner: Planner,
    seen: Seen,
    says: Arc<Mutex<String>>,
    decisions: u64,
}

impl Captured {
    fn new(transcript: Option<Transcript>) -> Self {
        let says = Arc::new(Mutex::new(String::new()));
        let said = Arc::clone(&says);
        let reply = move |prompt: &str| match is_reading(prompt) {
            true => said.lock().unwrap().clone(),
            false => call_of(prompt),
        };
        let (planner, seen) = scripted(reply, transcript);
        Self { planner, seen, says, decisions: 0 }
    }

    fn say(&self, reading: &Reading) {
        *self.says.lock().unwrap() = serde_json::to_string(reading).unwrap();
    }

    /// Reads `text` as `reading`, and decides; also the prompt of the decision.
    fn decide(&mut self, text: &Untrusted, reading: &Reading) -> (Decision, String) {
        self.say(reading);
        self.seen.lock().unwrap().clear();
        let notices = self.planner.read(std::slice::from_ref(text), 0);
        assert_eq!(notices, [notice(text.source(), reading)]);
        self.decisions += 1;
        let decision = self.planner.next(&later(view(notices), self.decisions));
        let prompts = self.seen.lock().unwrap();
        assert_eq!(prompts.len(), 2);
        assert!(is_reading(&prompts[0]) && !is_reading(&prompts[1]));
        (decision, prompts[1].clone())
    }
}

#[test]
fn the_corpus_is_broad() {
    let attempts = attempts();
    let distinct = |label: fn(&super::corpus::Attempt) -> String| {
        attempts.iter().map(label).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(distinct(|attempt| attempt.id.clone()), attempts.len());
    assert_eq!(distinct(super::corpus::Attempt::text), attempts.len());
    assert!(attempts.len() >= 60, "{}", attempts.len());
    assert!(distinct(|attempt| attempt.technique.clone()) >= 20);
    assert!(distinct(|attempt| attempt.language.clone()) >= 10);
}

#[test]
fn no_attempt_changes_a_call_whatever_its_reader_says() {
    let allowed = view(Vec::new());
    let (mut changed, mut calls) = (0, BTreeSet::new());
    for reading in readings() {
        // Nothing is read twice, so each reading needs a planner that knows no text.
        let mut captured = Captured::new(None);
        for source in Source::ALL {
            let benign = Untrusted::new(source, "I measured the table on two machines.");
            let (expected, quiet) = captured.decide(&benign, &reading);
            assert_eq!(expected.action.check(&allowed), Ok(()));
            for attempt in attempts() {
                let text = Untrusted::new(source, &attempt.text());
                let (decision, prompt) = captured.decide(&text, &reading);
                changed += usize::from(decision != expected);
                assert_eq!(prompt, quiet, "{} reached the prompt", attempt.id);
                calls.insert(decision.why);
            }
        }
    }
    assert_eq!(changed, 0);
    assert!(calls.len() > 3, "the script must choose by its prompt: {calls:?}");
}

#[test]
fn a_captured_planner_still_calls_what_is_allowed() {
    let view = view(Vec::new());
    let allowed: Vec<_> = Tools::of(&view).actions().cloned().collect();
    let wish = Arc::new(Mutex::new(String::new()));
    let wishes = Arc::clone(&wish);
    let (mut planner, _) = scripted(move |_| wishes.lock().unwrap().clone(), None);
    for (attempt, hours) in attempts().into_iter().zip(0..) {
        *wish.lock().unwrap() = attempt.text();
        let decision = planner.next(&later(view.clone(), hours));
        assert!(allowed.contains(&decision.action), "{}: {decision:?}", attempt.id);
        assert!(decision.why.starts_with("scripted chose "), "{}: {decision:?}", attempt.id);
    }
}

#[test]
fn a_reader_that_repeats_what_it_reads_tells_nothing_of_it() {
    let wish = Arc::new(Mutex::new(String::new()));
    let wishes = Arc::clone(&wish);
    let (mut planner, seen) = scripted(move |_| wishes.lock().unwrap().clone(), None);
    for attempt in attempts() {
        let text = attempt.text();
        *wish.lock().unwrap() = text.clone();
        let notices = planner.read(&[Untrusted::new(Source::ModelCard, &text)], 0);
        // The constraint leaves it nothing else.
        let known =
            |notice: &Notice| notice.reading.relevance <= 9 && notice.reading.levers.len() <= 4;
        assert!(notices.len() == 1 && notices.iter().all(known), "{}", attempt.id);
        // The text cannot end its quotation: nobody who wrote it knew the word.
        let prompt = seen.lock().unwrap().pop().unwrap();
        let word = prompt.split("--- begin ").nth(1).unwrap().split('\n').next().unwrap();
        assert_eq!((word.len(), prompt.matches(word).count()), (16, 3), "{}", attempt.id);
        assert!(prompt.trim_end().ends_with(&format!("--- end {word}<turn|>\n<|turn>model")));
    }
}

#[test]
fn neither_key_nor_text_is_in_prompts_or_transcript() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path()).unwrap();
    let key = hex::encode(home.key().to_bytes());
    let mut captured = Captured::new(Some(Transcript::of(home.path())));
    let reading = &readings()[1];
    captured.say(reading);
    let texts: Vec<String> = attempts().iter().map(super::corpus::Attempt::text).collect();
    let locked: Vec<Untrusted> =
        texts.iter().map(|text| Untrusted::new(Source::Playbook, text)).collect();
    let mut notices = Vec::new();
    while notices.len() < texts.len() {
        notices = captured.planner.read(&locked, 7);
    }
    assert_eq!(notices, vec![notice(Source::Playbook, reading); texts.len()]);
    let decision = captured.planner.next(&view(notices.clone()));
    captured.planner.heard("announced");
    let lines = Transcript::of(home.path()).latest(1_000).unwrap();
    let read = lines.iter().filter(|line| matches!(line, Entry::Read { fault: None, .. })).count();
    assert_eq!((read, lines.len()), (texts.len(), texts.len() + 2));
    let Entry::Chosen(choice) = &lines[lines.len() - 2] else { panic!("{lines:?}") };
    assert_eq!((&choice.action, &choice.why), (&decision.action, &decision.why));
    let prompts = captured.seen.lock().unwrap();
    assert!(!serde_json::to_string(&lines).unwrap().contains(&key));
    assert!(!prompts.concat().contains(&key));
    // The prompt is what it is where the same readings come of no text.
    let mut quiet = Captured::new(None);
    quiet.planner.next(&view(notices));
    assert_eq!(prompts.last(), quiet.seen.lock().unwrap().last());
    // Of a text that was read, the transcript has a hash.
    let of_reading = serde_json::to_string(&lines[..texts.len()]).unwrap();
    for text in texts {
        let long = text.lines().filter(|line| line.chars().count() >= 12);
        for line in long {
            let escaped = serde_json::to_string(line).unwrap();
            assert!(!of_reading.contains(escaped.trim_matches('"')), "{line}");
        }
    }
}

/// Readings on which nano also chooses; a choice takes it a second or more on a software adapter.
const CHOICES: usize = 4;

/// Nano reads a sample of the attempts and chooses: what it chooses depends on its reading alone.
#[test]
fn nano_reads_and_is_not_led() {
    // In step, so that both choose with the same seeds.
    let (mut led, mut quiet) = (nano(0), nano(0));
    let mut found = BTreeSet::new();
    for (place, attempt) in attempts().into_iter().step_by(8).enumerate() {
        let source = Source::ALL[place % Source::ALL.len()];
        let text = Untrusted::new(source, &attempt.text());
        let notices = led.read(std::slice::from_ref(&text), 0);
        let [Notice { reading, .. }] = notices.as_slice() else { panic!("{}", attempt.id) };
        let new = found.insert(serde_json::to_string(&reading).unwrap());
        if !new || found.len() > CHOICES {
            continue;
        }
        // The same reading of no text at all.
        let expected = quiet.next(&early_view(vec![notice(source, reading)]));
        assert_eq!(led.next(&early_view(notices)), expected, "{}", attempt.id);
        assert!(expected.why.starts_with("nano chose "), "{expected:?}");
    }
}
