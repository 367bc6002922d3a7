//! Broken weights, texts and drafters, and edits that mend, one folder for each diagnostic.

use crate::cases::{fixture, inner, run, set};
use crate::folder::{Draft, Stored, assert_says, weights};
use assay_kernels::triage::Severity::{Error, Note, Warning};
use assay_kernels::triage::{self, Code, Options, Subject};
use safetensors::Dtype;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[test]
fn tensors() {
    let q = "model.layers.0.self_attn.q_proj.weight";
    let shape = |t: &mut Stored| t.shape.reverse();
    let transposed = Draft::nano().tensor("model.layers.1.mlp.up_proj.weight", shape);
    let integers = Draft::nano().tensor(q, |t| t.dtype = Dtype::I16);
    let halves = Draft::nano().tensor(q, |t| t.dtype = Dtype::F16);
    run(vec![
        (
            "gone",
            Draft::nano().drop_like("layers.2.self_attn.q_proj"),
            "CK021",
            Error,
            "layers.2.self_attn.q_proj",
        ),
        (
            "a whole layer",
            Draft::nano().drop_like("layers.5."),
            "CK021",
            Error,
            "layers 5 have no tensors",
        ),
        (
            "transposed",
            transposed,
            "CK022",
            Error,
            "model.safetensors: layers.1.mlp.up_proj.weight has shape [256, 512]",
        ),
        (
            "stranger",
            Draft::nano().add("model.layers.0.lora_A.weight", Stored::filled(&[4, 4], 1.0)),
            "CK023",
            Warning,
            "lora_A",
        ),
        (
            "outside",
            Draft::nano().add("optimizer.step", Stored::filled(&[1], 1.0)),
            "CK023",
            Warning,
            "optimizer.step",
        ),
        ("integers", integers, "CK025", Error, "I16"),
        ("halves", halves, "CK025", Note, "F16"),
    ]);
}

#[test]
fn values() {
    let q = "model.layers.0.self_attn.q_proj.weight";
    run(vec![
        ("nan", Draft::nano().tensor(q, |t| t.at(77, f32::NAN)), "CK028", Error, "1 values"),
        (
            "infinite",
            Draft::nano().tensor(q, |t| t.at(5, f32::INFINITY)),
            "CK028",
            Error,
            q.trim_start_matches("model."),
        ),
        ("zeros", Draft::nano().tensor(q, |t| t.map(|_| 0.0)), "CK029", Error, "zero throughout"),
        (
            "constant",
            Draft::nano().tensor(q, |t| t.map(|_| 0.25)),
            "CK029",
            Warning,
            "0.25 throughout",
        ),
        ("scalar ones", Draft::nano(), "CK030", Note, "1 in every layer"),
        (
            "scalar zero",
            Draft::nano().tensor("model.layers.4.layer_scalar", |t| t.map(|_| 0.0)),
            "CK030",
            Error,
            "erases",
        ),
        (
            "norms less one",
            Draft::nano().tensors_like("layernorm", |t| t.map(|w| w - 1.0)),
            "CK031",
            Error,
            "1 + w",
        ),
        (
            "norms plus one",
            fixture("gemma3")
                .tensors_like("layernorm", |t| t.map(|w| (w + 1.0).abs().clamp(0.7, 1.3))),
            "CK031",
            Warning,
            "added already",
        ),
    ]);
}

