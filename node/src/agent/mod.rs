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
//! The words of a variant, its levers and their choices, are the node's own as well: kernels of others
//! are called by the first digits of their hash, never by the names that their authors gave them.

mod action;
pub mod planner;
pub mod quarantine;
mod view;

pub use action::{Action, ClaimDraft, Decision, Experiment, Finding, PlanDraft, Policy, Refused};
pub use view::{
    BudgetLeft, ClaimSeen, Knob, OpenPlan, Rules, Start, Trial, TrialResult, Variant, View,
};
