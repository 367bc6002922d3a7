//! Running a worker: lock, process, deadline, cancelling, repeats.

use super::disturbance::{LOOK_AGAIN, disturbance, wait_for_quiet};
use super::environment::load_milli;
use super::error::MeasureError;
use super::job::{Job, JobError};
use super::lock::{self, HostLock};
use super::message::{LINE_BYTES_MAX, LINES_MAX, Line, Progress, read_line};
use assay_protocol::measurement::{ENVIRONMENT_TEXT_BYTES_MAX, Measurement};
use assay_protocol::plan::Scope;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Most disturbed attempts that are thrown away; the one after them counts whatever it saw.
pub const REPEATS_MAX: u32 = 2;
/// The part of the deadline that a busy machine is waited for.
const PATIENCE: u32 = 10;
/// Longest line of a worker's standard error that is logged, in bytes.
const LOG_BYTES_MAX: usize = 2048;
/// Most lines of it that are logged.
const LOG_LINES_MAX: usize = 1000;
/// Time that a dead worker's last words have to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Variables that the adapter's driver and its discovery need, and that logging needs; names that
/// end in `*` stand for all that begin so.
const ENVIRONMENT: [&str; 24] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "TEMP",
    "TMP",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "XDG_*",
    "VK_*",
    "MESA_*",
    "LP_*",
    "GALLIUM_*",
    "LIBGL_*",
    "NVIDIA_*",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "WINDIR",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "RUST_LOG",
    "RUST_BACKTRACE",
];

/// How a job is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time for everything: waiting for the lock, measuring, repeating.
    pub deadline: Duration,
    /// The host-wide lock file.
    pub lock_path: PathBuf,
    /// The program whose `worker` command measures.
    pub exe: PathBuf,
}

impl Options {
    /// This program as the worker, under this host's lock.
    ///
    /// # Errors
    ///
    /// When the system cannot tell which program this is.
    pub fn new(deadline: Duration) -> std::io::Result<Self> {
        Ok(Self { deadline, lock_path: lock::default_path(), exe: std::env::current_exe()? })
    }
}

/// Measures `job` in a worker process, one measurement at a time on this host.
///
/// A machine that is busy with something else is waited for first, for a tenth of the deadline at most.
/// `progress` hears of waiting and of every step. When `cancel` completes, or this future is
/// dropped, the worker is killed. A disturbed attempt is thrown away and repeated, at most
/// [`REPEATS_MAX`] times and never beyond the deadline; the result says how often.
///
/// # Errors
///
/// [`MeasureError`]; no worker is left over in any case.
pub async fn run(
    job: &Job,
    options: &Options,
    mut progress: impl FnMut(Progress) + Send,
    cancel: impl Future<Output = ()> + Send,
) -> Result<Measurement, MeasureError> {
    job.check()?;
    let mut limits =
        Limits { started: Instant::now(), deadline: options.deadline, cancel: pin!(cancel) };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Before the lock, so that the nodes of a host wait together.
    let patience = (options.deadline / PATIENCE, LOOK_AGAIN);
    let quiet = async {
        wait_for_quiet(load_milli, cores, patience, &mut progress).await;
        Ok(())
    };
    limits.guard(quiet).await?;
    let _lock = limits.guard(lock(options, &mut progress)).await?;
    let mut repeats = 0;
    loop {
        let begun = Instant::now();
        let mut measurement = attempt(job, options, &mut progress, &mut limits).await?;
        measurement.environment.repeats = repeats;
        let Some(why) = disturbance(&measurement, cores) else { return Ok(measurement) };
        let time_for_another = begun.elapsed() < limits.left();
        tracing::info!(round = %job.plan.round, repeats, time_for_another, "disturbed: {why}");
        if repeats == REPEATS_MAX || !time_for_another {
            return Ok(measurement);
        }
        repeats += 1;
        let what = format!("repeating, because {why}");
        progress(Progress { done: 0, total: 0, what, parted: None });
    }
}

