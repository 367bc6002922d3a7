//! The command line: one file a command, each with its arguments and a `run`.

pub mod agent;
pub mod audit;
pub mod bench;
pub mod board;
pub mod chat;
pub mod claim;
pub mod client;
pub mod committee;
pub mod doctor;
mod engine;
pub mod explain;
pub mod flag;
pub mod generate;
pub mod init;
pub mod ledger;
pub mod limit;
pub mod logits;
pub mod mcp;
pub mod member;
pub mod model;
pub mod output;
pub mod playbook;
pub mod ppl;
pub mod proposal;
pub(crate) mod recipe;
pub mod ruling;
pub mod run;
mod sampling;
mod scratch;
pub mod serve;
pub mod spec;
pub mod status;
pub mod witness;
pub mod worker;

pub use audit::AuditReport;
pub use claim::claims_table;

use output::Format;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Agents make Gemma 4 inference faster, and nobody has to be believed.
#[derive(Debug, clap::Parser)]
#[command(
    name = "assay",
    version,
    after_help = "Start here:
  assay init                          make an identity
  assay run --network network.json    join a network
  assay generate --prompt 'In the beginning'
  assay chat                          talk to the model
  assay audit ledger.assay --genesis network.json"
)]
pub struct Cli {
    /// The node's folder: key, ledger, blobs
    #[arg(long, global = true, value_name = "DIR", env = "ASSAY_HOME")]
    home: Option<PathBuf>,
    /// How to print the result
    #[arg(long, global = true, value_enum, default_value_t)]
    format: Format,
    /// What to log on stderr, as in RUST_LOG
    #[arg(long, global = true, value_name = "FILTER", env = "ASSAY_LOG")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a home folder with a fresh identity
    Init,
    /// Run a node until Ctrl-C
    Run(run::RunArgs),
    /// Print what the running node is and does
    Status,
    /// Print the running node's connections
    Peers,
    /// Check that this machine and home folder are fit for a node
    Doctor(doctor::DoctorArgs),
    /// List the members with their standing
    Members,
    /// Vouch for a newcomer; you answer for it
    Vouch(member::VouchArgs),
    /// Leave the network for good, or until somebody vouches again
    Leave,
    /// Tell of a trick, without penalty
    Disclose(member::DiscloseArgs),
    /// Make and look at claims
    #[command(subcommand)]
    Claim(claim::ClaimCommand),
    /// Read the board and write on it
    #[command(subcommand)]
    Board(board::BoardCommand),
    /// Predict what a change would bring, and see how predictions fared
    #[command(subcommand)]
    Spec(spec::SpecCommand),
    /// Write, endorse and read knowledge articles
    #[command(subcommand)]
    Playbook(playbook::PlaybookCommand),
    /// Say how far recipes go, and see which limits fell
    #[command(subcommand)]
    Limit(limit::LimitCommand),
    /// Accuse, with evidence, and see who is accused
    #[command(subcommand)]
    Flag(flag::FlagCommand),
    /// See what drawn committees said about flags, and appeal
    #[command(subcommand)]
    Ruling(ruling::RulingCommand),
    /// Change the network's numbers by vote
    #[command(subcommand)]
    Proposal(proposal::ProposalCommand),
    /// Show or export the ledger
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Cosign the heads of ledgers, so that nobody can be shown another one
    #[command(subcommand)]
    Witness(witness::WitnessCommand),
    /// Check an exported ledger without any node
    Audit(audit::AuditArgs),
    /// Print where a number comes from
    Explain(explain::ExplainArgs),
    /// Generate text
    Generate(generate::GenerateArgs),
    /// Talk to the model in the terminal
    Chat(chat::ChatArgs),
    /// Serve the model to programs, over OpenAI's protocol
    Serve(serve::ServeArgs),
    /// Start, stop and watch the agent of the running node
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// Let agents use the running node, over the Model Context Protocol
    #[command(subcommand)]
    Mcp(mcp::McpCommand),
    /// Write logits and hidden states of given tokens
    Logits(logits::LogitsArgs),
    /// Measure perplexity on a text
    Ppl(ppl::PplArgs),
    /// Measure decode and prefill speed
    Bench(bench::BenchArgs),
    /// Look at, check, make, import and quantise checkpoints
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Measure one job from stdin; started by the node itself
    #[command(hide = true)]
    Worker(worker::WorkerArgs),
}

/// Runs a command line and turns its result into an exit code: 0 done, 1 failed, 2 misused (by the
/// argument parser).
#[must_use]
pub fn execute(cli: Cli) -> ExitCode {
    set_up_logs(&cli);
    match dispatch(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<bool> {
    let format = cli.format;
    let home = || match cli.home.clone() {
        Some(home) => Ok(home),
        None => default_home(),
    };
    match cli.command {
        Command::Init => init::run(&home()?, format)?,
        Command::Run(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(run::run(&home()?, args, format))?;
        }
        Command::Status => status::status(&home()?, format)?,
        Command::Peers => status::peers(&home()?, format)?,
        Command::Doctor(args) => return doctor::run(&home()?, &args, format),
        Command::Members => member::members(&home()?, format)?,
        Command::Vouch(args) => member::vouch(&home()?, args, format)?,
        Command::Leave => member::leave(&home()?, format)?,
        Command::Disclose(args) => member::disclose(&home()?, args, format)?,
        Command::Claim(command) => claim::run(&home()?, command, format)?,
        Command::Board(command) => board::run(&home()?, command, format)?,
        Command::Spec(command) => spec::run(&home()?, command, format)?,
        Command::Limit(command) => limit::run(&home()?, command, format)?,
        Command::Playbook(command) => playbook::run(&home()?, command, format)?,
        Command::Flag(command) => flag::run(&home()?, command, format)?,
        Command::Ruling(command) => ruling::run(&home()?, command, format)?,
        Command::Proposal(command) => proposal::run(&home()?, command, format)?,
        Command::Ledger(command) => ledger::run(&home()?, command, format)?,
        Command::Witness(command) => return witness::run(&home()?, command, format),
        Command::Audit(args) => return audit::run(home, &args, format),
        Command::Explain(args) => explain::run(home, &args, format)?,
        Command::Generate(args) => generate::run(args, format)?,
        Command::Chat(args) => chat::run(&home()?, args, format)?,
        Command::Serve(args) => serve::run(args, format)?,
        Command::Agent(command) => agent::run(&home()?, command, format)?,
        Command::Mcp(command) => mcp::run(&home()?, command, format)?,
        Command::Logits(args) => logits::run(args, format)?,
        Command::Ppl(args) => ppl::run(args, format)?,
        Command::Bench(args) => bench::run(args, format)?,
        Command::Model(command) => return model::run(&home()?, command, format),
        Command::Worker(args) => worker::run(args, format)?,
    }
    Ok(true)
}

/// Where a node is kept unless a folder is named.
pub(crate) fn default_home() -> anyhow::Result<PathBuf> {
    let user = std::env::home_dir()
        .ok_or_else(|| anyhow::anyhow!("no home directory is set; give a folder with --home"))?;
    Ok(user.join(".assay"))
}

/// Logs go to stderr; a running node says more by default than a command.
fn set_up_logs(cli: &Cli) {
    let default = match cli.command {
        Command::Run(_) | Command::Witness(_) => {
            "warn,assay_node=info,libp2p_gossipsub=error,yamux=error"
        }
        _ => "error",
    };
    let filter = cli.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("--log {filter}: {error}; logging warnings only");
        EnvFilter::new("warn")
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
