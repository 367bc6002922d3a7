//! Flags that a node raises by itself: on posts that ask readers to go on elsewhere.
//!
//! One node is enough. For each post the validators take turns, in an order that the post decides; a
//! validator whose turn has come flags, unless somebody did by then. Two flags on their way cost nobody
//! anything: the ledger takes the first and refuses the other.

use crate::api::PostRequest;
use crate::author::Author;
use crate::board::{Item, Place};
use crate::ledger::now_ms;
use assay_protocol::ids::{PeerId, RecordId, hash_parts};
use assay_protocol::post::{Detail, Flag, PostBody};
use assay_protocol::ruling::{Charge, Offence};
use assay_protocol::state::State;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often posts are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How long a validator has before it is the next one's turn.
const TURN_MS: u64 = 20_000;
/// Where such flags are raised.
const CHANNEL: &str = "flags";

/// Watches the board in the name of an author.
pub struct Watch {
    author: Author,
    /// Posts that this node flagged, or tried to.
    flagged: BTreeSet<RecordId>,
}

impl Watch {
    /// A watch that flags in the name of `author`.
    #[must_use]
    pub fn new(author: Author) -> Self {
        Self { author, flagged: BTreeSet::new() }
    }

    /// Looks at the board until the node stops.
    pub async fn serve(mut self) {
        let mut clock = interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let state = self.author.ledger.state();
        let me = self.author.me();
        let found = self.author.ledger.board().soliciting();
        self.flagged.retain(|id| found.iter().any(|item| item.id == *id));
        for item in found {
            let waited = now_ms().saturating_sub(item.time_ms);
            let due = turn_of(&state, item.id, item.author, me)
                .is_some_and(|turn| waited >= turn.saturating_mul(TURN_MS));
            let fresh = !self.flagged.contains(&item.id);
            if due && fresh && may_be_flagged(&state, &item) && self.flag(&item) {
                self.flagged.insert(item.id);
            }
        }
    }

    /// Flags a post; false where that was refused, for it may not be the next time.
    fn flag(&self, item: &Item) -> bool {
        let Some(found) = &item.solicits else { return true };
        let rule = Offence::OffChannel.word().to_owned();
        let flag = Flag { rule, subject: item.id, evidence: None, sighting: None };
        let body = PostBody {
            channel: CHANNEL.to_owned(),
            thread: None,
            refs: vec![item.id],
            title: String::new(),
            text: format!("asks to go on elsewhere: {found} (flagged by this node's own check)"),
            detail: Some(Detail::Flag(flag)),
        };
        match self.author.post(PostRequest { body, forecast: None }) {
            Ok(said) => {
                let flag = said.record.short();
                tracing::info!(post = %item.id.short(), %flag, "flagged a post");
                true
            }
            Err(error) => {
                tracing::debug!(post = %item.id.short(), %error, "did not flag a post");
                false
            }
        }
    }
}

/// Whether the ledger would open a ruling about a post: it is ordered, known by name, and not charged yet.
fn may_be_flagged(state: &State, item: &Item) -> bool {
    let rule = Offence::OffChannel;
    let charge = Charge { rule, subject: item.id, evidence: None, sighting: None };
    matches!(item.place, Place::Ordered { .. })
        && state.poster(item.id).is_ok()
        && state
            .ruling_about(Offence::OffChannel, item.id)
            .is_none_or(|ruling| !ruling.bars(&charge))
}

/// How many validators come before `me` with a post of `author`; none if it is never this one's turn.
fn turn_of(state: &State, post: RecordId, author: PeerId, me: PeerId) -> Option<u64> {
    let operator = |peer: PeerId| state.members().get(&peer).map(|member| &member.operator);
    let place = |peer: &PeerId| hash_parts("assay flag turn v1", &[&post.0, &peer.0]);
    let mut validators: Vec<PeerId> = state
        .validators()
        .into_keys()
        .filter(|peer| operator(*peer) != operator(author) && state.draw_weight(*peer) > 0)
        .collect();
    validators.sort_by_key(place);
    let turn = validators.iter().position(|peer| *peer == me)?;
    u64::try_from(turn).ok()
}
