//! Bodies of posts, and the posts that wait to be ordered.

use super::ledger::{Store, StoreError};
use assay_proto::limits;
use assay_protocol::ids::{BlobHash, RecordId};
use assay_protocol::record::{Body, Record};

impl Store {
    /// Stores a post that is not on the ledger yet, with its body. Both are on disk after
    /// [`Store::flush_posts`], and soon without it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn put_post(&self, record: &Record) -> Result<(), StoreError> {
        let Body::Post(post) = &record.body else { return Ok(()) };
        self.bodies.insert(post.body.0, record.attachment.as_slice())?;
        self.waiting.insert(record.id.0, record.to_gossip())?;
        Ok(())
    }

    /// Waits until the posts are on disk; blocks for as long as the disk takes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn flush_posts(&self) -> Result<(), StoreError> {
        self.waiting.flush()?;
        Ok(())
    }

    /// Stores the body of a post that was learnt from a block. The caller checked its hash.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn put_post_body(&self, hash: BlobHash, bytes: &[u8]) -> Result<(), StoreError> {
        self.bodies.insert(hash.0, bytes)?;
        Ok(())
    }

    /// The body of a post, if it is here.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails or holds something else under this name.
    pub fn post_body(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = self.bodies.get(hash.0)? else { return Ok(None) };
        let fits = bytes.len() <= limits::POST_BODY_BYTES_MAX;
        if !fits || blake3::hash(&bytes).as_bytes() != &hash.0 {
            return Err(StoreError::Damaged {
                what: format!("the body {hash} of a post"),
                reason: "its bytes are not those that its name promises".to_owned(),
            });
        }
        Ok(Some(bytes.to_vec()))
    }

    /// The posts that wait to be ordered, as they travel.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn waiting_posts(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = self.waiting.iter().values();
        rows.map(|row| row.map(|bytes| bytes.to_vec()).map_err(StoreError::from)).collect()
    }

    /// The records of the posts that wait to be ordered.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails or holds something else among them.
    pub fn waiting_ids(&self) -> Result<Vec<RecordId>, StoreError> {
        let keys = self.waiting.iter().keys();
        keys.map(|key| {
            RecordId::from_slice(&key?).map_err(|bytes| StoreError::Damaged {
                what: "the name of a post that waits".to_owned(),
                reason: format!("it has {bytes} bytes instead of 32"),
            })
        })
        .collect()
    }

    /// Forgets that a post waits; its body stays.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn forget_waiting(&self, id: RecordId) -> Result<(), StoreError> {
        self.waiting.remove(id.0)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_protocol::ids::NetworkId;
    use assay_protocol::post::PostBody;
    use assay_protocol::wire;
    use ed25519_dalek::SigningKey;

    #[test]
    fn a_post_reads_back_until_it_is_ordered_and_its_body_after() {
        let folder = tempfile::tempdir().unwrap();
        let said: PostBody =
            serde_json::from_str(r#"{"channel":"general","text":"hello"}"#).unwrap();
        let key = SigningKey::from_bytes(&[1; 32]);
        let record = wire::sign_post(NetworkId([2; 32]), &key, &said, 0, None);
        let Body::Post(post) = &record.body else { panic!() };
        {
            let store = Store::open(folder.path()).unwrap();
            store.put_post(&record).unwrap();
            store.flush_posts().unwrap();
            assert_eq!(store.waiting_ids().unwrap(), [record.id]);
        }
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.waiting_posts().unwrap(), [record.to_gossip()]);
        assert_eq!(store.post_body(post.body).unwrap(), Some(said.to_bytes()));
        store.forget_waiting(record.id).unwrap();
        assert!(store.waiting_posts().unwrap().is_empty());
        assert_eq!(store.post_body(BlobHash([9; 32])).unwrap(), None);
        store.put_post_body(post.body, b"other").unwrap();
        assert!(store.post_body(post.body).is_err());
    }
}
