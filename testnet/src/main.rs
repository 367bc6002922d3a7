//! The `assay-testnet` program.

use assay_node::cli::output::Format;
use assay_testnet::up::{self, UpOptions};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// A network on this machine.
#[derive(Debug, Parser)]
#[command(name = "assay-testnet", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start five nodes, have an honest and a dishonest claim measured, audit the ledger
    #[command(after_help = "Examples:
  assay-testnet up                        demonstrate, then stop
  assay-testnet up --keep                 leave the network running until Ctrl-C
  assay-testnet up --once --format json   one JSON summary on stdout, for scripts")]
    Up {
        /// Leave the network running until Ctrl-C
        #[arg(long, conflicts_with = "once")]
        keep: bool,
        /// Stop as soon as the ledger is audited (this is the default; for scripts that say so)
        #[arg(long)]
        once: bool,
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Folder for homes, logs and the exported ledger; must not exist yet
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let Command::Up { keep, once: _, format, dir } = Cli::parse().command;
    match up::run(UpOptions { keep, format, dir }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
