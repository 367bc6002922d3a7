//! Charges, the committees that decide them, and what a decision costs.

use super::advance::BEACON_DELAY;
use super::doubt::CHALLENGER_STANDING_MIN;
use super::{ClaimState, State};
use crate::draw::{self, Candidate, Draw};
use crate::error::Reject;
use crate::genesis::Quorum;
use crate::ids::{ClaimId, PeerId, RecordId, hash_parts};
use crate::ruling::{
    Appeal, Ballot, Charge, Decision, HEARINGS_MAX, Hearing, Judgement, Offence, Ruling,
};
use crate::standing::{Occasion, Rule};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Charges that one peer may make in an epoch.
pub const CHARGES_PER_EPOCH_MAX: u32 = 8;
/// Rulings that may be open at a time.
pub const RULINGS_OPEN_MAX: usize = 64;
/// Blocks after a decision in which the side that lost may appeal.
pub const APPEAL_BLOCKS: u64 = 100;

/// Blocks after a verdict in which a claim that its author has not opened is not compared with others: it
/// may be a null claim, which its author opens at once.
const OPENING_BLOCKS: u64 = 32;

/// Everything that the ledger keeps of rulings. What grows is shared by all copies of a state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rulings {
    all: Arc<BTreeMap<RecordId, Arc<Ruling>>>,
    /// The last ruling about each subject.
    about: Arc<BTreeMap<(Offence, RecordId), RecordId>>,
    /// Those with an open hearing or measurement, in the order in which these were called.
    open: Vec<RecordId>,
    /// Each peer's charges of the epoch in which it made its last.
    charged: BTreeMap<PeerId, (u64, u32)>,
}

impl Rulings {
    /// Hash of the open rulings. What was decided is in the history.
    pub(super) fn digest(&self) -> [u8; 32] {
        let open = self.open.iter().filter_map(|id| self.all.get(id));
        let bytes: Vec<u8> = open.flat_map(|ruling| ruling_digest(ruling)).collect();
        hash_parts("assay rulings v1", &[&bytes])
    }
}

/// Hash of a ruling's whole state, over its one JSON spelling.
pub(super) fn ruling_digest(ruling: &Ruling) -> [u8; 32] {
    // Serialising plain structs with string keys cannot fail.
    let text = serde_json::to_vec(ruling).unwrap_or_default();
    hash_parts("assay ruling state v1", &[&text])
}

impl State {
    /// All rulings, by the flag's record.
    pub fn rulings(&self) -> impl DoubleEndedIterator<Item = &Ruling> {
        self.rulings.all.values().map(AsRef::as_ref)
    }

    /// One ruling.
    #[must_use]
    pub fn ruling(&self, id: RecordId) -> Option<&Ruling> {
        self.rulings.all.get(&id).map(AsRef::as_ref)
    }

    /// The last ruling about a subject.
    #[must_use]
    pub fn ruling_about(&self, rule: Offence, subject: RecordId) -> Option<&Ruling> {
        self.ruling(*self.rulings.about.get(&(rule, subject))?)
    }

    /// The rulings with an open hearing or measurement, in the order in which these were called.
    pub fn open_rulings(&self) -> impl Iterator<Item = &Ruling> {
        self.rulings.open.iter().filter_map(|id| self.ruling(*id))
    }

    /// Whether a block is wanted at `now_ms` for the rulings' sake: a beacon is awaited or a deadline has
    /// passed.
    pub(super) fn rulings_want_block(&self, now_ms: u64) -> bool {
        let open = self.open_rulings().filter_map(Ruling::open_hearing);
        open.into_iter().any(|(_, hearing)| hearing.until_ms.is_none_or(|until| now_ms >= until))
    }

    /// Whether a charge by a peer would open a ruling in the next block, and who is accused by it.
    ///
    /// # Errors
    ///
    /// [`Reject`] with the first thing that speaks against it.
    pub fn would_charge(&self, by: PeerId, charge: &Charge) -> Result<PeerId, Reject> {
        self.check_charge(by, charge, self.height.saturating_add(1))
    }

    /// Whether a claim may be compared with others by the next block: its author opened it and it is no
    /// null claim, or did not in good time.
    #[must_use]
    pub fn is_comparable(&self, claim: &ClaimState) -> bool {
        check_comparable(claim, self.height.saturating_add(1)).is_ok()
    }

