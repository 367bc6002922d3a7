//! Everything that decided one claim, in the order in which the ledger has it.

use super::rule::kind_of;
use crate::draw::Candidate;
use crate::ids::{ClaimId, PeerId};
use crate::record::{Body, Record};
use crate::state::{ClaimState, Phase, Purpose, Round, State};
use crate::wire;
use assay_proto::v1;
use serde::Serialize;
use serde_json::{Value, json};

/// Kinds of records that say something about a claim: claim, seal, reveal, opening, challenge,
/// disclosure.
const ABOUT_CLAIMS: [u32; 6] = [1, 2, 3, 4, 5, 25];

/// Something that happened to a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The block.
    pub height: u64,
    /// Its time.
    pub time_ms: u64,
    /// What happened, in a few words.
    pub what: String,
    /// With which figures.
    pub detail: Value,
}

/// Follows one claim while a ledger is audited.
#[derive(Debug)]
pub struct Trail {
    claim: ClaimId,
    last: Option<ClaimState>,
    events: Vec<Event>,
}

impl Trail {
    /// A trail of one claim.
    #[must_use]
    pub fn new(claim: ClaimId) -> Self {
        Self { claim, last: None, events: Vec::new() }
    }

    /// Looks at an item that was checked, and the state after it.
    pub fn observe(&mut self, item: &v1::LedgerItem, state: &State) {
        for signed in item.block.iter().flat_map(|block| &block.records) {
            if ABOUT_CLAIMS.contains(&kind_of(signed))
                && let Ok(record) = wire::open_unchecked(state.network(), signed.clone())
            {
                self.hear(&record, state);
            }
        }
        let Some(claim) = state.claim(self.claim) else { return };
        if self.last.as_ref() == Some(claim) {
            return;
        }
        let before = self.last.replace(claim.clone());
        for round in &claim.rounds {
            let old = before.as_ref().and_then(|claim| claim.round(round.number));
            self.compare_round(old, round, claim, state);
        }
        self.compare(before.as_ref(), claim, state);
    }

