//! Why there is no measurement.

use super::job::JobError;
use std::path::PathBuf;

/// What can go wrong between a job and its measurement.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The host-wide lock file could not be opened or locked.
    #[error("cannot lock {path}: {reason}; set ASSAY_MEASURING_LOCK to a file this user can open", path = path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The operating system's answer.
        reason: std::io::Error,
    },
    /// There is no adapter to measure on.
    #[error(transparent)]
    Adapter(#[from] assay_kernels::Error),
    /// The job cannot be worked on.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The worker process could not be started or talked to.
    #[error("cannot run the worker {exe}: {reason}", exe = exe.display())]
    Spawn {
        /// The program that was tried.
        exe: PathBuf,
        /// The operating system's answer.
        reason: std::io::Error,
    },
    /// The worker says that it cannot measure this job.
    #[error("the worker gave up: {0}")]
    Worker(String),
    /// The worker ended without a result.
    #[error("the worker ended early ({status}){said}", said = said_last(last_words))]
    Died {
        /// How it ended.
        status: String,
        /// Its last line on standard error.
        last_words: String,
    },
    /// The worker wrote what no worker writes.
    #[error("the worker's output is not valid: {0}")]
    Output(String),
    /// The time was up; the worker was killed.
    #[error("no measurement within {seconds} s; raise the deadline or measure fewer tokens")]
    Deadline {
        /// Seconds that were allowed, waiting for the lock included.
        seconds: u64,
    },
    /// The caller asked to stop; the worker was killed.
    #[error("the measurement was cancelled")]
    Cancelled,
}

fn said_last(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; it last said: {words}") }
}
