//! Flags that a node raises by itself: on posts that ask readers to go on elsewhere, and on entries that break
//! their path or are beyond their class.

use super::entries::Entries;
use super::flags::{is_turn, raise};
use crate::author::Author;
use crate::board::{Item, Place};
use crate::ledger::now_ms;
use assay_protocol::ids::RecordId;
use assay_protocol::ruling::{Charge, Offence};
use assay_protocol::state::State;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often posts and entries are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Watches the board and the ledger in the name of an author.
pub(super) struct Watch {
    author: Author,
    /// Posts that this node flagged, or tried to.
    flagged: BTreeSet<RecordId>,
    entries: Entries,
}

impl Watch {
    /// A watch that flags in the name of `author`.
    pub(super) fn new(author: Author) -> Self {
        let entries = Entries::new(author.me());
        Self { author, flagged: BTreeSet::new(), entries }
    }

    /// Looks at the board and the ledger until the node stops.
    pub(super) async fn serve(mut self) {
        let mut clock = interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let state = self.author.ledger.state();
            self.look_at_posts(&state);
            self.look_at_entries(&state);
        }
    }

    fn look_at_posts(&mut self, state: &State) {
        let me = self.author.me();
        let found = self.author.ledger.board().soliciting();
        self.flagged.retain(|id| found.iter().any(|item| item.id == *id));
        for item in found {
            let waited = now_ms().saturating_sub(item.time_ms);
            let due = is_turn(state, item.id, item.author, me, waited);
            let fresh = !self.flagged.contains(&item.id);
            if due && fresh && may_be_flagged(state, &item) && self.flag(&item) {
                self.flagged.insert(item.id);
            }
        }
    }

    /// Flags a post; false where that was refused, for it may not be the next time.
    fn flag(&self, item: &Item) -> bool {
        let Some(found) = &item.solicits else { return true };
        raise(&self.author, &charge_of(item), &format!("asks to go on elsewhere: {found}"))
    }

    fn look_at_entries(&mut self, state: &State) {
        for notice in self.author.seat.notices() {
            self.entries.notice(notice);
        }
        for charge in self.entries.due(state, now_ms()) {
            let why = match (charge.rule, charge.sighting) {
                (Offence::Path, Some(seen)) => format!("its decode leaves its prefill: {seen}"),
                (_, Some(seen)) => format!("faster than its class's memory: {seen}"),
                (_, None) => continue,
            };
            if raise(&self.author, &charge, &why) {
                self.entries.raised(&charge);
            }
        }
    }
}

fn charge_of(item: &Item) -> Charge {
    Charge { rule: Offence::OffChannel, subject: item.id, evidence: None, sighting: None }
}

/// Whether the ledger would open a ruling about a post: it is ordered, known by name, and not charged yet.
fn may_be_flagged(state: &State, item: &Item) -> bool {
    matches!(item.place, Place::Ordered { .. })
        && state.poster(item.id).is_ok()
        && state
            .ruling_about(Offence::OffChannel, item.id)
            .is_none_or(|ruling| !ruling.bars(&charge_of(item)))
}
