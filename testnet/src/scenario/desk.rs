//! A peer's desk: its node, and the commands typed at it.

use super::POLL;
use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest time for a post to be ordered and to arrive with its words.
const POST_TIMEOUT: Duration = Duration::from_secs(300);

/// A peer at its command line.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The `assay` program.
    pub program: PathBuf,
    /// The node's home folder.
    pub home: PathBuf,
    /// Its name for people.
    pub name: String,
}

impl Desk {
    /// A command about to be run in the node's name.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).arg("--home").arg(&self.home).args(["--format", "json"]);
        command.stdin(Stdio::null());
        command
    }

    /// What a command did, whether it went well or not.
    pub(super) fn try_run(&self, words: &[&str]) -> anyhow::Result<Output> {
        let output = self.command(words).output();
        output.with_context(|| format!("cannot run {}", self.program.display()))
    }

    /// The JSON that a command prints.
    ///
    /// # Errors
    ///
    /// When it fails; the message is the command's.
    pub fn run(&self, words: &[&str]) -> anyhow::Result<Value> {
        let output = self.try_run(words)?;
        if !output.status.success() {
            bail!("{}: `assay {}`: {}", self.name, words.join(" "), fault(&output));
        }
        read(&output.stdout)
    }

    /// Publishes a post and answers its record id.
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub fn say(&self, words: &[&str]) -> anyhow::Result<String> {
        let said = self.run(words)?;
        let id = said["record"].as_str().context("the command printed no record id")?;
        Ok(id.to_owned())
    }

    /// A post as this peer's node has it.
    ///
    /// # Errors
    ///
    /// When the node has not got it.
    pub fn post(&self, id: &str) -> anyhow::Result<Value> {
        let thread = self.run(&["board", "thread", id])?;
        let posts = thread["posts"].as_array().cloned().unwrap_or_default();
        let found = posts.into_iter().find(|post| post["id"] == id);
        found.with_context(|| format!("{} has no post {id}", self.name))
    }

    /// The post once the ledger has ordered it and its words are here.
    ///
    /// # Errors
    ///
    /// When that takes too long.
    pub(super) fn wait_for(&self, id: &str) -> anyhow::Result<Value> {
        let deadline = Instant::now() + POST_TIMEOUT;
        loop {
            match self.post(id) {
                Ok(post) if post["complete"] == true && !post["height"].is_null() => {
                    return Ok(post);
                }
                _ if Instant::now() > deadline => {
                    bail!("{}: post {id} did not arrive in {} s", self.name, POST_TIMEOUT.as_secs())
                }
                _ => std::thread::sleep(POLL),
            }
        }
    }
}

/// What a command wrote on stderr, without its first word.
pub(super) fn fault(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rev().find(|line| line.starts_with("error: ")).unwrap_or(text.trim());
    line.trim_start_matches("error: ").to_owned()
}

pub(super) fn read(stdout: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(stdout).context("the command printed no JSON")
}

/// A path as a word of a command.
pub(super) fn word(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is no plain path", path.display()))
}
