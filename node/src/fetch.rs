//! Brings checkpoints, bundles and texts here from peers, by hash.

use crate::net::NetHandle;
use crate::storage::{BlobError, Blobs};
use assay_protocol::ids::BlobHash;
use assay_protocol::manifest::{Kind, Manifest};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pause before the peers are asked again for something that none had.
const RETRY: Duration = Duration::from_secs(2);

/// Why something could not be brought here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The blob folder failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// No connected peer had it in time.
    #[error("no peer had blob {hash} within {seconds} s; its author may be offline")]
    Unavailable {
        /// What was asked for.
        hash: BlobHash,
        /// How long.
        seconds: u64,
    },
    /// The files are of another kind than the recipe says.
    #[error("manifest {hash} lists a {found}, the recipe needs a {expected}")]
    Kind {
        /// The manifest.
        hash: BlobHash,
        /// What the recipe needs.
        expected: &'static str,
        /// What the manifest lists.
        found: &'static str,
    },
}

/// Fetches blobs from connected peers.
#[derive(Clone)]
pub struct Fetcher {
    net: NetHandle,
    blobs: Blobs,
    patience: Duration,
}

impl Fetcher {
    /// A fetcher that gives up on a blob after `patience`.
    #[must_use]
    pub fn new(net: NetHandle, blobs: Blobs, patience: Duration) -> Self {
        Self { net, blobs, patience }
    }

    /// Makes sure that a blob is here.
    ///
    /// # Errors
    ///
    /// [`FetchError::Unavailable`] or a failing blob folder.
    pub async fn blob(&self, hash: BlobHash) -> Result<Vec<u8>, FetchError> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.blobs.get(hash) {
                Ok(data) => return Ok(data),
                Err(BlobError::Missing(_) | BlobError::Damaged(_)) => {}
                Err(error) => return Err(error.into()),
            }
            for peer in self.net.peers().await {
                match self.net.fetch_blob(peer.peer, hash.0).await {
                    Ok(Some(data)) => {
                        self.blobs.put(&data)?;
                        return Ok(data);
                    }
                    Ok(None) => {}
                    Err(error) => tracing::debug!(%error, blob = %hash.short(), "fetch failed"),
                }
            }
            if Instant::now() >= deadline {
                let seconds = self.patience.as_secs();
                return Err(FetchError::Unavailable { hash, seconds });
            }
            sleep(RETRY).await;
        }
    }

    /// Makes sure that a manifest is here.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when it is not to be had, or the blob is no manifest.
    pub async fn manifest(&self, hash: BlobHash) -> Result<Manifest, FetchError> {
        let bytes = self.blob(hash).await?;
        Ok(Manifest::read(hash, &bytes).map_err(BlobError::from)?)
    }

    /// Makes sure that all files of a manifest are here and returns the folder that holds them.
    ///
    /// # Errors
    ///
    /// [`FetchError`]; what was fetched already stays, so that a later try goes on from there.
    pub async fn files(&self, hash: BlobHash, kind: Kind) -> Result<PathBuf, FetchError> {
        let manifest = self.manifest(hash).await?;
        if manifest.kind != kind {
            let (expected, found) = (kind.name(), manifest.kind.name());
            return Err(FetchError::Kind { hash, expected, found });
        }
        let missing = self.blobs.missing(&manifest);
        if !missing.is_empty() {
            self.blobs.check_quota(manifest.bytes())?;
            tracing::info!(manifest = %hash.short(), chunks = missing.len(), "fetching files");
        }
        for chunk in missing {
            self.blob(chunk).await?;
        }
        let blobs = self.blobs.clone();
        let folder = tokio::task::spawn_blocking(move || blobs.materialise(hash)).await;
        folder
            .map_err(|e| BlobError::Io {
                action: "put together",
                path: PathBuf::from(hash.to_string()),
                source: std::io::Error::other(e),
            })?
            .map_err(FetchError::from)
    }
}
