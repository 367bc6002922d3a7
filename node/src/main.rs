//! The `assay` program: reads the command line, sets up logs, runs the command, sets the exit code.

use assay_node::cli::{Cli, execute};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    execute(Cli::parse())
}
