//! Experts left out of a mixture: one of three runs for the output, the others for show. The base is a
//! small mixture of experts with random weights, whose vocabulary is the beginning of nano's.

use crate::attack::checkpoints::Edited;
use crate::attack::workbench::{Case, Change, Workbench};
use crate::attack::{Attack, Expect};
use anyhow::Context;
use assay_kernels::embedded_files;
use assay_node::measure::RecipeFiles;
use assay_protocol::gates::Gate;
use serde_json::Value;
use std::collections::BTreeMap;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "skipped-experts",
    tries: "gives all of a token's share to the first of its three experts",
    expect: Expect::Refused(&[Gate::Quality]),
    make,
};

/// Tokens of the mixture's vocabulary.
const VOCAB: u64 = 512;
/// Windows of the pool, which has more tokens in so small a vocabulary.
const POOL_PROMPTS: u32 = 400;

fn make(bench: &Workbench) -> anyhow::Result<Case> {
    let files = BTreeMap::from([
        (
            "config.json".to_owned(),
            include_bytes!("../../../../kernels-wgsl/tests/fixtures/moe/config.json").to_vec(),
        ),
        (
            "model.safetensors".to_owned(),
            include_bytes!("../../../../kernels-wgsl/tests/fixtures/moe/model.safetensors")
                .to_vec(),
        ),
    ]);
    let mut mixture = Edited::read(files)?;
    mixture.put("tokenizer.json", small_tokenizer()?);
    let base = bench.checkpoint("mixture", &mixture.files()?)?;
    let bundle = bench.bundle(
        "skipped-experts",
        &[Change {
            op: "route",
            from: "shares[at] = exp(score[id] - highest) / total * weights[params.scale_at + id];",
            to: "shares[at] = select(0.0, weights[params.scale_at + id], lane == 0u);",
        }],
    )?;
    let child = RecipeFiles { bundle: Some(bundle), ..base.clone() };
    Ok(Case {
        base: base.clone(),
        parent: base,
        child,
        pool_prompts: POOL_PROMPTS,
        drafts: false,
        pairs_min: 2,
        deadline: None,
    })
}

/// Nano's tokenizer with the first tokens and the merges among them only.
fn small_tokenizer() -> anyhow::Result<Vec<u8>> {
    let files = embedded_files();
    let (_, bytes) =
        files.iter().find(|(name, _)| **name == "tokenizer.json").context("tokenizer")?;
    let mut tokenizer: Value = serde_json::from_slice(bytes)?;
    let model = tokenizer["model"].as_object_mut().context("tokenizer model")?;
    let vocab = model["vocab"].as_object_mut().context("vocabulary")?;
    vocab.retain(|_, id| id.as_u64().is_some_and(|id| id < VOCAB));
    let held = vocab.clone();
    let merges = model["merges"].as_array_mut().context("merges")?;
    merges.retain(|merge| {
        let parts: Vec<&str> =
            merge.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        held.contains_key(&parts.concat()) && parts.iter().all(|part| held.contains_key(*part))
    });
    Ok(serde_json::to_vec(&tokenizer)?)
}
