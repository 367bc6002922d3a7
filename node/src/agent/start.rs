//! The agent of a node that starts.

use super::control::{Control, Order};
use super::hands::Hands;
use super::service::Agent;
use super::settings::Settings;
use super::workshop::Workshop;
use crate::author::Author;
use crate::fetch::Fetcher;
use crate::storage::Blobs;
use anyhow::Context;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::path::PathBuf;
use std::sync::Arc;

/// Makes the agent of `folder`: the operator's hold on it, and its work, which does not end before the
/// node does.
///
/// # Errors
///
/// When its files cannot be read.
pub fn start(
    folder: PathBuf,
    settings: Settings,
    author: Author,
    (fetcher, blobs): (Fetcher, Blobs),
) -> anyhow::Result<(Arc<Control>, BoxFuture<'static, ()>)> {
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the agent's folder {}", folder.display()))?;
    let workshop = Workshop::new(blobs, folder.clone());
    for bundles in &settings.bundles {
        // The node starts without them: its agent may be off, and has other kernels.
        if let Err(error) = workshop.shelve_folder(bundles) {
            let folder = bundles.display();
            tracing::warn!(%error, %folder, "no kernel bundles for the agent from this folder");
        }
    }
    let control = Arc::new(Control::new(folder.clone(), settings));
    let hands = Hands::new(author, fetcher, workshop);
    let agent = Agent::open(hands, Arc::clone(&control), &folder)?;
    let held = Arc::clone(&control);
    let acting = async move {
        if let Err(error) = agent.serve().await {
            tracing::error!(%error, "the agent stopped");
            held.note(crate::ledger::now_ms(), format!("stopped: {error}"));
            // It holds for this run in any case, and there is nothing left that would act.
            let _ = held.order(Order::Stop);
        }
        // The node lives on without its agent.
        std::future::pending().await
    };
    Ok((control, acting.boxed()))
}
