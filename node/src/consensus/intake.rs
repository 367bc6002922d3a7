//! What arrives from the network: decoded, verified, and only then acted on.

use super::codec::{Message, decode_body};
use super::context::{BlockValue, Height, LedgerContext};
use super::core::{Core, Early};
use super::{Application, HostError, Inbound, Outbound, Topic};
use arc_malachitebft_core_consensus::{Input, MAX_FUTURE_ROUND_LOOKAHEAD, ProposedValue};
use arc_malachitebft_core_types::{Round, SignedProposal, Validity, ValueOrigin};
use assay_proto::limits::{BLOCK_BYTES_MAX, SYNC_ITEMS_MAX};
use assay_proto::v1;
use assay_protocol::certificate;
use assay_protocol::ids::{BlockHash, PeerId};
use prost::Message as _;
use std::time::Duration;
use tokio::time::Instant;

/// Messages kept for the height after the next one.
const EARLY_MAX: usize = 512;
/// Bodies among them.
const EARLY_BODIES_MAX: usize = 4;
/// A vote for a height decided longer ago than this comes from a validator that missed it.
const STRAGGLER_AFTER: Duration = Duration::from_millis(300);
/// Certificates are shown to stragglers at most this often.
const SHOW_INTERVAL: Duration = Duration::from_millis(500);

impl<A: Application> Core<A> {
    /// Handles one thing that the owner delivered.
    pub(crate) fn on_inbound(&mut self, inbound: Inbound) -> Result<(), HostError> {
        match inbound {
            Inbound::Consensus(bytes) => match Message::decode(&bytes) {
                Ok(message) => self.on_message(message)?,
                Err(error) => tracing::debug!(%error, "consensus message dropped"),
            },
            Inbound::Body(bytes) => match decode_body(&bytes) {
                Ok((proposal, block)) => self.on_proposed(proposal, block)?,
                Err(error) => tracing::debug!(%error, "proposed block dropped"),
            },
            Inbound::Synced { from, response } => self.on_synced(from, response)?,
            Inbound::PeerHead { height } => self.on_head(height),
            Inbound::Wake => self.wake()?,
        }
        self.settle()
    }

    fn on_head(&mut self, height: u64) {
        if height >= self.height {
            // While a height runs, its decision is probably about to be made here too.
            let likely = self.running.is_some() && height == self.height;
            self.catchup.behind(height, likely, Instant::now());
        }
    }

    /// Takes a decoded message. The engine verifies those of a running height; all others are
    /// verified here before they have any consequence.
    pub(crate) fn on_message(&mut self, message: Message) -> Result<(), HostError> {
        let height = message.height();
        let input = match to_input(message.clone()) {
            Ok(input) => input,
            Err(certificate) => return self.on_commit(certificate),
        };
        if height == self.height && self.running.is_some() {
            return self.feed(input);
        }
        if !self.is_genuine(&message) {
            return Ok(());
        }
        if height < self.height {
            self.show_certificate();
        } else if height == self.height {
            self.start_height()?;
            self.feed(input)?;
        } else {
            self.on_later(height, Early::Message(message));
        }
        Ok(())
    }

    /// Something verified belongs to a later height, so that the next one is decided elsewhere.
    fn on_later(&mut self, height: u64, early: Early) {
        self.catchup.behind(height - 1, height == self.height + 1, Instant::now());
        let bodies = self.early.iter().filter(|early| matches!(early, Early::Body(..))).count();
        let room = match early {
            Early::Message(_) => self.early.len() < EARLY_MAX,
            Early::Body(..) => self.early.len() < EARLY_MAX && bodies < EARLY_BODIES_MAX,
        };
        if height == self.height + 1 && room {
            self.early.push_back(early);
        }
    }

    /// Whether validators of the next height signed the message. For a message of another height
    /// that is only likely to be the right set, which suffices for a hint.
    fn is_genuine(&self, message: &Message) -> bool {
        let (domain, set) = (&self.effects.domain, &self.set);
        match message {
            Message::Vote(vote) => domain.vote_is_from(set, vote),
            Message::Proposal(proposal) => domain.proposal_is_from(set, proposal),
            Message::Polka(certificate) => domain.check_polka(certificate, set).is_ok(),
            Message::Round(certificate) => domain.check_round(certificate, set).is_ok(),
            Message::Commit(certificate) => self.proves(certificate),
        }
    }

    /// Whether the next height's validators committed to the certificate's block.
    fn proves(&self, certificate: &v1::CommitCertificate) -> bool {
        let Ok(block) = BlockHash::from_slice(&certificate.block) else { return false };
        let domain = self.effects.domain;
        let (era, height) = (domain.era, certificate.height);
        certificate::verify(domain.network, era, certificate, height, block, &self.set.powers())
            .is_ok()
    }

    /// A validator still votes on a height decided a while ago: show it the proof.
    fn show_certificate(&mut self) {
        let now = Instant::now();
        let recent = now < self.decided_at + STRAGGLER_AFTER
            || self.shown_at.is_some_and(|at| now < at + SHOW_INTERVAL);
        if let Some(last) = self.last.clone().filter(|_| !recent) {
            self.shown_at = Some(now);
            let message = Message::Commit(last).encode();
            self.effects.send(Outbound::Publish(Topic::Liveness, message));
        }
    }

    /// Somebody shows the proof of a decision.
    fn on_commit(&mut self, certificate: v1::CommitCertificate) -> Result<(), HostError> {
        let known = self.awaiting_body.as_ref() == Some(&certificate);
        if certificate.height < self.height || known || !self.proves(&certificate) {
            return Ok(());
        }
        self.catchup.behind(certificate.height, false, Instant::now());
        if certificate.height == self.height {
            self.awaiting_body = Some(certificate);
            self.commit_awaited()?;
        }
        Ok(())
    }

