//! The relay: one peer builds a checkpoint, one cannot run it, one finds out why, one ships it.

use super::desk::{Desk, fault, read, word};
use super::{BUILDER, DIAGNOSER, RUNNER, SHIPPER};
use anyhow::{Context, ensure};
use assay_protocol::ids::ClaimId;
use serde_json::Value;
use std::path::Path;
use std::sync::mpsc::SyncSender;

/// What stays in bf16 besides attention.
const KEPT: [&str; 4] = ["*layers.4.*", "*layers.5.*", "*layers.6.*", "*layers.7.*"];

/// Runs the whole relay and answers the claim that it ends in: the mended checkpoint, with the kernels in
/// `bundle`.
pub(super) fn play(
    desks: &[Desk],
    folder: &Path,
    bundle: &Path,
    news: &SyncSender<String>,
) -> anyhow::Result<ClaimId> {
    let tell = |desk: &Desk, what: String| news.send(format!("{} {what}", desk.name));
    let built = build(&desks[BUILDER], &folder.join("built"))?;
    tell(&desks[BUILDER], "publishes an int4 checkpoint with a head of its own".to_owned())?;
    let (tried, error) = attempt(&desks[RUNNER], &built, &folder.join("tried"))?;
    tell(&desks[RUNNER], format!("cannot run it: {error}"))?;
    let (found, codes) = diagnose(&desks[DIAGNOSER], &built, &tried, &folder.join("mended"))?;
    tell(&desks[DIAGNOSER], format!("diagnoses {} and publishes a mended one", codes.join(", ")))?;
    let shipper = &desks[SHIPPER];
    let diagnosis = shipper.wait_for(&found)?;
    let checkpoint = text(&diagnosis, "/detail/diagnosis/corrected")?;
    tell(shipper, "measures and claims it".to_owned())?;
    let recipe = ["claim", "new", "--checkpoint", &checkpoint, "--bundle", word(bundle)?];
    let words = [&recipe[..], &["--cite", &found]].concat();
    // One seat scores so few tokens that its perplexity may lie above the bound by chance; the committee
    // decides with a bound that knows how few they are.
    let how = ["--summary", "int4 and int8 weights, untied, eight rows an invocation", "--insist"];
    let claim = shipper.run(&[&words[..], &how].concat())?;
    Ok(text(&claim, "/claim")?.parse()?)
}

/// Quantises the base checkpoint, leaves its configuration contradicting its weights, and publishes it.
fn build(desk: &Desk, out: &Path) -> anyhow::Result<String> {
    // So small a model chooses one token in seventeen otherwise with all of it in int4, and one in
    // twenty-seven without attention and the later layers.
    let mut words = vec!["model", "quantize", "nano", word(out)?];
    words.extend(["--scheme", "int4-g32", "--head", "int8", "--keep", "*self_attn*"]);
    words.extend(KEPT.iter().flat_map(|layers| ["--keep", layers]));
    desk.run(&words)?;
    let config = out.join("config.json");
    let mut value: Value = serde_json::from_slice(&std::fs::read(&config)?)?;
    value["tie_word_embeddings"] = Value::Bool(true);
    std::fs::write(&config, serde_json::to_vec_pretty(&value)?)?;
    let words = ["board", "checkpoint", "--manifest", word(out)?, "--made-from", "nano"];
    let how = ["--scheme", "int4-g32 in four layers, head int8", "Fewer bytes per token"];
    desk.say(&[&words[..], &how].concat())
}

/// Fetches the checkpoint, tries to generate with it, and publishes why that fails.
fn attempt(desk: &Desk, built: &str, out: &Path) -> anyhow::Result<(String, String)> {
    fetch(desk, built, out)?;
    let generate = ["generate", "--model", word(out)?, "--prompt", "In the", "--max-tokens", "4"];
    let output = desk.try_run(&generate)?;
    ensure!(!output.status.success(), "{} could run a checkpoint that is broken", desk.name);
    // Where this machine keeps the folder is nobody else's business.
    let error = fault(&output).replace(&format!("{}: ", word(out)?), "");
    let error: String = error.chars().take(300).collect();
    let words = ["board", "attempt", "--built", built, "--error", &error, "It does not load here"];
    Ok((desk.say(&words)?, error))
}

/// Fetches the checkpoint too, has it checked and mended, and publishes the codes and the mended one.
fn diagnose(
    desk: &Desk,
    built: &str,
    tried: &str,
    out: &Path,
) -> anyhow::Result<(String, Vec<String>)> {
    desk.wait_for(tried)?;
    fetch(desk, built, out)?;
    let check = ["model", "check", word(out)?, "--no-run"];
    let report = read(&desk.try_run(&check)?.stdout)?;
    let found = report["diagnostics"].as_array().cloned().unwrap_or_default();
    let errors = found.iter().filter(|one| one["severity"] == "error");
    let codes: Vec<String> =
        errors.filter_map(|one| one["code"].as_str().map(ToOwned::to_owned)).collect();
    ensure!(!codes.is_empty(), "the check finds nothing wrong with the checkpoint");
    desk.run(&[&check[..], &["--fix"]].concat())?;
    let mut words = vec!["board", "diagnosis", "--attempt", tried, "--corrected", word(out)?];
    words.extend(codes.iter().flat_map(|code| ["--code", code.as_str()]));
    words.push("The head is untied; the configuration said otherwise");
    Ok((desk.say(&words)?, codes))
}

/// Fetches the checkpoint that a post tells of.
fn fetch(desk: &Desk, built: &str, out: &Path) -> anyhow::Result<()> {
    let post = desk.wait_for(built)?;
    let manifest = text(&post, "/detail/checkpoint/manifest")?;
    desk.run(&["model", "fetch", &manifest, "--out", word(out)?]).map(|_| ())
}

fn text(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.map(ToOwned::to_owned).with_context(|| format!("no text at {pointer} in {value}"))
}
