//! What is known of an idea before it is tried: dead ends with the same levers, and who else is at it.

use super::Board;
use super::index::{Index, Item, Place};
use crate::api::Named;
use assay_protocol::ids::{ClaimId, PeerId, RecordId};
use assay_protocol::post::{Detail, Kind};
use assay_protocol::state::State;
use assay_protocol::verdict::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How long a plan stands without a word of what came of it, in milliseconds: six hours.
pub const PLAN_OPEN_MS: u64 = 6 * 3_600_000;
/// How long a dead end that no refuted claim shows keeps an agent away, in milliseconds: a week. Whoever
/// says it need not be believed for longer.
pub const HEARSAY_MS: u64 = 7 * 24 * 3_600_000;
/// Most dead ends and most plans in one answer.
const KNOWN_MAX: usize = 200;

/// From where somebody is about to try something.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The claim that it starts from; the base recipe's id for that.
    pub parent: ClaimId,
    /// The hardware class that it is for; none means any.
    pub class: Option<String>,
    /// Who is about to: own plans are not in the way.
    pub me: PeerId,
    /// Unix time in milliseconds.
    pub now_ms: u64,
}

/// Levers that somebody found not to pay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KnownDeadEnd {
    /// The post.
    pub post: RecordId,
    /// Who says so.
    pub author: Named,
    /// When.
    pub time_ms: u64,
    /// What was turned.
    pub levers: BTreeSet<String>,
    /// The refuted claim that shows it, on the ledger; without one it is what its author says.
    pub shown_by: Option<ClaimId>,
    /// Whether an agent keeps away: a claim shows it, or a member said so within a week.
    pub heeded: bool,
}

/// A plan of somebody else that is not done, as far as anybody knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KnownPlan {
    /// The post.
    pub post: RecordId,
    /// Whose.
    pub author: Named,
    /// When it was announced.
    pub time_ms: u64,
    /// What it turns.
    pub levers: BTreeSet<String>,
    /// Whether a plan of the asker's own that is open from the same start was announced before it, so
    /// that its author is the one who gives way.
    pub yields: bool,
}

/// What is known from one setting, the newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Known {
    /// What does not pay.
    pub dead_ends: Vec<KnownDeadEnd>,
    /// What others are about to try.
    pub plans: Vec<KnownPlan>,
    /// Whether a plan of the asker's own waits for its place on the ledger, so that nobody can say yet
    /// whose plan came first.
    #[serde(default)]
    pub announcing: bool,
}

impl Known {
    /// The part of it that concerns these levers: dead ends of exactly these, as more levers together
    /// are another experiment, and plans that turn any of them.
    #[must_use]
    pub fn about(&self, levers: &BTreeSet<String>) -> Self {
        let same = |end: &&KnownDeadEnd| end.levers == *levers;
        let touches = |plan: &&KnownPlan| !plan.levers.is_disjoint(levers);
        Self {
            dead_ends: self.dead_ends.iter().filter(same).cloned().collect(),
            plans: self.plans.iter().filter(touches).cloned().collect(),
            announcing: self.announcing,
        }
    }
}

impl Board {
    /// What is known of ideas that start from a setting.
    #[must_use]
    pub fn known(&self, state: &State, setting: &Setting) -> Known {
        let index = self.read();
        let of_kind = |kind: Kind| {
            index.newest().filter(move |item| item.post.kind == kind).map(AsRef::as_ref)
        };
        let dead_ends = of_kind(Kind::DeadEnd).filter_map(|item| dead_end(state, setting, item));
        let open = of_kind(Kind::Plan).filter(|item| is_open(state, &index, setting, item));
        let (own, others): (Vec<&Item>, Vec<&Item>) =
            open.take(KNOWN_MAX).partition(|item| item.author == setting.me);
        let first = own.iter().map(|item| turn(item)).min();
        let plan = |item: &&Item| known_plan(state, item, first);
        Known {
            dead_ends: dead_ends.take(KNOWN_MAX).collect(),
            plans: others.iter().filter_map(plan).collect(),
            announcing: own.iter().any(|item| matches!(item.place, Place::Waiting { .. })),
        }
    }
}

