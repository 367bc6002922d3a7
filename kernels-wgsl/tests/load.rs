//! Hostile and mistaken checkpoints are refused with an error that names the fault. No adapter needed.

mod common;

use assay_kernels::{
    Checkpoint, DrafterConfig, Error, LayerKind, ModelConfig, embedded_files, quantize,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Files = BTreeMap<String, Vec<u8>>;

fn nano() -> Files {
    embedded_files().into_iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect()
}

fn fixture() -> Files {
    let mut files = common::folder("tests/fixtures/e-series");
    files.remove("expected.safetensors");
    files
}

fn refusal(files: Files) -> String {
    match Checkpoint::from_files(files) {
        Ok(_) => panic!("accepted"),
        Err(e) => e.to_string(),
    }
}

fn with_config(mut files: Files, change: impl FnOnce(&mut Value)) -> Files {
    let mut config: Value = serde_json::from_slice(&files["config.json"]).unwrap();
    change(&mut config);
    files.insert("config.json".into(), serde_json::to_vec(&config).unwrap());
    files
}

/// A safetensors file with the given header text and `data` bytes behind it.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn both_configuration_styles_give_the_same_geometry() {
    let nano = Checkpoint::embedded().unwrap();
    let config = nano.config();
    let dims: Vec<_> = config.layers.iter().map(|l| (l.kind, l.head_dim, l.kv_source)).collect();
    let (s, f) = (LayerKind::Sliding, LayerKind::Full);
    let own = [(s, 64, 0), (s, 64, 1), (s, 64, 2), (f, 128, 3)];
    let shared = [(s, 64, 2), (s, 64, 2), (s, 64, 2), (f, 128, 3)];
    assert_eq!(dims, [own, shared].concat());
    assert_eq!(config.first_shared_layer(), 4);
    assert_eq!(config.eos, [1, 6]);
    assert_eq!(config.layers[4].intermediate, 2 * config.layers[3].intermediate);
    let published = with_config(self::nano(), |c| {
        c.as_object_mut().unwrap().remove("per_layer_config");
        c["global_head_dim"] = json!(128);
    });
    assert_eq!(Checkpoint::from_files(published).unwrap().config(), config);
    // Nested under text_config, as multimodal checkpoints have it.
    let nested = with_config(self::nano(), |c| {
        *c = json!({ "model_type": "gemma4", "text_config": c.clone(), "eos_token_id": [1, 6] });
    });
    assert_eq!(Checkpoint::from_files(nested).unwrap().config(), config);
}

#[test]
fn digests_and_byte_counts() {
    let nano = Checkpoint::embedded().unwrap();
    let int4 = Checkpoint::from_files(quantize::int4_g32(&nano).unwrap().files).unwrap();
    assert_ne!(nano.shape_digest(), int4.shape_digest());
    assert_eq!(nano.shape_digest(), Checkpoint::embedded().unwrap().shape_digest());
    // All bf16 tensors but the per-layer table, of which one row of 256 values is read.
    let table = 2 * 4096 * 256;
    let total: usize = nano.tensor_sizes().map(|(_, bytes)| bytes).sum();
    assert_eq!(nano.bytes_per_token(), (total - table + 2 * 256) as u64);
    assert!(int4.bytes_per_token() < nano.bytes_per_token() / 2);
    let tokenizer = nano.tokenizer().unwrap();
    let ids = tokenizer.encode("And God said").unwrap();
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "And God said");
    assert_eq!(tokenizer.token_id("<bos>"), Some(2));
}

