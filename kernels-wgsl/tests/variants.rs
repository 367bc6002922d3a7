//! One model in every way files hold it: the same bits, whatever the wrapper, the shards or the fusing.

mod common;

use assay_kernels::{Checkpoint, Path, quantize};
use common::bits;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A fixture taken apart: its configuration and its tensors.
fn parts(name: &str) -> (Value, Tensors) {
    let files = common::folder(&format!("tests/fixtures/{name}"));
    let file = SafeTensors::deserialize(&files["model.safetensors"]).unwrap();
    let tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())));
    (serde_json::from_slice(&files["config.json"]).unwrap(), tensors.collect())
}

fn written(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    serialize(views, None).unwrap()
}

fn checkpoint(config: &Value, tensors: &Tensors) -> assay_kernels::Result<Checkpoint> {
    Checkpoint::from_files(BTreeMap::from([
        ("config.json".to_string(), serde_json::to_vec(config).unwrap()),
        ("model.safetensors".to_string(), written(tensors)),
    ]))
}

fn tokens() -> Vec<u32> {
    (0..40).map(|i| (i * i * 13 + 2) % 512).collect()
}

fn logits(checkpoint: &Checkpoint) -> Vec<u32> {
    let mut engine = common::engine(checkpoint, 48, 8);
    bits(&engine.logits(&tokens(), Path::Prefill).unwrap().logits)
}

/// Cuts `experts.*` tensors into one tensor per expert and matrix.
fn one_by_one(tensors: &Tensors) -> Tensors {
    let mut all = Tensors::new();
    for (name, (dtype, shape, data)) in tensors {
        let Some((prefix, fused)) = name.split_once(".experts.") else {
            all.insert(name.clone(), (*dtype, shape.clone(), data.clone()));
            continue;
        };
        let names: &[&str] =
            if fused == "gate_up_proj" { &["gate_proj", "up_proj"] } else { &["down_proj"] };
        let pieces = shape[0] * names.len();
        for (i, piece) in data.chunks(data.len() / pieces).enumerate() {
            let (expert, part) = (i / names.len(), names[i % names.len()]);
            let shape = vec![shape[1] / names.len(), shape[2]];
            let name = format!("{prefix}.experts.{expert}.{part}.weight");
            all.insert(name, (*dtype, shape, piece.to_vec()));
        }
    }
    all
}

#[test]
fn experts_may_be_fused_or_one_by_one() {
    let (config, tensors) = parts("moe");
    let fused = checkpoint(&config, &tensors).unwrap();
    let separate = one_by_one(&tensors);
    assert!(separate.len() > tensors.len());
    let unfused = checkpoint(&config, &separate).unwrap();
    assert!(logits(&fused) == logits(&unfused));
    assert_eq!(fused.bytes_per_token(), unfused.bytes_per_token());

    // Three of ten experts run for a token; of everything else, all is read.
    let size = |part: &str| -> usize {
        let of = tensors.iter().filter(|(name, _)| name.contains(part));
        of.map(|(_, (.., data))| data.len()).sum()
    };
    let expected = size("") - size(".experts.") + size(".experts.") / 10 * 3;
    assert_eq!(fused.bytes_per_token(), expected as u64);

    let mut missing = separate.clone();
    missing.remove("model.layers.1.experts.9.up_proj.weight").unwrap();
    let error = checkpoint(&config, &missing).unwrap_err().to_string();
    assert!(error.contains("layers.1.experts.9.up_proj.weight"), "{error}");
    let mut short = tensors;
    short.get_mut("model.layers.0.experts.down_proj").unwrap().1 = vec![10, 64, 96];
    let error = checkpoint(&config, &short).unwrap_err().to_string();
    assert!(error.contains("experts.down_proj") && error.contains("[10, 96, 64]"), "{error}");
}

#[test]
fn int4_experts_agree_over_all_paths() {
    let bf16 = common::fixture("moe");
    let int4 = Checkpoint::from_files(quantize::int4_g32(&bf16).unwrap().files).unwrap();
    let mut engine = common::engine(&int4, 48, 8);
    let expected = engine.logits(&tokens(), Path::Decode).unwrap();
    for path in [Path::Prefill, Path::Batch(2), Path::Batch(5)] {
        let found = engine.logits(&tokens(), path).unwrap();
        assert!(bits(&expected.logits) == bits(&found.logits), "{path}");
        assert!(bits(&expected.hidden) == bits(&found.hidden), "{path}");
    }
    assert!(int4.bytes_per_token() < bf16.bytes_per_token());
    assert!(bits(&expected.logits) != logits(&bf16));
}

