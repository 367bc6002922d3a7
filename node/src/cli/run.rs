//! `assay run`: a node, until Ctrl-C.

use super::agent::AgentArgs;
use super::output::Format;
use crate::checkpoints::{WITNESSES_MAX, WitnessAddress};
use crate::daemon::{Node, RunOptions};
use crate::home::Home;
use libp2p::Multiaddr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Arguments of `assay run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay run --network network.json          join a network and take part
  assay run                                 start again on the network joined before
  assay run --listen /ip4/0.0.0.0/tcp/4160 --listen /ip4/0.0.0.0/udp/4160/quic-v1
  assay run --witness http://127.0.0.1:7380=witness/3fa9c0d1+1c4c75b5+BAk…   have heads cosigned")]
pub struct RunArgs {
    /// The network file to join; needed the first time only
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Address to listen on for peers; repeat for several
    #[arg(long, value_name = "MULTIADDR", default_values = [
        "/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1",
    ])]
    listen: Vec<Multiaddr>,
    /// Peer to dial besides those in the network file; repeat for several
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<Multiaddr>,
    /// Loopback address of the node's pages; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Look for peers on the local network
    #[arg(long)]
    mdns: bool,
    /// Measure on the adapter whose name contains this
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Disk that checkpoints and bundles may take, in GiB
    #[arg(long, value_name = "GIB", default_value_t = 16)]
    disk_quota_gib: u64,
    /// Make no null claims by lot: leave it to the others to see which seats really measure
    #[arg(long, env = "ASSAY_NO_NULL_CLAIMS", value_parser = clap::builder::FalseyValueParser::new())]
    no_null_claims: bool,
    /// Have checkpoints of the ledger cosigned by this witness; repeat for several
    #[arg(long = "witness", value_name = "URL=KEY")]
    witnesses: Vec<WitnessAddress>,
    #[command(flatten)]
    agent: AgentArgs,
}

/// Runs a node until Ctrl-C or a termination signal.
///
/// # Errors
///
/// When the node cannot start or a part of it fails.
pub async fn run(home: &Path, args: RunArgs, format: Format) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.http.ip().is_loopback(),
        "--http {} is not a loopback address; pages are for this machine only, use 127.0.0.1",
        args.http
    );
    anyhow::ensure!(
        args.witnesses.len() <= WITNESSES_MAX,
        "a node has at most {WITNESSES_MAX} witnesses; give fewer --witness"
    );
    let home = Home::open(home)?;
    let options = RunOptions {
        network: args.network,
        listen: args.listen,
        bootstrap: args.bootstrap,
        http: args.http,
        mdns: args.mdns,
        adapter: args.adapter,
        quota_bytes: args.disk_quota_gib.saturating_mul(1 << 30),
        null_claims: !args.no_null_claims,
        agent: args.agent.settle(home.path())?,
        witnesses: args.witnesses,
    };
    let mut node = Node::start(&home, options).await?;
    announce(&node, format).await;
    tokio::select! {
        failed = node.failed() => {
            failed?;
            anyhow::bail!("a part of the node ended by itself; its log says why");
        }
        signal = termination() => {
            signal?;
            eprintln!("stopping");
        }
    }
    node.stop().await;
    Ok(())
}

async fn announce(node: &Node, format: Format) {
    let status = node.status();
    let addresses: Vec<String> =
        node.listen_addresses().await.iter().map(ToString::to_string).collect();
    match format {
        Format::Json => {
            let line = serde_json::json!({
                "peer": status.peer, "network": status.network, "height": status.height,
                "page": node.url(), "addresses": addresses,
            });
            println!("{line}");
        }
        Format::Table => {
            println!("peer     {}", status.peer);
            println!("network  {} ({})", status.network_name, status.network);
            println!("height   {}", status.height);
            for address in addresses {
                println!("listen   {address}");
            }
            println!("agent    {}", status.agent);
            println!("page     {}", node.url());
            println!("Ctrl-C stops the node.");
        }
    }
}

/// Waits for Ctrl-C or the request to end.
#[cfg(unix)]
pub(super) async fn termination() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(super) async fn termination() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