#[test]
fn configurations_are_checked() {
    let set =
        |key: &'static str, value: Value| refusal(with_config(nano(), move |c| c[key] = value));
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(250)),
        ("hidden_size", json!(-256)),
        ("hidden_size", json!(1u64 << 60)),
        ("hidden_size", json!("256")),
        ("num_hidden_layers", json!(1_000_000)),
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!(null)),
        ("head_dim", json!(48)),
        ("vocab_size", json!(1u64 << 40)),
        ("sliding_window", json!(0)),
        ("num_kv_shared_layers", json!(9)),
        ("num_kv_shared_layers", json!(6)),
        ("layer_types", json!(["sliding_attention"])),
        ("rms_norm_eps", json!(-1.0)),
        ("rms_norm_eps", json!("NaN")),
        ("final_logit_softcapping", json!(1e300)),
        ("per_layer_config", json!([1])),
        ("eos_token_id", json!(["a"])),
    ] {
        let error = set(key, value.clone());
        assert!(error.contains("config.json") && error.contains(key), "{key} = {value}: {error}");
    }
    for (key, value) in [
        ("model_type", json!("gemma2")),
        ("attention_bias", json!(true)),
        ("hidden_activation", json!("silu")),
        ("quantization_config", json!({ "quant_method": "gptq" })),
    ] {
        let error = set(key, value);
        assert!(error.starts_with("unsupported"), "{key}: {error}");
    }
    // What Python's json module writes for a NaN is not JSON.
    let mut files = nano();
    let text = String::from_utf8(files["config.json"].clone()).unwrap();
    files.insert("config.json".into(), text.replace("1e-06", "NaN").into_bytes());
    assert!(refusal(files).contains("config.json"));
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let mut files = nano();
    files.remove("model.safetensors");
    assert!(refusal(files).contains("model.safetensors"));
    let mut files = nano();
    files.remove("tokenizer.json");
    assert!(Checkpoint::from_files(files).unwrap().tokenizer().is_err());
    let error = refusal(with_config(nano(), |c| c["intermediate_size"] = json!(544)));
    assert!(error.contains("layers.0.mlp") && error.contains("[512, 256]"), "{error}");
    let error = refusal(with_config(nano(), |c| c["num_kv_shared_layers"] = json!(0)));
    assert!(error.contains("layers.4.self_attn.k_proj.weight"), "{error}");
    let int4 = quantize::int4_g32(&Checkpoint::embedded().unwrap()).unwrap().files;
    assert!(quantize::int4_g32(&Checkpoint::from_files(int4.clone()).unwrap()).is_err());
    let error = refusal(with_config(int4, |c| {
        c["quantization_config"]["config_groups"]["group_0"]["weights"]["group_size"] = json!(128);
    }));
    assert!(error.contains("quantization_config") && error.contains("groups of 32"), "{error}");
}

#[test]
fn hostile_headers_are_errors() {
    let hostile = |bytes: Vec<u8>| {
        let mut files = nano();
        files.insert("model.safetensors".into(), bytes);
        let error = refusal(files);
        assert!(error.contains("model.safetensors"), "{error}");
    };
    hostile(Vec::new());
    hostile(vec![1, 2, 3]);
    hostile(u64::MAX.to_le_bytes().to_vec());
    hostile(safetensors("", 0));
    hostile(safetensors("not json", 8));
    hostile(safetensors("[]", 8));
    let one = |shape: &str, offsets: &str| {
        safetensors(
            &format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#),
            16,
        )
    };
    hostile(one("[4]", "[0,17]"));
    hostile(one("[4]", "[8,4]"));
    hostile(one("[4]", "[4,20]"));
    hostile(one("[9223372036854775807,4]", "[0,16]"));
    hostile(one("[4]", "[0,18446744073709551615]"));
    hostile(one("[-4]", "[0,16]"));
    let overlapping = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},
                          "b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#;
    hostile(safetensors(overlapping, 16));
    // Eight tensors whose sizes add up past 2^64.
    let ends = [1u64 << 61; 9].iter().scan(0u64, |end, n| {
        let start = *end;
        *end = end.saturating_add(*n);
        Some((start, *end))
    });
    let huge: Vec<String> = ends
        .enumerate()
        .map(|(i, (s, e))| {
            format!(r#""t{i}":{{"dtype":"U8","shape":[{}],"data_offsets":[{s},{e}]}}"#, e - s)
        })
        .collect();
    hostile(safetensors(&format!("{{{}}}", huge.join(",")), 0));
}

