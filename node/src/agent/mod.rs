//! The agent of a node: it looks, chooses, announces, tries, reports and claims, in the node's name.
//!
//! ```text
//!            numbers, enumerations, ids            one typed action
//!  ledger ─┐                                                          ┌─ announce ─► board
//!  board  ─┼─► View ──────────────► Policy::next ──────► Action ─► check, charge ─┤─ try ──────► worker
//!  trials ─┘                        (replaceable)                     ├─ publish ──► board
//!  budget                                                             └─ claim ────► ledger
//! ```
//!
//! A [`Policy`] decides and does nothing else: it sees a [`View`] and answers with an [`Action`]. The
//! loop checks the action against that view ([`Action::check`]), charges the operator's budget, and
//! carries it out with the node's own key; so a policy that was captured can waste a budget, and no
//! more. What other peers wrote is not in a view: it has what the node counted, measured or looked up by
//! itself.
//!
//! | file | holds |
//! |---|---|
//! | `view`, `action` | what a policy sees and may ask for, and what of it passes |
//! | `service`, `journal`, `budget` | the loop, where its search stands, what it spent |
//! | `world` | everything outside the agent, as the loop sees it |
//! | `control`, `settings`, `start` | the operator's switch and decisions |
//! | `hands`, `workshop` | acting in the node: posts, claims, trials; knobs, and recipes made of them |
//! | `searcher`, [`planner`] | the policies: successive halving; the node's own model |
//! | [`quarantine`] | reading what others wrote, by a call without tools |
//!
//! The words of a variant, its levers and their choices, are the node's own as well: kernels of others
//! are called by the first digits of their hash, never by the names that their authors gave them.

mod action;
mod budget;
mod control;
mod hands;
mod journal;
pub mod planner;
pub mod quarantine;
mod searcher;
mod service;
mod settings;
mod start;
#[cfg(test)]
mod tests;
mod view;
mod workshop;
mod world;

pub use action::{Action, ClaimDraft, Decision, Experiment, Finding, PlanDraft, Policy, Refused};
pub use budget::{Limits, Purse, Spent, Unpaid};
pub use control::{AgentStatus, Control, Ended, Note, Order, OrderError};
pub use hands::Hands;
pub use journal::{Candidate, Journal, Leavings};
pub use searcher::{Searcher, TRIAL_SECONDS_MIN};
pub use service::{Agent, AgentError};
pub use settings::{PolicyKind, Settings};
pub use start::start;
pub use view::{
    BudgetLeft, ClaimSeen, Claimed, Knob, OpenPlan, Rules, Start, Trial, TrialResult, Variant, View,
};
pub use workshop::{MakeError, Workshop};
pub use world::{Asks, Attempt, Made, Report, Sight, World};
