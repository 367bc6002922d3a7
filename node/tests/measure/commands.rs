//! The engine's commands: what they print as JSON and how they refuse.

use crate::support::Bench;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn assay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assay")).args(arguments).output().unwrap()
}

/// The one object that a command prints.
fn json(arguments: &[&str]) -> Value {
    let output = assay(&[arguments, &["--format", "json"]].concat());
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {log}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {log}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn assert_has(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some(), "{field} is not among {:?}", keys(value));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn measure_logits_by_every_path() {
    let bench = Bench::new();
    let mut files = Vec::new();
    for path in ["prefill", "decode", "batch:3"] {
        let out = bench.path(&path.replace(':', "-"));
        let report =
            json(&["logits", "--tokens", "2,523,88,1000,7", "--path", path, "--out", text(&out)]);
        assert_has(&report, &["model", "adapter", "path", "tokens", "out"]);
        assert_eq!(report["tokens"], serde_json::json!([2, 523, 88, 1000, 7]));
        files.push(std::fs::read(out).unwrap());
    }
    assert!(files.windows(2).all(|two| two[0] == two[1]));
    let file = safetensors::SafeTensors::deserialize(&files[0]).unwrap();
    assert_eq!(file.tensor("logits").unwrap().shape(), [5, 4096]);
    assert_eq!(file.tensor("hidden").unwrap().shape(), [5, 256]);
}

#[test]
fn measure_token_ids_need_no_tokenizer() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels-wgsl/tests/fixtures/moe");
    let expected = std::fs::read(format!("{model}/expected.safetensors")).unwrap();
    let expected = safetensors::SafeTensors::deserialize(&expected).unwrap();
    let ids = |name: &str| -> Vec<u64> {
        let bytes = expected.tensor(name).unwrap().data().chunks_exact(8);
        bytes.map(|id| u64::from_le_bytes(id.try_into().unwrap())).collect()
    };
    let prompt: Vec<String> = ids("tokens").iter().map(ToString::to_string).collect();
    let prompt = prompt.join(",");
    let generate = ["generate", "--model", model, "--tokens", &prompt, "--max-tokens", "6"];
    let report = json(&generate);
    assert_eq!(report["text"], "");
    assert_eq!(report["tokens"], serde_json::json!(ids("greedy")[..6]));
    for asked in [&["--stop", "x"][..], &["--stream"]] {
        let refused = assay(&[&generate[..], asked].concat());
        let log = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && log.contains("--tokens"), "{log}");
    }
}

#[test]
fn measure_generated_tokens_with_and_without_a_drafter() {
    let prompt = ["generate", "--prompt", "And the LORD said", "--max-tokens", "6"];
    let plain = json(&prompt);
    let fields = ["tokens", "text", "prompt_tokens", "decode_tps", "prefill_tps", "first_token_ms"];
    assert_has(&plain, &fields);
    assert_has(&plain, &["draft", "token_digest"]);
    assert_eq!(plain["tokens"].as_array().unwrap().len(), 6);
    let drafted = json(&[&prompt[..], &["--draft", "nano", "--draft-len", "2"]].concat());
    assert_eq!(drafted["tokens"], plain["tokens"]);
    assert_eq!(drafted["token_digest"], plain["token_digest"]);
    assert_eq!(drafted["draft"]["len"], 2);
    assert_has(&drafted["draft"], &["accepted_per_step", "acceptance"]);
}

#[test]
fn measure_perplexity_by_both_paths() {
    let bench = Bench::new();
    let pool = bench.path("pool.txt");
    let score = |path| {
        let size = ["--context", "16", "--max-tokens", "40", "--path", path];
        json(&[&["ppl", "--text", text(&pool)], &size[..]].concat())
    };
    let (prefill, decode) = (score("prefill"), score("decode"));
    assert_has(&prefill, &["ppl", "nll", "tokens", "context", "path"]);
    assert_eq!(prefill["tokens"], 40);
    assert_eq!(prefill["nll"], decode["nll"]);
    assert!(prefill["ppl"].as_f64().unwrap() > 1.0);
}

