//! Broken configurations, one folder for each diagnostic.

use crate::cases::{Case, fixture, inner, run, set};
use crate::folder::{Draft, Stored, assert_says};
use assay_kernels::triage::Severity::{Error, Note, Warning};
use assay_kernels::triage::{self, Options, Subject};
use safetensors::Dtype;
use serde_json::{Value, json};

fn head(rows: usize) -> Stored {
    Stored::filled(&[rows, 256], 0.5)
}

#[test]
fn tied_heads() {
    let same = Draft::nano().tensors["model.embed_tokens.weight"].clone();
    let nested = || fixture("e-series");
    run(vec![
        (
            "own head",
            Draft::nano().add("lm_head.weight", head(4096)),
            "CK001",
            Error,
            "is true, and the files hold",
        ),
        (
            "key absent",
            Draft::nano().without("tie_word_embeddings").add("lm_head.weight", head(4096)),
            "CK001",
            Error,
            "absent, which means true",
        ),
        (
            "no head",
            set(Draft::nano(), "tie_word_embeddings", json!(false)),
            "CK001",
            Error,
            "no file holds an lm_head",
        ),
        (
            "a copy",
            Draft::nano().add("lm_head.weight", same),
            "CK001",
            Note,
            "repeats embed_tokens",
        ),
        (
            "two places",
            inner(nested(), "tie_word_embeddings", json!(false)),
            "CK001",
            Error,
            "contradict each other",
        ),
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
        (
            "twice",
            Draft::nano().file("config.json", twice.as_bytes()),
            "CK002",
            Error,
            "stands twice",
        ),
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
    cases.push((
        "global_head_dim",
        Draft::nano().config(published),
        "CK004",
        Error,
        "transformers assumes 512",
    ));
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
        (
            "flag",
            set(Draft::nano(), "tie_word_embeddings", json!("yes")),
            "CK005",
            Error,
            "true or false",
        ),
        ("eps", set(Draft::nano(), "rms_norm_eps", json!(0.0)), "CK005", Error, "1e-6"),
        (
            "activation",
            set(Draft::nano(), "hidden_activation", json!("silu")),
            "CK005",
            Error,
            "silu",
        ),
        (
            "bias",
            set(Draft::nano(), "attention_bias", json!(true)),
            "CK005",
            Error,
            "attention_bias",
        ),
        (
            "shared",
            set(Draft::nano(), "num_kv_shared_layers", json!("x")),
            "CK005",
            Error,
            "whole number",
        ),
    ]);
}

#[test]
fn sizes_against_tensors() {
    run(vec![
        (
            "hidden",
            set(Draft::nano(), "hidden_size", json!(512)),
            "CK006",
            Error,
            "is 512; the norms say 256",
        ),
        (
            "vocab",
            set(Draft::nano(), "vocab_size", json!(4098)),
            "CK006",
            Error,
            "is 4098; embed_tokens say 4096",
        ),
        ("layers", set(Draft::nano(), "num_hidden_layers", json!(9)), "CK006", Error, "say 8"),
        ("heads", set(Draft::nano(), "num_attention_heads", json!(8)), "CK006", Error, "say 4"),
        ("dim", set(Draft::nano(), "head_dim", json!(32)), "CK006", Error, "say 64"),
        ("kv", set(Draft::nano(), "num_key_value_heads", json!(2)), "CK006", Error, "say 1"),
        ("inner", set(Draft::nano(), "intermediate_size", json!(1024)), "CK006", Error, "say 512"),
        (
            "wide",
            set(Draft::nano(), "use_double_wide_mlp", json!(false)),
            "CK006",
            Error,
            "are 512 wide, those from it on 1024",
        ),
        (
            "global",
            inner(fixture("e-series"), "global_head_dim", json!(128)),
            "CK006",
            Error,
            "are 64 wide",
        ),
        (
            "global kv",
            set(fixture("dense-k-eq-v"), "num_global_key_value_heads", json!(2)),
            "CK006",
            Error,
            "say 1",
        ),
        (
            "override",
            Draft::nano().config(|c| c["per_layer_config"]["3"]["head_dim"] = json!(96)),
            "CK006",
            Error,
            "128",
        ),
    ]);
}

#[test]
fn layers_and_sharing() {
    run(vec![
        (
            "short",
            set(Draft::nano(), "layer_types", json!(["full_attention"])),
            "CK007",
            Error,
            "names 1 layers",
        ),
        (
            "odd name",
            Draft::nano().config(|c| c["layer_types"][0] = json!("chunked")),
            "CK007",
            Error,
            "chunked",
        ),
        (
            "swapped",
            Draft::nano().config(|c| c["layer_types"][3] = json!("sliding_attention")),
            "CK007",
            Error,
            "layers 3",
        ),
        (
            "all shared",
            set(Draft::nano(), "num_kv_shared_layers", json!(8)),
            "CK008",
            Error,
            "leaves none",
        ),
        (
            "too few",
            set(Draft::nano(), "num_kv_shared_layers", json!(2)),
            "CK008",
            Error,
            "the last 4 layers",
        ),
    ]);
}