    /// Checks a charge and says who is accused by it.
    ///
    /// # Errors
    ///
    /// [`Reject`] with the first thing that speaks against it.
    pub(super) fn check_charge(
        &self,
        by: PeerId,
        charge: &Charge,
        height: u64,
    ) -> Result<PeerId, Reject> {
        let last = self.ruling_about(charge.rule, charge.subject);
        if let Some(ruling) = last.filter(|ruling| ruling.bars(charge)) {
            return Err(Reject::Charged { ruling: ruling.id, word: ruling.word() });
        }
        let accused = match charge.rule {
            Offence::OffChannel => self.poster(charge.subject)?,
            Offence::Duplicate => self.check_duplicate(charge, height)?,
            Offence::Path => self.check_path(by, charge)?,
            Offence::Physics => self.check_physics(charge)?,
        };
        if self.operator(accused) == self.operator(by) {
            return Err(Reject::Unchargeable("the subject is of the flagger's own operator"));
        }
        if self.draw_weight(by) == 0 {
            return Err(Reject::Unchargeable("its flagger is on probation, or was caught lately"));
        }
        if self.members.get(&by).is_none_or(|m| m.standing < CHALLENGER_STANDING_MIN) {
            return Err(Reject::Standing { peer: by, needed: CHALLENGER_STANDING_MIN });
        }
        let epoch = self.epoch_of(height);
        let made = self.rulings.charged.get(&by).filter(|(of, _)| *of == epoch);
        if made.is_some_and(|(_, count)| *count >= CHARGES_PER_EPOCH_MAX) {
            return Err(Reject::ChargesSpent { peer: by, most: CHARGES_PER_EPOCH_MAX });
        }
        if self.rulings.open.len() >= RULINGS_OPEN_MAX {
            return Err(Reject::RulingsFull(RULINGS_OPEN_MAX));
        }
        Ok(accused)
    }

    /// The author of a claim said to be a duplicate, if the charge names two claims that can be compared.
    fn check_duplicate(&self, charge: &Charge, height: u64) -> Result<PeerId, Reject> {
        let refuse = |reason| Err(Reject::Unchargeable(reason));
        let Some(evidence) = charge.evidence else {
            return refuse("a duplicate needs the earlier claim as its evidence");
        };
        let (subject, earlier) = (ClaimId(charge.subject.0), ClaimId(evidence.0));
        let claim = self.claim(subject).ok_or(Reject::UnknownClaim(subject))?;
        let original = self.claim(earlier).ok_or(Reject::UnknownClaim(earlier))?;
        for one in [claim, original] {
            check_comparable(one, height)?;
        }
        if original.docketed_at >= claim.docketed_at {
            return refuse("the claim that it is said to repeat is no older");
        }
        if self.operator(original.author) == self.operator(claim.author) {
            return refuse("both claims are of one operator");
        }
        let mut ancestor = claim.parent;
        while let Some(brief) = self.brief(ancestor) {
            if ancestor == earlier {
                return refuse("the claim builds on the one that it is said to repeat");
            }
            ancestor = brief.parent;
        }
        Ok(claim.author)
    }

    /// Opens the ruling of a charge that was checked.
    pub(super) fn open_ruling(
        &mut self,
        id: RecordId,
        by: PeerId,
        charge: &Charge,
        accused: PeerId,
    ) {
        let height = self.height.saturating_add(1);
        let measured = self.measure_for(charge, by, id, height);
        let heard = measured.is_none().then(|| {
            let candidates = self.judges(&self.parties(by, accused, charge), &[]);
            Hearing::called(height, None, self.parameters().committee.first(), candidates)
        });
        let hearings = heard.into_iter().collect();
        let charge = *charge;
        let ruling = Ruling { id, by, charge, accused, opened_at: height, hearings, measured };
        let is_open = ruling.is_open();
        Arc::make_mut(&mut self.rulings.all).insert(id, Arc::new(ruling));
        Arc::make_mut(&mut self.rulings.about).insert((charge.rule, charge.subject), id);
        match is_open {
            true => self.rulings.open.push(id),
            false => self.remember_ruling(id),
        }
        let epoch = self.epoch_of(height);
        let made = self.rulings.charged.entry(by).or_insert((epoch, 0));
        if made.0 != epoch {
            *made = (epoch, 0);
        }
        made.1 = made.1.saturating_add(1);
    }

