//! One peer: the ledger's state, what waits to be ordered, and the peer's own duties.
//!
//! [`Peer::step`] and [`Peer::hear`], for what strangers say, are the whole interface: inputs come in
//! as values, effects go out as values.
//! There is no clock, socket, file, key or thread here; `node` interprets the effects.

use crate::block::Proposer;
use crate::equivocation::{Slot, Watch};
use crate::error::{Penalty, Reject};
use crate::ids::{ClaimId, NetworkId, PeerId, RecordId, RoundId};
use crate::item::{ItemError, apply_item};
use crate::measurement::Measurement;
use crate::membership::Return;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::record::{Body, Opening, Record, Reveal, Seal, reveal_seal};
use crate::ruling::{Ballot, Charge};
use crate::state::{Phase, State};
use crate::wire;
use assay_proto::v1;
use std::collections::BTreeMap;

/// Times that a seat tries to measure for one round before it leaves it to the reserves.
pub const MEASURE_ATTEMPTS_MAX: u32 = 3;

/// A measurement that this peer made and has not shown yet, or the salt of its own result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// As a seat.
    Measurement {
        /// The round measured for.
        round: RoundId,
        /// The seal's salt.
        salt: [u8; 32],
        /// The raw data.
        measurement: Box<Measurement>,
    },
    /// As an author.
    Result(Opening),
}

/// What happens to a peer.
#[derive(Debug, Clone)]
pub enum Input {
    /// This peer wants to say something; the body was signed by its key.
    Own(Box<Record>),
    /// A block was decided.
    Block(Box<v1::LedgerItem>),
    /// A measurement finished.
    Measured(Secret),
    /// A measurement failed on this machine.
    MeasureFailed(RoundId),
    /// This peer's finding about a charge.
    Judged(Ballot),
    /// A secret read back after a restart, or made by the operator's own claim.
    Restore(Secret),
    /// Time passes: say again what was not ordered yet.
    Tick,
}

/// What a peer wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Store a secret; durable before any later effect is carried out.
    Keep(Secret),
    /// A claim's result is open: the secret may go.
    Forget(ClaimId),
    /// Store the body of a post before any later effect is carried out. The ledger holds its hash alone, so
    /// that a body that could not be stored costs this peer the text and nothing else.
    KeepPost(Box<Record>),
    /// Sign this and give it back as [`Input::Own`].
    Sign(Box<Body>),
    /// Accept this vouch with this peer's random-function key: sign a `Join` and give it back as
    /// [`Input::Own`].
    Join(RecordId),
    /// Send a record to everyone.
    Publish(Box<Record>),
    /// Measure, then answer with [`Input::Measured`] or [`Input::MeasureFailed`].
    Measure(Box<Plan>),
    /// Run the rule's predicate, then answer with [`Input::Judged`], whatever came of it.
    Judge(Box<Case>),
    /// Something can be ordered.
    Order,
    /// A round has its verdict: its measurement may go.
    Settled(RoundId),
}

/// What a seat judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The ruling: the flag's record.
    pub ruling: RecordId,
    /// Which of its hearings.
    pub hearing: u32,
    /// What is charged.
    pub charge: Charge,
}

/// What became of a record from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Valid; pass it on.
    Fresh,
    /// Known already.
    Known,
    /// Of no use, but no fault of the sender.
    Useless(Reject),
    /// What no honest peer sends.
    Misbehaviour(Reject),
}

/// One peer of the network.
pub struct Peer {
    me: PeerId,
    state: State,
    pool: Pool,
    measurements: BTreeMap<RoundId, ([u8; 32], Measurement)>,
    results: BTreeMap<ClaimId, Opening>,
    measuring: Option<RoundId>,
    failures: BTreeMap<RoundId, u32>,
    judging: Option<(RecordId, u32)>,
    judged: BTreeMap<(RecordId, u32), Ballot>,
    watch: Watch,
}

/// Has the body of a post stored before the post is sent on or ordered.
fn keep_post(record: &Record, effects: &mut Vec<Effect>) {
    if matches!(record.body, Body::Post(_)) {
        effects.push(Effect::KeepPost(Box::new(record.clone())));
    }
}

impl Peer {
    /// A peer at the given state.
    #[must_use]
    pub fn new(me: PeerId, state: State) -> Self {
        Self {
            me,
            state,
            pool: Pool::default(),
            measurements: BTreeMap::new(),
            results: BTreeMap::new(),
            measuring: None,
            failures: BTreeMap::new(),
            judging: None,
            judged: BTreeMap::new(),
            watch: Watch::default(),
        }
    }

