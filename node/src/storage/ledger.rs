//! Blocks with their certificates, and the secrets of unfinished claims, in sled.

use assay_proto::{decode_canonical, limits, v1};
use assay_protocol::ids::{ClaimId, RoundId};
use assay_protocol::measurement::Measurement;
use assay_protocol::peer::Secret;
use assay_protocol::record::Opening;
use prost::Message;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a database that another handle holds is waited for. A dropped database releases its
/// lock only when its own threads end, which can be after the drop returns
/// (<https://github.com/spacejam/sled/issues/1289>).
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Pause between two attempts at a database's lock.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("ledger store: {0}; check the disk, or move the folder away to sync afresh")]
    Database(#[from] sled::Error),
    /// Somebody else has it open.
    #[error("ledger store: {folder} is in use by another process; stop that one first")]
    InUse {
        /// The database's folder.
        folder: String,
    },
    /// Something stored does not read back.
    #[error("ledger store: {what} is damaged ({reason}); move the folder away to sync afresh")]
    Damaged {
        /// What was read.
        what: String,
        /// Why it cannot be used.
        reason: String,
    },
}

/// The node's database.
#[derive(Debug, Clone)]
pub struct Store {
    items: sled::Tree,
    secrets: sled::Tree,
    /// Bodies of posts by their hash.
    pub(super) bodies: sled::Tree,
    /// Posts that are not on the ledger yet, by record, as they travel.
    pub(super) waiting: sled::Tree,
}

/// A secret as it is stored.
#[derive(Serialize, Deserialize)]
enum StoredSecret {
    Measurement { round: RoundId, salt: [u8; 32], measurement: Box<Measurement> },
    Result(Opening),
}

impl Store {
    /// Opens or makes the database in `folder`, waiting some seconds for one that is being closed.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] and [`StoreError::Database`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_within(folder, LOCK_WAIT)
    }

    fn open_within(folder: &Path, patience: Duration) -> Result<Self, StoreError> {
        // A ledger is small; the default cache of a gigabyte is not.
        let config = sled::Config::new().path(folder).cache_capacity(32 << 20);
        let began = Instant::now();
        let database = loop {
            match config.open() {
                Ok(database) => break database,
                Err(error) if !is_locked(&error) => return Err(error.into()),
                Err(_) if began.elapsed() >= patience => {
                    return Err(StoreError::InUse { folder: folder.display().to_string() });
                }
                Err(_) => std::thread::sleep(LOCK_RETRY),
            }
        };
        Ok(Self {
            items: database.open_tree("items")?,
            secrets: database.open_tree("secrets")?,
            bodies: database.open_tree("bodies")?,
            waiting: database.open_tree("waiting")?,
        })
    }

    /// Stores a final block; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn put_item(&self, height: u64, item: &v1::LedgerItem) -> Result<(), StoreError> {
        self.items.insert(height.to_be_bytes(), item.encode_to_vec())?;
        self.items.flush()?;
        Ok(())
    }

    /// Height of the last stored block; 0 without any.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails or holds something else.
    pub fn height(&self) -> Result<u64, StoreError> {
        let Some((key, _)) = self.items.last()? else { return Ok(0) };
        let key: [u8; 8] = key.as_ref().try_into().map_err(|_| StoreError::Damaged {
            what: "a block's height".to_owned(),
            reason: format!("it has {} bytes", key.len()),
        })?;
        Ok(u64::from_be_bytes(key))
    }

    /// The final block at a height.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails or holds something else.
    pub fn item(&self, height: u64) -> Result<Option<v1::LedgerItem>, StoreError> {
        let Some(bytes) = self.items.get(height.to_be_bytes())? else { return Ok(None) };
        decode_canonical(&bytes, limits::LEDGER_ITEM_BYTES_MAX).map(Some).map_err(|e| {
            StoreError::Damaged { what: format!("block {height}"), reason: e.to_string() }
        })
    }

    /// Stores a secret; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn put_secret(&self, secret: &Secret) -> Result<(), StoreError> {
        let (key, stored) = match secret {
            Secret::Measurement { round, salt, measurement } => (
                measurement_key(*round),
                StoredSecret::Measurement {
                    round: *round,
                    salt: *salt,
                    measurement: measurement.clone(),
                },
            ),
            Secret::Result(opening) => {
                (result_key(opening.claim), StoredSecret::Result(opening.clone()))
            }
        };
        let bytes = serde_json::to_vec(&stored).map_err(|e| StoreError::Damaged {
            what: "a secret".to_owned(),
            reason: e.to_string(),
        })?;
        self.secrets.insert(key, bytes)?;
        self.secrets.flush()?;
        Ok(())
    }

    /// Removes the measurement of a round that is settled.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn forget_measurement(&self, round: RoundId) -> Result<(), StoreError> {
        self.secrets.remove(measurement_key(round))?;
        Ok(())
    }

    /// Removes the own result of a claim once it is opened.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn forget_result(&self, claim: ClaimId) -> Result<(), StoreError> {
        self.secrets.remove(result_key(claim))?;
        Ok(())
    }

    /// All secrets kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails or holds something else.
    pub fn secrets(&self) -> Result<Vec<Secret>, StoreError> {
        let mut secrets = Vec::new();
        for row in self.secrets.iter() {
            let (_, bytes) = row?;
            let stored = serde_json::from_slice(&bytes).map_err(|e| StoreError::Damaged {
                what: "a secret".to_owned(),
                reason: e.to_string(),
            })?;
            secrets.push(match stored {
                StoredSecret::Measurement { round, salt, measurement } => {
                    Secret::Measurement { round, salt, measurement }
                }
                StoredSecret::Result(opening) => Secret::Result(opening),
            });
        }
        Ok(secrets)
    }
}

/// Whether an error says that the lock is held; sled tells it by its text alone.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

fn measurement_key(round: RoundId) -> Vec<u8> {
    [&round.to_bytes(), b"m".as_slice()].concat()
}

fn result_key(claim: ClaimId) -> Vec<u8> {
    [&claim.0, b"r".as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let opening = Opening { claim: ClaimId([1; 32]), salt: [2; 32], ratio_ppm: 3, null: false };
        let item =
            v1::LedgerItem { block: None, certificate: Some(v1::CommitCertificate::default()) };
        {
            let store = Store::open(folder.path()).unwrap();
            store.put_item(1, &item).unwrap();
            store.put_secret(&Secret::Result(opening.clone())).unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.item(1).unwrap(), Some(item));
        assert_eq!(store.item(2).unwrap(), None);
        assert_eq!(store.secrets().unwrap(), [Secret::Result(opening)]);
        store.forget_result(ClaimId([1; 32])).unwrap();
        assert!(store.secrets().unwrap().is_empty());
    }

    #[test]
    fn a_store_in_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let held = Store::open(folder.path()).unwrap();
        let error = Store::open_within(folder.path(), Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("in use by another process"), "{error}");
        drop(held);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn damage_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.items.insert(7_u64.to_be_bytes(), b"garbage").unwrap();
        let error = store.item(7).unwrap_err().to_string();
        assert!(error.contains("block 7 is damaged"), "{error}");
    }
}
