//! Tricks that peers told of themselves. Telling costs nothing and takes away the penalty.

use super::State;
use crate::error::Reject;
use crate::ids::{BlobHash, ClaimId, PeerId, RecordId};
use crate::membership::Disclosure;
use crate::record::Record;
use serde::Serialize;
use std::sync::Arc;

/// Most disclosures about one claim, its author's aside.
pub const DISCLOSURES_PER_CLAIM_MAX: usize = 8;

/// A disclosure on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disclosed {
    /// Its record.
    pub record: RecordId,
    /// Who told.
    pub by: PeerId,
    /// Height of the block that ordered it.
    pub height: u64,
    /// The claim that uses the trick, if one does.
    pub claim: Option<ClaimId>,
    /// What it is.
    pub text: String,
    /// Names whatever shows it.
    pub evidence: Option<BlobHash>,
}

impl State {
    /// All disclosures, by record.
    pub fn disclosures(&self) -> impl Iterator<Item = &Disclosed> {
        self.disclosures.values().map(AsRef::as_ref)
    }

    /// The disclosures about one claim, by record.
    pub fn disclosures_of(&self, claim: ClaimId) -> impl Iterator<Item = &Disclosed> {
        self.disclosures().filter(move |told| told.claim == Some(claim))
    }

    /// Whether a claim's author told of the trick in it before `height`; what is found out about
    /// the claim afterwards carries no penalty for the author.
    #[must_use]
    pub fn is_self_disclosed(&self, claim: ClaimId, height: u64) -> bool {
        let author = self.claim(claim).map(|claim| claim.author);
        self.disclosures_of(claim).any(|told| Some(told.by) == author && told.height < height)
    }

    pub(super) fn apply_disclosure(
        &mut self,
        record: &Record,
        told: &Disclosure,
        height: u64,
    ) -> Result<(), Reject> {
        let by = record.author;
        let epoch = self.epoch_of(height);
        // One about a claim; without a claim one an epoch, so that talk does not fill the ledger.
        let repeated = self.disclosures.contains_key(&record.id)
            || self.disclosures().any(|earlier| {
                let again = told.claim.is_some() || self.epoch_of(earlier.height) == epoch;
                earlier.by == by && earlier.claim == told.claim && again
            });
        if repeated {
            return Err(Reject::Repeated(by));
        }
        if let Some(id) = told.claim {
            let author = self.claim(id).ok_or(Reject::UnknownClaim(id))?.author;
            let others = self.disclosures_of(id).filter(|earlier| earlier.by != author);
            if author != by && others.count() >= DISCLOSURES_PER_CLAIM_MAX {
                return Err(Reject::DisclosuresFull(id));
            }
        }
        let disclosed = Disclosed {
            record: record.id,
            by,
            height,
            claim: told.claim,
            text: told.text.clone(),
            evidence: told.evidence,
        };
        self.note(&[b"disclosure", &record.id.0, &height.to_le_bytes()]);
        self.disclosures.insert(record.id, Arc::new(disclosed));
        Ok(())
    }
}
