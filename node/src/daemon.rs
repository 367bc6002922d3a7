//! A running node: start-up order, supervised tasks, clean shutdown.

use crate::agent::{self, AgentStatus, Control, Order, OrderError, Settings};
use crate::api::{
    self, ClaimAccepted, ClaimRequest, FetchRequest, Fetched, MeasureRequest, PeerRow, PostRequest,
    Said, Statement, Status, SubmitError, Token, View,
};
use crate::author::Author;
use crate::board::Board;
use crate::checkpoints::{Checkpoints, WitnessAddress};
use crate::consensus::{self, HostConfig};
use crate::driver::{Driver, PeerBook};
use crate::embedded::Embedded;
use crate::fetch::Fetcher;
use crate::home::{Home, HomeLock, NetworkFile};
use crate::host;
use crate::ledger::Ledger;
use crate::measure;
use crate::net::{self, NetConfig, NetHandle};
use crate::nulls::Nulls;
use crate::ordering::Ordering;
use crate::roles::{Facts, roles};
use crate::rulings::{self, Judge};
use crate::seat::{FETCH_PATIENCE, Measuring, Seat};
use crate::storage::{Blobs, Store};
use anyhow::Context;
use assay_proto::v1;
use assay_protocol::audit::{export_header, export_item};
use assay_protocol::ids::PeerId;
use assay_protocol::state::State;
use assay_protocol::verdict::Verdict;
use axum::body::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use libp2p::Multiaddr;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// Requests of the ordering engine that may wait for the network.
const ORDERING_OUTBOUND_MAX: usize = 256;

/// How a node is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The network to join; none means the one joined before.
    pub network: Option<PathBuf>,
    /// Addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// Peers to dial besides those in the network file.
    pub bootstrap: Vec<Multiaddr>,
    /// Where the pages are served; loopback only.
    pub http: SocketAddr,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// Which adapter to measure on, by a part of its name.
    pub adapter: Option<String>,
    /// Bytes that blobs may take.
    pub quota_bytes: u64,
    /// Whether it makes null claims by lot.
    pub null_claims: bool,
    /// What the operator decided about the agent.
    pub agent: Settings,
    /// Who is asked to cosign checkpoints of the ledger.
    pub witnesses: Vec<WitnessAddress>,
}

/// A node that runs until [`Node::stop`].
pub struct Node {
    url: String,
    view: Arc<NodeView>,
    ordering: consensus::HostHandle,
    net: NetHandle,
    tasks: tokio::task::JoinSet<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
    _lock: HomeLock,
}

impl Node {
    /// Starts a node: home, store, network, ordering, pages, in this order, so that nothing is
    /// said before everything that must be remembered can be.
    ///
    /// # Errors
    ///
    /// The first part that does not start, with what to do about it.
    pub async fn start(home: &Home, options: RunOptions) -> anyhow::Result<Self> {
        let lock = home.lock()?;
        let network = home.join(options.network.as_deref())?;
        let blobs = Blobs::open(&home.path().join("blobs"), options.quota_bytes)?;
        Embedded::import(&blobs)?;
        let store = Store::open(&home.path().join("ledger"))?;
        let ledger = Ledger::open(store, network.genesis.clone(), home.peer())?;

        let listener = TcpListener::bind(options.http).await.with_context(|| {
            format!("cannot serve pages on {}; choose another address with --http", options.http)
        })?;
        let (net, events, net_task) = net::start(net_config(home, &network, &options)).await?;
        let (outbound, outbound_requests) = mpsc::channel(ORDERING_OUTBOUND_MAX);
        let application = Ordering::new(Arc::clone(&ledger), home.key().clone());
        let ordering = consensus::start(host_config(home, &network), application, outbound)?;

        let fetcher = Fetcher::new(net.clone(), blobs.clone(), FETCH_PATIENCE);
        let judge = Arc::new(Judge::new(Arc::clone(&ledger), fetcher.clone(), blobs.clone()));
        let for_nulls = options.null_claims.then(|| (fetcher.clone(), blobs.clone()));
        let for_agent = (fetcher.clone(), blobs.clone());
        let deadline = Duration::from_millis(network.genesis.committee.seal_ms);
        let measuring =
            Measuring { options: measure::Options::new(deadline)?, adapter: options.adapter };
        let seat = Arc::new(Seat::new(Arc::clone(&ledger), fetcher, blobs.clone(), measuring));
        let book = Arc::new(PeerBook::default());
        let driver = Driver {
            book: Arc::clone(&book),
            ledger: Arc::clone(&ledger),
            net: net.clone(),
            ordering: ordering.sender(),
            blobs: blobs.clone(),
            seat: Arc::clone(&seat),
            judge: Arc::clone(&judge),
            key: home.key().clone(),
            fetching: Arc::default(),
        };
        let author = Author { ledger: Arc::clone(&ledger), seat, key: home.key().clone() };
        let nulls = for_nulls.map(|(fetcher, blobs)| Nulls::new(author.clone(), fetcher, blobs));
        let (null_claims, disk) = (nulls.is_some(), home.path().to_owned());
        let (agent, acting) =
            agent::start(home.path().join("agent"), options.agent, author.clone(), for_agent)?;
        let checkpoints = checkpoints(home, &ledger, options.witnesses);
        let view = Arc::new(NodeView {
            author,
            net: net.clone(),
            blobs,
            book,
            null_claims,
            agent,
            checkpoints: Arc::clone(&checkpoints),
            disk,
        });

        let url = format!("http://{}", listener.local_addr()?);
        let token = Token::new(&home.new_token()?)?;
        let pages = Arc::clone(&view) as Arc<dyn View>;
        let ((stop, stopped), mut tasks) = (watch::channel(false), tokio::task::JoinSet::new());
        tasks.spawn(serve_pages(listener, pages, token, stopped));
        tasks.spawn(driver.clone().serve_network(events).map(Ok));
        tasks.spawn(driver.clone().serve_ordering(outbound_requests).map(Ok));
        tasks.spawn(driver.clone().serve_effects().map(|end| end.context("ledger")));
        tasks.spawn(driver.serve_clock().map(Ok));
        tasks.spawn(rulings::watch(view.author.clone(), judge).map(Ok));
        if let Some(nulls) = nulls {
            tasks.spawn(nulls.serve().map(Ok));
        }
        tasks.spawn(acting.map(Ok));
        tasks.spawn(checkpoints.serve().map(Ok));
        tasks.spawn(async move { net_task.await.context("network") });
        home.write_address(&url)?;
        Ok(Self { url, view, ordering, net, tasks, stop, _lock: lock })
    }

