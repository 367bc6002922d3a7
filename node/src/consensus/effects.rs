//! Carrying out what the engine asks for.

use super::bodies::Bodies;
use super::codec::{Message, encode_body};
use super::context::{Address, LedgerContext};
use super::keys::{Domain, ready};
use super::slots::Slots;
use super::timers::Timers;
use super::wal::Wal;
use super::{Evidence, HostError, Outbound, Topic, WalError};
use arc_malachitebft_core_consensus::{
    ConsensusMsg, Effect, Input, LivenessMsg, MisbehaviorEvidence, Resumable, Resume,
    SignedConsensusMsg, VoteExtensionError,
};
use arc_malachitebft_core_types::{
    CertificateError, CommitCertificate, LinearTimeouts, Round, SignedProposal, SignedVote,
    Timeout, VoteType,
};
use arc_malachitebft_signing::VerifierExt;
use assay_protocol::ids::PeerId;
use ed25519_dalek::SigningKey;
use std::collections::VecDeque;
use tokio::time::Instant;

/// Messages waiting for the owner to take them. When full the oldest is dropped, which validators
/// repair by repeating themselves.
const OUTBOX_MAX: usize = 1024;
/// Times that a proposer sends one block again.
const REPEATS_MAX: u32 = 16;

/// What the engine acts on, and what it asked for.
pub(crate) struct Effects {
    pub(crate) domain: Domain,
    pub(crate) wal: Wal,
    pub(crate) bodies: Bodies,
    pub(crate) timers: Timers,
    /// The block that the engine decided, to be committed.
    pub(crate) decided: Option<CommitCertificate<LedgerContext>>,
    /// The round for which the engine wants a block from us.
    pub(crate) wanted: Option<Round>,
    /// The round that runs.
    pub(crate) round: Round,
    /// Our proposal of the latest round in which we made one.
    pub(crate) proposal: Option<SignedProposal<LedgerContext>>,
    key: SigningKey,
    timeouts: LinearTimeouts,
    signing: bool,
    slots: Slots,
    repeats: u32,
    failure: Option<HostError>,
    unsent: VecDeque<Outbound>,
    outbox: VecDeque<Outbound>,
}

impl Effects {
    pub(crate) fn new(domain: Domain, key: SigningKey, timeouts: LinearTimeouts, wal: Wal) -> Self {
        Self {
            domain,
            wal,
            bodies: Bodies::default(),
            timers: Timers::default(),
            decided: None,
            wanted: None,
            round: Round::Nil,
            proposal: None,
            key,
            timeouts,
            signing: false,
            slots: Slots::default(),
            repeats: 0,
            failure: None,
            unsent: VecDeque::new(),
            outbox: VecDeque::new(),
        }
    }

    /// Forgets the height that ended. `signing` says whether we vote in the one that begins, and
    /// so whether its inputs are logged.
    pub(crate) fn reset(&mut self, signing: bool) {
        self.bodies.clear();
        self.timers.cancel_all();
        self.decided = None;
        self.wanted = None;
        self.round = Round::Nil;
        self.proposal = None;
        self.signing = signing;
        self.slots.clear();
        self.repeats = 0;
    }

    /// Our key.
    pub(crate) fn me(&self) -> PeerId {
        PeerId(self.key.verifying_key().to_bytes())
    }

    /// The failure, if any, that makes everything after it void.
    pub(crate) fn take_failure(&mut self) -> Option<HostError> {
        self.failure.take()
    }

    /// Sends something once what it rests on is durable.
    pub(crate) fn send(&mut self, outbound: Outbound) {
        self.unsent.push_back(outbound);
    }

    /// Makes the log durable and lets go of everything sent since the last call.
    pub(crate) fn release(&mut self) -> Result<(), HostError> {
        if !self.unsent.is_empty() {
            self.wal.flush()?;
            self.outbox.append(&mut self.unsent);
            let excess = self.outbox.len().saturating_sub(OUTBOX_MAX);
            if excess > 0 {
                tracing::warn!(excess, "outbound messages are not taken; dropping the oldest");
                self.outbox.drain(..excess);
            }
        }
        Ok(())
    }

