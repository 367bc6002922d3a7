//! Accepted entries that a node flags by itself: those beyond what their class is known to deliver by now, and
//! those whose path it saw break on its own machine.
//!
//! The ledger's own predicate decides over the first, so that a flag that is due is upheld. The second is a
//! challenge and costs its flagger a little where others find the path whole; it is raised by whoever saw it
//! break, once, but not where two committees have heard that seat already and found otherwise.

use super::flags::is_turn;
use assay_protocol::ids::{ClaimId, PeerId, RecordId};
use assay_protocol::record::Recipe;
use assay_protocol::ruling::{Charge, Offence};
use assay_protocol::sighting::{Divergence, Sighting};
use assay_protocol::state::{ClaimState, State};
use assay_protocol::verdict::Outcome;
use std::collections::{BTreeMap, VecDeque};

/// Notices that are kept until an entry runs their recipe; a further one drives out the oldest.
const NOTICES_MAX: usize = 32;
/// Entries, the latest, that are held against what is known of their class.
const LATEST: usize = 64;
/// Charges that are remembered so as not to be raised again.
const RAISED_MAX: usize = 256;

/// A path that this node's own machine saw break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// The recipe that was measured.
    pub recipe: Recipe,
    /// Where.
    pub seen: Divergence,
}

/// Which entries a node has to flag, as far as the ledger and its own measurements tell.
#[derive(Debug, Clone)]
pub struct Entries {
    me: PeerId,
    notices: VecDeque<Notice>,
    /// What was known when the entries were last held against their classes: entries, and rounds of all
    /// classes.
    looked: (usize, u64),
    /// Entries beyond their class, and since when this node knows.
    beyond: BTreeMap<ClaimId, u64>,
    raised: VecDeque<(Offence, RecordId)>,
}

impl Entries {
    /// Nothing noticed yet, in the name of `me`.
    #[must_use]
    pub fn new(me: PeerId) -> Self {
        Self {
            me,
            notices: VecDeque::new(),
            looked: (0, 0),
            beyond: BTreeMap::new(),
            raised: VecDeque::new(),
        }
    }

    /// Keeps what this node's machine saw.
    pub fn notice(&mut self, notice: Notice) {
        if self.notices.iter().any(|known| known.recipe == notice.recipe) {
            return;
        }
        if self.notices.len() >= NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }

    /// The charges that this node is to raise at `now_ms`, each of which the ledger would take.
    pub fn due(&mut self, state: &State, now_ms: u64) -> Vec<Charge> {
        self.look(state, now_ms);
        let beyond = self.beyond.iter().filter_map(|(id, since_ms)| {
            let (claim, subject) = (state.claim(*id)?, RecordId(id.0));
            let waited_ms = now_ms.saturating_sub(*since_ms);
            is_turn(state, subject, claim.author, self.me, waited_ms).then_some(())?;
            let sighting = Some(Sighting::Excess(state.excess(*id)?));
            Some(Charge { rule: Offence::Physics, subject, evidence: None, sighting })
        });
        let broken = self.notices.iter().filter_map(|notice| {
            let claim = entry_of(state, &notice.recipe)?;
            // Heard twice and contradicted: its own machine may be the one that errs.
            let heard = claim.rounds.iter().any(|round| {
                round.outcome() != Some(Outcome::Contested) && round.has_dissent_of(self.me)
            });
            let sighting = Some(Sighting::Divergence(notice.seen));
            let subject = RecordId(claim.id.0);
            (!heard).then_some(Charge { rule: Offence::Path, subject, evidence: None, sighting })
        });
        let fresh = |charge: &Charge| !self.raised.contains(&(charge.rule, charge.subject));
        let taken = |charge: &Charge| state.would_charge(self.me, charge).is_ok();
        beyond.chain(broken).filter(|charge| fresh(charge) && taken(charge)).collect()
    }

    /// Remembers that a charge was raised.
    pub fn raised(&mut self, charge: &Charge) {
        if self.raised.len() >= RAISED_MAX {
            self.raised.pop_front();
        }
        self.raised.push_back((charge.rule, charge.subject));
    }

    /// Holds the latest entries against what is known of their classes, if anything changed.
    fn look(&mut self, state: &State, now_ms: u64) {
        let classes = state.classes();
        let rounds = classes.measured().map(|(_, known)| known.rounds());
        let known = (state.entries().count(), rounds.fold(0, u64::wrapping_add));
        if std::mem::replace(&mut self.looked, known) == known {
            return;
        }
        let latest = state.entries().skip(known.0.saturating_sub(LATEST));
        let standing = latest.filter(|entry| entry.stands());
        let found = standing.filter(|entry| state.excess(entry.id).is_some());
        let since = |id: ClaimId| self.beyond.get(&id).copied().unwrap_or(now_ms);
        self.beyond = found.map(|entry| (entry.id, since(entry.id))).collect();
    }
}

/// The accepted entry that claims a recipe.
fn entry_of<'a>(state: &'a State, recipe: &Recipe) -> Option<&'a ClaimState> {
    let accepted = |claim: &&ClaimState| claim.outcome() == Some(Outcome::Accepted);
    state.entries().filter(accepted).find(|claim| claim.recipe == *recipe)
}
