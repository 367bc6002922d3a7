//! One broken folder for each diagnostic.

use crate::folder::{Draft, Stored, assert_says, weights};
use assay_kernels::triage::Severity::{self, Error, Note, Warning};
use assay_kernels::triage::{self, Code, Options, Subject};
use safetensors::Dtype;
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Case = (&'static str, Draft, &'static str, Severity, &'static str);

fn run(cases: Vec<Case>) {
    for (what, draft, code, severity, says) in cases {
        assert_says(what, &draft.check(), code, severity, says);
    }
}

fn fixture(name: &str) -> Draft {
    Draft::fixture(name)
}

fn set(draft: Draft, key: &'static str, value: Value) -> Draft {
    draft.config(|c| c[key] = value)
}

/// Sets a key inside `text_config`.
fn inner(draft: Draft, key: &'static str, value: Value) -> Draft {
    draft.config(|c| c["text_config"][key] = value)
}

fn head(rows: usize) -> Stored {
    Stored::filled(&[rows, 256], 0.5)
}

#[test]
fn tied_heads() {
    let same = Draft::nano().tensors["model.embed_tokens.weight"].clone();
    let nested = || fixture("e-series");
    run(vec![
        ("own head", Draft::nano().add("lm_head.weight", head(4096)), "CK001", Error, "is true, and the files hold"),
        (
            "key absent",
            Draft::nano().without("tie_word_embeddings").add("lm_head.weight", head(4096)),
            "CK001",
            Error,
            "absent, which means true",
        ),
        ("no head", set(Draft::nano(), "tie_word_embeddings", json!(false)), "CK001", Error, "no file holds an lm_head"),
        ("a copy", Draft::nano().add("lm_head.weight", same), "CK001", Note, "repeats embed_tokens"),
        ("two places", inner(nested(), "tie_word_embeddings", json!(false)), "CK001", Error, "contradict each other"),
        ("packed head", packed_head(), "CK001", Error, "a quantised lm_head"),
    ]);
}

/// nano in int4 with a quantised head and the configuration of a tied one.
fn packed_head() -> Draft {
    let draft = Draft::int4();
    let codes = Stored { dtype: Dtype::I32, shape: vec![4096, 32], data: vec![0x77; 4096 * 128] };
    let shape = [4096i64, 256].iter().flat_map(|n| n.to_le_bytes()).collect();
    draft
        .add("lm_head.weight_packed", codes)
        .add("lm_head.weight_scale", Stored::filled(&[4096, 8], 0.01))
        .add("lm_head.weight_shape", Stored { dtype: Dtype::I64, shape: vec![2], data: shape })
}

#[test]
fn unreadable_configurations() {
    let twice = String::from_utf8(Draft::nano().files["config.json"].clone()).unwrap();
    let twice = twice.replacen('{', "{ \"hidden_size\": 1,", 1);
    let deep = [b"{\"a\":".to_vec(), vec![b'['; 100_000]].concat();
    run(vec![
        ("missing", Draft::nano().without_file("config.json"), "CK002", Error, "is missing"),
        ("cut", Draft::nano().file("config.json", b"{ \"a\": "), "CK002", Error, "not JSON"),
        ("list", Draft::nano().file("config.json", b"[1]"), "CK002", Error, "no JSON object"),
        ("deep", Draft::nano().file("config.json", &deep), "CK002", Error, "recursion"),
        ("twice", Draft::nano().file("config.json", twice.as_bytes()), "CK002", Error, "stands twice"),
        ("family", set(Draft::nano(), "model_type", json!("llama")), "CK003", Error, "llama"),
        ("no family", Draft::nano().without("model_type"), "CK003", Error, "no model_type"),
    ]);
    let nowhere = triage::check(Subject::Path("/no/such/folder".as_ref()), &Options::default());
    assert_says("nowhere", &nowhere, "CK002", Error, "/no/such/folder");
}

#[test]
fn missing_keys_name_the_default_and_the_truth() {
    let mut cases: Vec<Case> = Vec::new();
    for (key, says) in [
        ("vocab_size", "assumes 262144, embed_tokens say 4096"),
        ("hidden_size", "assumes 2304, the norms say 256"),
        ("num_hidden_layers", "say 8"),
        ("num_attention_heads", "say 4"),
        ("head_dim", "say 64"),
        ("num_key_value_heads", "assumes 4"),
        ("intermediate_size", "say 512"),
        ("sliding_window", "is missing"),
        ("layer_types", "every six"),
        ("hidden_size_per_layer_input", "is 32 wide"),
    ] {
        cases.push((key, Draft::nano().without(key), "CK004", Error, says));
    }
    let published = |c: &mut Value| {
        c.as_object_mut().unwrap().remove("per_layer_config");
    };
    cases.push(("global_head_dim", Draft::nano().config(published), "CK004", Error, "transformers assumes 512"));
    let none = fixture("dense-k-eq-v").without("hidden_size_per_layer_input");
    cases.push(("no PLE", none, "CK004", Warning, "defaults to 256"));
    run(cases);
}

#[test]
fn values_out_of_range() {
    run(vec![
        ("text", set(Draft::nano(), "hidden_size", json!("256")), "CK005", Error, "hidden_size"),
        ("negative", set(Draft::nano(), "num_attention_heads", json!(-4)), "CK005", Error, "-4"),
        ("huge", set(Draft::nano(), "vocab_size", json!(1u64 << 60)), "CK005", Error, "vocab_size"),
        ("flag", set(Draft::nano(), "tie_word_embeddings", json!("yes")), "CK005", Error, "true or false"),
        ("eps", set(Draft::nano(), "rms_norm_eps", json!(0.0)), "CK005", Error, "1e-6"),
        ("activation", set(Draft::nano(), "hidden_activation", json!("silu")), "CK005", Error, "silu"),
        ("bias", set(Draft::nano(), "attention_bias", json!(true)), "CK005", Error, "attention_bias"),
        ("shared", set(Draft::nano(), "num_kv_shared_layers", json!("x")), "CK005", Error, "whole number"),
    ]);
}

#[test]
fn sizes_against_tensors() {
    run(vec![
        ("hidden", set(Draft::nano(), "hidden_size", json!(512)), "CK006", Error, "is 512; the norms say 256"),
        ("vocab", set(Draft::nano(), "vocab_size", json!(4098)), "CK006", Error, "is 4098; embed_tokens say 4096"),
        ("layers", set(Draft::nano(), "num_hidden_layers", json!(9)), "CK006", Error, "say 8"),
        ("heads", set(Draft::nano(), "num_attention_heads", json!(8)), "CK006", Error, "say 4"),
        ("dim", set(Draft::nano(), "head_dim", json!(32)), "CK006", Error, "say 64"),
        ("kv", set(Draft::nano(), "num_key_value_heads", json!(2)), "CK006", Error, "say 1"),
        ("inner", set(Draft::nano(), "intermediate_size", json!(1024)), "CK006", Error, "say 512"),
        ("wide", set(Draft::nano(), "use_double_wide_mlp", json!(false)), "CK006", Error, "are 512 wide, those from it on 1024"),
        ("global", inner(fixture("e-series"), "global_head_dim", json!(128)), "CK006", Error, "are 64 wide"),
        ("global kv", set(fixture("dense-k-eq-v"), "num_global_key_value_heads", json!(2)), "CK006", Error, "say 1"),
        ("override", Draft::nano().config(|c| c["per_layer_config"]["3"]["head_dim"] = json!(96)), "CK006", Error, "128"),
    ]);
}

#[test]
fn layers_and_sharing() {
    let two = set(Draft::nano(), "global_head_dim", json!(64));
    run(vec![
        ("short", set(Draft::nano(), "layer_types", json!(["full_attention"])), "CK007", Error, "names 1 layers"),
        ("odd name", Draft::nano().config(|c| c["layer_types"][0] = json!("chunked")), "CK007", Error, "chunked"),
        ("swapped", Draft::nano().config(|c| c["layer_types"][3] = json!("sliding_attention")), "CK007", Error, "layers 3"),
        ("all shared", set(Draft::nano(), "num_kv_shared_layers", json!(8)), "CK008", Error, "leaves none"),
        ("too few", set(Draft::nano(), "num_kv_shared_layers", json!(2)), "CK008", Error, "the last 4 layers"),
        ("not said", fixture("dense-k-eq-v").without("attention_k_eq_v"), "CK009", Error, "no full layer has a v_proj"),
        ("said", set(fixture("e-series"), "x", json!(1)).config(|c| c["text_config"]["attention_k_eq_v"] = json!(true)), "CK009", Error, "have a v_proj"),
        ("both styles", two, "CK010", Error, "global_head_dim says 64"),
        ("no such layer", Draft::nano().config(|c| c["per_layer_config"]["70"] = json!({})), "CK010", Error, "layer `70`"),
        ("window", set(Draft::nano(), "sliding_window", json!(100_000)), "CK011", Warning, "longer than"),
        ("nested", set(fixture("e-series"), "hidden_size", json!(64)), "CK018", Error, "64 at the top level"),
    ]);
}

#[test]
fn embeddings_experts_and_constants() {
    let moe = || fixture("moe");
    run(vec![
        ("width", set(Draft::nano(), "hidden_size_per_layer_input", json!(64)), "CK012", Error, "say 32"),
        ("rows", set(Draft::nano(), "vocab_size_per_layer_input", json!(100)), "CK012", Error, "4096 rows"),
        ("dense said", set(moe(), "enable_moe_block", json!(false)), "CK013", Error, "16 experts"),
        ("none there", set(fixture("dense-k-eq-v"), "enable_moe_block", json!(true)), "CK013", Error, "no layer has experts"),
        ("count", set(moe(), "num_experts", json!(8)), "CK013", Error, "say 16"),
        ("inner", set(moe(), "moe_intermediate_size", json!(32)), "CK013", Error, "say 64"),
        ("active", set(moe(), "top_k_experts", json!(17)), "CK013", Error, "1 to 16"),
        (
            "rotation",
            Draft::nano().config(|c| c["rope_parameters"]["full_attention"]["partial_rotary_factor"] = json!(1.0)),
            "CK015",
            Warning,
            "0.25",
        ),
        ("cap", Draft::nano().without("final_logit_softcapping"), "CK016", Warning, "caps its logits"),
        ("cap of 3", set(fixture("gemma3"), "final_logit_softcapping", json!(30.0)), "CK016", Warning, "no cap"),
        ("scale", set(Draft::nano(), "query_pre_attn_scalar", json!(256)), "CK017", Warning, "attention scale is 1"),
        ("scale of 3", fixture("gemma3").without("query_pre_attn_scalar"), "CK017", Warning, "defaults to 256"),
    ]);
}

#[test]
fn quantisation() {
    let group = |size: usize| {
        Draft::int4().config(move |c| {
            c["quantization_config"]["config_groups"]["group_0"]["weights"]["group_size"] = json!(size);
        })
    };
    let ignore = |name: &'static str| {
        Draft::int4().config(move |c| c["quantization_config"]["ignore"] = json!(["lm_head", name]))
    };
    let declared: Value = serde_json::from_slice(&Draft::int4().files["config.json"]).unwrap();
    let declared = declared["quantization_config"].clone();
    run(vec![
        ("undeclared", Draft::int4().without("quantization_config"), "CK014", Error, "65 modules are packed"),
        ("plain", set(Draft::nano(), "quantization_config", declared), "CK014", Error, "no weight is packed"),
        ("group", group(128), "CK014", Error, "4 bit in groups of 32"),
        ("ignored", ignore("model.layers.0.mlp.gate_proj"), "CK014", Error, "is packed"),
        ("pattern", ignore("re:.*self_attn\\.q_proj$"), "CK014", Error, "is packed"),
        ("no scale", Draft::int4().drop_like("layers.0.mlp.gate_proj.weight_scale"), "CK014", Error, "no weight_scale"),
        ("method", Draft::int4().config(|c| c["quantization_config"]["quant_method"] = json!("gptq")), "CK014", Error, "gptq"),
        ("scales", Draft::int4().tensors_like("q_proj.weight_scale", |t| t.map(|_| f32::NAN)), "CK032", Error, "NaN"),
        ("zero scales", Draft::int4().tensors_like("o_proj.weight_scale", |t| t.map(|_| 0.0)), "CK032", Error, "zero"),
    ]);
}