    /// Commits the block that is proved to be decided, if its body is here.
    fn commit_awaited(&mut self) -> Result<(), HostError> {
        let Some(certificate) = self.awaiting_body.clone() else { return Ok(()) };
        let Ok(hash) = BlockHash::from_slice(&certificate.block) else { return Ok(()) };
        let Some(block) = self.effects.bodies.get(hash).map(<[u8]>::to_vec) else { return Ok(()) };
        match self.app.check(&block) {
            Ok(()) => self.commit(certificate, block),
            Err(error) => {
                tracing::error!(
                    height = self.height, block = %hash, %error,
                    "the validators decided a block that breaks a rule here; not applying it"
                );
                Ok(())
            }
        }
    }

    /// Takes a proposed block under its proposal.
    pub(crate) fn on_proposed(
        &mut self,
        proposal: SignedProposal<LedgerContext>,
        block: Vec<u8>,
    ) -> Result<(), HostError> {
        let height = proposal.message.height.0;
        let stale = height < self.height;
        if stale || !self.effects.domain.proposal_is_from(&self.set, &proposal) {
            return Ok(());
        }
        if height > self.height {
            self.on_later(height, Early::Body(proposal, block));
            return Ok(());
        }
        if self.running.is_none() {
            self.start_height()?;
        }
        self.take_body(proposal, block)
    }

    /// Judges a block of the running height and tells the engine.
    fn take_body(
        &mut self,
        proposal: SignedProposal<LedgerContext>,
        block: Vec<u8>,
    ) -> Result<(), HostError> {
        let message = proposal.message.clone();
        let (hash, round) = (message.value.0, message.round.as_u32().unwrap_or(0));
        self.feed(Input::Proposal(proposal))?;
        let current = self.effects.round.as_u32().unwrap_or(0);
        let far = round > current.saturating_add(MAX_FUTURE_ROUND_LOOKAHEAD);
        let decided = self.effects.decided.is_some();
        let bodies = &self.effects.bodies;
        if decided || far || bodies.contains(hash) || !bodies.has_room(round) {
            return Ok(());
        }
        match self.app.identify(&block) {
            Ok(found) if found == hash => {}
            Ok(found) => {
                tracing::debug!(%found, proposed = %hash, "block does not match its proposal");
                return Ok(());
            }
            Err(error) => {
                tracing::debug!(%error, proposed = %hash, "damaged block dropped");
                return Ok(());
            }
        }
        let verdict = self.app.check(&block);
        if let Err(error) = &verdict {
            tracing::warn!(block = %hash, %error, "a proposed block breaks a rule");
        }
        self.keep_body(hash, round, block);
        let value = ProposedValue {
            height: Height(self.height),
            round: Round::new(round),
            valid_round: message.valid_round,
            proposer: message.proposer,
            value: BlockValue(hash),
            validity: Validity::from_bool(verdict.is_ok()),
        };
        self.feed(Input::ProposedValue(value, ValueOrigin::Consensus))?;
        if self.effects.decided.is_none() {
            self.commit_awaited()?;
        }
        Ok(())
    }

    /// Applies an answer to a sync request as far as it goes.
    fn on_synced(&mut self, from: PeerId, response: v1::SyncResponse) -> Result<(), HostError> {
        let before = self.height;
        for item in response.items.into_iter().take(SYNC_ITEMS_MAX) {
            let height = item.certificate.as_ref().map_or(0, |certificate| certificate.height);
            if height != 0 && height < self.height {
                continue;
            }
            match self.check_synced(item) {
                Ok((certificate, block)) => self.commit(certificate, block)?,
                Err(reason) => {
                    self.effects.send(Outbound::SyncRejected { from, height, reason });
                    break;
                }
            }
        }
        self.on_head(response.head);
        if self.height > before {
            self.catchup.progressed(Instant::now());
        }
        Ok(())
    }

    /// Checks a decided block in full: certificate, name, and the rules of the ledger.
    fn check_synced(
        &mut self,
        item: v1::LedgerItem,
    ) -> Result<(v1::CommitCertificate, Vec<u8>), String> {
        let certificate = item.certificate.ok_or("no certificate")?;
        let block = item.block.ok_or("no block")?;
        let hash = BlockHash::from_slice(&certificate.block)
            .map_err(|bytes| format!("certificate names a block with {bytes} bytes"))?;
        let domain = self.effects.domain;
        certificate::verify(
            domain.network,
            domain.era,
            &certificate,
            self.height,
            hash,
            &self.set.powers(),
        )
        .map_err(|error| error.to_string())?;
        let bytes = block.encoded_len();
        if bytes > BLOCK_BYTES_MAX {
            return Err(format!("block of {bytes} bytes, at most {BLOCK_BYTES_MAX} are allowed"));
        }
        let block = block.encode_to_vec();
        let found = self.app.identify(&block).map_err(|error| error.to_string())?;
        if found != hash {
            return Err(format!("block is {found}, its certificate is for {hash}"));
        }
        self.app.check(&block).map_err(|error| error.to_string())?;
        Ok((certificate, block))
    }
}

/// The engine's input for a message; commit certificates are the host's own affair.
fn to_input(message: Message) -> Result<Input<LedgerContext>, v1::CommitCertificate> {
    Ok(match message {
        Message::Vote(vote) => Input::Vote(vote),
        Message::Proposal(proposal) => Input::Proposal(proposal),
        Message::Polka(certificate) => Input::PolkaCertificate(certificate),
        Message::Round(certificate) => Input::RoundCertificate(certificate),
        Message::Commit(certificate) => return Err(certificate),
    })
}
