//! The task that owns the engine, and the handle to it.

use super::core::Core;
use super::{Application, HostConfig, HostError, Inbound, Outbound, Status};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::sleep_until;

/// Votes and other small messages waiting for the host.
const MESSAGES_MAX: usize = 1024;
/// Blocks and answers to sync requests waiting for the host.
const BLOCKS_MAX: usize = 16;

/// The host's queue is full, or the host has stopped; the message was dropped. Validators repeat
/// themselves, so that a dropped message costs time only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ordering engine is busy or has stopped; a message to it was dropped")]
pub struct Busy;

/// Delivers messages to a host. Small ones and blocks wait in separate bounded queues.
#[derive(Debug, Clone)]
pub struct HostSender {
    messages: mpsc::Sender<Inbound>,
    blocks: mpsc::Sender<Inbound>,
}

impl HostSender {
    fn queue(&self, inbound: &Inbound) -> &mpsc::Sender<Inbound> {
        match inbound {
            Inbound::Body(_) | Inbound::Synced { .. } => &self.blocks,
            Inbound::Consensus(_) | Inbound::PeerHead { .. } | Inbound::Wake => &self.messages,
        }
    }

    /// Delivers without waiting.
    ///
    /// # Errors
    ///
    /// [`Busy`] when the message was dropped.
    pub fn try_deliver(&self, inbound: Inbound) -> Result<(), Busy> {
        self.queue(&inbound).try_send(inbound).map_err(|_| Busy)
    }

    /// Delivers, waiting for room. Not to be awaited by whoever takes the [`Outbound`]s.
    ///
    /// # Errors
    ///
    /// [`Busy`] when the host has stopped.
    pub async fn deliver(&self, inbound: Inbound) -> Result<(), Busy> {
        self.queue(&inbound).send(inbound).await.map_err(|_| Busy)
    }
}

/// A running host. Dropping it ends the host after the input at hand.
#[derive(Debug)]
pub struct HostHandle {
    sender: HostSender,
    status: watch::Receiver<Status>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), HostError>>,
}

impl HostHandle {
    /// A way to deliver messages, to be cloned freely.
    #[must_use]
    pub fn sender(&self) -> HostSender {
        self.sender.clone()
    }

    /// What the host is doing, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Waits until the host ends by itself, which it does only after a failure or when nobody
    /// takes its [`Outbound`]s any more.
    ///
    /// # Errors
    ///
    /// Why the host stopped.
    pub async fn finished(&mut self) -> Result<(), HostError> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(HostError::Panicked(error.to_string())),
        }
    }

    /// Stops the host with its log flushed.
    ///
    /// # Errors
    ///
    /// Why the host had stopped before, if it had.
    pub async fn stop(mut self) -> Result<(), HostError> {
        if let Some(stop) = self.stop.take() {
            // The host may have ended already; its result is what counts.
            let _ = stop.send(());
        }
        self.finished().await
    }
}

/// Starts a host on the current Tokio runtime. If the write-ahead log shows that this validator
/// was in the middle of a height, it goes on there; otherwise the host waits for work.
///
/// # Errors
///
/// [`HostError`] when the folder or log cannot be used, or the application's validator set or a
/// commit during recovery fails.
pub fn start<A: Application>(
    config: HostConfig,
    app: A,
    outbound: mpsc::Sender<Outbound>,
) -> Result<HostHandle, HostError> {
    let core = blocking(|| Core::open(config, app))?;
    let (messages, messages_in) = mpsc::channel(MESSAGES_MAX);
    let (blocks, blocks_in) = mpsc::channel(BLOCKS_MAX);
    let (stop, stopped) = oneshot::channel();
    let (status_out, status) = watch::channel(core.status());
    let host = Host { core, messages_in, blocks_in, stopped, outbound, status_out };
    let task = tokio::spawn(host.run());
    Ok(HostHandle { sender: HostSender { messages, blocks }, status, stop: Some(stop), task })
}

/// Runs something that may wait for the disk, without holding up other tasks of the runtime.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(work),
        _ => work(),
    }
}

struct Host<A> {
    core: Core<A>,
    messages_in: mpsc::Receiver<Inbound>,
    blocks_in: mpsc::Receiver<Inbound>,
    stopped: oneshot::Receiver<()>,
    outbound: mpsc::Sender<Outbound>,
    status_out: watch::Sender<Status>,
}

impl<A: Application> Host<A> {
    async fn run(mut self) -> Result<(), HostError> {
        loop {
            let core = &mut self.core;
            let due = core.next_at();
            let timer = async move {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = &mut self.stopped => return blocking(|| Ok(core.effects.wal.flush()?)),
                permit = self.outbound.reserve(), if core.effects.has_outbound() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    if let Some(outbound) = core.effects.take_outbound() {
                        permit.send(outbound);
                    }
                    continue;
                }
                () = timer => blocking(|| core.on_time())?,
                Some(inbound) = self.messages_in.recv() => blocking(|| core.on_inbound(inbound))?,
                Some(inbound) = self.blocks_in.recv() => blocking(|| core.on_inbound(inbound))?,
                () = std::future::ready(()), if core.can_step() => blocking(|| core.step())?,
            }
            let status = core.status();
            self.status_out.send_if_modified(|shown| std::mem::replace(shown, status) != status);
        }
    }
}
