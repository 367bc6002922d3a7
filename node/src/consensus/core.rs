//! The life of a height: it starts, the engine decides, the block is committed.

use super::catchup::Catchup;
use super::codec::Message;
use super::context::{Address, BlockValue, Height, LedgerContext, ValidatorSet};
use super::effects::Effects;
use super::keys::Domain;
use super::wal::{Recovered, Wal};
use super::{Application, HostConfig, HostError, Outbound, Status};
use arc_malachitebft_core_consensus::{
    Error as EngineError, Input, LocallyProposedValue, MisbehaviorEvidence, Params, State, process,
};
use arc_malachitebft_core_types::{
    CommitCertificate, Round, SignedProposal, ThresholdParams, TimeoutKind, ValuePayload,
    VoteExtensionPolicy,
};
use assay_proto::limits::BLOCK_BYTES_MAX;
use assay_proto::v1;
use assay_protocol::ids::BlockHash;
use std::collections::VecDeque;
use std::fs;
use tokio::time::Instant;

/// A message that came a height too early.
pub(crate) enum Early {
    Message(Message),
    Body(SignedProposal<LedgerContext>, Vec<u8>),
}

/// Everything that the host's task owns. All of it is synchronous; time is read, never waited for.
pub(crate) struct Core<A> {
    pub(crate) app: A,
    pub(crate) effects: Effects,
    /// The next height, one above the application's.
    pub(crate) height: u64,
    /// Its validators.
    pub(crate) set: ValidatorSet,
    /// The engine, while the next height is being decided.
    pub(crate) running: Option<State<LedgerContext>>,
    /// Verified messages of the height after the next one.
    pub(crate) early: VecDeque<Early>,
    /// Those of them whose height has come, still to be taken up.
    ripe: VecDeque<Early>,
    pub(crate) catchup: Catchup,
    /// Proof that a block of the next height is decided, while its body is not here.
    pub(crate) awaiting_body: Option<v1::CommitCertificate>,
    /// The last decided height's certificate, when it was decided, and when it was last shown.
    pub(crate) last: Option<v1::CommitCertificate>,
    pub(crate) decided_at: Instant,
    pub(crate) shown_at: Option<Instant>,
    work: bool,
}

impl<A: Application> Core<A> {
    /// Opens the log and, if it has inputs of the next height, goes on where they end.
    pub(crate) fn open(config: HostConfig, app: A) -> Result<Self, HostError> {
        fs::create_dir_all(&config.home)
            .map_err(|source| HostError::Home { path: config.home.clone(), source })?;
        let wal = Wal::open(&config.home.join("consensus.wal"))?;
        let domain = Domain { network: config.network, era: app.era() };
        let mut core = Self {
            height: app.height().saturating_add(1),
            set: ValidatorSet::new(app.validators())?,
            last: app.certificate(),
            work: app.has_work(),
            effects: Effects::new(domain, config.signer, config.timeouts, wal),
            running: None,
            early: VecDeque::new(),
            ripe: VecDeque::new(),
            catchup: Catchup::default(),
            awaiting_body: None,
            decided_at: Instant::now(),
            shown_at: None,
            app,
        };
        if core.is_validator() && core.effects.wal.has_inputs_of(core.height) {
            core.start_height()?;
        }
        core.settle()?;
        Ok(core)
    }

    /// Whether we are a validator of the next height.
    pub(crate) fn is_validator(&self) -> bool {
        self.set.get(self.me()).is_some()
    }

    fn me(&self) -> Address {
        Address(self.effects.me())
    }

    /// What to show.
    pub(crate) fn status(&self) -> Status {
        Status {
            height: self.height - 1,
            round: self.running.as_ref().and_then(|_| self.effects.round.as_u32()),
            validator: self.is_validator(),
        }
    }

    /// There may be work, or the ledger may have entered another era.
    pub(crate) fn wake(&mut self) -> Result<(), HostError> {
        let moved = self.app.height().saturating_add(1) != self.height;
        if moved || self.app.era() != self.effects.domain.era {
            self.enter_next()?;
        }
        self.work = self.app.has_work();
        Ok(())
    }

