use super::reader::plain;
use super::*;
use crate::serve::output::SPELLED;
use crate::serve::text::Vocabulary;
use assay_kernels::{Checkpoint, Tokenizer};
use assay_protocol::post::{Detail, Playbook, PostBody};
use serde_json::{Value, json};

/// Nano's vocabulary, and one that has every marker of the family as a special token.
fn vocabularies() -> [Vocabulary; 2] {
    let checkpoint = Checkpoint::embedded().unwrap();
    let size = checkpoint.config().vocab;
    let nano = Vocabulary::new(checkpoint.tokenizer().unwrap(), size);
    let mut file: Value =
        serde_json::from_slice(&checkpoint.tokenizer().unwrap().to_json().unwrap()).unwrap();
    let added = file["added_tokens"].as_array_mut().unwrap();
    let known: Vec<Value> = added.iter().map(|token| token["content"].clone()).collect();
    // Real vocabularies have hundreds that nothing in this program knows by name.
    let more = ["<unused0>", "<unused41>", "[multimodal]"];
    let missing = SPELLED.iter().chain(&more).filter(|marker| !known.contains(&json!(marker)));
    let mut id = size;
    for marker in missing {
        added.push(json!({
            "id": id, "content": marker, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }));
        id += 1;
    }
    let whole = Tokenizer::parse(&serde_json::to_vec(&file).unwrap()).unwrap();
    assert_eq!(whole.vocab_size(true), id);
    [nano, Vocabulary::new(whole, id)]
}

fn specials(vocabulary: &Vocabulary) -> Vec<String> {
    let ids = 0..u32::try_from(vocabulary.size()).unwrap();
    let special = ids.filter(|id| vocabulary.is_special(*id));
    special.map(|id| String::from_utf8(vocabulary.token_bytes(id)).unwrap()).collect()
}

#[test]
fn no_special_token_comes_of_any_text() {
    let [nano, whole] = vocabularies();
    assert_eq!(specials(&nano).len(), 7);
    assert_eq!(specials(&whole).len(), SPELLED.len() + 3);
    for vocabulary in [nano, whole] {
        for special in specials(&vocabulary) {
            assert!(vocabulary.is_special(vocabulary.encode(&special).unwrap()[0]), "{special}");
            for text in [
                special.clone(),
                special.repeat(3),
                format!("a{special}b"),
                format!("<{special}> {special}\n{special}🦙"),
            ] {
                let untrusted = Untrusted::new(Source::Message, &text);
                let tokens = plain(&vocabulary, &untrusted, usize::MAX).unwrap();
                assert!(!tokens.iter().any(|token| vocabulary.is_special(*token)), "{text}");
                let bytes: Vec<u8> =
                    tokens.iter().flat_map(|token| vocabulary.token_bytes(*token)).collect();
                assert_eq!(String::from_utf8(bytes).unwrap(), text);
            }
        }
        let all = specials(&vocabulary).concat().repeat(9);
        let tokens = plain(&vocabulary, &Untrusted::new(Source::ModelCard, &all), 100).unwrap();
        assert_eq!(tokens.len(), 100);
        assert!(!tokens.iter().any(|token| vocabulary.is_special(*token)));
    }
}

#[test]
fn a_text_is_cut_and_never_shown() {
    let long = "ä".repeat(TEXT_BYTES_MAX);
    let untrusted = Untrusted::new(Source::Message, &long);
    assert_eq!(untrusted.text.len(), TEXT_BYTES_MAX);
    assert_eq!(Untrusted::card(&[0xFF; 64 * 1024]).source(), Source::ModelCard);
    let secret = Untrusted::new(Source::Message, "obey");
    assert_eq!(format!("{secret:?}"), "Untrusted(message, 4 bytes)");
    assert_ne!(secret.digest(), Untrusted::new(Source::Playbook, "obey").digest());
    let body = PostBody {
        channel: "knowledge".to_owned(),
        thread: None,
        refs: Vec::new(),
        title: "How to".to_owned(),
        text: "be fast".to_owned(),
        detail: Some(Detail::Playbook(Playbook { revises: None, table: None })),
    };
    assert_eq!(Untrusted::post(&body), Untrusted::new(Source::Playbook, "How to\nbe fast"));
    let talk = PostBody { detail: None, ..body };
    assert_eq!(Untrusted::post(&talk).source(), Source::Message);
}

#[test]
fn a_reading_is_words_from_lists_and_a_digit() {
    let read = |value: Value| serde_json::from_value::<Reading>(value);
    let good =
        json!({"topic": "speed", "stance": "demands", "levers": ["int4", "head"], "relevance": 9});
    let reading = read(good.clone()).unwrap();
    assert_eq!(serde_json::to_value(&reading).unwrap(), good);
    for (field, bad) in [
        ("topic", json!("obey")),
        ("stance", json!("Demands")),
        ("levers", json!(["int4", "rm -rf"])),
        ("levers", json!(["int4", "int4", "int4", "int4", "int4"])),
        ("relevance", json!(10)),
        ("relevance", json!(-1)),
        ("relevance", json!("9")),
        ("note", json!("call claim")),
    ] {
        let mut value = good.clone();
        value[field] = bad;
        assert!(read(value.clone()).is_err(), "{value}");
    }
    for lever in Lever::ALL {
        assert!(assay_protocol::post::is_word(lever.word()), "{lever:?}");
        assert_eq!(Lever::of(lever.word()), Some(*lever));
    }
}

#[test]
fn readings_are_remembered_up_to_a_bound() {
    let mut readings = Readings::default();
    let text = |n: usize| Untrusted::new(Source::Message, &n.to_string());
    for n in 0..=REMEMBERED_MAX {
        readings.remember(&text(n), None);
        readings.remember(&text(n), None);
    }
    assert!(!readings.knows(&text(0)) && readings.knows(&text(1)));
    assert_eq!(readings.notice(&text(1)), None);
    let reading =
        Reading { topic: Topic::Rules, stance: Stance::Asks, levers: [].into(), relevance: 1 };
    readings.remember(&text(1), Some(reading.clone()));
    assert_eq!(readings.notice(&text(1)), Some(Notice { source: Source::Message, reading }));
    assert_eq!(readings.order.len(), REMEMBERED_MAX);
}
