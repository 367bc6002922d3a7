//! The `assay-testnet` program.

use assay_node::cli::output::{Format, print};
use assay_testnet::attack::{self, AttackOptions};
use assay_testnet::ledger::{self, LedgerOptions};
use assay_testnet::reversals::{self, ReversalOptions};
use assay_testnet::scenario::Scenario;
use assay_testnet::search::{self, SearchOptions};
use assay_testnet::sim::{dissent, gate};
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
  assay-testnet up --scenario relay       four peers ship a checkpoint, and more that needs no centre
  assay-testnet up --keep                 leave the network running until Ctrl-C
  assay-testnet up --once --format json   one JSON summary on stdout, for scripts")]
    Up {
        /// Leave the network running until Ctrl-C
        #[arg(long, conflicts_with = "once")]
        keep: bool,
        /// Stop as soon as the ledger is audited (this is the default; for scripts that say so)
        #[arg(long)]
        once: bool,
        /// What to show
        #[arg(long, value_enum, default_value_t)]
        scenario: Scenario,
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Folder for homes, logs and the exported ledger; must not exist yet
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Measure recipes that cheat, by real seats, and check that the gates refuse them
    #[command(after_help = "Examples:
  assay-testnet attack                              everything, one seat and few pairs
  assay-testnet attack pruned-head relaxed-acceptance
  assay-testnet attack --long --format json         full committees; one JSON object on stdout")]
    Attack {
        /// Which attacks; all of them without a name
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Full committees with the testnet's number of pairs
        #[arg(long)]
        long: bool,
        /// Where the draws start
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Measure again three things that were held to be settled: the int4 floor, the bigger drafter, a
    /// drafter on other numerics
    #[command(after_help = "Examples:
  assay-testnet reversals
  assay-testnet reversals --long --format json      committees of three seats")]
    Reversals {
        /// Committees of three seats
        #[arg(long)]
        long: bool,
        /// Where the draws start
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Let a node's agent find what a deliberately poor base recipe leaves, and get it on the ledger
    #[command(after_help = "Examples:
  assay-testnet search
  assay-testnet search --minutes 20 --seed 7 --format json")]
    Search {
        /// Minutes until a claim of the agent must be accepted
        #[arg(long, value_name = "MIN", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_440))]
        minutes: u64,
        /// Where the search draws its lots from
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Folder for homes, logs and the exported ledger; must not exist yet
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Write a ledger of many entries, made by the real rules without nodes, to measure auditors with
    #[command(after_help = "Beside FILE stands its network file, with the ending .json.

Examples:
  assay-testnet ledger --entries 100000 --out big.assay
  time assay audit big.assay --genesis big.json")]
    Ledger {
        /// Entries
        #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
        entries: u64,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Where keys, gains and noise start
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Simulate the rules over many claims from one seed
    #[command(subcommand)]
    Sim(Sim),
}

#[derive(Debug, clap::Subcommand)]
enum Sim {
    /// What dishonest seats of a committee can do to claims whose true gain is known
    #[command(after_help = "Examples:
  assay-testnet sim dissent
  assay-testnet sim dissent --claims 10000 --seed 7 --format json")]
    Dissent {
        /// Claims a row
        #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        claims: u32,
        /// Where the random numbers start
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// How often the speed gate accepts claims whose true gain is known
    #[command(after_help = "Examples:
  assay-testnet sim gate
  assay-testnet sim gate --claims 100000 --seed 7 --format json")]
    Gate {
        /// Claims a row
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
        claims: u32,
        /// Where the random numbers start
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Up { keep, once: _, scenario, format, dir } => {
            up::run(UpOptions { keep, scenario, format, dir })
        }
        Command::Attack { names, long, seed, format } => {
            attack::run(&AttackOptions { names, long, seed, format })
        }
        Command::Reversals { long, seed, format } => {
            reversals::run(&ReversalOptions { long, seed, format })
        }
        Command::Search { minutes, seed, format, dir } => {
            search::run(&SearchOptions { minutes, seed, format, dir })
        }
        Command::Ledger { entries, out, seed, format } => {
            ledger::run(&LedgerOptions { entries, out, seed, format })
        }
        Command::Sim(Sim::Dissent { claims, seed, format }) => {
            let report = dissent::run(dissent::config(claims), seed, |step| eprintln!("{step}"));
            print(format, &report, dissent::show).map(|()| report.ok)
        }
        Command::Sim(Sim::Gate { claims, seed, format }) => {
            let report = gate::run(gate::config(claims), seed, |step| eprintln!("{step}"));
            print(format, &report, gate::show).map(|()| report.ok)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
