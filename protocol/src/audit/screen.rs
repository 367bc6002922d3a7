//! Checking signatures ahead of the replay.
//!
//! Records and certificates name the keys that signed them, so that their signatures can be checked without
//! any state: before their turn, on other threads, many at once. Everything else about an item needs what
//! came before it.

use super::batch::{Batch, WORTHWHILE};
use crate::block::header_hash;
use crate::certificate::{Slot, VoteKind, vote_bytes};
use crate::ids::{NetworkId, PeerId};
use crate::wire;
use assay_proto::{DecodeError, decode_canonical, limits, v1};

/// Checks signatures of records and certificates, on any thread.
#[derive(Debug, Clone, Copy)]
pub struct Screener {
    network: NetworkId,
    /// Height of the first block whose signatures count.
    from: u64,
}

/// An item of a ledger, and whether everything in it is properly signed.
#[derive(Debug)]
pub struct Screened {
    pub(super) item: Result<v1::LedgerItem, DecodeError>,
    /// Whether every signature verifies by the key given with it. Where one does not, or none was checked,
    /// the replay says what is wrong, in the order in which it finds it.
    pub(super) signed: bool,
}

impl Screened {
    /// An item at whose signatures nobody looked.
    pub(super) fn read(bytes: &[u8]) -> Self {
        Self { item: decode_canonical(bytes, limits::LEDGER_ITEM_BYTES_MAX), signed: false }
    }
}

/// A signature with what it should be of.
struct Claimed<'a> {
    key: &'a [u8],
    signature: &'a [u8],
    /// The message, in parts.
    message: [&'a [u8]; 3],
}

impl Claimed<'_> {
    /// The strict check of this signature alone.
    fn holds(&self) -> bool {
        let signer = PeerId::from_slice(self.key);
        signer.is_ok_and(|signer| signer.has_signed(&self.message.concat(), self.signature))
    }
}

impl Screener {
    pub(super) fn new(network: NetworkId, from: u64) -> Self {
        Self { network, from }
    }

    /// Reads items, of which the first is at the height given, and checks their signatures.
    #[must_use]
    pub fn screen(&self, first: u64, items: &[impl AsRef<[u8]>]) -> Vec<Screened> {
        let mut screened: Vec<Screened> =
            items.iter().map(|bytes| Screened::read(bytes.as_ref())).collect();
        // Those before the first whose signatures count stay as they are.
        let before = usize::try_from(self.from.saturating_sub(first)).unwrap_or(usize::MAX);
        let counted = screened.get_mut(before..).unwrap_or_default();
        let votes: Vec<Option<Vec<u8>>> = counted.iter().map(|one| self.votes(one)).collect();
        let claimed = |(one, votes)| self.claimed(one, votes);
        let all = || counted.iter().zip(&votes).flat_map(claimed);
        if all().count() >= WORTHWHILE && hold_together(all()) {
            for (one, votes) in counted.iter_mut().zip(&votes) {
                one.signed = votes.is_some();
            }
        } else {
            for (one, votes) in counted.iter_mut().zip(&votes) {
                let signed = self.claimed(one, votes).all(|claimed| claimed.holds());
                one.signed = votes.is_some() && signed;
            }
        }
        screened
    }

    /// What the validators of an item's certificate say they signed.
    fn votes(&self, screened: &Screened) -> Option<Vec<u8>> {
        let item = screened.item.as_ref().ok()?;
        let header = item.block.as_ref()?.header.as_ref()?;
        let certificate = item.certificate.as_ref()?;
        let (network, round) = (self.network, certificate.round);
        let slot = Slot { network, era: header.era, height: header.height, round };
        Some(vote_bytes(&slot, VoteKind::Precommit, Some(header_hash(header))))
    }

    /// Every signature of an item.
    fn claimed<'a>(
        &'a self,
        screened: &'a Screened,
        votes: &'a Option<Vec<u8>>,
    ) -> impl Iterator<Item = Claimed<'a>> {
        let item = &screened.item;
        let records = item.iter().filter_map(|item| item.block.as_ref());
        let records = records.flat_map(|block| &block.records).map(|signed| Claimed {
            key: &signed.author,
            signature: &signed.signature,
            message: wire::signing_parts(&self.network, &signed.payload),
        });
        let certificate = item.iter().filter_map(|item| item.certificate.as_ref()).zip(votes);
        let certificate = certificate.flat_map(|(certificate, message)| {
            certificate.signatures.iter().map(move |vote| Claimed {
                key: &vote.validator,
                signature: &vote.signature,
                message: [message, &[], &[]],
            })
        });
        records.chain(certificate)
    }
}

/// Whether all signatures hold: at once, but for those that can only be checked alone.
fn hold_together<'a>(mut claimed: impl Iterator<Item = Claimed<'a>>) -> bool {
    let mut batch = Batch::default();
    let mut added = |one: &Claimed<'_>| batch.add(one.key, one.signature, &one.message).is_some();
    claimed.all(|one| added(&one) || one.holds()) && batch.holds()
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::{crooked, message, signed};
    use super::*;

    #[test]
    fn a_key_that_only_a_check_alone_can_judge_does_not_stop_the_others() {
        let mut some = signed();
        // With a key that is not of prime order, one signature in some is right by luck.
        let (index, lucky) = (0..some.len())
            .flat_map(|index| (0..8).map(move |on_r| (index, crooked(5, index, 1, on_r))))
            .find(|(index, (key, signature))| PeerId(*key).has_signed(&message(*index), signature))
            .unwrap();
        some[index] = lucky;
        let messages: Vec<Vec<u8>> = (0..some.len()).map(message).collect();
        let holds =
            |some: &[([u8; 32], [u8; 64])]| {
                hold_together(some.iter().zip(&messages).map(|((key, signature), message)| {
                    Claimed { key, signature, message: [message, &[], &[]] }
                }))
            };
        assert!(Batch::default().add(&lucky.0, &lucky.1, &[&messages[index]]).is_none());
        assert!(holds(&some));
        let other = (index + 1) % some.len();
        some[other].1[40] ^= 1;
        assert!(!holds(&some));
        some[other].1[40] ^= 1;
        some[index].1[40] ^= 1;
        assert!(!holds(&some));
    }
}
