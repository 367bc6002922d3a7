//! `assay doctor`: whether this machine and this home folder are fit for a node, and how to mend what is
//! not.

use super::client::Client;
use super::output::{Format, print, table};
use crate::api::Status;
use crate::home::{Home, HomeError};
use crate::host::{free_bytes, memory_bytes};
use crate::measure::lock::{HostLock, default_path};
use crate::measure::{self, Options};
use indicatif::HumanBytes;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// How long the adapter may take to say what it is, another measurement on this host included.
const IDENTIFY_WITHIN: Duration = Duration::from_secs(60);
/// How long a running node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Less free disk than this, in bytes, holds few checkpoints.
const DISK_BYTES_MIN: u64 = 2 << 30;

/// Look at adapter, machine, home folder and running node, and say what to mend.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 1 where something keeps a node from working.

Examples:
  assay doctor
  assay doctor --adapter llvmpipe --format json
  assay doctor --home /srv/assay")]
pub struct DoctorArgs {
    /// Only adapters whose name contains this
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// A node works, with less than it could have.
    Warning,
    /// A node does not work so.
    Fault,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "FAULT",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    level: Level,
    /// What was found.
    detail: String,
    /// What to do about it; none where nothing needs to be done.
    mend: Option<String>,
}

impl Check {
    fn ok(name: &'static str, detail: String) -> Self {
        Self { name, level: Level::Ok, detail, mend: None }
    }

    fn warning(name: &'static str, detail: String, mend: &str) -> Self {
        Self { name, level: Level::Warning, detail, mend: Some(mend.to_owned()) }
    }

    fn fault(name: &'static str, detail: String, mend: &str) -> Self {
        Self { name, level: Level::Fault, detail, mend: Some(mend.to_owned()) }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

/// Looks at everything and prints what it found. False where something keeps a node from working.
///
/// # Errors
///
/// When the report cannot be printed.
pub fn run(home: &Path, args: &DoctorArgs, format: Format) -> anyhow::Result<bool> {
    let checks = vec![
        adapter(args.adapter.as_deref())?,
        load(),
        lock(),
        memory(),
        disk(home),
        identity(home),
        node(home),
    ];
    let ok = checks.iter().all(|check| check.level != Level::Fault);
    print(format, &Report { ok, checks }, show)?;
    Ok(ok)
}

fn show(report: &Report) -> String {
    let rows = report.checks.iter().map(|check| {
        vec![check.name.to_owned(), check.level.word().to_owned(), check.detail.clone()]
    });
    let mut text = table(&["check", "level", "found"], rows);
    for check in &report.checks {
        if let Some(mend) = &check.mend {
            text.push_str(&format!("\n\n{}: {mend}", check.name));
        }
    }
    text
}

/// The adapter as a worker sees it: behind the same confinement and lock as when it measures.
fn adapter(name: Option<&str>) -> anyhow::Result<Check> {
    let options = Options::new(IDENTIFY_WITHIN)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = |progress: measure::Progress| eprintln!("{}", progress.what);
    Ok(match runtime.block_on(measure::hardware_class(name, &options, told)) {
        Ok(class) if class.starts_with("cpu-") => Check::warning(
            "adapter",
            format!("{class}, a software adapter"),
            "nothing is wrong: it attests quality for every class, and speed among its own. For a \
             graphics card install its Vulkan driver; `vulkaninfo --summary` lists what is there",
        ),
        Ok(class) => Check::ok("adapter", class),
        Err(error) => Check::fault(
            "adapter",
            error.to_string(),
            "install a Vulkan driver, on Debian and Ubuntu for example mesa-vulkan-drivers, and see \
             that `vulkaninfo --summary` lists an adapter",
        ),
    })
}

fn load() -> Check {
    let (now, quiet) = measure::load_milli();
    let spelled = |milli: u32| format!("{:.1}", f64::from(milli) / 1e3);
    match now <= quiet {
        true => Check::ok("load", spelled(now)),
        false => Check::warning(
            "load",
            format!("{}, measurements wait for {} or less", spelled(now), spelled(quiet)),
            "stop other work on this machine while it holds a seat: what disturbs a measurement makes \
             it worth less",
        ),
    }
}

fn lock() -> Check {
    let path = default_path();
    match HostLock::try_take(&path) {
        Ok(Some(_)) => Check::ok("measuring lock", "free".to_owned()),
        Ok(None) => {
            Check::ok("measuring lock", "held: something is being measured on this host".to_owned())
        }
        Err(error) => Check::fault(
            "measuring lock",
            format!("cannot be taken: {}: {error}", path.display()),
            "give every user of this host the right to open that file, or name another with \
             ASSAY_MEASURING_LOCK",
        ),
    }
}

fn memory() -> Check {
    let found = memory_bytes().map(|bytes| HumanBytes(bytes).to_string());
    Check::ok("memory", found.unwrap_or_else(|| "the system does not tell".to_owned()))
}

fn disk(home: &Path) -> Check {
    match free_bytes(home) {
        None => Check::ok("disk", "the system does not tell".to_owned()),
        Some(bytes) if bytes >= DISK_BYTES_MIN => {
            Check::ok("disk", format!("{} free", HumanBytes(bytes)))
        }
        Some(bytes) => Check::warning(
            "disk",
            format!("{} free for {}", HumanBytes(bytes), home.display()),
            "make room, or put the home folder on another disk with --home: checkpoints of claims are \
             stored there",
        ),
    }
}

/// The key and the network of the home folder.
fn identity(home: &Path) -> Check {
    let joined = Home::open(home).map(|found| (found.peer(), found.join(None)));
    match joined {
        Ok((peer, Ok(network))) => {
            let (name, id) = (&network.genesis.name, network.genesis.network());
            Check::ok("home", format!("{} of network {name} ({})", peer.short(), id.short()))
        }
        Ok((peer, Err(HomeError::NoNetwork(_)))) => Check::warning(
            "home",
            format!("{} of no network", peer.short()),
            "join one with `assay run --network FILE`",
        ),
        Ok((_, Err(error))) => Check::fault(
            "home",
            error.to_string(),
            "start the node with the network's file: `assay run --network FILE`",
        ),
        Err(error @ HomeError::NoKey(_)) => {
            Check::warning("home", error.to_string(), "make an identity with `assay init`")
        }
        Err(error) => Check::fault(
            "home",
            error.to_string(),
            "restore the folder from a backup, or make another with `assay init --home DIR`",
        ),
    }
}

/// What the node in the home folder says of itself.
fn node(home: &Path) -> Check {
    let Ok(client) = Client::find(home, ANSWER_WITHIN) else {
        return Check::ok("node", "not running".to_owned());
    };
    match client.get::<Status>("/api/status") {
        Err(error) => Check::fault(
            "node",
            format!("{error:#}"),
            "stop it with Ctrl-C and start it again; its log says why it hangs",
        ),
        Ok(status) if status.peers == 0 => Check::warning(
            "node",
            format!("running at height {}, connected to nobody", status.height),
            "see that the network's file is recent, and that nothing blocks the node's port",
        ),
        Ok(status) => Check::ok(
            "node",
            format!(
                "running at height {}, {} peers, {} ({})",
                status.height, status.peers, status.doing, status.reason
            ),
        ),
    }
}
