//! `assay model`: check, synth, import, list, remove, info as a person and a program meet them.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn assay(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assay")).args(args).output().unwrap()
}

/// The one object that a command prints, and whether it succeeded.
fn json(args: &[&str]) -> (Value, bool) {
    let output = assay(&[args, &["--format", "json"]].concat());
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {log}"));
    (value, output.status.success())
}

fn refuses(args: &[&str], says: &str) {
    let output = assay(args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{args:?} succeeded");
    assert!(output.stdout.is_empty() && text.contains(says), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// nano as a folder, with `change` applied to its configuration.
fn nano(folder: &Path, change: impl FnOnce(&mut Value)) -> String {
    std::fs::create_dir_all(folder).unwrap();
    for (name, bytes) in assay_kernels::embedded_files() {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
    text(folder).to_owned()
}

fn codes(report: &Value) -> Vec<&str> {
    let diagnostics = report["diagnostics"].as_array().unwrap();
    diagnostics.iter().map(|d| d["code"].as_str().unwrap()).collect()
}

#[test]
fn a_check_prints_what_is_wrong_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let sound = nano(&folder.path().join("sound"), |_| {});
    let (report, ok) = json(&["model", "check", &sound, "--no-run"]);
    assert!(ok && report["ok"] == true, "{report}");
    assert_eq!(codes(&report), ["CK030"]);

    let broken = nano(&folder.path().join("broken"), |c| {
        c["tie_word_embeddings"] = false.into();
        c["hidden_size"] = 512.into();
    });
    let (report, ok) = json(&["model", "check", &broken, "--no-run"]);
    assert!(!ok && report["ok"] == false);
    assert_eq!(codes(&report)[..2], ["CK001", "CK006"]);
    let first = &report["diagnostics"][0];
    for field in ["severity", "where", "message", "mend"] {
        assert!(first[field].as_str().is_some_and(|text| !text.is_empty()), "{first}");
    }
    let table = assay(&["model", "check", &broken, "--no-run"]);
    assert_eq!(table.status.code(), Some(1));
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("error CK001 tied-head-contradiction"), "{table}");
    assert!(table.contains("mend (--fix does it)") && !table.contains('\u{1b}'), "{table}");
    refuses(&["model", "check", "/no/such/model", "--no-run"], "there is no checkpoint at");
    refuses(&["model", "check", "no-such-name", "--no-run"], "assay model list");
}

#[test]
fn a_fix_keeps_the_original_and_mends() {
    let folder = tempfile::tempdir().unwrap();
    let break_it = |c: &mut Value| c["head_dim"] = 32.into();
    let broken = nano(&folder.path().join("broken"), break_it);
    let out = folder.path().join("out");
    let (elsewhere, ok) =
        json(&["model", "check", &broken, "--no-run", "--fix", "--out", text(&out)]);
    assert!(!ok && elsewhere["fixed"][0]["file"].as_str().unwrap().starts_with(text(&out)));
    let (fixed, ok) = json(&["model", "check", &broken, "--no-run", "--fix"]);
    assert!(ok, "{fixed}");
    let diff = fixed["fixed"][0]["diff"].to_string();
    assert!(diff.contains("- ") && diff.contains("head_dim"), "{diff}");
    let read = |path: &Path| std::fs::read(path).unwrap();
    let corrected = read(&Path::new(&broken).join("config.json"));
    assert_eq!(corrected, read(&out.join("config.json")));
    let backup: Value =
        serde_json::from_slice(&read(&Path::new(&broken).join("config.json.bak"))).unwrap();
    assert_eq!(backup["head_dim"], 32);
    refuses(&["model", "check", "nano", "--no-run", "--fix"], "cannot be changed");
}

#[test]
fn codes_are_listed_and_explained() {
    let (all, _) = json(&["model", "check", "--list"]);
    assert!(all["codes"].as_array().unwrap().len() > 40);
    let one = assay(&["model", "check", "--explain", "ck001"]);
    let one = String::from_utf8_lossy(&one.stdout).into_owned();
    assert!(one.starts_with("CK001 tied-head-contradiction"), "{one}");
    refuses(&["model", "check", "--explain", "CK999"], "--list");
}

#[test]
fn a_random_checkpoint_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("random");
    let (dry, ok) = json(&["model", "synth", "--like", "e4b", "--quant", "int4", "--dry-run"]);
    assert!(ok && dry["out"].is_null());
    assert_eq!(dry["parameters"].as_u64().unwrap() / 1_000_000, 7463);
    let (made, ok) =
        json(&["model", "synth", "--like", "nano", "--with-drafter", "--out", text(&out)]);
    assert!(ok && made["tokenizer"] == false, "{made}");
    assert!(out.join("drafter/model.safetensors").is_file());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    let (report, ok) =
        json(&["model", "check", text(&out), "--draft", text(&out.join("drafter")), "--no-run"]);
    assert!(ok, "{report}");
    let (info, _) = json(&["model", "info", text(&out)]);
    assert_eq!(info["parameters"], made["parameters"]);
    assert_eq!(info["layer_table"].as_array().unwrap().len(), 8);
    assert!(info["kv_cache_bytes"]["4096"].as_u64() > Some(0));
    refuses(&["model", "synth", "--like", "nano", "--out", text(&out)], "exists already");
    refuses(&["model", "synth", "--like", "gpt", "--dry-run"], "choose one of");
    refuses(
        &["model", "synth", "--like", "nano", "--layers", "99", "--dry-run"],
        "the model has 8",
    );
}

#[test]
fn an_imported_checkpoint_is_used_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let source = nano(&folder.path().join("my nano"), |_| {});
    let home = ["--home", text(&home)];
    let with = |args: &[&str]| json(&[args, &home[..]].concat());
    let (made, ok) = with(&["model", "import", &source]);
    assert!(ok && made["name"] == "my-nano", "{made}");
    let hash = made["checkpoint"].as_str().unwrap();
    assert_eq!(hash.len(), 64);
    let (list, _) = with(&["model", "list"]);
    assert_eq!(list["models"]["my-nano"]["checkpoint"], hash);
    let (info, ok) = with(&["model", "info", "my-nano"]);
    assert!(ok && info["layers"] == 8);
    refuses(&[&["model", "import", &source], &home[..]].concat(), "was imported already");

    let broken = nano(&folder.path().join("broken"), |c| c["hidden_size"] = 512.into());
    let (refused, ok) = with(&["model", "import", &broken]);
    assert!(!ok && refused["checkpoint"].is_null());
    let (removed, _) = with(&["model", "remove", "my-nano"]);
    assert!(removed["freed_bytes"].as_u64() > Some(10_000_000));
    refuses(&[&["model", "info", "my-nano"], &home[..]].concat(), "assay model list");
}

#[test]
fn measure_with_an_imported_name() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let source = nano(&folder.path().join("nano"), |_| {});
    let home = ["--home", text(&home)];
    let name = ["model", "import", &source, "--name", "mine"];
    assert!(json(&[&name[..], &home[..]].concat()).1);
    let generate = ["generate", "--model", "mine", "--prompt", "And", "--max-tokens", "3"];
    let (made, ok) = json(&[&generate[..], &home[..]].concat());
    assert!(ok && made["tokens"].as_array().unwrap().len() == 3, "{made}");
    let (report, ok) = json(&["model", "check", "nano", "--draft", "nano"]);
    assert!(ok, "{report}");
}
