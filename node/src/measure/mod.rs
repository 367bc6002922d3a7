//! What a seat does for a claim: it measures two recipes against each other on this machine.
//!
//! ```text
//! node process                                   worker process (`assay worker`)
//! ────────────                                   ───────────────────────────────
//! Job ── one line of JSON on stdin ────────────► base, X and Y engines on one adapter
//! run(): host-wide lock, deadline, cancelling    warm-up; then for every prompt of the plan
//!   ◄── {"progress": …} lines ─────────────────    both arms timed, then both scored
//!   ◄── {"measurement": …} or {"error": …} ────  probes: path, repeat, reach
//! checks the form, repeats if disturbed
//! ```
//!
//! A kernel bundle is foreign code for the adapter, so it runs in the worker process alone: its
//! environment is cleared, its output bounded, and it is killed when it overstays. On Linux it confines
//! itself before it opens the adapter: it then reads what it measures and the driver's files, and neither
//! writes a file nor opens a connection nor starts a program. Standard input stays open for as long as
//! the parent lives; a supervised worker ends itself when it closes.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod confine;
mod disturbance;
mod environment;
mod error;
pub mod files;
mod job;
pub mod lock;
mod message;
mod run;
pub mod worker;

pub use error::MeasureError;
pub use job::{Job, JobError, RecipeFiles};
pub use message::{Parted, Progress};
pub use run::{Options, REPEATS_MAX, hardware_class, run};

/// The load of this machine, and up to which it counts as quiet: averages of a minute times 1000.
pub(crate) fn load_milli() -> (u32, u32) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (environment::load_milli(), disturbance::busy_milli(cores))
}

/// Confines this thread, and all that it starts, to what `job` needs, and without one to what the
/// adapter's driver needs; for good. Returns why something could not be done, which is nothing where all
/// is in force.
#[must_use]
pub fn confine(job: Option<&Job>) -> Vec<String> {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    return confine::confine(job);
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    {
        let _ = job;
        vec!["workers are confined on Linux only".to_owned()]
    }
}