    /// Whose operators do not judge: flagger and accused, and who made what is said to be repeated.
    fn parties(&self, by: PeerId, accused: PeerId, charge: &Charge) -> Vec<PeerId> {
        let earlier = charge.evidence.filter(|_| charge.rule == Offence::Duplicate);
        let original = earlier.and_then(|earlier| self.claim(ClaimId(earlier.0)));
        [by, accused].into_iter().chain(original.map(|claim| claim.author)).collect()
    }

    /// Whether a charge leaves enough members to decide it, each of an operator of its own and none a party's.
    /// Where a measurement decides, that finds its own seats.
    #[must_use]
    pub fn has_judges(&self, by: PeerId, accused: PeerId, charge: &Charge) -> bool {
        if matches!(charge.rule, Offence::Path | Offence::Physics) {
            return true;
        }
        let judges = self.judges(&self.parties(by, accused, charge), &[]);
        let operators: BTreeSet<String> = judges.into_iter().map(|judge| judge.operator).collect();
        operators.len() as u64 >= u64::from(self.parameters().committee.first().quorum)
    }

    /// The members that may be drawn to judge, by rising id: none of the parties' operators, and those of
    /// `earlier` seats last.
    fn judges(&self, parties: &[PeerId], earlier: &[PeerId]) -> Vec<Candidate> {
        let operators = |peers: &[PeerId]| -> BTreeSet<String> {
            peers.iter().filter_map(|peer| self.operator(*peer)).map(str::to_owned).collect()
        };
        let (parties, earlier) = (operators(parties), operators(earlier));
        let candidates = self.members.iter().map(|(peer, member)| Candidate {
            peer: *peer,
            operator: member.operator.clone(),
            weight: self.draw_weight(*peer),
            tier: u8::from(earlier.contains(&member.operator)),
        });
        candidates.filter(|one| one.weight > 0 && !parties.contains(&one.operator)).collect()
    }

    pub(super) fn apply_ballot(&mut self, author: PeerId, ballot: &Ballot) -> Result<(), Reject> {
        let id = ballot.charge;
        let ruling = self.ruling(id).ok_or(Reject::UnknownRuling(id))?;
        let hearing = ruling.hearing(ballot.hearing).ok_or(Reject::UnknownRuling(id))?;
        if hearing.ballots.contains_key(&author) {
            return Err(Reject::Repeated(author));
        }
        if !hearing.is_open() {
            return Err(Reject::RulingOver(id));
        }
        if !hearing.seats.contains(&author) {
            return Err(Reject::NotSeated(author));
        }
        self.change_hearing(id, ballot.hearing, |hearing| {
            hearing.ballots.insert(author, ballot.vote);
        });
        Ok(())
    }

    pub(super) fn apply_appeal(
        &mut self,
        author: PeerId,
        appeal: Appeal,
        height: u64,
    ) -> Result<(), Reject> {
        let id = appeal.charge;
        let ruling = self.ruling(id).ok_or(Reject::UnknownRuling(id))?;
        let refuse = |reason| Err(Reject::Unappealable { ruling: id, reason });
        let first = match ruling.hearings.as_slice() {
            [first] => first,
            [] => return refuse("a measurement decided it, and others may challenge the entry"),
            _ => return refuse("it was appealed against once"),
        };
        let Some((decision, decided_at)) = first.decision.zip(first.decided_at) else {
            return refuse("it is not decided yet");
        };
        match ruling.loser(decision) {
            None => return refuse("nothing was decided"),
            Some(loser) if loser != author => return refuse("only the side that lost may"),
            Some(_) => {}
        }
        if height > decided_at.saturating_add(APPEAL_BLOCKS) {
            return refuse("the time for it is over");
        }
        // However many rulings are open: each has one appeal at most, and its time runs out.
        let parties = self.parties(ruling.by, ruling.accused, &ruling.charge);
        let candidates = self.judges(&parties, &first.seats);
        let size = self.parameters().committee.frontier;
        let hearing = Hearing::called(height, Some(author), size, candidates);
        self.change_ruling(id, |ruling| ruling.hearings.push(hearing));
        self.rulings.open.push(id);
        Ok(())
    }