    /// What happened so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    fn say(&mut self, state: &State, what: String, detail: Value) {
        let (height, time_ms) = (state.height(), state.time_ms());
        self.events.push(Event { height, time_ms, what, detail });
    }

    /// A record about the claim.
    fn hear(&mut self, record: &Record, state: &State) {
        let by = name(state, record.author);
        let (claim, what, detail) = match &record.body {
            Body::Claim(claim) => (
                ClaimId(record.id.0),
                format!("{by} claims {}", claim.recipe.id()),
                json!({"parent": claim.parent, "recipe": claim.recipe, "summary": claim.summary,
                       "result_seal": hex::encode(claim.result_seal)}),
            ),
            Body::Seal(seal) => (
                seal.round.claim,
                format!("{by} seals its measurement of round {}", seal.round.number),
                json!({"commitment": hex::encode(seal.commitment)}),
            ),
            Body::Reveal(reveal) => (
                reveal.round.claim,
                format!("{by} reveals what it sealed in round {}", reveal.round.number),
                json!({"pairs": reveal.measurement.pairs.len(),
                       "adapter": reveal.measurement.environment.adapter,
                       "class": reveal.measurement.environment.hardware_class}),
            ),
            Body::Opening(opening) => (
                opening.claim,
                format!("{by} opens its own result"),
                json!({"ratio_ppm": opening.ratio_ppm, "null": opening.null}),
            ),
            Body::Challenge(challenge) => (
                challenge.claim,
                format!("{by} challenges the entry"),
                json!({"reason": challenge.reason}),
            ),
            Body::Disclosure(told) if told.claim.is_some() => (
                told.claim.unwrap_or_default(),
                format!("{by} tells of a trick"),
                json!({"text": told.text}),
            ),
            _ => return,
        };
        if claim == self.claim {
            let detail = with(detail, "record", json!(record.id));
            self.say(state, what, detail);
        }
    }

    fn compare_round(
        &mut self,
        old: Option<&Round>,
        new: &Round,
        claim: &ClaimState,
        state: &State,
    ) {
        let number = new.number;
        if old.is_none() {
            let purpose = match new.purpose {
                Purpose::Challenge { by, .. } => format!("challenge by {}", name(state, by)),
                purpose => purpose.word().to_owned(),
            };
            self.say(state, format!("round {number} is opened: {purpose}"), json!({}));
        }
        if new.called_at.is_some() && old.is_none_or(|old| old.called_at.is_none()) {
            let detail = json!({"size": new.size, "pairs": new.pairs,
                                "candidates": candidates(state, &new.candidates),
                                "newcomers": candidates(state, &new.newcomers)});
            self.say(state, format!("round {number} is called: who may be drawn is fixed"), detail);
        }
        if new.beacon.is_some() && old.is_none_or(|old| old.beacon.is_none()) {
            let detail = json!({"beacon": new.beacon});
            self.say(state, format!("round {number} has its beacon"), detail);
        }
        if !new.committee.seats.is_empty() && old.is_none_or(|old| old.committee.seats.is_empty()) {
            let names = |peers: &[PeerId]| -> Vec<String> {
                peers.iter().map(|peer| name(state, *peer)).collect()
            };
            let shadows: Vec<PeerId> = new.shadows.keys().copied().collect();
            let detail = json!({"seats": names(&new.committee.seats),
                                "reserves": names(&new.committee.reserves),
                                "beside_them": names(&shadows)});
            self.say(state, format!("round {number}: the committee is drawn"), detail);
        }
        if new.reserves_called > old.map_or(0, |old| old.reserves_called) {
            let what = format!("round {number}: {} reserves are called", new.reserves_called);
            self.say(state, what, json!({}));
        }
        let reveals = |round: &Round| matches!(round.phase, Phase::Revealing { .. });
        if reveals(new) && !old.is_some_and(reveals) {
            self.say(state, format!("round {number}: sealing is over"), json!({}));
        }
        if let Some(verdict) = &new.verdict
            && old.is_none_or(|old| old.verdict.is_none())
        {
            let outcome = json!(verdict.outcome).as_str().unwrap_or_default().to_owned();
            let detail = json!({"verdict": verdict, "finding": new.finding});
            self.say(state, format!("round {number} is settled: {outcome}"), detail);
        }
        if !new.caught.is_empty() && old.is_none_or(|old| old.caught.is_empty()) {
            let caught: Vec<String> = new.caught.iter().map(|peer| name(state, *peer)).collect();
            let what = format!("round {number}: seats found a gain where none was hidden");
            self.say(state, what, json!({"caught": caught, "claim": claim.id}));
        }
    }

    fn compare(&mut self, old: Option<&ClaimState>, new: &ClaimState, state: &State) {
        if new.settled_at.is_some() && old.is_none_or(|old| old.settled_at.is_none()) {
            let detail = json!({"decided_by": new.decided_by,
                                "ratio_to_base_ppm": new.ratio_to_base_ppm});
            self.say(state, "the claim is an entry".to_owned(), detail);
        } else if let Some(old) = old.filter(|old| old.decided_by != new.decided_by) {
            let detail = json!({"decided_by": new.decided_by, "before": old.decided_by,
                                "ratio_to_base_ppm": new.ratio_to_base_ppm});
            self.say(state, "the entry's number is another round's".to_owned(), detail);
        }
        if new.debunked.is_some() && old.is_none_or(|old| old.debunked.is_none()) {
            self.say(state, "the entry is debunked".to_owned(), json!(new.debunked));
        }
        let descends = new.descends_from_debunked;
        if descends.is_some() && old.is_none_or(|old| old.descends_from_debunked.is_none()) {
            let detail = json!({"entry": descends});
            self.say(state, "an entry that it builds on is debunked".to_owned(), detail);
        }
    }
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
    object
}

fn candidates(state: &State, list: &[Candidate]) -> Vec<Value> {
    let rows = list.iter();
    rows.map(|c| json!({"peer": name(state, c.peer), "weight": c.weight, "tier": c.tier})).collect()
}

/// A member's name; the short key for anybody else.
fn name(state: &State, peer: PeerId) -> String {
    state.members().get(&peer).map_or_else(|| peer.short(), |member| member.name.clone())
}
