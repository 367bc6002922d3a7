//! Proposals and parameters as rows: what members change by vote.

use super::claims::Named;
use super::reply::fault;
use super::routes::App;
use assay_protocol::ids::RecordId;
use assay_protocol::parameter::Parameter;
use assay_protocol::state::{Count, ProposalState, Resolution, State as Ledger};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most proposals in one answer.
const ROWS_MAX: usize = 1_000;
/// Fewest digits of an abbreviated id.
const DIGITS_MIN: usize = 6;

/// A proposal. What is said about it is in the thread with its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProposalRow {
    /// Its record.
    pub id: RecordId,
    /// What is to change.
    pub parameter: Parameter,
    /// Its value afterwards.
    pub value: u64,
    /// Its value when the proposal was made.
    pub before: u64,
    /// What both count; empty for plain numbers.
    pub unit: String,
    /// Why.
    pub why: String,
    /// How it stands: `open`, `adopted`, `rejected` or `void`.
    pub state: String,
    /// Who made it.
    pub by: Named,
    /// Height of the block that ordered it.
    pub opened_at: u64,
    /// When voting ends, in Unix milliseconds; none before the end of that block.
    pub until_ms: Option<u64>,
    /// The votes, as counted or as they stand.
    pub count: Count,
    /// The block that counted them.
    pub decided_at: Option<u64>,
    /// The first block under the new value, once adopted.
    pub in_force_from: Option<u64>,
    /// What was said, by operator.
    pub voices: Vec<VoiceRow>,
}

/// One operator's word.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VoiceRow {
    /// The operator.
    pub operator: String,
    /// Its member that spoke.
    pub by: Named,
    /// Whether it agrees.
    pub yes: bool,
    /// The operator's weight at present; 0 where it has none any more.
    pub weight: u64,
}

impl ProposalRow {
    /// A proposal as it is shown.
    #[must_use]
    pub fn new(state: &Ledger, proposal: &ProposalState) -> Self {
        let weights = state.voice_weights();
        let weight_of = |operator: &str, by| match state.draw_weight(by) {
            0 => 0,
            _ => weights.get(operator).copied().unwrap_or(0),
        };
        let voices = proposal.voices.iter().map(|(operator, spoken)| VoiceRow {
            operator: operator.clone(),
            by: Named::new(state, spoken.by),
            yes: spoken.yes,
            weight: weight_of(operator, spoken.by),
        });
        let adopted = proposal.resolution == Some(Resolution::Adopted);
        let last_before = proposal.effective_at.filter(|_| adopted);
        Self {
            id: proposal.id,
            parameter: proposal.parameter,
            value: proposal.value,
            before: proposal.before,
            unit: proposal.parameter.unit().word().to_owned(),
            why: proposal.why.clone(),
            state: proposal.word().to_owned(),
            by: Named::new(state, proposal.by),
            opened_at: proposal.opened_at,
            until_ms: proposal.until_ms,
            count: state.count(proposal),
            decided_at: proposal.decided_at,
            in_force_from: last_before.map(|height| height.saturating_add(1)),
            voices: voices.collect(),
        }
    }

    /// The proposals, the latest first.
    #[must_use]
    pub fn all(state: &Ledger) -> Vec<Self> {
        let mut all: Vec<&ProposalState> = state.proposals().collect();
        all.sort_by_key(|proposal| std::cmp::Reverse((proposal.opened_at, proposal.id)));
        all.into_iter().take(ROWS_MAX).map(|proposal| Self::new(state, proposal)).collect()
    }
}

/// One of the numbers that members may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterRow {
    /// Its path in the genesis.
    pub parameter: Parameter,
    /// Its value in force.
    pub value: u64,
    /// What it counts; empty for plain numbers.
    pub unit: String,
    /// What it does.
    pub about: String,
    /// Its value in the genesis.
    pub genesis: u64,
    /// The proposal that set it; none where nobody did.
    pub set_by: Option<RecordId>,
    /// The first block under its value.
    pub since: u64,
}

impl ParameterRow {
    /// All of them, in the order of their numbers.
    #[must_use]
    pub fn all(state: &Ledger) -> Vec<Self> {
        let amended: BTreeMap<Parameter, (u64, RecordId)> =
            state.amendments().map(|(last, by)| (by.parameter, (last + 1, by.id))).collect();
        let row = |parameter: &Parameter| {
            let set = amended.get(parameter);
            Self {
                parameter: *parameter,
                value: parameter.value(state.parameters()),
                unit: parameter.unit().word().to_owned(),
                about: parameter.about().to_owned(),
                genesis: parameter.value(state.genesis()),
                set_by: set.map(|(_, id)| *id),
                since: set.map_or(0, |(height, _)| *height),
            }
        };
        Parameter::ALL.iter().map(row).collect()
    }
}

pub(super) async fn list(State(shared): App) -> Response {
    Json(ProposalRow::all(&shared.view.state())).into_response()
}

pub(super) async fn parameters(State(shared): App) -> Response {
    Json(ParameterRow::all(&shared.view.state())).into_response()
}

/// One proposal, by its id or the beginning of it.
pub(super) async fn one(State(shared): App, Path(id): Path<String>) -> Response {
    let state = shared.view.state();
    let prefix = id.to_ascii_lowercase();
    let fits = |id: RecordId| prefix.len() >= DIGITS_MIN && id.to_string().starts_with(&prefix);
    let mut found = state.proposals().filter(|proposal| fits(proposal.id));
    match (found.next(), found.next()) {
        (Some(proposal), None) => Json(ProposalRow::new(&state, proposal)).into_response(),
        (Some(_), Some(_)) => {
            fault(StatusCode::NOT_FOUND, "several proposals begin with this; give more digits")
        }
        (None, _) => fault(
            StatusCode::NOT_FOUND,
            "no proposal begins with this; `assay proposal list` has them",
        ),
    }
}