#[test]
fn contradictions_between_layers_and_tensors() {
    let two = set(Draft::nano(), "global_head_dim", json!(64));
    run(vec![
        (
            "not said",
            fixture("dense-k-eq-v").without("attention_k_eq_v"),
            "CK009",
            Error,
            "no full layer has a v_proj",
        ),
        (
            "said",
            set(fixture("e-series"), "x", json!(1))
                .config(|c| c["text_config"]["attention_k_eq_v"] = json!(true)),
            "CK009",
            Error,
            "have a v_proj",
        ),
        ("both styles", two, "CK010", Error, "global_head_dim says 64"),
        (
            "no such layer",
            Draft::nano().config(|c| c["per_layer_config"]["70"] = json!({})),
            "CK010",
            Error,
            "layer `70`",
        ),
        (
            "window",
            set(Draft::nano(), "sliding_window", json!(100_000)),
            "CK011",
            Warning,
            "longer than",
        ),
        (
            "nested",
            set(fixture("e-series"), "hidden_size", json!(64)),
            "CK018",
            Error,
            "64 at the top level",
        ),
    ]);
}

#[test]
fn embeddings_experts_and_constants() {
    let moe = || fixture("moe");
    run(vec![
        (
            "width",
            set(Draft::nano(), "hidden_size_per_layer_input", json!(64)),
            "CK012",
            Error,
            "say 32",
        ),
        (
            "rows",
            set(Draft::nano(), "vocab_size_per_layer_input", json!(100)),
            "CK012",
            Error,
            "4096 rows",
        ),
        ("dense said", set(moe(), "enable_moe_block", json!(false)), "CK013", Error, "10 experts"),
        (
            "none there",
            set(fixture("dense-k-eq-v"), "enable_moe_block", json!(true)),
            "CK013",
            Error,
            "no layer has experts",
        ),
        ("count", set(moe(), "num_experts", json!(8)), "CK013", Error, "say 10"),
        ("inner", set(moe(), "moe_intermediate_size", json!(32)), "CK013", Error, "say 64"),
        ("active", set(moe(), "top_k_experts", json!(11)), "CK013", Error, "1 to 10"),
        (
            "rotation",
            Draft::nano().config(|c| {
                c["rope_parameters"]["full_attention"]["partial_rotary_factor"] = json!(1.0)
            }),
            "CK015",
            Warning,
            "0.25",
        ),
        (
            "cap",
            Draft::nano().without("final_logit_softcapping"),
            "CK016",
            Warning,
            "caps its logits",
        ),
        (
            "cap of 3",
            set(fixture("gemma3"), "final_logit_softcapping", json!(30.0)),
            "CK016",
            Warning,
            "no cap",
        ),
        (
            "scale",
            set(Draft::nano(), "query_pre_attn_scalar", json!(256)),
            "CK017",
            Warning,
            "attention scale is 1",
        ),
        (
            "scale of 3",
            fixture("gemma3").without("query_pre_attn_scalar"),
            "CK017",
            Warning,
            "defaults to 256",
        ),
    ]);
}

#[test]
fn quantisation() {
    let group = |size: usize| {
        Draft::int4().config(move |c| {
            c["quantization_config"]["config_groups"]["group_0"]["weights"]["group_size"] =
                json!(size);
        })
    };
    let ignore = |name: &'static str| {
        Draft::int4().config(move |c| c["quantization_config"]["ignore"] = json!(["lm_head", name]))
    };
    let lying = |t: &mut Stored| t.data = i64::MAX.to_le_bytes().repeat(2);
    let huge = Draft::int4().tensors_like("layers.0.mlp.gate_proj.weight_shape", lying);
    let declared: Value = serde_json::from_slice(&Draft::int4().files["config.json"]).unwrap();
    let declared = declared["quantization_config"].clone();
    run(vec![
        ("declared shape", huge, "CK070", Error, "weight_shape"),
        (
            "undeclared",
            Draft::int4().without("quantization_config"),
            "CK014",
            Error,
            "65 modules are packed",
        ),
        (
            "plain",
            set(Draft::nano(), "quantization_config", declared),
            "CK014",
            Error,
            "no weight is packed",
        ),
        ("group", group(128), "CK014", Error, "4 bit in groups of 32"),
        ("ignored", ignore("model.layers.0.mlp.gate_proj"), "CK014", Error, "is packed"),
        ("pattern", ignore("re:.*self_attn\\.q_proj$"), "CK014", Error, "is packed"),
        (
            "no scale",
            Draft::int4().drop_like("layers.0.mlp.gate_proj.weight_scale"),
            "CK014",
            Error,
            "no weight_scale",
        ),
        (
            "method",
            Draft::int4().config(|c| c["quantization_config"]["quant_method"] = json!("gptq")),
            "CK014",
            Error,
            "gptq",
        ),
        (
            "scales",
            Draft::int4().tensors_like("q_proj.weight_scale", |t| t.map(|_| f32::NAN)),
            "CK032",
            Error,
            "NaN",
        ),
        (
            "zero scales",
            Draft::int4().tensors_like("o_proj.weight_scale", |t| t.map(|_| 0.0)),
            "CK032",
            Error,
            "zero",
        ),
    ]);
}