    pub(super) fn change_ruling(&mut self, id: RecordId, change: impl FnOnce(&mut Ruling)) {
        if let Some(ruling) = Arc::make_mut(&mut self.rulings.all).get_mut(&id) {
            change(Arc::make_mut(ruling));
        }
    }

    fn change_hearing(&mut self, id: RecordId, number: u32, change: impl FnOnce(&mut Hearing)) {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        self.change_ruling(id, |ruling| {
            if let Some(hearing) = index.and_then(|index| ruling.hearings.get_mut(index)) {
                change(hearing);
            }
        });
    }

    /// Takes back what an ended key said in open hearings.
    pub(super) fn withdraw_ballots(&mut self, peer: PeerId) {
        for (id, number) in self.open_hearings() {
            self.change_hearing(id, number, |hearing| {
                hearing.ballots.remove(&peer);
            });
        }
    }

    fn open_hearings(&self) -> Vec<(RecordId, u32)> {
        let open = |ruling: &Ruling| Some((ruling.id, ruling.open_hearing()?.0));
        self.open_rulings().filter_map(open).collect()
    }

    /// Draws the committees whose beacon is there and decides what is ripe, at the end of the block at
    /// `height` and `time_ms`.
    pub(super) fn advance_rulings(&mut self, height: u64, time_ms: u64) {
        for (id, number) in self.open_hearings() {
            self.draw_judges(id, number, height, time_ms);
            let hearing = self.ruling(id).and_then(|ruling| ruling.hearing(number));
            if hearing.is_some_and(|hearing| hearing.is_over(time_ms)) {
                self.decide(id, number, height);
            }
        }
        let all = Arc::clone(&self.rulings.all);
        self.rulings.open.retain(|id| all.get(id).is_some_and(|ruling| ruling.is_open()));
    }

    fn draw_judges(&mut self, id: RecordId, number: u32, height: u64, time_ms: u64) {
        let Some(hearing) = self.ruling(id).and_then(|ruling| ruling.hearing(number)) else {
            return;
        };
        let due = hearing.called_at.saturating_add(BEACON_DELAY);
        if hearing.beacon.is_some() || height < due {
            return;
        }
        let beacon = self.beacon;
        let parts: [&[u8]; 3] = [&beacon.0, &id.0, &number.to_le_bytes()];
        let draw = Draw::new("assay ruling draw v1", &parts);
        let Quorum { seats, .. } = hearing.size;
        let seats = usize::try_from(seats).unwrap_or(usize::MAX);
        let committee = draw::seats(draw, &hearing.candidates, seats, 0);
        let until_ms =
            time_ms.saturating_add(self.parameters_at(hearing.called_at).committee.seal_ms);
        self.change_hearing(id, number, |hearing| {
            hearing.candidates = Vec::new();
            hearing.beacon = Some(beacon);
            hearing.seats = committee.seats;
            hearing.until_ms = Some(until_ms);
        });
    }

    /// Decides a hearing and carries out what that means.
    fn decide(&mut self, id: RecordId, number: u32, height: u64) {
        let Some(ruling) = self.ruling(id).cloned() else { return };
        let Some(hearing) = ruling.hearing(number) else { return };
        let decision = hearing.outcome();
        let first = (number == HEARINGS_MAX).then(|| ruling.hearing(1)).flatten();
        let stood = first.and_then(|first| first.decision);
        let lost = match (stood, decision) {
            (_, Decision::Undecided) => 0,
            (None, _) => self.charge_loser(&ruling, decision),
            (Some(stood), _) if stood == decision => {
                let side = ruling.loser(decision);
                side.map_or(0, |side| self.book_ruling(side, Rule::VainAppeal, &ruling))
            }
            (Some(stood), _) => {
                self.reverse(&ruling, stood);
                self.charge_loser(&ruling, decision)
            }
        };
        let seats_lost = self.account_for_judges(&ruling, hearing, decision, lost);
        self.change_hearing(id, number, |hearing| {
            hearing.decision = Some(decision);
            hearing.decided_at = Some(height);
            hearing.lost = lost;
            hearing.seats_lost = seats_lost;
        });
        self.remember_ruling(id);
    }

