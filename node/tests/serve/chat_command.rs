//! `assay chat` and the sampling of `assay generate`, with nano, through a pipe.

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn assay(arguments: &[&str], home: &Path, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    command.args(arguments).arg("--home").arg(home);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn measure_a_conversation_through_a_pipe() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved.json");
    let greedy = ["chat", "--temperature", "0", "--max-tokens", "8", "--draft", "nano"];
    let input = format!(
        "Hello there\nAnd \\\nthen?\n/stats\n/save {}\n\"\"\"\na\n\nb\n\"\"\"\n/nonsense\n/reset\nHello there\n/quit\nnever\n",
        saved.display()
    );
    let output = assay(&greedy, home.path(), &input);
    let (said, remarks) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{remarks}");
    let answers: Vec<&str> = said.lines().collect();
    assert_eq!(answers.len(), 4, "{said}");
    // The same conversation has the same answer, and the second turn found the first in the cache.
    assert_eq!(answers[0], answers[3]);
    let prompt = remarks.lines().find(|line| line.starts_with("prompt")).unwrap();
    assert!(prompt.contains("from the cache") && !prompt.contains(" 0 from"), "{prompt}");
    assert!(remarks.contains("there is no /nonsense"), "{remarks}");
    let saved: Value = serde_json::from_slice(&std::fs::read(saved).unwrap()).unwrap();
    assert_eq!(saved["messages"].as_array().unwrap().len(), 4);
    assert_eq!(saved["messages"][2]["content"], "And \nthen?");
    let input = "Hello there\n";
    let json = assay(&[&greedy[..], &["--format", "json"]].concat(), home.path(), input);
    let object: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(object["messages"][1]["content"], answers[0]);
    assert_eq!(object["last"]["completion_tokens"], 8);
}

#[test]
fn measure_sampling_from_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let base = ["generate", "--prompt", "In the beginning", "--max-tokens", "12"];
        let json = [&base[..], more, &["--format", "json"]].concat();
        let output = assay(&json, home.path(), "");
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let greedy = run(&[]);
    assert!(greedy["seed"].is_null());
    assert_eq!(
        run(&["--temperature", "0.9", "--top-k", "1", "--seed", "1"])["tokens"],
        greedy["tokens"]
    );
    let seven = ["--temperature", "0.9", "--top-p", "0.95", "--seed", "7"];
    let sampled = run(&seven);
    assert_eq!((&sampled["seed"], &sampled["tokens"]), (&7.into(), &run(&seven)["tokens"]));
    let drafted = run(&[&seven[..], &["--draft", "nano"]].concat());
    assert_eq!(drafted["tokens"], sampled["tokens"]);
    let whole = greedy["text"].as_str().unwrap();
    let word = whole.split(' ').nth(3).unwrap();
    let stopped = run(&["--stop", word]);
    assert_eq!(stopped["text"], whole[..whole.find(word).unwrap()]);
    let base = ["generate", "--prompt", "In the beginning", "--max-tokens", "12", "--stream"];
    let streamed = assay(&base, home.path(), "");
    assert!(text(&streamed.stdout).starts_with(whole));
    for (arguments, reason) in [
        (&["--top-p", "0", "--temperature", "1"][..], "top_p is 0"),
        (&["--stream", "--format", "json"], "leave --stream out"),
        (&["--max-tokens", "0"], "at least 1"),
    ] {
        let base = ["generate", "--prompt", "x"];
        let output = assay(&[&base[..], arguments].concat(), home.path(), "");
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(reason), "{arguments:?}: {said}");
    }
}

#[test]
fn a_public_address_needs_a_key() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, reason) in [
        (&["serve", "--host", "0.0.0.0"][..], "set a key with --api-key or ASSAY_API_KEY"),
        (&["serve", "--host", "::"], "--insecure-no-key"),
        (&["serve", "--api-key", " "], "--api-key is empty"),
        (&["serve", "--max-queue", "0"], "at least 1"),
    ] {
        let output = assay(arguments, home.path(), "");
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(reason), "{arguments:?}: {said}");
    }
}