    /// The ledger's state as this peer knows it.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// This peer's key.
    #[must_use]
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// The network's id.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.state.network()
    }

    /// The round being measured for on this machine.
    #[must_use]
    pub fn measuring(&self) -> Option<RoundId> {
        self.measuring
    }

    /// Whether a null claim of this peer is on the docket.
    #[must_use]
    pub fn has_open_null(&self) -> bool {
        let open = |opening: &Opening| {
            self.state.claim(opening.claim).is_some_and(|claim| !claim.is_entry())
        };
        self.results.values().any(|opening| opening.null && open(opening))
    }

    /// Whether a record waits to be ordered.
    #[must_use]
    pub fn waits(&self, id: RecordId) -> bool {
        self.pool.contains(id)
    }

    /// Whether a block would have something to say at `now_ms`.
    #[must_use]
    pub fn has_work(&self, now_ms: u64) -> bool {
        self.state.wants_block(now_ms) || self.pool.has_applicable()
    }

    /// The next block, if it has something to say.
    #[must_use]
    pub fn build(&self, now_ms: u64, proposer: Proposer) -> Option<v1::Block> {
        self.state.build(self.pool.records(), now_ms, proposer)
    }

    /// Takes one input and appends what is to be done.
    ///
    /// # Errors
    ///
    /// [`ItemError`] when a decided block does not extend the ledger; the peer is unchanged.
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) -> Result<(), ItemError> {
        match input {
            Input::Own(record) => {
                let shared = record.clone();
                if self.pool.insert(&self.state, *record) == Ok(true) {
                    keep_post(&shared, effects);
                    effects.push(Effect::Publish(shared));
                    self.note_order(effects);
                }
            }
            Input::Block(item) => self.take_block(&item, effects)?,
            Input::Measured(secret) => {
                self.measuring = None;
                effects.push(Effect::Keep(secret.clone()));
                self.restore(secret);
                self.duties(effects);
            }
            Input::MeasureFailed(round) => {
                self.measuring = None;
                if self.state.round(round).is_some_and(|(_, round)| round.is_open()) {
                    *self.failures.entry(round).or_insert(0) += 1;
                }
                self.duties(effects);
            }
            Input::Judged(ballot) => {
                self.judging = None;
                self.judged.insert((ballot.charge, ballot.hearing), ballot);
                self.duties(effects);
            }
            Input::Restore(secret) => self.restore(secret),
            Input::Tick => {
                self.duties(effects);
                let own = self.pool.records_of(self.me);
                effects.extend(own.map(|record| Effect::Publish(Box::new(record.clone()))));
                self.note_order(effects);
            }
        }
        Ok(())
    }

    /// Takes a record from outside and says what it was worth, for the network to act on.
    pub fn hear(&mut self, bytes: &[u8], effects: &mut Vec<Effect>) -> Heard {
        let inserted = wire::open(self.network(), bytes).and_then(|record| {
            self.accuse(&record, effects);
            let post = matches!(record.body, Body::Post(_)).then(|| record.clone());
            Ok((self.pool.insert(&self.state, record)?, post))
        });
        match inserted {
            Ok((true, post)) => {
                if let Some(post) = post {
                    keep_post(&post, effects);
                }
                self.note_order(effects);
                Heard::Fresh
            }
            Ok((false, _)) => Heard::Known,
            Err(reject) => match reject.penalty() {
                Penalty::None => Heard::Useless(reject),
                Penalty::Misbehaviour => Heard::Misbehaviour(reject),
            },
        }
    }

    /// Compares a member's record with what that member said before, and signs the proof if the
    /// two contradict each other.
    fn accuse(&mut self, record: &Record, effects: &mut Vec<Effect>) {
        let concerns = record.author != self.me
            && self.state.active_member(record.author).is_some()
            && self.state.active_member(self.me).is_some()
            && self.may_fill(record);
        if !concerns {
            return;
        }
        if let Some(proof) = self.watch.see(record) {
            let culprit = proof.culprit();
            let mut waiting = self.pool.records().filter_map(|waiting| match &waiting.body {
                Body::Equivocation(proof) => Some(proof.culprit()),
                _ => None,
            });
            if !waiting.any(|accused| accused == culprit) {
                effects.push(Effect::Sign(Box::new(Body::Equivocation(Box::new(proof)))));
            }
        }
    }

    /// Whether a record can fill a slot of its author's: otherwise records about rounds and claims that
    /// are none of its matter would push out of sight what it said about those that are.
    fn may_fill(&self, record: &Record) -> bool {
        let seated =
            |round| self.state.round(round).is_some_and(|(_, round)| round.admits(record.author));
        match Slot::of(&record.body) {
            Some(Slot::Seal(round) | Slot::Reveal(round)) => seated(round),
            Some(Slot::Opening(claim)) => {
                self.state.claim(claim).is_some_and(|claim| claim.author == record.author)
            }
            Some(Slot::Join(_)) | None => true,
        }
    }

    /// The vouch that this peer has to accept, unless its answer waits to be ordered.
    fn vouch_to_accept(&self) -> Option<RecordId> {
        let pending = self.state.pending_vouches().get(&self.me)?;
        let answers = |record: &Record| matches!(record.body, Body::Join(_));
        (!self.pool.records_of(self.me).any(answers)).then_some(pending.record)
    }

    fn note_order(&self, effects: &mut Vec<Effect>) {
        if self.pool.has_applicable() {
            effects.push(Effect::Order);
        }
    }

    fn take_block(
        &mut self,
        item: &v1::LedgerItem,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ItemError> {
        let mut next = self.state.clone();
        apply_item(&mut next, item)?;
        self.state = next;
        for signed in item.block.iter().flat_map(|block| &block.records) {
            let Some(id) = wire::id_of(self.network(), signed) else { continue };
            if self.pool.contains(id) {
                self.pool.remove(id);
            } else if let Ok(record) = wire::open_signed(self.network(), signed.clone()) {
                // Ordered without having been heard here.
                self.accuse(&record, effects);
            }
        }
        self.pool.refresh(&self.state);
        let state = &self.state;
        self.watch.retain(|peer| state.active_member(peer).is_some());
        for id in self.state.settled_rounds() {
            self.measurements.remove(id);
            self.failures.remove(id);
            effects.push(Effect::Settled(*id));
        }
        self.duties(effects);
        self.note_order(effects);
        Ok(())
    }

    fn restore(&mut self, secret: Secret) {
        match secret {
            Secret::Measurement { round, salt, measurement } => {
                self.measurements.insert(round, (salt, *measurement));
            }
            Secret::Result(opening) => {
                self.results.insert(opening.claim, opening);
            }
        }
    }

    /// What this peer owes the network in the present state: measurements, seals, reveals, and
    /// the opening of its own results.
    fn duties(&mut self, effects: &mut Vec<Effect>) {
        let mut say = Vec::new();
        let mut measure = None;
        for (claim, round) in self.state.open_rounds() {
            let id = round.id(claim.id);
            let sealed = round.seal_of(self.me).is_some();
            let held = self.measurements.get(&id);
            match round.phase {
                Phase::Sealing { .. } if !sealed && round.admits(self.me) => {
                    if let Some((salt, measurement)) = held {
                        let commitment = reveal_seal(id, self.me, salt, measurement);
                        say.push(Body::Seal(Seal { round: id, commitment }));
                    } else if self.may_measure(id) && measure.is_none() {
                        measure = self.state.plan(claim, round, self.me);
                    }
                }
                Phase::Revealing { .. } if sealed && !round.has_revealed(self.me) => {
                    if let Some((salt, measurement)) = held.cloned() {
                        let reveal = Reveal { round: id, salt, measurement };
                        say.push(Body::Reveal(Box::new(reveal)));
                    }
                }
                _ => {}
            }
        }
        say.extend(self.ballots_due(effects));
        let silent_since = self.state.turns().silent.get(&self.me).copied();
        say.extend(silent_since.map(|silent_since| Body::Return(Return { silent_since })));
        let mut done = Vec::new();
        for (id, opening) in &self.results {
            let Some(claim) = self.state.claim(*id) else { continue };
            if claim.opening.is_some() {
                done.push(*id);
            } else if claim.is_entry() {
                say.push(Body::Opening(opening.clone()));
            }
        }
        for id in done {
            self.results.remove(&id);
            effects.push(Effect::Forget(id));
        }
        if let Some(plan) = measure {
            self.measuring = Some(plan.round);
            effects.push(Effect::Measure(Box::new(plan)));
        }
        effects.extend(self.vouch_to_accept().map(Effect::Join));
        let fresh = say.into_iter().filter(|body| !self.said(body));
        effects.extend(fresh.map(|body| Effect::Sign(Box::new(body))));
    }

    /// The ballots that this peer owes, each found before; has the next finding made where one is missing.
    fn ballots_due(&mut self, effects: &mut Vec<Effect>) -> Vec<Body> {
        let mut owed = BTreeMap::new();
        for ruling in self.state.open_rulings() {
            let Some((number, hearing)) = ruling.open_hearing() else { continue };
            if hearing.seats.contains(&self.me) && !hearing.ballots.contains_key(&self.me) {
                owed.insert((ruling.id, number), ruling.charge);
            }
        }
        self.judged.retain(|case, _| owed.contains_key(case));
        let mut missing = owed.iter().filter(|(case, _)| !self.judged.contains_key(case));
        if let Some((case, charge)) = missing.next()
            && self.judging.is_none()
        {
            self.judging = Some(*case);
            let (ruling, hearing) = *case;
            effects.push(Effect::Judge(Box::new(Case { ruling, hearing, charge: *charge })));
        }
        self.judged.values().copied().map(Body::Ballot).collect()
    }

    fn may_measure(&self, round: RoundId) -> bool {
        let failures = self.failures.get(&round).copied().unwrap_or(0);
        self.measuring.is_none() && failures < MEASURE_ATTEMPTS_MAX
    }

    /// Whether the same thing waits to be ordered already.
    fn said(&self, body: &Body) -> bool {
        self.pool.records_of(self.me).any(|record| record.body == *body)
    }
}