/// The hardware class of the adapter whose name contains `adapter`, of the best one without a name.
///
/// A worker process opens the adapter, as for a measurement: a driver that hangs or crashes takes no
/// node with it, and none is loaded while something is timed on this host.
///
/// # Errors
///
/// [`MeasureError`]; no worker is left over in any case.
pub async fn hardware_class(
    adapter: Option<&str>,
    options: &Options,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<String, MeasureError> {
    let cancel = pin!(std::future::pending());
    let mut limits = Limits { started: Instant::now(), deadline: options.deadline, cancel };
    let _lock = limits.guard(lock(options, &mut progress)).await?;
    let mut arguments = vec!["--identify"];
    arguments.extend(adapter.iter().flat_map(|name| ["--adapter", name]));
    match ask(&arguments, "identify", b"", options, &mut progress, &mut limits).await? {
        Line::Class(class) if !class.is_empty() && class.len() <= ENVIRONMENT_TEXT_BYTES_MAX => {
            Ok(class)
        }
        other => Err(unasked(&other)),
    }
}

/// Takes the host's measuring lock, however long that takes.
async fn lock(
    options: &Options,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<HostLock, MeasureError> {
    let waiting = || {
        let what = "waiting for another measurement on this host".to_owned();
        progress(Progress { done: 0, total: 0, what, parted: None });
    };
    let taken = HostLock::take(&options.lock_path, waiting).await;
    taken.map_err(|reason| MeasureError::Lock { path: options.lock_path.clone(), reason })
}

/// What ends a run from outside.
struct Limits<'a, C> {
    started: Instant,
    deadline: Duration,
    cancel: Pin<&'a mut C>,
}

impl<C: Future<Output = ()>> Limits<'_, C> {
    fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.started.elapsed())
    }

    /// The outcome of `work` unless the deadline or the caller comes first.
    async fn guard<T>(
        &mut self,
        work: impl Future<Output = Result<T, MeasureError>>,
    ) -> Result<T, MeasureError> {
        let left = self.left();
        tokio::select! {
            biased;
            () = self.cancel.as_mut() => Err(MeasureError::Cancelled),
            () = tokio::time::sleep(left) => {
                Err(MeasureError::Deadline { seconds: self.deadline.as_secs() })
            }
            outcome = work => outcome,
        }
    }
}

async fn attempt(
    job: &Job,
    options: &Options,
    progress: &mut (impl FnMut(Progress) + Send),
    limits: &mut Limits<'_, impl Future<Output = ()>>,
) -> Result<Measurement, MeasureError> {
    let mut request = serde_json::to_vec(job).map_err(JobError::from)?;
    request.push(b'\n');
    let round = job.plan.round.to_string();
    match ask(&[], &round, &request, options, progress, limits).await? {
        Line::Measurement(measurement) => check(job, *measurement),
        other => Err(unasked(&other)),
    }
}

/// The last line of a worker that was started with `arguments` and given `request`; its standard error
/// is logged under `what`.
async fn ask(
    arguments: &[&str],
    what: &str,
    request: &[u8],
    options: &Options,
    progress: &mut (impl FnMut(Progress) + Send),
    limits: &mut Limits<'_, impl Future<Output = ()>>,
) -> Result<Line, MeasureError> {
    let mut worker = Worker::start(arguments, what, options)?;
    let outcome = match limits.guard(worker.converse(request, options, progress)).await {
        Ok(Some(line)) => Ok(line),
        // Its output ended without a last line.
        Ok(None) => Err(worker.died(options).await?),
        Err(error) => Err(error),
    };
    worker.stop().await;
    outcome
}

/// The error for a last line that answers another question.
fn unasked(line: &Line) -> MeasureError {
    let kind = match line {
        Line::Class(_) => "a class",
        Line::Measurement(_) => "a measurement",
        Line::Progress(_) | Line::Error(_) => "no result",
    };
    MeasureError::Output(format!("it answers with {kind}, which is not what it was asked for"))
}

/// A running worker process.
struct Worker {
    child: Child,
    /// Open for as long as the worker shall live: a supervised worker ends itself when it closes.
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    /// Logs standard error and yields its last line.
    log: JoinHandle<String>,
}

