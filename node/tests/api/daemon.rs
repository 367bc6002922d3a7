//! A daemon that shows a ledger made to order.

use super::world::{World, peer};
use assay_node::agent::{AgentStatus, Order, PolicyKind};
use assay_node::api::{
    ClaimAccepted, ClaimRequest, FetchRequest, Fetched, MeasureRequest, MeasuringLock, PeerRow,
    PostRequest, Said, Statement, Status, SubmitError, View,
};
use assay_node::board::Board;
use assay_node::checkpoints::{Checkpoints, WitnessAddress};
use assay_proto::v1;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::state::State;
use assay_protocol::verdict::Verdict;
use axum::body::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The daemon's side of the pages, over a ledger that changes only when a test says so.
pub(crate) struct Daemon {
    state: Mutex<Arc<State>>,
    board: Arc<Board>,
    items: Mutex<Vec<v1::LedgerItem>>,
    checkpoints: Arc<Checkpoints>,
    pub(crate) said: Mutex<Vec<PostRequest>>,
    pub(crate) submitted: Mutex<Vec<ClaimRequest>>,
    changes: watch::Sender<u64>,
}

impl Daemon {
    pub(crate) fn new(world: World) -> Self {
        Self::witnessed(world, Vec::new())
    }

    /// One that asks witnesses.
    pub(crate) fn witnessed(world: World, witnesses: Vec<WitnessAddress>) -> Self {
        let checkpoints = Arc::new(world.checkpoints(0, witnesses));
        let state = Mutex::new(Arc::new(world.state));
        let (board, items, said) = (world.board, Mutex::new(world.items), Mutex::default());
        Self {
            state,
            board,
            items,
            checkpoints,
            said,
            submitted: Mutex::default(),
            changes: watch::Sender::new(1),
        }
    }

    /// Shows what became of the ledger that this daemon began with. Posts are on the board already.
    pub(crate) fn show(&self, world: &World) {
        *self.state.lock().unwrap() = Arc::new(world.state.clone());
        self.items.lock().unwrap().clone_from(&world.items);
        self.bump();
    }

    pub(crate) fn bump(&self) {
        self.changes.send_modify(|version| *version += 1);
    }
}

impl View for Daemon {
    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.lock().unwrap())
    }

    fn status(&self) -> Status {
        let state = self.state();
        Status {
            peer: peer(0),
            name: "ada".to_owned(),
            network: state.network(),
            network_name: state.genesis().name.clone(),
            height: state.height(),
            head: state.head(),
            peers: 3,
            class: Some("cpu-llvmpipe-20".to_owned()),
            standing: Some(14),
            roles: Vec::new(),
            doing: "Idle.".to_owned(),
            reason: "No claim on the docket needs a seat of this node.".to_owned(),
            agent: "searcher, stopped".to_owned(),
            measuring_lock: MeasuringLock::Elsewhere,
            null_claims: true,
            disk_bytes: 36_201_472,
            version: "0.1.0".to_owned(),
        }
    }

    fn peers(&self) -> BoxFuture<'_, Vec<PeerRow>> {
        let time_ms = self.state().time_ms();
        Box::pin(async move {
            let row = |index: usize| PeerRow {
                peer: peer(index),
                address: format!("/ip4/127.0.0.1/tcp/{}", 4_000 + index),
                outbound: index.is_multiple_of(2),
                connected_at_ms: time_ms.saturating_sub(3_700_000),
                ping_us: Some(420 + index as u64 * 37),
                height: Some(54),
            };
            (1..4).map(row).collect()
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn submit_claim(
        &self,
        request: ClaimRequest,
    ) -> BoxFuture<'_, Result<ClaimAccepted, SubmitError>> {
        Box::pin(async move {
            if request.summary == "refuse" {
                return Err(SubmitError::Refused("recipe is on the docket already".to_owned()));
            }
            let ratio_ppm = request.ratio_ppm.unwrap_or(1_000_000);
            self.submitted.lock().unwrap().push(request);
            Ok(ClaimAccepted { claim: ClaimId([0xaa; 32]), ratio_ppm, own_verdict: None })
        })
    }

    fn fetch(&self, _: FetchRequest) -> BoxFuture<'_, Result<Fetched, SubmitError>> {
        std::future::ready(Err(SubmitError::Unavailable("no peer has it".into()))).boxed()
    }

    fn measure(&self, request: MeasureRequest) -> BoxFuture<'_, Result<Verdict, SubmitError>> {
        let result = match request.check() {
            Ok(()) => {
                let state = self.state();
                let verdicts = state.claims().filter_map(|claim| claim.verdict().cloned());
                verdicts.last().ok_or_else(|| SubmitError::Unavailable("nothing measured".into()))
            }
            Err(error) => Err(error),
        };
        Box::pin(async move { result })
    }

    fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    fn post(&self, request: PostRequest) -> Result<Said, SubmitError> {
        request.body.check().map_err(|reject| SubmitError::Refused(reject.to_string()))?;
        self.said.lock().unwrap().push(request);
        Ok(Said { record: RecordId([7; 32]) })
    }

    fn say(&self, statement: Statement) -> Result<Said, SubmitError> {
        match statement {
            Statement::Leave => Ok(Said { record: RecordId([6; 32]) }),
            Statement::Appeal { .. } => Ok(Said { record: RecordId([8; 32]) }),
            _ => Err(SubmitError::Refused("the network cannot spare it".to_owned())),
        }
    }

    fn agent(&self) -> AgentStatus {
        AgentStatus { policy: PolicyKind::Searcher, ..AgentStatus::default() }
    }

    fn order_agent(&self, order: Order) -> Result<AgentStatus, SubmitError> {
        Ok(AgentStatus { running: order != Order::Stop, ..self.agent() })
    }

    fn checkpoints(&self) -> Arc<Checkpoints> {
        Arc::clone(&self.checkpoints)
    }

    fn block(&self, height: u64) -> Result<Option<v1::LedgerItem>, String> {
        let index = height.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        Ok(index.and_then(|index| self.items.lock().unwrap().get(index).cloned()))
    }

    fn export(&self) -> BoxStream<'static, io::Result<Bytes>> {
        let chunks = [Bytes::from_static(b"assay-ledger-1\0\n"), Bytes::from_static(b"items")];
        stream::iter(chunks.map(Ok)).boxed()
    }
}
