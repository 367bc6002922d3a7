//! What ordering needs from the ledger.

use assay_proto::v1;
use assay_protocol::ids::{BlockHash, PeerId};

/// A member of the validator set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validator {
    /// Its Ed25519 key.
    pub peer: PeerId,
    /// Its voting power, at least 1.
    pub power: u64,
}

/// Why the application could not do what it was asked.
pub type ApplicationError = Box<dyn std::error::Error + Send + Sync>;

/// The ledger as ordering sees it. Called only from the host's task, one call at a time, and may
/// block for as long as a disk write takes.
pub trait Application: Send + 'static {
    /// The last decided height; 0 before the first block.
    fn height(&self) -> u64;

    /// The era in which the next height is voted on.
    fn era(&self) -> u64;

    /// Who votes on the next height. The order is of no importance.
    fn validators(&self) -> Vec<Validator>;

    /// The certificate of the last decided height, to show to validators that missed it.
    fn certificate(&self) -> Option<v1::CommitCertificate>;

    /// Whether a block is worth making.
    fn has_work(&self) -> bool;

    /// Makes the block that this validator proposes for the next height, as an encoded
    /// [`v1::Block`]. Another validator may have more to order than this one, so that a block is
    /// asked for even if [`Application::has_work`] says no; an error costs the network a round.
    ///
    /// # Errors
    ///
    /// Whatever prevents a block from being made.
    fn build(&mut self, round: u32) -> Result<(BlockHash, Vec<u8>), ApplicationError>;

    /// Names the block that these bytes are, whatever the state. The name must bind every byte:
    /// bytes that differ from those which their header promises are an error, so that nobody can
    /// spoil a good block by sending damaged bytes under its name.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    fn identify(&self, body: &[u8]) -> Result<BlockHash, ApplicationError>;

    /// Whether an identified block may follow the current state.
    ///
    /// # Errors
    ///
    /// The rule that the block breaks.
    fn check(&mut self, body: &[u8]) -> Result<(), ApplicationError>;

    /// Applies a decided block, durably before it returns; [`Application::height`] then is the
    /// certificate's height.
    ///
    /// # Errors
    ///
    /// Any failure. It stops the host, because a validator that cannot store what it decided
    /// must not go on voting.
    fn commit(
        &mut self,
        certificate: v1::CommitCertificate,
        body: Vec<u8>,
    ) -> Result<(), ApplicationError>;
}