impl Worker {
    fn start(arguments: &[&str], what: &str, options: &Options) -> Result<Self, MeasureError> {
        let spawn_error = |reason| MeasureError::Spawn { exe: options.exe.clone(), reason };
        let kept = std::env::vars_os().filter(|(name, _)| is_kept(name));
        // Drivers complain where the session has no runtime folder; nothing is kept in it.
        let mut child = Command::new(&options.exe)
            .args(["worker", "--supervised"])
            .args(arguments)
            .env_clear()
            .env("XDG_RUNTIME_DIR", std::env::temp_dir())
            .envs(kept)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn_error)?;
        let closed = || spawn_error(std::io::Error::other("its standard streams are not pipes"));
        let stderr = child.stderr.take().ok_or_else(closed)?;
        Ok(Self {
            stdin: Some(child.stdin.take().ok_or_else(closed)?),
            stdout: Some(BufReader::new(child.stdout.take().ok_or_else(closed)?)),
            log: tokio::spawn(log(BufReader::new(stderr), what.to_owned())),
            child,
        })
    }

    /// Hands over the request and reads lines up to the last; `None` when there is no last line.
    async fn converse(
        &mut self,
        request: &[u8],
        options: &Options,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Option<Line>, MeasureError> {
        let io_error = |reason| MeasureError::Spawn { exe: options.exe.clone(), reason };
        let (Some(stdin), Some(stdout)) = (&mut self.stdin, &mut self.stdout) else {
            return Ok(None);
        };
        // A worker that died before it read its job is noticed by its missing answer.
        let _ = stdin.write_all(request).await;
        let _ = stdin.flush().await;
        for _ in 0..LINES_MAX {
            let Some((line, cut)) = read_line(stdout, LINE_BYTES_MAX).await.map_err(io_error)?
            else {
                return Ok(None);
            };
            if cut {
                let reason = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                return Err(MeasureError::Output(reason));
            }
            match serde_json::from_str(&line) {
                Ok(Line::Progress(step)) => progress(step),
                Ok(Line::Error(error)) => return Err(MeasureError::Worker(error)),
                Ok(last) => return Ok(Some(last)),
                Err(error) => {
                    let begin: String = line.chars().take(80).collect();
                    return Err(MeasureError::Output(format!("{error} in {begin:?}")));
                }
            }
        }
        Err(MeasureError::Output(format!("more than {LINES_MAX} lines")))
    }

    /// The error for a worker that ended without a result.
    async fn died(&mut self, options: &Options) -> Result<MeasureError, MeasureError> {
        // One that closed its output but lives on is killed; one that is dead keeps its status.
        let waited = tokio::time::timeout(LAST_WORDS, self.child.wait()).await;
        let status = match waited {
            Ok(status) => status
                .map_err(|reason| MeasureError::Spawn { exe: options.exe.clone(), reason })?
                .to_string(),
            Err(_) => "it closed its output".to_owned(),
        };
        let last_words = tokio::time::timeout(LAST_WORDS, &mut self.log).await;
        let last_words = last_words.ok().and_then(Result::ok).unwrap_or_default();
        Ok(MeasureError::Died { status, last_words })
    }

    /// Ends the process and waits until it is gone.
    async fn stop(mut self) {
        drop((self.stdin.take(), self.stdout.take()));
        // The only failure is a process that has ended already.
        let _ = self.child.kill().await;
        self.log.abort();
    }
}

/// Logs a worker's standard error, within bounds, and returns its last line.
async fn log(mut stderr: BufReader<ChildStderr>, what: String) -> String {
    let (mut last, mut logged) = (String::new(), 0);
    while let Ok(Some((line, _))) = read_line(&mut stderr, LOG_BYTES_MAX).await {
        if logged < LOG_LINES_MAX {
            tracing::info!(%what, "worker: {line}");
            logged += 1;
        }
        if !line.trim().is_empty() {
            last = line;
        }
    }
    last
}

fn is_kept(name: &OsStr) -> bool {
    let name: OsString = name.to_ascii_uppercase();
    let name = name.to_string_lossy();
    ENVIRONMENT.iter().any(|kept| match kept.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *kept,
    })
}

/// Checks that a measurement is the one that was planned and can be published.
fn check(job: &Job, measurement: Measurement) -> Result<Measurement, MeasureError> {
    let scope = Scope {
        prompts: &job.plan.prompts,
        decode_tokens: job.decode_tokens,
        scored_tokens: job.scored_tokens,
        reach_tokens: job.reach_tokens,
    };
    let form = Measurement::from_proto(measurement.to_proto());
    let checked = form.and_then(|measurement| measurement.check(&scope).map(|()| measurement));
    checked.map_err(|reject| MeasureError::Output(reject.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_found_and_secrets_are_not_kept() {
        for kept in ["PATH", "VK_ICD_FILENAMES", "XDG_RUNTIME_DIR", "SystemRoot"] {
            assert!(is_kept(OsStr::new(kept)), "{kept}");
        }
        for dropped in ["AWS_SECRET_ACCESS_KEY", "ASSAY_HOME", "LD_PRELOAD", "SSH_AUTH_SOCK", ""] {
            assert!(!is_kept(OsStr::new(dropped)), "{dropped}");
        }
    }
}
