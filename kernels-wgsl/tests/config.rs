//! Configurations of every variant, in every style they are published in. No adapter needed.

use assay_kernels::{DrafterConfig, Family, LayerKind, ModelConfig, MoeConfig};
use serde_json::{Value, json};

fn parse(value: &Value) -> ModelConfig {
    ModelConfig::parse(&serde_json::to_vec(value).unwrap()).unwrap()
}

fn refusal(value: &Value) -> String {
    ModelConfig::parse(&serde_json::to_vec(value).unwrap()).unwrap_err().to_string()
}

fn rope_parameters() -> Value {
    json!({
        "sliding_attention": { "rope_type": "default", "rope_theta": 10000.0 },
        "full_attention": { "rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25 },
    })
}

/// The published text keys of one size.
fn published(keys: &Value) -> Value {
    let mut text = json!({
        "model_type": "gemma4_text", "vocab_size": 262144, "head_dim": 256, "global_head_dim": 512,
        "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh", "final_logit_softcapping": 30.0,
        "attention_bias": false, "rope_parameters": rope_parameters(), "bos_token_id": 2, "eos_token_id": 1,
        "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0, "tie_word_embeddings": true,
        "max_position_embeddings": 262144, "sliding_window": 1024, "use_bidirectional_attention": "vision",
    });
    for (key, value) in keys.as_object().unwrap() {
        text[key] = value.clone();
    }
    text
}

fn e2b() -> Value {
    let kinds: Vec<&str> =
        (0..35).map(|i| if i % 5 == 4 { "full_attention" } else { "sliding_attention" }).collect();
    published(&json!({
        "hidden_size": 1536, "num_hidden_layers": 35, "num_attention_heads": 8, "num_key_value_heads": 1,
        "num_global_key_value_heads": null, "intermediate_size": 6144, "use_double_wide_mlp": true,
        "layer_types": kinds, "sliding_window": 512, "num_kv_shared_layers": 20, "attention_k_eq_v": false,
        "hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262144,
        "max_position_embeddings": 131072, "use_bidirectional_attention": null,
    }))
}

fn moe26b() -> Value {
    published(&json!({
        "hidden_size": 2816, "num_hidden_layers": 30, "num_attention_heads": 16, "num_key_value_heads": 8,
        "num_global_key_value_heads": 2, "intermediate_size": 2112, "attention_k_eq_v": true,
        "enable_moe_block": true, "num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704,
    }))
}

fn nested(kind: &str, text: &Value) -> Value {
    json!({ "model_type": kind, "text_config": text, "eos_token_id": [1, 106], "tie_word_embeddings": true })
}

#[test]
fn e2b_as_published() {
    let config = parse(&nested("gemma4", &e2b()));
    assert_eq!(config.family, Family::Gemma4);
    assert_eq!(config.first_shared_layer(), 15);
    assert_eq!(config.kv_source_of(LayerKind::Sliding), Some(13));
    assert_eq!(config.kv_source_of(LayerKind::Full), Some(14));
    assert_eq!((config.layers[14].intermediate, config.layers[15].intermediate), (6144, 12288));
    assert_eq!(config.rotated_pairs(LayerKind::Full, 512), 64);
    assert_eq!(config.rotated_pairs(LayerKind::Sliding, 256), 128);
    assert_eq!(config.eos, [1, 106]);
    assert!(config.layers.iter().all(|l| !l.k_eq_v && l.kv_heads == 1));
    assert!(config.tied_head && config.value_norm && config.layer_scalar && !config.norm_plus_one);
}

#[test]
fn wide_models_in_both_styles() {
    let dense = |keys: Value| {
        let mut all = json!({ "attention_k_eq_v": true });
        for (key, value) in keys.as_object().unwrap() {
            all[key] = value.clone();
        }
        published(&all)
    };
    let unified = dense(json!({
        "model_type": "gemma4_unified_text", "hidden_size": 3840, "num_hidden_layers": 48,
        "num_attention_heads": 16, "num_key_value_heads": 8, "num_global_key_value_heads": 1,
        "intermediate_size": 15360,
    }));
    let large = dense(json!({
        "hidden_size": 5376, "num_hidden_layers": 60, "num_attention_heads": 32,
        "num_key_value_heads": 16, "num_global_key_value_heads": 4, "intermediate_size": 21504,
    }));
    for (kind, text, global_heads) in
        [("gemma4_unified", unified, 1), ("gemma4", large, 4), ("gemma4", moe26b(), 2)]
    {
        let config = parse(&nested(kind, &text));
        // The layer pattern was left out: five sliding layers, then a full one.
        for (i, layer) in config.layers.iter().enumerate() {
            let full = i % 6 == 5;
            assert_eq!(layer.kind == LayerKind::Full, full);
            assert_eq!(layer.k_eq_v, full);
            assert_eq!(layer.head_dim, if full { 512 } else { 256 });
            assert_eq!(layer.kv_heads == global_heads, full);
        }
        // The same without the wrapper, and as recent transformers versions write it back.
        assert_eq!(parse(&text).layers, config.layers);
        let mut saved = text.clone();
        let table = saved.as_object_mut().unwrap();
        table.remove("global_head_dim");
        table.remove("num_global_key_value_heads");
        let layers = (0..config.layers.len()).filter(|i| i % 6 == 5);
        saved["per_layer_config"] = layers
            .map(|i| {
                let shape = json!({ "head_dim": 512, "num_key_value_heads": global_heads });
                (i.to_string(), shape)
            })
            .collect::<serde_json::Map<_, _>>()
            .into();
        assert_eq!(parse(&nested(kind, &saved)), config);
    }
    let moe = MoeConfig { experts: 128, per_token: 8, intermediate: 704 };
    assert_eq!(parse(&moe26b()).moe, Some(moe));
    // Without k_eq_v the number of global heads has no effect.
    let mut plain = moe26b();
    plain["attention_k_eq_v"] = json!(false);
    assert!(parse(&plain).layers.iter().all(|l| l.kv_heads == 8 && !l.k_eq_v));
    for (key, value) in [
        ("num_experts", json!(0)),
        ("num_experts", json!(4096)),
        ("top_k_experts", json!(129)),
        ("top_k_experts", json!(null)),
        ("moe_intermediate_size", json!(700)),
        ("num_global_key_value_heads", json!(3)),
    ] {
        let mut bad = moe26b();
        bad[key] = value;
        assert!(refusal(&bad).contains(if key == "num_global_key_value_heads" {
            "kv heads"
        } else {
            key
        }));
    }
}

#[test]
fn gemma3_in_both_styles() {
    let small = json!({
        "model_type": "gemma3_text", "hidden_size": 1152, "num_hidden_layers": 26, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 6912, "sliding_window": 512,
        "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "rope_theta": 1000000,
        "rope_local_base_freq": 10000, "rope_scaling": null, "vocab_size": 262144,
        "max_position_embeddings": 32768, "final_logit_softcapping": null, "attn_logit_softcapping": null,
        "eos_token_id": [1, 106],
    });
    let config = parse(&small);
    assert_eq!(config.family, Family::Gemma3);
    assert_eq!(config.attention_scale, 1.0 / 16.0);
    assert!(config.norm_plus_one && !config.value_norm && !config.layer_scalar);
    assert_eq!((config.ple_width, config.logit_cap, config.moe), (0, None, None));
    assert_eq!(config.rotated_pairs(LayerKind::Full, 256), 128);
    // 26 layers end two after the last full one.
    let full: Vec<usize> = (0..26).filter(|&i| config.layers[i].kind == LayerKind::Full).collect();
    assert_eq!(full, [5, 11, 17, 23]);

    let mut saved = small.clone();
    for key in ["rope_theta", "rope_local_base_freq", "rope_scaling", "sliding_window_pattern"] {
        saved.as_object_mut().unwrap().remove(key);
    }
    saved["rope_parameters"] = json!({
        "sliding_attention": { "rope_type": "default", "rope_theta": 10000.0 },
        "full_attention": { "rope_type": "default", "rope_theta": 1000000.0 },
    });
    saved["layer_types"] = (0..26)
        .map(|i| if i % 6 == 5 { "full_attention" } else { "sliding_attention" })
        .collect::<Vec<_>>()
        .into();
    assert_eq!(parse(&saved), config);

    // The 4B model's file leaves to the reference implementation whatever is its default.
    let four = json!({ "model_type": "gemma3", "eos_token_id": [1, 106], "text_config": {
        "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
        "num_hidden_layers": 34, "sliding_window": 1024,
        "rope_scaling": { "factor": 8.0, "rope_type": "linear" },
    } });
    let config = parse(&four);
    assert_eq!((config.heads, config.layers[0].kv_heads, config.vocab), (8, 4, 262_208));
    assert_eq!((config.rope.full_factor, config.rope.full_theta), (8.0, 1e6));
    for (key, value) in [
        ("use_bidirectional_attention", json!(true)),
        ("attn_logit_softcapping", json!(50.0)),
        ("rope_scaling", json!({ "rope_type": "yarn", "factor": 2.0 })),
    ] {
        let mut bad = small.clone();
        bad[key] = value;
        assert!(refusal(&bad).starts_with("unsupported"), "{key}");
    }
}

#[test]
fn generation_settings_are_added() {
    let mut config = parse(&e2b());
    assert_eq!(config.eos, [1]);
    config
        .add_generation(br#"{"eos_token_id": [1, 106, 50], "suppress_tokens": [258883, 258882]}"#)
        .unwrap();
    assert_eq!(config.eos, [1, 106, 50]);
    assert_eq!(config.suppress, [258_883, 258_882]);
    for bad in ["", "[]", r#"{"eos_token_id": -1}"#, r#"{"suppress_tokens": ["a"]}"#] {
        let error = config.add_generation(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("generation_config.json"), "{error}");
    }
    let mut untied = nested("gemma4", &e2b());
    untied["tie_word_embeddings"] = json!(false);
    assert!(!parse(&untied).tied_head);
}

#[test]
fn drafters_of_every_size() {
    for (backbone, heads, kv, global, window) in [
        (1536, 4, 1, Value::Null, 512),
        (3840, 16, 8, json!(1), 1024),
        (2816, 16, 8, json!(2), 1024),
        (5376, 32, 16, json!(4), 1024),
    ] {
        let wide = !global.is_null();
        let text = published(&json!({
            "hidden_size": if wide { 1024 } else { 256 }, "num_hidden_layers": 4,
            "num_attention_heads": heads, "num_key_value_heads": kv,
            "num_global_key_value_heads": global, "attention_k_eq_v": wide,
            "intermediate_size": if wide { 8192 } else { 2048 }, "sliding_window": window,
            "num_kv_shared_layers": 4, "final_logit_softcapping": null,
        }));
        let kind = if backbone == 3840 { "gemma4_unified_assistant" } else { "gemma4_assistant" };
        let config = json!({
            "model_type": kind, "text_config": text, "backbone_hidden_size": backbone,
            "use_ordered_embeddings": !wide, "num_centroids": 2048, "centroid_intermediate_top_k": 32,
        });
        let config = DrafterConfig::parse(&serde_json::to_vec(&config).unwrap()).unwrap();
        assert_eq!(config.centroids, if wide { 0 } else { 2048 });
        let kinds: Vec<LayerKind> = config.text.layers.iter().map(|l| l.kind).collect();
        let (s, f) = (LayerKind::Sliding, LayerKind::Full);
        assert_eq!(kinds, [s, s, s, f]);
        let last = &config.text.layers[3];
        assert_eq!(last.kv_heads, global.as_u64().unwrap_or(kv) as usize);
        assert_eq!((last.head_dim, last.kv_source), (512, 3));
    }
}
