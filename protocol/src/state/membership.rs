//! Who takes part: admission by vouch, probation, leaving, and the end of a key.

use super::State;
use crate::error::Reject;
use crate::genesis::{Genesis, MEMBERS_MAX, Member, VALIDATORS_MIN};
use crate::ids::{PeerId, RecordId, hash_parts};
use crate::membership::{Join, Leave, Vouch};
use crate::randomness::is_key;
use crate::standing::{Account, Limits, Occasion, Rule, StandingEvent, Tally};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "status")]
pub enum Membership {
    /// May claim; is not drawn as a seat, does not vouch, does not validate.
    Probation {
        /// Measurements that agreed with a verdict, without one between that did not.
        agreements: u32,
    },
    /// May do everything that its standing allows.
    Full,
    /// Left by its own word; may be vouched for again.
    Left,
    /// Contradicted itself; for good.
    Ended,
}

/// How a member that is not of the genesis came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Admission {
    /// Who vouched.
    pub by: PeerId,
    /// The vouch.
    pub vouch: RecordId,
    /// Height of the block with the newcomer's acceptance.
    pub joined_at: u64,
    /// Height at which probation ended.
    pub full_at: Option<u64>,
}

/// A member as the ledger knows it, present or past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberState {
    /// A name for people, its own for ever.
    pub name: String,
    /// Who runs the peer.
    pub operator: String,
    /// Its key for verifiable random outputs.
    pub vrf: PeerId,
    /// Its record of useful work: what [`MemberState::account`] adds up to.
    pub standing: u64,
    /// What it may do.
    #[serde(flatten)]
    pub membership: Membership,
    /// How it came in; none for the founders.
    pub admission: Option<Admission>,
    /// What standing is derived from.
    pub account: Account,
    /// Whom it vouched for in `vouched_epoch`.
    pub vouched: BTreeSet<PeerId>,
    /// The epoch of its last vouch.
    pub vouched_epoch: u64,
}

impl MemberState {
    pub(super) fn founder(member: &Member) -> Self {
        let account = Account::new(u64::from(member.standing));
        Self {
            name: member.name.clone(),
            operator: member.operator.clone(),
            vrf: member.vrf,
            standing: account.standing(),
            membership: Membership::Full,
            admission: None,
            account,
            vouched: BTreeSet::new(),
            vouched_epoch: 0,
        }
    }

    /// Whether it may say anything.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.membership, Membership::Full | Membership::Probation { .. })
    }

    /// Height of the block that let it in; 0 for the founders.
    #[must_use]
    pub fn joined_at(&self) -> u64 {
        self.admission.map_or(0, |admission| admission.joined_at)
    }

    /// Events and points by rule.
    #[must_use]
    pub fn tallies(&self) -> &BTreeMap<Rule, Tally> {
        self.account.tallies()
    }

    /// The latest changes of standing, oldest first.
    pub fn recent_events(&self) -> impl Iterator<Item = &StandingEvent> {
        self.account.recent()
    }
}

/// A vouch that its newcomer has not accepted yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingVouch {
    /// Who vouched.
    pub by: PeerId,
    /// The vouch's record.
    pub record: RecordId,
    /// Who will run the newcomer.
    pub operator: String,
    /// Its name.
    pub name: String,
    /// The epoch of the vouch; it lapses with the end of the next one.
    pub epoch: u64,
}

/// What is taken back of a peer that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vacate {
    /// Everything: a key that contradicted itself is not believed.
    All,
    /// Only where it has not shown its measurement: leaving withdraws nothing that was shown.
    Unrevealed,
}

pub(super) fn founders(genesis: &Genesis) -> BTreeMap<PeerId, Arc<MemberState>> {
    let founder = |member: &Member| (member.peer, Arc::new(MemberState::founder(member)));
    genesis.members.iter().map(founder).collect()
}