#[test]
fn weights_files() {
    let whole = Draft::nano().weights();
    let cut = Draft::nano().file("model.safetensors", &whole[..whole.len() / 2]);
    let none = Draft { tensors: BTreeMap::new(), ..Draft::nano() };
    let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let twice = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat();
    run(vec![
        ("cut", cut, "CK026", Error, "cut"),
        ("none", none, "CK026", Error, "no weights"),
        (
            "twice",
            Draft::nano().file("model.safetensors", &twice),
            "CK024",
            Error,
            "twice in the header",
        ),
    ]);
    let sharded = |index: Value| {
        let draft = Draft::nano();
        let (one, two): (BTreeMap<_, _>, BTreeMap<_, _>) =
            draft.tensors.clone().into_iter().partition(|(name, _)| name.contains("layers.0."));
        let index = json!({ "weight_map": index });
        let index = serde_json::to_vec(&index).unwrap();
        draft
            .file("a.safetensors", &weights(&one))
            .file("b.safetensors", &weights(&two))
            .file("model.safetensors.index.json", &index)
    };
    let names = Draft::nano().tensors;
    let map = |rename: &dyn Fn(&str) -> Option<&'static str>| -> Value {
        names
            .keys()
            .map(|name| {
                let own =
                    if name.contains("layers.0.") { "a.safetensors" } else { "b.safetensors" };
                (name.clone(), json!(rename(name).unwrap_or(own)))
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let right = sharded(map(&|_| None)).check();
    assert!(right.ok, "{:#?}", right.diagnostics);
    let norm = |file: &'static str| move |name: &str| (name == "model.norm.weight").then_some(file);
    run(vec![
        ("parent", sharded(map(&norm("../secret.safetensors"))), "CK027", Error, "not a file name"),
        (
            "absent",
            sharded(map(&norm("c.safetensors"))),
            "CK027",
            Error,
            "c.safetensors is not there",
        ),
        (
            "elsewhere",
            sharded(map(&norm("a.safetensors"))),
            "CK027",
            Warning,
            "is in b.safetensors",
        ),
        ("no map", sharded(json!(1)), "CK027", Error, "`weight_map` is missing"),
    ]);
    let mut copy = sharded(map(&|_| None));
    let both = weights(&Draft::nano().tensors);
    copy.files.insert("b.safetensors".into(), both);
    assert_says("two shards", &copy.check(), "CK024", Error, "is also in a.safetensors");
}

#[test]
fn tokenizer_template_and_stops() {
    let template = |text: &str| Draft::nano().file("chat_template.jinja", text.as_bytes());
    let stops = |value: Value| {
        let mut draft = Draft::nano();
        draft.json("generation_config.json", |g| g["eos_token_id"] = value);
        draft
    };
    let adds = |value: bool| {
        let mut draft = Draft::nano();
        draft.json("tokenizer_config.json", |t| t["add_bos_token"] = json!(value));
        draft
    };
    let mut small = Draft::nano();
    let keep = 1024 * 256 * 2;
    small = small.tensor("model.embed_tokens.weight", |t| {
        t.shape[0] = 1024;
        t.data.truncate(keep);
    });
    run(vec![
        (
            "no tokenizer",
            Draft::nano().without_file("tokenizer.json"),
            "CK040",
            Warning,
            "there is none",
        ),
        (
            "bad tokenizer",
            Draft::nano().file("tokenizer.json", b"{}"),
            "CK041",
            Error,
            "tokenizer.json",
        ),
        ("vocabulary", small, "CK042", Error, "1024 rows"),
        (
            "markers",
            template("{{ bos_token }}<|turn><|tool_call>"),
            "CK043",
            Warning,
            "<|tool_call>",
        ),
        (
            "no template",
            Draft::nano().without_file("chat_template.jinja"),
            "CK044",
            Warning,
            "there is none",
        ),
        ("no end of turn", stops(json!([1])), "CK045", Warning, "lacks 6"),
        ("two BOS", adds(true), "CK046", Warning, "give two"),
        (
            "no BOS",
            adds(false).file("chat_template.jinja", b"<|turn>"),
            "CK046",
            Warning,
            "neither",
        ),
        ("other BOS", set(Draft::nano(), "bos_token_id", json!(5)), "CK046", Error, "<bos> is 2"),
        (
            "Gemma 3's",
            template("{{ bos_token }}<start_of_turn>user"),
            "CK047",
            Error,
            "start_of_turn",
        ),
    ]);
}

#[test]
fn drafters() {
    let nano = Draft::nano_drafter;
    let text = |key: &'static str, value: Value| nano().config(|c| c["text_config"][key] = value);
    let backwards = |t: &mut Stored| t.data.copy_within(0..8, 8);
    let narrow = nano().config(|c| c["backbone_hidden_size"] = json!(128));
    let cases = vec![
        ("a target", Draft::nano(), "CK060", Error, "is not a drafter"),
        ("width", narrow, "CK061", Error, "the target is 256 wide"),
        ("window", text("sliding_window", json!(32)), "CK062", Error, "the target's is 64"),
        (
            "repeated",
            nano().tensor("masked_embedding.token_ordering", backwards),
            "CK063",
            Error,
            "1 stand twice",
        ),
        (
            "dense",
            nano().config(|c| c["use_ordered_embeddings"] = json!(false)),
            "CK063",
            Warning,
            "holds centroids",
        ),
        ("foreign", fixture("e-series/drafter"), "CK062", Error, "vocab_size"),
    ];
    for (what, draft, code, severity, says) in cases {
        assert_says(what, &draft.check_as_drafter(), code, severity, says);
    }
}

#[test]
fn edits_mend_what_they_are_for() {
    let mut published = Draft::nano();
    published.json("generation_config.json", |g| g["eos_token_id"] = json!([1]));
    let broken = published.without("head_dim").without("tie_word_embeddings").config(|c| {
        c["hidden_size"] = json!(640);
        c["num_kv_shared_layers"] = json!(9);
        c["final_logit_softcapping"] = Value::Null;
        c["layer_types"] = json!([]);
        c["per_layer_config"]["3"]["head_dim"] = json!(64);
    });
    let folder = broken.write();
    let report = triage::check(Subject::Path(folder.path()), &Options::default());
    assert!(!report.ok);
    let read = |name: &str| Ok(std::fs::read(folder.path().join(name)).ok());
    let fixed = triage::corrected(&report, read).unwrap();
    assert_eq!(
        fixed.iter().map(|f| f.file.as_str()).collect::<Vec<_>>(),
        ["config.json", "generation_config.json"]
    );
    for file in &fixed {
        assert!(file.diff.iter().any(|line| line.starts_with('+')), "{:?}", file.diff);
        std::fs::write(folder.path().join(&file.file), &file.corrected).unwrap();
    }
    let again = triage::check(Subject::Path(folder.path()), &Options::default());
    let bad: Vec<_> = again.diagnostics.iter().filter(|d| d.severity != Note).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// A configuration that contradicts itself about its head, and the correction of both places.
#[test]
fn a_contradiction_about_the_head_is_mended_in_both_places() {
    let broken = inner(fixture("e-series"), "tie_word_embeddings", json!(false));
    let folder = broken.write();
    let report = triage::check(Subject::Path(folder.path()), &Options::default());
    let found = report.diagnostics.iter().find(|d| d.code == Code::TiedHead).unwrap();
    assert_eq!(found.fix.len(), 2);
    let read = |name: &str| Ok(std::fs::read(folder.path().join(name)).ok());
    let fixed = triage::corrected(&report, read).unwrap();
    let value: Value = serde_json::from_str(&fixed[0].corrected).unwrap();
    assert_eq!(value["tie_word_embeddings"], true);
    assert_eq!(value["text_config"]["tie_word_embeddings"], true);
    let changed = fixed[0].diff.iter().filter(|l| l.starts_with(['-', '+'])).count();
    assert_eq!(changed, 2, "{:?}", fixed[0].diff);
}