    /// Credits the seats that decided, and charges those that found the opposite or said nothing; says how
    /// many points each of the former lost. Where nothing was decided nobody is: what the charge is about
    /// may not have been to be had. Where the loser had nothing to lose nobody is credited, so that keys
    /// with the least standing cannot make points for others.
    fn account_for_judges(
        &mut self,
        ruling: &Ruling,
        hearing: &Hearing,
        decision: Decision,
        lost: u64,
    ) -> BTreeMap<PeerId, u64> {
        let mut seats_lost = BTreeMap::new();
        let Some(decided) = decision.judgement() else { return seats_lost };
        for seat in &hearing.seats {
            match hearing.ballots.get(seat).map(|vote| vote.finding) {
                None => _ = self.book_ruling(*seat, Rule::NoShow, ruling),
                Some(Judgement::Unable) => {}
                Some(finding) if finding != decided => {
                    seats_lost.insert(*seat, self.book_ruling(*seat, Rule::Misjudged, ruling));
                }
                Some(_) if lost > 0 => _ = self.book_ruling(*seat, Rule::Judged, ruling),
                Some(_) => {}
            }
        }
        seats_lost
    }

    /// Charges the side that lost, and says how many points it lost. A claim's author that had told of it
    /// before the flag pays nothing.
    fn charge_loser(&mut self, ruling: &Ruling, decision: Decision) -> u64 {
        let rule = match decision {
            Decision::Upheld => Rule::RuledAgainst,
            Decision::Dismissed => Rule::FalseFlag,
            Decision::Undecided => return 0,
        };
        let told = decision == Decision::Upheld
            && claim_of(&ruling.charge)
                .is_some_and(|claim| self.is_self_disclosed(claim, ruling.opened_at));
        match ruling.loser(decision) {
            Some(side) if !told => self.book_ruling(side, rule, ruling),
            _ => 0,
        }
    }

    /// Gives back what the first hearing took, from its loser and from the seats that found what the appeal
    /// found, and charges the seats that decided it otherwise.
    fn reverse(&mut self, ruling: &Ruling, stood: Decision) {
        let Some(first) = ruling.hearing(1) else { return };
        let loser = ruling.loser(stood).map(|side| (side, first.lost));
        let outvoted = first.seats_lost.iter().map(|(seat, lost)| (*seat, *lost));
        for (peer, lost) in loser.into_iter().chain(outvoted) {
            let occasion =
                Occasion { height: self.height, claim: claim_of(&ruling.charge), round: None };
            let Some(member) = self.members.get_mut(&peer).map(Arc::make_mut) else { continue };
            member.account.give_back(lost, occasion);
            member.standing = member.account.standing();
        }
        for seat in &first.seats {
            let finding = first.ballots.get(seat).map(|vote| vote.finding);
            if finding.is_some() && finding == stood.judgement() {
                self.book_ruling(*seat, Rule::Misjudged, ruling);
            }
        }
    }

    /// Books an event that a ruling gave occasion to, and says how many points it took.
    fn book_ruling(&mut self, peer: PeerId, rule: Rule, ruling: &Ruling) -> u64 {
        let standing = |state: &Self| state.members.get(&peer).map_or(0, |member| member.standing);
        let before = standing(self);
        let occasion =
            Occasion { height: self.height, claim: claim_of(&ruling.charge), round: None };
        self.book(peer, rule, occasion);
        before.saturating_sub(standing(self))
    }
}

/// Whether a claim may be compared with others in the block at `height`.
fn check_comparable(claim: &ClaimState, height: u64) -> Result<(), Reject> {
    let opened = claim.opening.as_ref();
    if opened.is_some_and(|opening| opening.null) {
        return Err(Reject::Unchargeable("null claims are their parents in other words"));
    }
    let settled = claim.settled_at.map(|at| at.saturating_add(OPENING_BLOCKS));
    if opened.is_none() && settled.is_none_or(|until| height <= until) {
        return Err(Reject::Phase { claim: claim.id, what: "charge" });
    }
    Ok(())
}

/// The claim that a charge is about, if it is about one.
fn claim_of(charge: &Charge) -> Option<ClaimId> {
    (charge.rule != Offence::OffChannel).then_some(ClaimId(charge.subject.0))
}