impl State {
    /// Everyone who is or was a member, by key.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<PeerId, Arc<MemberState>> {
        &self.members
    }

    /// A member, if it may say anything at present.
    #[must_use]
    pub fn active_member(&self, peer: PeerId) -> Option<&MemberState> {
        self.members.get(&peer).map(AsRef::as_ref).filter(|member| member.is_active())
    }

    /// The vouches that wait for their newcomers, by newcomer.
    #[must_use]
    pub fn pending_vouches(&self) -> &BTreeMap<PeerId, PendingVouch> {
        &self.vouches
    }

    /// The epoch that a height belongs to.
    #[must_use]
    pub fn epoch_of(&self, height: u64) -> u64 {
        height.checked_div(self.parameters().membership.epoch_blocks).unwrap_or(0)
    }

    /// The weight with which a peer is drawn as a seat; 0 when it is not drawn at all.
    #[must_use]
    pub fn draw_weight(&self, peer: PeerId) -> u64 {
        match self.members.get(&peer) {
            Some(member)
                if member.membership == Membership::Full
                    && !member.account.is_suspended(self.height) =>
            {
                member.standing
            }
            _ => 0,
        }
    }

    /// The validators of the next height with their powers.
    ///
    /// There are as many seats as founders. A founder that left, whose key ended or that was found
    /// silent (see [`super::Turns`]) loses its seat to the full member that is in for the longest and
    /// whose operator has none. Fewer than [`VALIDATORS_MIN`] tolerate no fault, so that below that
    /// number the seat stays with a founder that is gone.
    #[must_use]
    pub fn validators(&self) -> BTreeMap<PeerId, u64> {
        let silent = |peer: &PeerId| self.turns.silent.contains_key(peer);
        let full = |peer: &PeerId, member: &MemberState| {
            member.membership == Membership::Full && !silent(peer)
        };
        let founders = || self.members.iter().filter(|(_, member)| member.admission.is_none());
        let mut chosen: BTreeSet<PeerId> =
            founders().filter(|(peer, member)| full(peer, member)).map(|(peer, _)| *peer).collect();
        let mut admitted: Vec<(u64, PeerId, &MemberState)> = self
            .members
            .iter()
            .filter(|(peer, member)| member.admission.is_some() && full(peer, member))
            .map(|(peer, member)| (member.joined_at(), *peer, member.as_ref()))
            .collect();
        admitted.sort_by_key(|(joined_at, peer, _)| (*joined_at, *peer));
        for (_, peer, member) in admitted {
            let mut seated = chosen.iter().filter_map(|peer| self.members.get(peer));
            let seated = seated.any(|other| other.operator == member.operator);
            if chosen.len() < self.genesis.members.len() && !seated {
                chosen.insert(peer);
            }
        }
        let mut gone: Vec<(u8, PeerId)> = founders()
            .filter(|(peer, member)| !full(peer, member))
            .map(|(peer, member)| match member.membership {
                Membership::Ended => (2, *peer),
                Membership::Left => (1, *peer),
                Membership::Full | Membership::Probation { .. } => (0, *peer),
            })
            .collect();
        // Rather one that is only silent than one that left, and rather that than one that
        // contradicted itself.
        gone.sort_unstable();
        let missing = VALIDATORS_MIN.saturating_sub(chosen.len());
        chosen.extend(gone.into_iter().take(missing).map(|(_, peer)| peer));
        chosen.into_iter().map(|peer| (peer, 1)).collect()
    }

    pub(super) fn apply_vouch(
        &mut self,
        author: PeerId,
        record: RecordId,
        vouch: &Vouch,
        height: u64,
    ) -> Result<(), Reject> {
        self.check_voucher(author, vouch, height)?;
        self.check_newcomer(author, vouch)?;
        let pending = PendingVouch {
            by: author,
            record,
            operator: vouch.operator.clone(),
            name: vouch.name.clone(),
            epoch: vouch.epoch,
        };
        let voucher = self.members.get_mut(&author).ok_or(Reject::NotMember(author))?;
        let voucher = Arc::make_mut(voucher);
        if voucher.vouched_epoch != vouch.epoch {
            voucher.vouched.clear();
            voucher.vouched_epoch = vouch.epoch;
        }
        voucher.vouched.insert(vouch.peer);
        self.vouches.insert(vouch.peer, pending);
        Ok(())
    }

    /// Whether `author` may vouch in the epoch of `height`, and may do so once more.
    fn check_voucher(&self, author: PeerId, vouch: &Vouch, height: u64) -> Result<(), Reject> {
        let rules = &self.parameters().membership;
        let voucher = self.active_member(author).ok_or(Reject::NotMember(author))?;
        let may_not = |reason: String| Err(Reject::MayNotVouch(reason));
        if voucher.membership != Membership::Full {
            return may_not("a member on probation does not vouch".to_owned());
        }
        if voucher.standing < u64::from(rules.vouch_standing_min) {
            let (standing, least) = (voucher.standing, rules.vouch_standing_min);
            return may_not(format!("vouching needs a standing of {least}, yours is {standing}"));
        }
        let epoch = self.epoch_of(height);
        if vouch.epoch != epoch {
            return may_not(format!("the vouch is for epoch {}, this is {epoch}", vouch.epoch));
        }
        let vouched = (voucher.vouched_epoch == epoch).then_some(&voucher.vouched);
        if vouched.is_some_and(|vouched| vouched.contains(&vouch.peer)) {
            return Err(Reject::Repeated(author));
        }
        let most = usize::try_from(rules.vouches_per_epoch).unwrap_or(usize::MAX);
        if vouched.map_or(0, BTreeSet::len) >= most {
            return may_not(format!("{most} vouches in epoch {epoch} are all there are"));
        }
        Ok(())
    }

    /// Whether the one vouched for can come in.
    fn check_newcomer(&self, author: PeerId, vouch: &Vouch) -> Result<(), Reject> {
        let known = self.members.get(&vouch.peer);
        match known.map(|member| member.membership) {
            None | Some(Membership::Left) => {}
            Some(Membership::Ended) => return Err(Reject::KeyEnded(vouch.peer)),
            Some(_) => return Err(Reject::Member(vouch.peer)),
        }
        if self.vouches.contains_key(&vouch.peer) {
            return Err(Reject::Vouched(vouch.peer));
        }
        // An operator has one seat and one share of the committees' time, which nobody else may take up
        // in its name.
        let is_own = self.operator(author) == Some(vouch.operator.as_str());
        let of_members = self.members.values().filter(|member| member.is_active());
        let of_vouches = self.vouches.values().filter(|pending| pending.by != author);
        let mut named = of_members
            .map(|member| &member.operator)
            .chain(of_vouches.map(|pending| &pending.operator));
        if !is_own && named.any(|operator| *operator == vouch.operator) {
            let operator = &vouch.operator;
            return Err(Reject::MayNotVouch(format!(
                "operator {operator} has members already, and only they vouch for more of its peers"
            )));
        }
        let active = self.members.values().filter(|member| member.is_active()).count();
        if active.saturating_add(self.vouches.len()) >= MEMBERS_MAX {
            return Err(Reject::MembersFull(MEMBERS_MAX));
        }
        let others = self.members.iter().filter(|(peer, _)| **peer != vouch.peer);
        let taken = others.map(|(_, member)| &member.name);
        let waiting = self.vouches.values().map(|pending| &pending.name);
        if taken.chain(waiting).any(|name| *name == vouch.name) {
            return Err(Reject::NameTaken(vouch.name.clone()));
        }
        Ok(())
    }

    pub(super) fn apply_join(
        &mut self,
        author: PeerId,
        join: &Join,
        height: u64,
    ) -> Result<(), Reject> {
        let pending = self.vouches.get(&author).filter(|pending| pending.record == join.vouch);
        let pending = pending.ok_or(Reject::NotVouched(author))?;
        let mut others = self.members.iter().filter(|(peer, _)| **peer != author);
        if !is_key(join.vrf) || others.any(|(_, member)| member.vrf == join.vrf) {
            return Err(Reject::RandomKey(join.vrf));
        }
        let admission =
            Admission { by: pending.by, vouch: pending.record, joined_at: height, full_at: None };
        // Whoever comes back finds its account and its vouches as they were: leaving wipes nothing out.
        let earlier = self.members.get(&author);
        let account = earlier.map_or_else(|| Account::new(1), |member| member.account.clone());
        let vouched = earlier.map(|member| (member.vouched.clone(), member.vouched_epoch));
        let (vouched, vouched_epoch) = vouched.unwrap_or_default();
        let member = MemberState {
            name: pending.name.clone(),
            operator: pending.operator.clone(),
            vrf: join.vrf,
            standing: account.standing(),
            membership: Membership::Probation { agreements: 0 },
            admission: Some(admission),
            account,
            vouched,
            vouched_epoch,
        };
        self.members.insert(author, Arc::new(member));
        self.vouches.remove(&author);
        Ok(())
    }

    pub(super) fn apply_leave(&mut self, author: PeerId, leave: Leave) -> Result<(), Reject> {
        let member = self.active_member(author).ok_or(Reject::NotMember(author))?;
        if member.joined_at() != leave.joined_at {
            return Err(Reject::Repeated(author));
        }
        let mut without = self.clone();
        without.set_membership(author, Membership::Left);
        if without.validators_present() < VALIDATORS_MIN && self.validators().contains_key(&author)
        {
            return Err(Reject::LastValidators(VALIDATORS_MIN));
        }
        *self = without;
        self.vacate_seats(author, Vacate::Unrevealed);
        Ok(())
    }

    /// Ends a key that was proven to contradict itself. Whoever vouched for it answers.
    pub(crate) fn end_key(&mut self, culprit: PeerId, height: u64) -> Result<(), Reject> {
        let member = self.members.get(&culprit).ok_or(Reject::NotMember(culprit))?;
        if member.membership == Membership::Ended {
            return Err(Reject::Repeated(culprit));
        }
        self.set_membership(culprit, Membership::Ended);
        self.vacate_seats(culprit, Vacate::All);
        self.withdraw_ballots(culprit);
        let occasion = Occasion { height, claim: None, round: None };
        self.book(culprit, Rule::Ended, occasion);
        Ok(())
    }

    /// Counts an event for a peer, and for its voucher where that one answers for it.
    pub(super) fn book(&mut self, peer: PeerId, rule: Rule, occasion: Occasion) {
        let rules = &self.parameters().membership;
        let limits =
            Limits { epoch_blocks: rules.epoch_blocks, gain_per_epoch: rules.gain_per_epoch_max };
        let Some(member) = self.members.get_mut(&peer) else { return };
        let member = Arc::make_mut(member);
        member.account.book(rule, occasion, limits);
        member.standing = member.account.standing();
        let voucher = member.admission.map(|admission| admission.by);
        let answers = match rule {
            Rule::NullTrap => Rule::VoucheeCaught,
            Rule::Ended => Rule::VoucheeEnded,
            _ => return,
        };
        if let Some(voucher) = voucher {
            self.book(voucher, answers, occasion);
        }
    }

    fn set_membership(&mut self, peer: PeerId, membership: Membership) {
        if let Some(member) = self.members.get_mut(&peer) {
            Arc::make_mut(member).membership = membership;
        }
    }

    /// Takes back what a peer said in open claims, so that its seats count as silent.
    fn vacate_seats(&mut self, peer: PeerId, what: Vacate) {
        for id in &self.docket {
            let Some(claim) = self.claims.get_mut(*id) else { continue };
            let round = claim.rounds.last_mut().filter(|round| round.is_open());
            let round = round.filter(|round| what == Vacate::All || !round.has_revealed(peer));
            if let Some(round) = round {
                round.seals.remove(&peer);
                round.reveals.remove(&peer);
                round.shadows.remove(&peer);
            }
        }
    }

    /// Drops the vouches whose time is over at `height`.
    pub(crate) fn drop_lapsed_vouches(&mut self, height: u64) {
        let epoch = self.epoch_of(height);
        self.vouches.retain(|_, pending| pending.epoch.saturating_add(1) >= epoch);
    }

    /// Hash of all members and vouches, over their one JSON spelling.
    pub(super) fn membership_digest(&self) -> [u8; 32] {
        // Serialising plain structs with string keys cannot fail.
        let mut bytes = Vec::new();
        for (peer, member) in &self.members {
            bytes.extend_from_slice(&peer.0);
            bytes.extend(serde_json::to_vec(member.as_ref()).unwrap_or_default());
        }
        let vouches = serde_json::to_vec(&self.vouches).unwrap_or_default();
        hash_parts("assay membership v1", &[&bytes, &vouches])
    }
}
