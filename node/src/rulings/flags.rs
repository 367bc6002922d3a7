//! Raising flags in this node's name, one node at a time.

use crate::api::PostRequest;
use crate::author::Author;
use assay_protocol::ids::{PeerId, RecordId, hash_parts};
use assay_protocol::post::{Detail, Flag, PostBody};
use assay_protocol::ruling::Charge;
use assay_protocol::state::State;

/// How long a validator has before it is the next one's turn.
const TURN_MS: u64 = 20_000;
/// Where such flags are raised.
const CHANNEL: &str = "flags";

/// Whether a node that has known of something for `waited_ms` may flag it: its turn has come.
///
/// One node is enough. For each subject the validators take turns, in an order that the subject decides; a
/// validator whose turn has come flags, unless somebody did by then. Two flags on their way cost nobody
/// anything: the ledger takes the first and refuses the other.
pub(super) fn is_turn(
    state: &State,
    subject: RecordId,
    accused: PeerId,
    me: PeerId,
    waited_ms: u64,
) -> bool {
    turn_of(state, subject, accused, me)
        .is_some_and(|turn| waited_ms >= turn.saturating_mul(TURN_MS))
}

/// How many validators come before `me`; none if it is never this one's turn.
fn turn_of(state: &State, subject: RecordId, accused: PeerId, me: PeerId) -> Option<u64> {
    let operator = |peer: PeerId| state.members().get(&peer).map(|member| &member.operator);
    let place = |peer: &PeerId| hash_parts("assay flag turn v1", &[&subject.0, &peer.0]);
    let mut validators: Vec<PeerId> = state
        .validators()
        .into_keys()
        .filter(|peer| operator(*peer) != operator(accused) && state.draw_weight(*peer) > 0)
        .collect();
    validators.sort_by_key(place);
    let turn = validators.iter().position(|peer| *peer == me)?;
    u64::try_from(turn).ok()
}

/// Raises a flag; false where that was refused or nobody could decide it, for it may not be the next time.
pub(super) fn raise(author: &Author, charge: &Charge, why: &str) -> bool {
    let (state, me) = (author.ledger.state(), author.me());
    let accused = state.would_charge(me, charge);
    if accused.is_ok_and(|accused| !state.has_judges(me, accused, charge)) {
        // Another flagger may leave enough of them: who is copied, for example, judges in no case.
        tracing::debug!(subject = %charge.subject.short(), "did not flag what too few could judge");
        return false;
    }
    let Charge { rule, subject, evidence, sighting } = *charge;
    let flag = Flag { rule: rule.word().to_owned(), subject, evidence, sighting };
    let body = PostBody {
        channel: CHANNEL.to_owned(),
        thread: None,
        refs: vec![subject],
        title: String::new(),
        text: format!("{why} (flagged by this node's own check)"),
        detail: Some(Detail::Flag(flag)),
    };
    match author.post(PostRequest { body, forecast: None }) {
        Ok(said) => {
            let flag = said.record.short();
            tracing::info!(subject = %subject.short(), rule = rule.word(), %flag, "flagged");
            true
        }
        Err(error) => {
            tracing::debug!(subject = %subject.short(), rule = rule.word(), %error, "did not flag");
            false
        }
    }
}
