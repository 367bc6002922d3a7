//! What the ordering engine needs of the ledger.

use crate::consensus::{Application, ApplicationError, Validator};
use crate::ledger::{Ledger, now_ms};
use assay_proto::v1;
use assay_protocol::block::{Proposer, identify};
use assay_protocol::ids::{BlockHash, PeerId};
use assay_protocol::randomness::{evaluate, vrf_keypair};
use ed25519_dalek::SigningKey;
use prost::Message;
use std::sync::Arc;

/// The ledger as the ordering engine sees it.
pub struct Ordering {
    ledger: Arc<Ledger>,
    key: SigningKey,
}

impl Ordering {
    /// Orders for `ledger`, proposing with `key`.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, key: SigningKey) -> Self {
        Self { ledger, key }
    }
}

impl Application for Ordering {
    fn height(&self) -> u64 {
        self.ledger.with(|peer| peer.state().height())
    }

    fn era(&self) -> u64 {
        0
    }

    fn validators(&self) -> Vec<Validator> {
        let validators = self.ledger.with(|peer| peer.state().validators());
        validators.into_iter().map(|(peer, power)| Validator { peer, power }).collect()
    }

    fn certificate(&self) -> Option<v1::CommitCertificate> {
        self.ledger.certificate()
    }

    fn has_work(&self) -> bool {
        self.ledger.with(|peer| peer.has_work(now_ms()))
    }

    fn build(&mut self, _round: u32) -> Result<(BlockHash, Vec<u8>), ApplicationError> {
        let (network, height) =
            self.ledger.with(|peer| (peer.network(), peer.state().height() + 1));
        let vrf = vrf_keypair(&self.key.to_bytes());
        let (vrf_output, vrf_proof) = evaluate(&vrf, network, height);
        let peer = PeerId(self.key.verifying_key().to_bytes());
        let block = self.ledger.build(Proposer { peer, vrf_output, vrf_proof });
        let block = block.ok_or("nothing to order")?;
        let body = block.encode_to_vec();
        let (hash, _) = identify(&body)?;
        Ok((hash, body))
    }

    fn identify(&self, body: &[u8]) -> Result<BlockHash, ApplicationError> {
        Ok(identify(body)?.0)
    }

    fn check(&mut self, body: &[u8]) -> Result<(), ApplicationError> {
        let state = self.ledger.state();
        state.extended(body, Some(now_ms()))?;
        Ok(())
    }

    fn commit(
        &mut self,
        certificate: v1::CommitCertificate,
        body: Vec<u8>,
    ) -> Result<(), ApplicationError> {
        let (_, block) = identify(&body)?;
        let item = v1::LedgerItem { block: Some(block), certificate: Some(certificate) };
        self.ledger.commit(item)?;
        Ok(())
    }
}