#[test]
fn measure_a_bundle_against_the_builtin_kernels() {
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testnet/bundles/serial-rows");
    let size = ["--runs", "2", "--prompt-tokens", "5", "--decode-tokens", "4"];
    let kernels = ["bench", "--bundle", text(&bundle), "--against-builtin", "--ops"];
    let report = json(&[&kernels[..], &size[..]].concat());
    let fields = ["config", "bytes_per_token", "decode_tps", "prefill_tps", "roofline_fraction"];
    assert_has(&report, &fields);
    let adapter = ["name", "backend", "driver", "class", "bandwidth_gb_s"];
    assert_has(&report["adapter"], &adapter);
    assert_has(&report["phases"], &["load_ms", "prefill_ms", "decode_ms"]);
    assert_has(&report["decode_tps"], &["median", "min", "max"]);
    assert_eq!(report["decode_tps"]["samples"].as_array().unwrap().len(), 2);
    assert_eq!(report["against"]["same_tokens"], true);
}

#[test]
fn measure_what_quantising_saves() {
    let bench = Bench::new();
    let out = bench.path("quantised");
    let report = json(&["model", "quantize", "nano", text(&out), "--scheme", "int4-g32"]);
    assert!(report["bytes_after"].as_u64() < report["bytes_before"].as_u64());
    let (before, after) = (json(&["model", "info", "nano"]), json(&["model", "info", text(&out)]));
    assert_has(&before, &["family", "layers", "hidden", "vocab", "weights"]);
    assert_eq!(before["shape_digest"], after["shape_digest"]);
    assert_eq!((&before["weights"], &after["weights"]), (&"bf16".into(), &"int4-g32".into()));
    let again = assay(&["model", "quantize", "nano", text(&out), "--scheme", "int4-g32"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));
}

#[test]
fn measure_refuses_in_one_line() {
    for (arguments, reason) in [
        (&["generate", "--tokens", "2,4096"][..], "token 4096 is not below the vocabulary 4096"),
        (&["generate", "--prompt", "x", "--max-tokens", "9000"], "do not fit into the context"),
        (&["ppl", "--text", "/no/such/text"], "cannot read the text /no/such/text"),
        (&["ppl", "--context", "1"], "at least 2"),
        (&["bench", "--model", "/no/such/model"], "/no/such/model/config.json is missing"),
        (&["bench", "--bundle", "/no/such/bundle"], "cannot read /no/such/bundle"),
        (&["model", "info", "/no/such/model"], "/no/such/model/config.json is missing"),
    ] {
        let output = assay(arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let error = said.lines().last().unwrap();
        assert!(error.starts_with("error: ") && error.contains(reason), "{arguments:?}: {said}");
        let said_once = said.matches("os error").count() < 2;
        assert!(said_once, "{said}");
    }
}

#[test]
fn measure_nothing_and_see_what_ails() {
    let bench = Bench::new();
    let home = bench.path("home");
    let level = |report: &Value, name: &str| {
        let checks = report["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(found["level"] == "ok", found["mend"].is_null(), "{found}");
        found["level"].as_str().unwrap().to_owned()
    };
    let fresh = json(&["doctor", "--home", text(&home)]);
    assert_eq!(fresh["ok"], true);
    assert_ne!(level(&fresh, "adapter"), "fault");
    assert_eq!((level(&fresh, "home").as_str(), level(&fresh, "node").as_str()), ("warning", "ok"));
    json(&["init", "--home", text(&home)]);
    std::fs::write(home.join("key"), "no key").unwrap();
    let hurt =
        assay(&["doctor", "--home", text(&home), "--adapter", "none such", "--format", "json"]);
    assert_eq!(hurt.status.code(), Some(1));
    let hurt: Value = serde_json::from_slice(&hurt.stdout).unwrap();
    assert_eq!(hurt["ok"], false);
    assert_eq!(
        (level(&hurt, "home").as_str(), level(&hurt, "adapter").as_str()),
        ("fault", "fault")
    );
}