#[test]
fn truncated_files_are_errors() {
    let whole = fixture();
    assert!(Checkpoint::from_files(whole.clone()).is_ok());
    let length = whole["model.safetensors"].len();
    for keep in [0, 7, 8, 9, 100, 5000, length / 2, length - 1] {
        let mut files = whole.clone();
        files.get_mut("model.safetensors").unwrap().truncate(keep);
        refusal(files);
    }
    let mut files = whole;
    files.get_mut("config.json").unwrap().truncate(300);
    assert!(matches!(Checkpoint::from_files(files), Err(Error::Corrupt { .. })));
}

#[test]
fn shard_indexes_do_not_leave_the_folder() {
    for name in ["../../etc/passwd", "/etc/passwd", "..", "a/b", "a\\b"] {
        let mut files = nano();
        let index = json!({ "weight_map": { "x": name } });
        files.insert("model.safetensors.index.json".into(), serde_json::to_vec(&index).unwrap());
        assert!(refusal(files).contains("not a file name"));
    }
    let folder = tempfile::tempdir().unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}

#[test]
fn quantised_checkpoints_report_their_error() {
    let quantized = quantize::int4_g32(&Checkpoint::embedded().unwrap()).unwrap();
    // 4 layers of 9 matrices, 4 of 7 that share their cache, and the per-layer context projection.
    assert_eq!(quantized.report.len(), 4 * 9 + 4 * 7 + 1);
    for line in &quantized.report {
        assert!(line.relative_error > 0.01 && line.relative_error < 0.15, "{line:?}");
        assert!(line.rms_error <= line.max_error, "{line:?}");
    }
    let names: Vec<&String> = quantized.files.keys().collect();
    assert!(names.iter().any(|n| *n == "tokenizer.json"));
}

proptest! {
    #[test]
    fn no_configuration_panics(
        key in prop::sample::select(vec![
            "hidden_size", "num_hidden_layers", "head_dim", "vocab_size", "layer_types", "rope_parameters",
            "num_kv_shared_layers", "intermediate_size", "sliding_window", "per_layer_config", "eos_token_id",
        ]),
        value in prop_oneof![
            any::<i64>().prop_map(|n| json!(n)),
            any::<f64>().prop_map(|n| json!(n)),
            "\\PC{0,8}".prop_map(|s| json!(s)),
            prop::collection::vec(any::<u8>(), 0..4).prop_map(|v| json!(v)),
            Just(json!({ "0": { "head_dim": 64 }, "full_attention": { "rope_theta": -1 } })),
        ],
    ) {
        let mut config: Value = serde_json::from_slice(embedded_files()["config.json"]).unwrap();
        config[key] = value;
        let bytes = serde_json::to_vec(&config).unwrap();
        let _ = ModelConfig::parse(&bytes);
        let _ = DrafterConfig::parse(&bytes);
    }

    #[test]
    fn no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut files = Files::from([("config.json".to_string(), embedded_files()["config.json"].to_vec())]);
        files.insert("model.safetensors".into(), bytes);
        prop_assert!(Checkpoint::from_files(files).is_err());
    }
}

#[test]
fn a_head_that_the_configuration_would_leave_unread_is_refused() {
    let tied = |tied: bool| move |config: &mut Value| config["tie_word_embeddings"] = json!(tied);
    let options = quantize::Options {
        scheme: "int4-g32".parse().unwrap(),
        head: Some("int4-g32".parse().unwrap()),
        per_layer_projections: false,
        keep: Vec::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    quantize::write(&Checkpoint::embedded().unwrap(), &options, folder.path(), &mut |_| {
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let files: Files = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    assert!(!Checkpoint::from_files(files.clone()).unwrap().config().tied_head);
    let error = refusal(with_config(files.clone(), tied(true)));
    assert!(error.contains("tie_word_embeddings") && error.contains("model check"), "{error}");
    assert!(Checkpoint::from_files(with_config(files, tied(false))).is_ok());
}