    /// Turns to the height after the application's.
    fn enter_next(&mut self) -> Result<(), HostError> {
        self.running = None;
        self.effects.reset(false);
        self.effects.domain.era = self.app.era();
        self.height = self.app.height().saturating_add(1);
        self.set = ValidatorSet::new(self.app.validators())?;
        self.awaiting_body = None;
        self.last = self.app.certificate();
        self.ripe = std::mem::take(&mut self.early);
        self.work = self.app.has_work();
        Ok(())
    }

    /// Whether [`Core::step`] would do something.
    pub(crate) fn can_step(&self) -> bool {
        let startable = self.running.is_none() && self.work && self.is_validator();
        startable || !self.ripe.is_empty()
    }

    /// Takes up a message that came early, or starts a height for which there is work.
    pub(crate) fn step(&mut self) -> Result<(), HostError> {
        match self.ripe.pop_front() {
            Some(Early::Message(message)) => self.on_message(message)?,
            Some(Early::Body(proposal, block)) => self.on_proposed(proposal, block)?,
            None if self.can_step() => self.start_height()?,
            None => {}
        }
        self.settle()
    }

    /// When [`Core::on_time`] has something to do.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.effects.timers.next_at().into_iter().chain(self.catchup.next_at()).min()
    }

    /// Handles what has become due.
    pub(crate) fn on_time(&mut self) -> Result<(), HostError> {
        let now = Instant::now();
        if self.catchup.take_due(self.height, now) {
            self.effects.send(Outbound::RequestSync { from: self.height });
        }
        while let Some(timeout) = self.effects.timers.take_elapsed(now) {
            if timeout.kind == TimeoutKind::Rebroadcast {
                // Nothing moved for a while: perhaps the others have decided without us.
                self.catchup.behind(self.height, false, now);
            }
            self.feed(Input::TimeoutElapsed(timeout))?;
        }
        self.settle()
    }

    /// Gives the engine an input, if a height is running.
    pub(crate) fn feed(&mut self, input: Input<LedgerContext>) -> Result<(), HostError> {
        let Some(state) = self.running.as_mut() else { return Ok(()) };
        let effects = &mut self.effects;
        let result: Result<(), EngineError<LedgerContext>> = process!(
            input: input,
            state: state,
            metrics: &(),
            with: effect => Ok::<_, HostError>(effects.perform(effect))
        );
        if let Some(failure) = effects.take_failure() {
            return Err(failure);
        }
        match result {
            Ok(()) => Ok(()),
            Err(
                error @ (EngineError::ReplayDivergence(..)
                | EngineError::WalCorrupted(_)
                | EngineError::UnexpectedResume(..)),
            ) => Err(HostError::Engine(error.to_string())),
            Err(error) => {
                tracing::warn!(height = self.height, %error, "the ordering engine refused an input");
                Ok(())
            }
        }
    }

    /// Starts the next height, from its log if we have voted on it before.
    pub(crate) fn start_height(&mut self) -> Result<(), HostError> {
        let (height, domain) = (self.height, self.effects.domain);
        let validator = self.is_validator();
        let wal = &mut self.effects.wal;
        let mut recovered = Recovered::default();
        if validator {
            recovered = wal.recover(domain, height)?;
            if wal.signs_from() <= height && recovered.inputs.is_empty() {
                wal.begin(domain, height)?;
            }
        }
        let signing = validator && wal.signs_from() == height;
        self.effects.reset(signing);
        let params = Params {
            address: self.me(),
            threshold_params: ThresholdParams::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: signing,
        };
        // The host holds back what is not of the running height, so the engine's own queue for
        // such messages stays empty.
        let state = State::new(LedgerContext, Height(height), self.set.clone(), params, 1, 1);
        self.running = Some(state);
        self.feed(Input::StartHeight(
            Height(height),
            self.set.clone(),
            false,
            None,
            VoteExtensionPolicy::Disabled,
        ))?;
        self.replay(recovered)
    }

    /// Feeds logged inputs again, so that the engine is where it was, and repeats what it said.
    fn replay(&mut self, recovered: Recovered) -> Result<(), HostError> {
        if recovered.inputs.is_empty() {
            return Ok(());
        }
        tracing::info!(height = self.height, inputs = recovered.inputs.len(), "resuming a height");
        for (hash, block) in recovered.bodies {
            let round = recovered.inputs.iter().find_map(|input| match input {
                Input::ProposedValue(value, _) if value.value.0 == hash => value.round.as_u32(),
                _ => None,
            });
            self.effects.bodies.insert(hash, round.unwrap_or(0), block, None);
        }
        for input in &recovered.inputs {
            self.effects.remember_signed(input);
        }
        if let Some(state) = &mut self.running {
            state.index_wal_entries(recovered.inputs.iter());
        }
        for input in recovered.inputs {
            self.feed(input)?;
        }
        if let Some(state) = &mut self.running {
            state.reset_entries_index();
        }
        Ok(())
    }

    /// Does what the engine asked for, until it asks for nothing.
    pub(crate) fn settle(&mut self) -> Result<(), HostError> {
        loop {
            self.effects.release()?;
            if let Some(certificate) = self.effects.decided.take() {
                self.decide(&certificate)?;
            } else if let Some(round) = self.effects.wanted.take() {
                self.propose(round)?;
            } else {
                return Ok(());
            }
        }
    }

    /// Makes the block that the engine wants from us.
    fn propose(&mut self, round: Round) -> Result<(), HostError> {
        // After a replay the round may be over, or our proposal in it known already.
        let waiting = self
            .running
            .as_ref()
            .is_some_and(|state| state.round() == round && state.driver.step_is_propose());
        let Some(number) = round.as_u32().filter(|_| waiting) else { return Ok(()) };
        let (hash, block) = match self.app.build(number) {
            Ok(built) => built,
            Err(error) => {
                tracing::warn!(height = self.height, number, %error, "no block to propose");
                return Ok(());
            }
        };
        if block.len() > BLOCK_BYTES_MAX {
            tracing::error!(bytes = block.len(), "the block built is too large to propose");
            return Ok(());
        }
        self.keep_body(hash, number, block);
        let height = Height(self.height);
        self.feed(Input::Propose(LocallyProposedValue::new(height, round, BlockValue(hash))))
    }

    /// Keeps a body, in preference to all but the block that a quorum stands behind.
    pub(crate) fn keep_body(&mut self, hash: BlockHash, round: u32, block: Vec<u8>) {
        let state = self.running.as_ref();
        let locked = state.and_then(|state| state.driver.valid_value()).map(|valid| valid.value.0);
        self.effects.bodies.insert(hash, round, block, locked);
    }

    fn decide(&mut self, decided: &CommitCertificate<LedgerContext>) -> Result<(), HostError> {
        let mut signatures: Vec<_> = decided
            .commit_signatures
            .iter()
            .map(|entry| v1::CommitSignature {
                validator: entry.address.0.to_vec(),
                signature: entry.signature.0.to_vec(),
            })
            .collect();
        signatures.sort_by(|a, b| a.validator.cmp(&b.validator));
        let certificate = v1::CommitCertificate {
            height: decided.height.0,
            round: decided.round.as_u32().unwrap_or(0),
            block: decided.value_id.to_vec(),
            signatures,
        };
        match self.effects.bodies.get(decided.value_id).map(<[u8]>::to_vec) {
            Some(block) => self.commit(certificate, block),
            None => {
                // The body was pushed out by others of later rounds; whoever has it sends it.
                self.awaiting_body = Some(certificate);
                self.catchup.behind(self.height, false, Instant::now());
                Ok(())
            }
        }
    }

    /// Commits a block that is known to be decided and to follow the current state.
    pub(crate) fn commit(
        &mut self,
        certificate: v1::CommitCertificate,
        block: Vec<u8>,
    ) -> Result<(), HostError> {
        let height = self.height;
        let failed = |reason: String| HostError::Commit { height, reason };
        self.effects.wal.flush()?;
        self.app.commit(certificate, block).map_err(|e| failed(e.to_string()))?;
        if self.app.height() != height {
            return Err(failed(format!("the ledger is at height {} after it", self.app.height())));
        }
        if let Some(mut state) = self.running.take() {
            let evidence = MisbehaviorEvidence {
                proposals: state.driver.take_proposal_evidence(),
                votes: state.driver.take_vote_evidence(),
            };
            self.effects.report(evidence);
        }
        self.effects.send(Outbound::Decided { height });
        self.decided_at = Instant::now();
        self.enter_next()
    }
}
