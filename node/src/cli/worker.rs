//! `assay worker`: the process that measures, started by the node.

use super::output::Format;
use crate::measure::{Job, confine, worker};
use std::io::{BufRead, Read};

/// Measures one job from standard input; the node starts this itself.
///
/// The job is one line of JSON. Lines of JSON come out: progress, then a measurement or an error.
#[derive(Debug, clap::Args)]
pub struct WorkerArgs {
    /// End as soon as standard input closes, because whoever asked is gone
    #[arg(long)]
    supervised: bool,
    /// Only say of which hardware class the adapter is; no job is read
    #[arg(long)]
    identify: bool,
    /// With --identify: only adapters whose name contains this
    #[arg(long, value_name = "NAME", requires = "identify")]
    adapter: Option<String>,
}

/// Reads the job, measures and writes the result, always as JSON.
///
/// # Errors
///
/// What the last line of output says too.
pub fn run(args: WorkerArgs, _format: Format) -> anyhow::Result<()> {
    prefer_as_victim();
    let job = (!args.identify).then(|| Job::read(&mut std::io::stdin().lock()));
    if !matches!(job, Some(Err(_))) {
        // Before any other thread: those that the adapter's driver starts inherit it.
        for gap in confine(job.as_ref().and_then(|job| job.as_ref().ok())) {
            tracing::warn!("this worker is confined only in part: {gap}");
        }
    }
    if args.supervised {
        std::thread::Builder::new().name("lifeline".to_owned()).spawn(end_with_stdin)?;
    }
    let mut output = std::io::stdout().lock();
    match job {
        Some(job) => worker::serve(job, &mut output)?,
        None => worker::identify(args.adapter, &mut output)?,
    }
    Ok(())
}

/// Ends the process when standard input closes: nobody is left to take the result.
fn end_with_stdin() {
    let mut stdin = std::io::stdin().lock();
    let mut ignored = [0; 512];
    while stdin.fill_buf().is_ok_and(|waiting| !waiting.is_empty()) {
        if stdin.read(&mut ignored).is_err() {
            break;
        }
    }
    std::process::exit(1);
}

/// Where memory runs out, the system should end the worker and not the node that started it.
fn prefer_as_victim() {
    // Raising the own score needs no rights; where there is no such file, nothing is lost.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}
