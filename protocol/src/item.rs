//! Items of the ledger: a block with the certificate that makes it final, and how one extends the ledger.

use crate::block::header_hash;
use crate::certificate::{self, CertificateError};
use crate::error::BlockError;
use crate::state::State;
use assay_proto::v1;

/// Why a decided block could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// The block does not extend the ledger.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The certificate proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A part is missing.
    #[error("ledger item has no {0}")]
    Missing(&'static str),
}

/// Checks a final block against the state before it and returns the state after it.
///
/// # Errors
///
/// [`ItemError`] with the first fault; `state` is then spent, see [`State::apply`].
pub fn apply_item(state: &mut State, item: &v1::LedgerItem) -> Result<(), ItemError> {
    let (block, header, proof) = parts(item)?;
    let (network, validators, hash) = (state.network(), state.validators(), header_hash(header));
    certificate::verify(network, header.era, proof, header.height, hash, &validators)?;
    state.apply(block, None)?;
    Ok(())
}

/// Applies one item of a ledger whose signatures, those of records and of the certificate, were found to
/// verify by the keys given with them.
///
/// # Errors
///
/// As [`apply_item`].
pub(crate) fn apply_signed_item(state: &mut State, item: &v1::LedgerItem) -> Result<(), ItemError> {
    let (block, header, proof) = parts(item)?;
    let (validators, hash) = (state.validators(), header_hash(header));
    certificate::verify_signed(proof, header.height, hash, &validators)?;
    state.apply_signed(block)?;
    Ok(())
}

/// An item's block, its header, and its certificate.
fn parts(
    item: &v1::LedgerItem,
) -> Result<(&v1::Block, &v1::Header, &v1::CommitCertificate), ItemError> {
    let block = item.block.as_ref().ok_or(ItemError::Missing("block"))?;
    let header = block.header.as_ref().ok_or(ItemError::Missing("header"))?;
    let certificate = item.certificate.as_ref().ok_or(ItemError::Missing("certificate"))?;
    Ok((block, header, certificate))
}

/// Applies one item of a ledger up to a block that is believed in: hashes bind it, signatures are not
/// checked. `last` is for that block itself.
///
/// # Errors
///
/// As [`apply_item`].
pub(crate) fn apply_trusted_item(
    state: &mut State,
    item: &v1::LedgerItem,
    last: bool,
) -> Result<(), ItemError> {
    let (block, ..) = parts(item)?;
    state.apply_trusted(block, last)?;
    Ok(())
}