#[test]
fn tensors() {
    let q = "model.layers.0.self_attn.q_proj.weight";
    let shape = |t: &mut Stored| t.shape.reverse();
    let transposed = Draft::nano().tensor("model.layers.1.mlp.up_proj.weight", shape);
    let integers = Draft::nano().tensor(q, |t| t.dtype = Dtype::I16);
    let halves = Draft::nano().tensor(q, |t| t.dtype = Dtype::F16);
    run(vec![
        ("gone", Draft::nano().drop_like("layers.2.self_attn.q_proj"), "CK021", Error, "layers.2.self_attn.q_proj"),
        ("a whole layer", Draft::nano().drop_like("layers.5."), "CK021", Error, "layers 5 have no tensors"),
        ("transposed", transposed, "CK022", Error, "model.safetensors: layers.1.mlp.up_proj.weight has shape [256, 512]"),
        ("stranger", Draft::nano().add("model.layers.0.lora_A.weight", Stored::filled(&[4, 4], 1.0)), "CK023", Warning, "lora_A"),
        ("outside", Draft::nano().add("optimizer.step", Stored::filled(&[1], 1.0)), "CK023", Warning, "optimizer.step"),
        ("integers", integers, "CK025", Error, "I16"),
        ("halves", halves, "CK025", Note, "F16"),
        ("nan", Draft::nano().tensor(q, |t| t.at(77, f32::NAN)), "CK028", Error, "1 values"),
        ("infinite", Draft::nano().tensor(q, |t| t.at(5, f32::INFINITY)), "CK028", Error, q.trim_start_matches("model.")),
        ("zeros", Draft::nano().tensor(q, |t| t.map(|_| 0.0)), "CK029", Error, "zero throughout"),
        ("constant", Draft::nano().tensor(q, |t| t.map(|_| 0.25)), "CK029", Warning, "0.25 throughout"),
        ("scalar ones", Draft::nano(), "CK030", Note, "1 in every layer"),
        ("scalar zero", Draft::nano().tensor("model.layers.4.layer_scalar", |t| t.map(|_| 0.0)), "CK030", Error, "erases"),
        ("norms less one", Draft::nano().tensors_like("layernorm", |t| t.map(|w| w - 1.0)), "CK031", Error, "1 + w"),
        ("norms plus one", fixture("gemma3").tensors_like("layernorm", |t| t.map(|w| (w + 1.0).abs().clamp(0.7, 1.3))), "CK031", Warning, "added already"),
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
        ("twice", Draft::nano().file("model.safetensors", &twice), "CK024", Error, "twice in the header"),
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
            .filter_map(|name| {
                let own = if name.contains("layers.0.") { "a.safetensors" } else { "b.safetensors" };
                Some((name.clone(), json!(rename(name).unwrap_or(own))))
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let right = sharded(map(&|_| None)).check();
    assert!(right.ok, "{:#?}", right.diagnostics);
    let norm = |file: &'static str| move |name: &str| (name == "model.norm.weight").then_some(file);
    run(vec![
        ("parent", sharded(map(&norm("../secret.safetensors"))), "CK027", Error, "not a file name"),
        ("absent", sharded(map(&norm("c.safetensors"))), "CK027", Error, "c.safetensors is not there"),
        ("elsewhere", sharded(map(&norm("a.safetensors"))), "CK027", Warning, "is in b.safetensors"),
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
        ("no tokenizer", Draft::nano().without_file("tokenizer.json"), "CK040", Warning, "there is none"),
        ("bad tokenizer", Draft::nano().file("tokenizer.json", b"{}"), "CK041", Error, "tokenizer.json"),
        ("vocabulary", small, "CK042", Error, "1024 rows"),
        ("markers", template("{{ bos_token }}<|turn><|tool_call>"), "CK043", Warning, "<|tool_call>"),
        ("no template", Draft::nano().without_file("chat_template.jinja"), "CK044", Warning, "there is none"),
        ("no end of turn", stops(json!([1])), "CK045", Warning, "lacks 6"),
        ("two BOS", adds(true), "CK046", Warning, "give two"),
        ("no BOS", adds(false).file("chat_template.jinja", b"<|turn>"), "CK046", Warning, "neither"),
        ("other BOS", set(Draft::nano(), "bos_token_id", json!(5)), "CK046", Error, "<bos> is 2"),
        ("Gemma 3's", template("{{ bos_token }}<start_of_turn>user"), "CK047", Error, "start_of_turn"),
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
        ("repeated", nano().tensor("masked_embedding.token_ordering", backwards), "CK063", Error, "1 stand twice"),
        ("dense", nano().config(|c| c["use_ordered_embeddings"] = json!(false)), "CK063", Warning, "holds centroids"),
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
    let broken = published
        .without("head_dim")
        .without("tie_word_embeddings")
        .config(|c| {
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
    assert_eq!(fixed.iter().map(|f| f.file.as_str()).collect::<Vec<_>>(), ["config.json", "generation_config.json"]);
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
