//! An agent that is no part of a node: it speaks the Model Context Protocol to `assay mcp http`.

use super::POLL;
use super::desk::Desk;
use anyhow::{Context, bail, ensure};
use assay_protocol::ids::ClaimId;
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// Measuring takes minutes and waits for other measurements.
const CALL_TIMEOUT: Duration = Duration::from_secs(1_200);
/// Longest time for the spec to be ordered.
const SPEC_TIMEOUT: Duration = Duration::from_secs(120);
/// The version of the protocol that the agent speaks.
const VERSION: &str = "2025-06-18";

/// `assay mcp http`, ended when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(desk: &Desk) -> anyhow::Result<Self> {
        let mut command = desk.command(&["mcp", "http", "--port", "0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run `assay mcp`")?;
        let stdout = child.stdout.take().context("`assay mcp http` has no output")?;
        let mut server = Self { child, url: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("`assay mcp http` said nothing")?;
        server.url = said["url"].as_str().context("`assay mcp http` named no address")?.to_owned();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The agent: an address and a token.
struct Agent {
    http: ureq::Agent,
    url: String,
    token: String,
}

impl Agent {
    /// Sends one request and answers its result.
    fn ask(&self, method: &str, params: &Value) -> anyhow::Result<Value> {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = self.http.post(&self.url);
        let request = request.header("Authorization", format!("Bearer {}", self.token));
        let request = request.header("Accept", "application/json, text/event-stream");
        let request = request.header("MCP-Protocol-Version", VERSION);
        let mut answer = request.send_json(&message).with_context(|| format!("{method} failed"))?;
        let body = answer.body_mut().read_to_string()?;
        result_of(&body).with_context(|| method.to_owned())
    }

    /// Calls a tool and answers the JSON that it returns.
    fn call(&self, name: &str, arguments: &Value) -> anyhow::Result<Value> {
        let result = self.ask("tools/call", &json!({ "name": name, "arguments": arguments }))?;
        let text = result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default();
        if result["isError"] == true {
            bail!("the tool {name} answers: {text}");
        }
        said(text).with_context(|| format!("the tool {name} answers: {text}"))
    }
}

/// The result in an answer, which comes as an event or as it is.
fn result_of(body: &str) -> anyhow::Result<Value> {
    let event = body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    let message: Value = serde_json::from_str(event.unwrap_or(body)).context("no message")?;
    match message.get("result") {
        Some(result) => Ok(result.clone()),
        None => bail!("{}", message["error"]["message"]),
    }
}

/// The JSON of a tool's answer, which stands alone, or in a quotation of what peers wrote.
fn said(text: &str) -> anyhow::Result<Value> {
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or_default();
    let line = if first.starts_with("Quoted") { lines.nth(1).unwrap_or_default() } else { first };
    serde_json::from_str(line).context("no JSON")
}

/// Reads what happened, announces, measures, publishes a spec and claims what follows it.
pub(super) fn play(
    desk: &Desk,
    bundle: &Path,
    news: &SyncSender<String>,
) -> anyhow::Result<ClaimId> {
    let allow = ["mcp", "token", "new", "--name", "scout", "--allow", "read,post,measure,claim"];
    let token = desk.run(&allow)?["token"].as_str().context("no token was made")?.to_owned();
    let server = Server::start(desk)?;
    let config = ureq::Agent::config_builder().timeout_global(Some(CALL_TIMEOUT)).build();
    let agent = Agent { http: config.into(), url: server.url.clone(), token };
    let who = json!({ "name": "scout", "version": "1" });
    let hello = json!({ "protocolVersion": VERSION, "capabilities": {}, "clientInfo": who });
    agent.ask("initialize", &hello)?;
    let tell = |what: &str| news.send(format!("the outside agent {what}"));

    agent.call("board_digest", &json!({ "since": 0 }))?;
    let lever = json!({ "text": "eight rows an invocation", "levers": ["serial-rows"] });
    agent.call("board_plan", &lever)?;
    tell("read the digest, announced its plan and measures")?;
    let put = agent.call("bundle_put", &json!({ "files": files(bundle)? }))?;
    let manifest = put["bundle"].clone();
    agent.call("claim_measure", &json!({ "bundle": manifest }))?;
    let status = agent.call("ledger_status", &json!({}))?;
    let change = json!({
        "model": "nano", "class": status["class"], "weights": "int8", "bandwidth": 10.0,
        "text": "what fewer bytes would bring beside fewer barriers",
    });
    let spec = agent.call("spec_new", &change)?["id"].clone();
    wait_for_spec(&agent, &spec)?;
    tell("published a spec and claims")?;
    let claim = json!({
        "bundle": manifest, "summary": "by an agent from outside", "cites": [spec], "insist": false,
    });
    let made = agent.call("claim_new", &claim)?;
    Ok(made["claim"].as_str().context("the agent's claim has no id")?.parse()?)
}

fn files(folder: &Path) -> anyhow::Result<Map<String, Value>> {
    let mut files = Map::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(name, std::fs::read_to_string(&path)?.into());
    }
    Ok(files)
}

fn wait_for_spec(agent: &Agent, spec: &Value) -> anyhow::Result<()> {
    let deadline = Instant::now() + SPEC_TIMEOUT;
    loop {
        let listed = agent.call("spec_list", &json!({}))?;
        if listed.as_array().is_some_and(|rows| rows.iter().any(|row| row["id"] == *spec)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the agent's spec was not ordered");
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_from_events_and_from_quotations() {
        let event = "event: message\ndata: {\"result\":{\"a\":1}}\n\n";
        assert_eq!(result_of(event).unwrap(), json!({ "a": 1 }));
        assert!(result_of("{\"error\":{\"message\":\"no\"}}").is_err());
        assert!(result_of("").is_err());
        assert_eq!(said("{\"id\":\"x\"}\nmore").unwrap(), json!({ "id": "x" }));
        let quoted = "Quoted from peers k\n--- begin k\n[1]\n--- end k";
        assert_eq!(said(quoted).unwrap(), json!([1]));
        assert!(said("").is_err());
    }
}