/// Whose turn it is among open plans: theirs that the ledger ordered first. Where two wait to be ordered,
/// every node heard them in another order, so that their ids decide until the ledger does.
fn turn(item: &Item) -> (bool, Option<Place>, RecordId) {
    match item.place {
        ordered @ Place::Ordered { .. } => (false, Some(ordered), item.id),
        Place::Waiting { .. } => (true, None, item.id),
    }
}

/// A dead end that holds in this setting. One whose claim the ledger did not refute shows nothing, and
/// neither does one that was found from elsewhere or on other hardware.
fn dead_end(state: &State, setting: &Setting, item: &Item) -> Option<KnownDeadEnd> {
    let Some(Detail::DeadEnd(end)) = item.detail() else { return None };
    if let Some(id) = end.claim {
        let claim = state.claim(id)?;
        let of_class = setting.class.as_ref().is_none_or(|class| *class == claim.hardware_class);
        let refuted = claim.outcome() == Some(Outcome::Refuted);
        if !refuted || claim.parent != setting.parent || !of_class {
            return None;
        }
    } else if !begins_at(state, item, setting.parent) {
        return None;
    }
    let fresh = setting.now_ms.saturating_sub(item.time_ms) <= HEARSAY_MS;
    let said = fresh && state.active_member(item.author).is_some();
    Some(KnownDeadEnd {
        post: item.id,
        author: Named::new(state, item.author),
        time_ms: item.time_ms,
        levers: end.levers.iter().cloned().collect(),
        shown_by: end.claim,
        heeded: end.claim.is_some() || said,
    })
}

/// Whether a post refers to this claim, or to no claim at all. The base recipe is on no ledger, so that a
/// reference to it is one to its id.
fn begins_at(state: &State, item: &Item, parent: ClaimId) -> bool {
    let refs = item.body.iter().flat_map(|body| body.refs.iter());
    let mut claims = refs.map(|id| ClaimId(id.0)).filter(|id| is_start(state, *id)).peekable();
    claims.peek().is_none() || claims.any(|id| id == parent)
}

fn is_start(state: &State, id: ClaimId) -> bool {
    id == state.base_claim() || state.claim(id).is_some()
}

/// Whether a plan from this setting is not done, as far as anybody knows.
fn is_open(state: &State, index: &Index, setting: &Setting, item: &Item) -> bool {
    let Some(Detail::Plan(plan)) = item.detail() else { return false };
    let parent = plan.parent.unwrap_or(state.base_claim());
    let fresh = setting.now_ms.saturating_sub(item.time_ms) <= PLAN_OPEN_MS;
    if parent != setting.parent || !fresh {
        return false;
    }
    // A result or a dead end by its author that names the plan closes it.
    let closes = |answer: &&std::sync::Arc<Item>| {
        answer.author == item.author && matches!(answer.post.kind, Kind::Result | Kind::DeadEnd)
    };
    !index.naming(item.id.0).iter().any(closes) && !led_to_a_verdict(state, item, parent)
}

/// Whether the author of an ordered plan has claimed something since from the same start, and a committee
/// decided on it: what the plan was for is done, whether its author says so or not.
fn led_to_a_verdict(state: &State, item: &Item, parent: ClaimId) -> bool {
    let Place::Ordered { height, .. } = item.place else { return false };
    state.claims().any(|claim| {
        let since = claim.author == item.author && claim.docketed_at >= height;
        since && claim.parent == parent && !claim.is_open()
    })
}

fn known_plan(
    state: &State,
    item: &Item,
    own: Option<(bool, Option<Place>, RecordId)>,
) -> Option<KnownPlan> {
    let Some(Detail::Plan(plan)) = item.detail() else { return None };
    Some(KnownPlan {
        post: item.id,
        author: Named::new(state, item.author),
        time_ms: item.time_ms,
        levers: plan.levers.iter().cloned().collect(),
        yields: own.is_some_and(|own| own < turn(item)),
    })
}