    /// Address of the node's page.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Addresses that other peers can dial.
    pub async fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.net.listen_addresses().await
    }

    /// What the node is and does.
    #[must_use]
    pub fn status(&self) -> Status {
        self.view.status()
    }

    /// Waits until a part of the node fails.
    ///
    /// # Errors
    ///
    /// Why it failed.
    pub async fn failed(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            ended = self.ordering.finished() => ended.context("ordering stopped"),
            Some(ended) = self.tasks.join_next() => {
                ended.context("a task panicked")?.context("a part of the node stopped")
            }
        }
    }

    /// Stops everything; what was decided and signed is on disk when this returns.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = self.ordering.stop().await {
            tracing::warn!(%error, "ordering had stopped");
        }
        self.net.stop().await;
        self.tasks.shutdown().await;
    }
}

async fn serve_pages(
    listener: TcpListener,
    view: Arc<dyn View>,
    token: Token,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let stopped = async move {
        // An error means that the node is gone, which is as good a reason.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    api::serve(listener, view, token, stopped).await.context("pages")
}

fn checkpoints(home: &Home, ledger: &Ledger, witnesses: Vec<WitnessAddress>) -> Arc<Checkpoints> {
    let (network, tree) = (ledger.with(|peer| peer.network()), Arc::clone(ledger.tree()));
    Arc::new(Checkpoints::new(network, home.key().clone(), tree, witnesses))
}

fn host_config(home: &Home, network: &NetworkFile) -> HostConfig {
    HostConfig {
        home: home.path().join("consensus"),
        network: network.genesis.network(),
        signer: home.key().clone(),
        timeouts: consensus::lan_timeouts(),
    }
}

fn net_config(home: &Home, network: &NetworkFile, options: &RunOptions) -> NetConfig {
    let mut config = NetConfig::new(home.key().to_bytes(), network.genesis.network().0);
    config.listen = options.listen.clone();
    config.bootstrap = network.bootstrap.iter().chain(&options.bootstrap).cloned().collect();
    config.mdns = options.mdns;
    config.peer_cache = Some(home.path().join("peers.json"));
    config
}

/// The node as its pages see it.
struct NodeView {
    author: Author,
    net: NetHandle,
    blobs: Blobs,
    book: Arc<PeerBook>,
    null_claims: bool,
    agent: Arc<Control>,
    checkpoints: Arc<Checkpoints>,
    /// The home folder.
    disk: PathBuf,
}

impl NodeView {
    fn ledger(&self) -> &Arc<Ledger> {
        &self.author.ledger
    }

    /// What the node knows of itself.
    fn facts(&self, state: &State) -> Facts {
        let me = self.ledger().with(|peer| peer.me());
        let class = self.author.seat.class();
        let own = state.classes().of(me);
        let base = self.blobs.manifest(state.genesis().challenge.base.checkpoint);
        Facts {
            is_member: state.members().get(&me).is_some_and(|member| member.is_active()),
            times_its_class: own.is_none() || own == class.as_deref(),
            class,
            memory_bytes: host::memory_bytes(),
            disk_bytes: host::free_bytes(&self.disk),
            base_bytes: base.ok().map(|manifest| manifest.bytes()),
        }
    }
}

impl View for NodeView {
    fn state(&self) -> Arc<State> {
        Arc::new(self.ledger().state())
    }

    fn status(&self) -> Status {
        let state = self.ledger().state();
        let peer = self.ledger().with(|peer| peer.me());
        let member = state.members().get(&peer);
        let doing = self.author.seat.doing().borrow().clone();
        let (doing, reason) = match doing.split_once(": ") {
            Some((doing, reason)) => (doing.to_owned(), reason.to_owned()),
            None => (doing, "a claim on the docket drew this node".to_owned()),
        };
        Status {
            peer,
            name: member.map_or_else(|| "observer".to_owned(), |member| member.name.clone()),
            network: state.network(),
            network_name: state.genesis().name.clone(),
            height: state.height(),
            head: state.head(),
            peers: self.book.connected(),
            class: self.author.seat.class(),
            standing: member.filter(|m| m.is_active()).map(|member| member.standing),
            roles: roles(&self.facts(&state)),
            doing,
            reason,
            agent: self.agent.status().line(),
            measuring_lock: self.author.seat.lock(),
            null_claims: self.null_claims,
            disk_bytes: self.blobs.used_bytes(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn peers(&self) -> BoxFuture<'_, Vec<PeerRow>> {
        async {
            let statuses = self.net.peers().await.into_iter();
            statuses.filter_map(|status| peer_row(status, &self.book)).collect()
        }
        .boxed()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.ledger().changes()
    }

    fn submit_claim(
        &self,
        request: ClaimRequest,
    ) -> BoxFuture<'_, Result<ClaimAccepted, SubmitError>> {
        self.author.submit(request).boxed()
    }

    fn measure(&self, request: MeasureRequest) -> BoxFuture<'_, Result<Verdict, SubmitError>> {
        self.author.measure(request).boxed()
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, SubmitError>> {
        async move {
            let fetched = self.author.seat.fetch(request.manifest).await;
            fetched.map_err(|error| SubmitError::Unavailable(error.to_string()))
        }
        .boxed()
    }

    fn board(&self) -> Arc<Board> {
        Arc::clone(self.ledger().board())
    }

    fn post(&self, request: PostRequest) -> Result<Said, SubmitError> {
        self.author.post(request)
    }

    fn say(&self, statement: Statement) -> Result<Said, SubmitError> {
        self.author.say(statement)
    }

    fn agent(&self) -> AgentStatus {
        self.agent.status()
    }

    fn order_agent(&self, order: Order) -> Result<AgentStatus, SubmitError> {
        let status = self.agent.order(order).map_err(|error| match error {
            OrderError::NoPolicy => SubmitError::Refused(error.to_string()),
            OrderError::Home(_) => SubmitError::Unavailable(error.to_string()),
        });
        self.ledger().touch();
        status
    }

    fn checkpoints(&self) -> Arc<Checkpoints> {
        Arc::clone(&self.checkpoints)
    }

    fn block(&self, height: u64) -> Result<Option<v1::LedgerItem>, String> {
        self.ledger().store().item(height).map_err(|error| error.to_string())
    }

    fn export(&self) -> BoxStream<'static, io::Result<Bytes>> {
        let ledger = Arc::clone(self.ledger());
        let (network, height) = ledger.with(|peer| (peer.network(), peer.state().height()));
        let header = Bytes::from(export_header(network, height));
        let items = futures::stream::iter(1..=height).map(move |height| {
            let item = ledger.store().item(height).map_err(io::Error::other)?;
            let item = item.ok_or_else(|| io::Error::other(format!("no block {height}")))?;
            Ok(Bytes::from(export_item(&item)))
        });
        futures::stream::iter([Ok(header)]).chain(items).boxed()
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn peer_row(status: net::PeerStatus, book: &PeerBook) -> Option<PeerRow> {
    Some(PeerRow {
        peer: net::key_of_peer(&status.peer).map(PeerId)?,
        address: status.address,
        outbound: status.direction == net::Direction::Outbound,
        connected_at_ms: status.connected_since_unix_s.saturating_mul(1_000),
        // A float-to-integer cast saturates.
        ping_us: status.rtt_ms.map(|ms| (ms * 1e3) as u64),
        height: book.height(&status.peer),
    })
}
