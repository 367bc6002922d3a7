//! The `assay` program: reads the command line, sets up logs, runs the command, sets the exit code.

use assay_node::cli::{Cli, execute};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_device_selection();
    execute(Cli::parse())
}

/// Mesa's device-selection layer asks the desktop which adapter it prefers, and complains on
/// stderr where there is no desktop session to ask. There it has nothing to say and is left out.
#[allow(unsafe_code)]
fn quiet_device_selection() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread of this process runs yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
