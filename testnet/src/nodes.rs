//! The node processes: starting, asking, stopping.

use crate::layout::{Layout, NodeLayout};
use anyhow::{Context, bail};
use assay_node::api::Status;
use assay_node::cli::client::Client;
use assay_node::home;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a node may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a node may take to stop by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A running node process; killed when dropped.
pub struct Node {
    /// Its name for people.
    pub name: String,
    /// Its home folder.
    pub home: PathBuf,
    process: Child,
    client: Option<Client>,
}

/// The `assay` program next to this one.
///
/// # Errors
///
/// When it is not there.
pub fn assay_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("where is this program?")?;
    let program = own.with_file_name(format!("assay{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        bail!("{} is missing; build it with `cargo build --release`", program.display());
    }
    Ok(program)
}

/// Starts every node of a layout and waits until each answers.
///
/// # Errors
///
/// When a node does not start; the message has the end of its log.
pub fn start(program: &Path, layout: &Layout) -> anyhow::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for node in &layout.nodes {
        nodes.push(spawn(program, node, &layout.network)?);
    }
    for node in &mut nodes {
        node.wait_until_up()?;
    }
    Ok(nodes)
}

/// Starts one node.
///
/// # Errors
///
/// When the process cannot be started.
pub fn spawn(program: &Path, node: &NodeLayout, network: &Path) -> anyhow::Result<Node> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(node.home.join("log"))
        .with_context(|| format!("cannot write the log of {}", node.name))?;
    let mut command = Command::new(program);
    command.arg("run").arg("--home").arg(&node.home).arg("--network").arg(network);
    for address in &node.listen {
        command.arg("--listen").arg(address);
    }
    let process = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let (name, home) = (node.name.clone(), node.home.clone());
    Ok(Node { name, home, process, client: None })
}

impl Node {
    /// Waits until the node answers.
    ///
    /// # Errors
    ///
    /// When it ends or takes too long; the message has the end of its log.
    pub fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} stopped at once ({status}):\n{}", self.name, self.log_end());
            }
            if let Ok((url, token)) = home::running(&self.home) {
                let client = Client::at(url, token, ANSWER_TIMEOUT);
                if client.get::<Status>("/api/status").is_ok() {
                    self.client = Some(client);
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                let seconds = START_TIMEOUT.as_secs();
                bail!("{} does not answer after {seconds} s:\n{}", self.name, self.log_end());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The node's local interface.
    ///
    /// # Errors
    ///
    /// When the node never answered.
    pub fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().with_context(|| format!("{} is not up", self.name))
    }

    /// Fails when the process has ended.
    ///
    /// # Errors
    ///
    /// With the end of the node's log.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, self.log_end()),
        }
    }

    /// The last lines of the node's log.
    #[must_use]
    pub fn log_end(&self) -> String {
        const LAST_BYTES: i64 = 2_000;
        let mut text = String::new();
        let read = File::open(self.home.join("log")).and_then(|mut file| {
            let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
            file.seek(SeekFrom::End(-length.min(LAST_BYTES)))?;
            file.read_to_string(&mut text)
        });
        match read {
            Ok(_) => text,
            Err(error) => format!("(its log cannot be read: {error})"),
        }
    }

    /// Ends the process at once, as a power cut would.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn kill(&mut self) -> std::io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(|_| ())
    }

    /// Asks the node to stop, and ends it when it does not.
    pub fn stop(&mut self) {
        if let Some(pid) =
            i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            // A process that is gone already needs no signal.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}
