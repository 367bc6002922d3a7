//! The official OpenAI client and smolagents against the server. Opt-in: `ASSAY_PYTHON` names a Python
//! that has the packages `openai` and `smolagents[openai]`.

use super::scripted::{Scripted, checkpoint};
use super::server::Server;
use assay_node::serve::Access;
use std::path::Path;
use std::process::Command;

const PYTHON: &str = "ASSAY_PYTHON";
const KEY: &str = "a key for tests";

/// Rules of the client's and the agent's script, the most special first.
const RULES: &[(&str, &str)] = &[
    ("It is sunny in Paris", "<|tool_call>call:final_answer{answer:<|\"|>sunny<|\"|>}<tool_call|>"),
    ("response:lookup", "Paris it is."),
    (
        "parallel",
        "<|tool_call>call:lookup{q:<|\"|>a<|\"|>}<tool_call|><|tool_call>call:lookup{q:<|\"|>b<|\"|>}<tool_call|>",
    ),
    (
        "capital",
        "<|channel>thought\nI look it up.\n<channel|><|tool_call>call:lookup{q:<|\"|>capital<|\"|>}<tool_call|>",
    ),
    ("declaration:get_weather", "<|tool_call>call:get_weather{city:<|\"|>Paris<|\"|>}<tool_call|>"),
    ("ponder", "<|channel>thought\nHm.\n<channel|>Done."),
];

/// Runs a script against a server; says so where no Python is named.
fn run(script: &str, server: &Server, mode: &str) {
    let Some(python) = std::env::var_os(PYTHON) else {
        eprintln!("skipped: {PYTHON} names no Python with openai and smolagents");
        return;
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve").join(script);
    let output = Command::new(python)
        .arg(path)
        .args([&format!("{}/v1", server.url), KEY, mode])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
}

fn scripted() -> Server {
    Server::with(&checkpoint(), Scripted::new(RULES), Access::key(KEY), 8)
}

#[test]
fn the_openai_client_against_a_script() {
    run("openai_client.py", &scripted(), "scripted");
}

#[test]
fn a_smolagent_calls_a_tool() {
    run("smolagents_agent.py", &scripted(), "scripted");
}

#[test]
fn measure_the_openai_client_against_nano() {
    if std::env::var_os(PYTHON).is_some() {
        run("openai_client.py", &Server::nano_with(Access::key(KEY)), "nano");
    }
}

#[test]
fn measure_a_smolagent_on_nano() {
    if std::env::var_os(PYTHON).is_some() {
        run("smolagents_agent.py", &Server::nano_with(Access::key(KEY)), "nano");
    }
}
