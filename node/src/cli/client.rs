//! Commands that speak to the node running in a home folder.

use crate::home;
use anyhow::{Context, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The node running in a home folder.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl Client {
    /// Finds the node that runs in `home`; every request ends after `timeout`.
    ///
    /// # Errors
    ///
    /// When no node runs there.
    pub fn find(home: &Path, timeout: Duration) -> anyhow::Result<Self> {
        let (url, token) = home::running(home)?;
        Ok(Self::at(url, token, timeout))
    }

    /// The node at an address, with its token.
    #[must_use]
    pub fn at(url: String, token: String, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .build();
        Self { agent: config.into(), url, token }
    }

    /// Address of the node's page.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Reads `path` as JSON.
    ///
    /// # Errors
    ///
    /// When the node does not answer or says no.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.agent.get(format!("{}{path}", self.url)).call();
        read(answer.with_context(|| format!("the node at {} does not answer", self.url))?)
    }

    /// Sends `body` as JSON to `path`, acting for the node.
    ///
    /// # Errors
    ///
    /// When the node does not answer or says no; the message is the node's.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = self.agent.post(format!("{}{path}", self.url));
        let answer =
            request.header("Authorization", format!("Bearer {}", self.token)).send_json(body);
        read(answer.with_context(|| format!("the node at {} does not answer", self.url))?)
    }

    /// Copies what is at `path` to `out` and returns how many bytes there were.
    ///
    /// # Errors
    ///
    /// When the node does not answer, says no, or `out` cannot be written.
    pub fn download(&self, path: &str, out: &mut impl std::io::Write) -> anyhow::Result<u64> {
        let answer = self.agent.get(format!("{}{path}", self.url)).call();
        let mut answer =
            answer.with_context(|| format!("the node at {} does not answer", self.url))?;
        if !answer.status().is_success() {
            return Err(refusal(&mut answer));
        }
        Ok(std::io::copy(&mut answer.body_mut().as_reader(), out)?)
    }
}

type Answer = ureq::http::Response<ureq::Body>;

fn read<T: DeserializeOwned>(mut answer: Answer) -> anyhow::Result<T> {
    if !answer.status().is_success() {
        return Err(refusal(&mut answer));
    }
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    body.read_json().context("the node's answer cannot be read; is it another version?")
}

fn refusal(answer: &mut Answer) -> anyhow::Error {
    let status = answer.status();
    let text = answer.body_mut().with_config().limit(64 * 1024).read_to_string();
    let message = text.ok().and_then(|text| {
        let json: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(json.get("error")?.as_str()?.to_owned())
    });
    match message {
        Some(message) => anyhow!("{message}"),
        None => anyhow!("the node answered {status}"),
    }
}