    /// Whether [`Effects::take_outbound`] has something.
    pub(crate) fn has_outbound(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The oldest message that may leave.
    pub(crate) fn take_outbound(&mut self) -> Option<Outbound> {
        self.outbox.pop_front()
    }

    /// Carries out one effect. A failure is kept in [`Effects::take_failure`]; until the caller
    /// looks there, nothing leaves.
    pub(crate) fn perform(&mut self, effect: Effect<LedgerContext>) -> Resume<LedgerContext> {
        match effect {
            Effect::CancelAllTimeouts(_) => self.timers.cancel_all(),
            Effect::CancelTimeout(timeout, _) => self.timers.cancel(timeout),
            Effect::ScheduleTimeout(timeout, _) => self.schedule(timeout),
            Effect::StartRound(_, round, _, _, _) => self.start_round(round),
            Effect::PublishConsensusMsg(message, _) => self.publish(message),
            Effect::PublishLivenessMsg(message, _) => self.assist(message),
            Effect::RepublishVote(vote, _) => self.repeat(vote),
            Effect::RepublishRoundCertificate(certificate, _) => {
                self.assist(LivenessMsg::SkipRoundCertificate(certificate));
            }
            Effect::GetValue(_, round, _, _) => self.wanted = Some(round),
            // The engine publishes the proposal again right after this, and with every proposal
            // its block is sent.
            Effect::RestreamProposal(..) => {}
            Effect::Decide(certificate, _, _) => self.decided = Some(certificate),
            Effect::Finalize(_, _, evidence, _) => self.report(evidence),
            Effect::WalAppend(_, input, _) => self.append(input),
            // Synced blocks are committed without the engine, so it never has any.
            Effect::CertVerifiedSyncValue(..) | Effect::CertRejectedSyncValue(..) => {}
            Effect::SignVote(vote, r) => {
                if self.slots.take_vote(&vote) {
                    return r.resume_with(self.domain.sign_vote(&self.key, vote));
                }
                self.refuse_to_sign();
            }
            Effect::SignProposal(proposal, r) => {
                if self.slots.take_proposal(&proposal) {
                    return r.resume_with(self.domain.sign_proposal(&self.key, proposal));
                }
                self.refuse_to_sign();
            }
            question => return self.verify(question),
        }
        Resume::Continue
    }

    /// Answers a question of the engine about a signature.
    fn verify(&self, question: Effect<LedgerContext>) -> Resume<LedgerContext> {
        match question {
            Effect::VerifySignature(signed, key, r) => r.resume_with(match signed.message {
                ConsensusMsg::Vote(vote) => {
                    self.domain.vote_is_signed(&vote, &signed.signature, &key)
                }
                ConsensusMsg::Proposal(proposal) => {
                    self.domain.proposal_is_signed(&proposal, &signed.signature, &key)
                }
            }),
            Effect::VerifyCommitCertificate(certificate, set, thresholds, r) => {
                r.resume_with(ready(self.domain.verify_commit_certificate(
                    &LedgerContext,
                    &certificate,
                    &set,
                    thresholds,
                )))
            }
            Effect::VerifyPolkaCertificate(certificate, set, _, r) => {
                r.resume_with(self.domain.check_polka(&certificate, &set).map_err(|error| *error))
            }
            Effect::VerifyRoundCertificate(certificate, set, _, r) => {
                r.resume_with(self.domain.check_round(&certificate, &set).map_err(|error| *error))
            }
            // Synced blocks are verified without the engine, and votes have no extensions; the
            // engine is told so if it asks all the same.
            Effect::VerifyExtendedCommitCertificate(_, _, _, _, r) => {
                r.resume_with(Err(CertificateError::VerificationError(None)))
            }
            Effect::ExtendVote(_, _, _, _, r) => r.resume_with(None),
            Effect::VerifyVoteExtension(_, _, _, _, _, _, r) => {
                r.resume_with(Err(VoteExtensionError::InvalidVoteExtension))
            }
            // Everything else resumes like this, and has been carried out by the caller.
            _ => Resume::Continue,
        }
    }

    fn refuse_to_sign(&mut self) {
        let reason = "it wanted a second signature for a slot, which was refused";
        self.failure.get_or_insert(HostError::Engine(reason.into()));
    }

    /// Remembers a message of ours that the log holds, before the engine is fed from the log.
    pub(crate) fn remember_signed(&mut self, input: &Input<LedgerContext>) {
        let me = Address(self.me());
        match input {
            Input::Vote(vote) if vote.message.validator == me => {
                self.slots.take_vote(&vote.message);
            }
            Input::Proposal(proposal) if proposal.message.proposer == me => {
                self.slots.take_proposal(&proposal.message);
                self.proposal = Some(proposal.clone());
            }
            _ => {}
        }
    }

    fn schedule(&mut self, timeout: Timeout) {
        let wait = self.timeouts.duration_for(timeout);
        self.timers.schedule(timeout, Instant::now() + wait);
    }

    fn start_round(&mut self, round: Round) {
        self.round = round;
        let flushed = self.wal.flush();
        self.keep_failure(flushed);
    }

    fn append(&mut self, input: Input<LedgerContext>) {
        if !self.signing || self.failure.is_some() {
            return;
        }
        let mut logged = Ok(());
        if let Input::ProposedValue(value, _) = &input
            && let Some(block) = self.bodies.get(value.value.0)
        {
            logged = self.wal.append_body(value.value.0, block);
        }
        let logged = logged.and_then(|()| self.wal.append(input));
        self.keep_failure(logged);
    }

    fn keep_failure(&mut self, result: Result<(), WalError>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error.into());
        }
    }

    fn publish(&mut self, message: SignedConsensusMsg<LedgerContext>) {
        match message {
            SignedConsensusMsg::Vote(vote) => {
                self.send(Outbound::Publish(Topic::Consensus, Message::Vote(vote).encode()));
            }
            SignedConsensusMsg::Proposal(proposal) => {
                if proposal.message.proposer == Address(self.me()) {
                    self.proposal = Some(proposal.clone());
                    self.repeats = 0;
                }
                self.send_proposal(Topic::Consensus, &proposal, 0);
            }
        }
    }

    fn send_proposal(
        &mut self,
        topic: Topic,
        proposal: &SignedProposal<LedgerContext>,
        repeat: u32,
    ) {
        self.send(Outbound::Publish(topic, Message::Proposal(proposal.clone()).encode()));
        if let Some(block) = self.bodies.get(proposal.message.value.0) {
            let body = encode_body(proposal, block.to_vec(), repeat);
            self.send(Outbound::Publish(Topic::Body, body));
        }
    }

    fn assist(&mut self, message: LivenessMsg<LedgerContext>) {
        let message = match message {
            LivenessMsg::Vote(vote) => Message::Vote(vote),
            LivenessMsg::PolkaCertificate(certificate) => Message::Polka(certificate),
            LivenessMsg::SkipRoundCertificate(certificate) => Message::Round(certificate),
        };
        self.send(Outbound::Publish(Topic::Liveness, message.encode()));
    }

    /// Repeats a vote and, while its round waits for votes, our proposal in that round.
    fn repeat(&mut self, vote: SignedVote<LedgerContext>) {
        let (round, kind) = (vote.message.round, vote.message.kind);
        self.assist(LivenessMsg::Vote(vote));
        let ours = self.proposal.clone().filter(|proposal| proposal.message.round == round);
        if let Some(proposal) = ours
            && kind == VoteType::Prevote
            && self.repeats < REPEATS_MAX
        {
            self.repeats += 1;
            self.send_proposal(Topic::Liveness, &proposal, self.repeats);
        }
    }

    /// Passes on the proofs of double signing that the engine collected.
    pub(crate) fn report(&mut self, evidence: MisbehaviorEvidence<LedgerContext>) {
        let era = self.domain.era;
        for (address, pairs) in evidence.votes {
            for (first, second) in pairs {
                self.send(Outbound::Misbehaviour(Evidence {
                    validator: address.0,
                    height: first.message.height.0,
                    era,
                    first: Message::Vote(first).encode(),
                    second: Message::Vote(second).encode(),
                }));
            }
        }
        for (address, pairs) in evidence.proposals.iter() {
            for (first, second) in pairs {
                self.send(Outbound::Misbehaviour(Evidence {
                    validator: address.0,
                    height: first.message.height.0,
                    era,
                    first: Message::Proposal(first.clone()).encode(),
                    second: Message::Proposal(second.clone()).encode(),
                }));
            }
        }
    }
}
