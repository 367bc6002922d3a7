//! The peer-to-peer network: gossip, requests, discovery, and protection from peers that misbehave.
//!
//! One task owns the libp2p swarm. The rest of the node talks to it through a [`NetHandle`] and
//! hears from it through a channel of [`NetEvent`]s; both are bounded. Nothing here knows what a
//! record or a vote means: every gossip message waits for a [`Verdict`] before it is forwarded.
//!
//! | module | holds |
//! |---|---|
//! | `config` | configuration, topics, the names that keep networks apart |
//! | `behaviour` | transports and protocols with their settings |
//! | `scoring`, `penalties` | what misconduct costs |
//! | `codec`, `requests` | asking peers for blocks and blobs, and answering |
//! | `dialer`, `cache`, `peers` | whom to connect to, and who is connected |
//! | `events`, `handle` | the two channels to the rest of the node |
//! | `task` | the event loop |

mod behaviour;
mod cache;
mod codec;
mod config;
mod dialer;
mod error;
mod events;
mod handle;
mod identity;
mod peers;
mod penalties;
mod requests;
mod scoring;
mod task;

use std::collections::HashSet;
use std::net::{IpAddr, TcpListener, UdpSocket};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use config::{NetConfig, NetLimits, Topic};
pub use error::NetError;
pub use events::NetCounters;
pub use handle::{MessageToken, NetEvent, NetHandle, Verdict};
pub use identity::{key_of_peer, peer_of_key};
pub use peers::{Direction, PeerStatus};

/// Commands that may wait for the network task.
const COMMANDS: usize = 256;

/// Listens, starts to look for peers, and returns as soon as the own addresses are known. The third
/// value ends with the task.
///
/// # Errors
///
/// [`NetError::AddressInUse`] and [`NetError::Listen`] for a listen address, [`NetError::Key`] and
/// [`NetError::Setup`] for the rest of the configuration. A bootstrap peer that cannot be reached is
/// no error; it is dialled again for as long as the node runs.
pub async fn start(
    config: NetConfig,
) -> Result<(NetHandle, mpsc::Receiver<NetEvent>, JoinHandle<()>), NetError> {
    let names = config::Names::new(config.network);
    let keypair = identity::keypair(&config.key)?;
    let peer = keypair.public().to_peer_id();
    config.listen.iter().try_for_each(probe)?;
    let mut swarm = behaviour::swarm(&config, &names, keypair)?;
    let mut listeners = HashSet::new();
    for address in &config.listen {
        let listener = swarm
            .listen_on(address.clone())
            .map_err(|e| NetError::Listen { address: address.clone(), reason: e.to_string() })?;
        listeners.insert(listener);
    }
    let (events, receiver) = events::Events::new(&config.limits);
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let handle = NetHandle { peer, commands, counters: events.counters.clone() };
    let mut task = Box::new(task::NetTask::new(config, &names, swarm, inbox, events));
    task.listen(listeners).await;
    Ok((handle, receiver, tokio::spawn(task.run())))
}

/// Binds the address and lets it go again. The transport binds TCP ports in a way that two processes
/// can share, so it would not notice that another one holds the port.
fn probe(address: &Multiaddr) -> Result<(), NetError> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    let bound = match parts.next() {
        Some(Protocol::Tcp(port)) => TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) => UdpSocket::bind((ip, port)).map(drop),
        _ => return Ok(()),
    };
    let address = address.clone();
    bound.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => NetError::AddressInUse { address },
        _ => NetError::Listen { address, reason: e.to_string() },
    })
}