#[test]
fn wrappers_and_shards_change_nothing() {
    let (config, tensors) = parts("dense-k-eq-v");
    let expected = logits(&checkpoint(&config, &tensors).unwrap());
    let vision = (Dtype::BF16, vec![2], vec![0; 4]);
    let nested = json!({ "model_type": "gemma4_unified", "text_config": config });
    for prefix in ["model.language_model.", "language_model.model.", ""] {
        let renamed = tensors.iter().map(|(name, tensor)| {
            (format!("{prefix}{}", name.strip_prefix("model.").unwrap()), tensor.clone())
        });
        let mut renamed: Tensors = renamed.collect();
        renamed.insert("model.vision_tower.patch.weight".into(), vision.clone());
        renamed.insert("model.embed_vision.weight".into(), vision.clone());
        assert!(logits(&checkpoint(&nested, &renamed).unwrap()) == expected, "{prefix}");
    }
    let mut files = BTreeMap::new();
    let mut map = BTreeMap::new();
    for shard in 0..3 {
        let own = tensors.iter().enumerate().filter(|(i, _)| i % 3 == shard);
        let own: Tensors = own.map(|(_, (name, tensor))| (name.clone(), tensor.clone())).collect();
        let file = format!("model-0000{}-of-00003.safetensors", shard + 1);
        map.extend(own.keys().map(|name| (name.clone(), file.clone())));
        files.insert(file, written(&own));
    }
    let index = serde_json::to_vec(&json!({ "metadata": {}, "weight_map": map })).unwrap();
    files.insert("model.safetensors.index.json".into(), index);
    files.insert("config.json".into(), serde_json::to_vec(&config).unwrap());
    assert!(logits(&Checkpoint::from_files(files).unwrap()) == expected);
}

#[test]
fn redundant_tensors_are_passed_over() {
    // Google's own files hold keys and values of layers that read another layer's.
    let (config, mut tensors) = parts("e-series");
    let expected = logits(&checkpoint(&config, &tensors).unwrap());
    let prefix = "model.language_model.layers.";
    for part in ["k_proj", "v_proj", "k_norm"] {
        let tensor = tensors[&format!("{prefix}0.self_attn.{part}.weight")].clone();
        for layer in 5..10 {
            tensors.insert(format!("{prefix}{layer}.self_attn.{part}.weight"), tensor.clone());
        }
    }
    // A tied head that is stored all the same is the embedding table.
    let table = tensors["model.language_model.embed_tokens.weight"].clone();
    tensors.insert("lm_head.weight".into(), table);
    assert!(logits(&checkpoint(&config, &tensors).unwrap()) == expected);
}

#[test]
fn heads_of_their_own() {
    for (name, head) in
        [("gemma3", "lm_head.weight"), ("e-series", "language_model.lm_head.weight")]
    {
        let (mut config, mut tensors) = parts(name);
        let tied = logits(&checkpoint(&config, &tensors).unwrap());
        config["tie_word_embeddings"] = json!(false);
        let error = checkpoint(&config, &tensors).unwrap_err().to_string();
        assert!(error.contains("lm_head.weight"), "{error}");
        let table = tensors.iter().find(|(name, _)| name.ends_with("embed_tokens.weight"));
        let (dtype, shape, mut data) = table.unwrap().1.clone();
        tensors.insert(head.into(), (dtype, shape.clone(), data.clone()));
        let same = checkpoint(&config, &tensors).unwrap();
        assert!(logits(&same) == tied, "{name}");
        assert!(!same.config().tied_head);
        // With every sign changed every logit has the other sign; the soft-cap is odd but for rounding.
        data.iter_mut().skip(1).step_by(2).for_each(|byte| *byte ^= 0x80);
        tensors.insert(head.into(), (dtype, shape, data));
        let turned = logits(&checkpoint(&config, &tensors).unwrap());
        let sum = |(a, b): (&u32, &u32)| f32::from_bits(*a) + f32::from_bits(*b);
        let flipped = turned.iter().zip(&tied).map(sum).all(|sum| sum.abs() < 1e-4);
        assert!(flipped, "{name}");
    }
}
