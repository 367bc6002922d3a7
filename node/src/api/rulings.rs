//! Rulings as rows: what drawn committees and measurements said about flags.

use super::claims::Named;
use super::reply::fault;
use super::routes::App;
use assay_protocol::ids::{BlobHash, PeerId, RecordId};
use assay_protocol::ruling::{Hearing, Measured, Offence, Ruling, Vote};
use assay_protocol::sighting::Sighting;
use assay_protocol::state::{APPEAL_BLOCKS, State as Ledger};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// Most rulings in one answer.
const ROWS_MAX: usize = 1_000;
/// Fewest digits of an abbreviated id.
const DIGITS_MIN: usize = 6;

/// A ruling.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RulingRow {
    /// The flag's record.
    pub id: RecordId,
    /// The rule said to be broken.
    pub rule: Offence,
    /// The post or claim that is said to break it.
    pub subject: RecordId,
    /// What shows it; for a duplicate the earlier claim.
    pub evidence: Option<BlobHash>,
    /// What the flagger saw, under the rules that a measurement decides.
    pub sighting: Option<Sighting>,
    /// How it stands: `open`, `upheld`, `dismissed`, `undecided` or `appealed`.
    pub state: String,
    /// Who flagged.
    pub by: Named,
    /// Who is accused.
    pub accused: Named,
    /// Height of the block that ordered the flag.
    pub opened_at: u64,
    /// Height of the last block in which the losing side may appeal; none where nobody may.
    pub appeal_until: Option<u64>,
    /// The first hearing, and the appeal if there is one; none where a measurement decides.
    pub hearings: Vec<HearingRow>,
    /// The measurement that decides instead: the claim's round, and what came of it.
    pub measured: Option<Measured>,
}

/// One committee's look.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HearingRow {
    /// Seats drawn, in order, each with what it said.
    pub seats: Vec<SeatRow>,
    /// Equal findings that decide.
    pub quorum: u32,
    /// Who appealed; none in the first.
    pub appellant: Option<Named>,
    /// When the seats' time is over, in Unix milliseconds; none before the draw.
    pub until_ms: Option<u64>,
    /// What it decided; none while it is open.
    pub decision: Option<String>,
    /// The block that decided.
    pub decided_at: Option<u64>,
    /// Points of standing that the losing side lost by it.
    pub lost: u64,
}

/// One seat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SeatRow {
    /// Who.
    pub peer: Named,
    /// What it found, and the digest of why; none if it said nothing.
    pub vote: Option<Vote>,
}

impl RulingRow {
    /// A ruling as it is shown.
    #[must_use]
    pub fn new(state: &Ledger, ruling: &Ruling) -> Self {
        let named = |peer: PeerId| Named::new(state, peer);
        let hearing = |hearing: &Hearing| HearingRow {
            seats: hearing
                .seats
                .iter()
                .map(|seat| SeatRow {
                    peer: named(*seat),
                    vote: hearing.ballots.get(seat).copied(),
                })
                .collect(),
            quorum: hearing.size.quorum,
            appellant: hearing.appellant.map(named),
            until_ms: hearing.until_ms,
            decision: hearing.decision.map(|decision| decision.word().to_owned()),
            decided_at: hearing.decided_at,
            lost: hearing.lost,
        };
        Self {
            id: ruling.id,
            rule: ruling.charge.rule,
            subject: ruling.charge.subject,
            evidence: ruling.charge.evidence,
            sighting: ruling.charge.sighting,
            state: ruling.word().to_owned(),
            by: named(ruling.by),
            accused: named(ruling.accused),
            opened_at: ruling.opened_at,
            appeal_until: appeal_until(state, ruling),
            hearings: ruling.hearings.iter().map(hearing).collect(),
            measured: ruling.measured,
        }
    }
}

/// The last height at which a ruling can be appealed against, while it can.
fn appeal_until(state: &Ledger, ruling: &Ruling) -> Option<u64> {
    let [first] = ruling.hearings.as_slice() else { return None };
    first.decision.and_then(|decision| ruling.loser(decision))?;
    let until = first.decided_at?.saturating_add(APPEAL_BLOCKS);
    (state.height() < until).then_some(until)
}

/// The rulings, the latest first.
pub(super) async fn list(State(shared): App) -> Response {
    let state = shared.view.state();
    let mut rulings: Vec<&Ruling> = state.rulings().collect();
    rulings.sort_by_key(|ruling| std::cmp::Reverse((ruling.opened_at, ruling.id)));
    let rows: Vec<RulingRow> =
        rulings.into_iter().take(ROWS_MAX).map(|ruling| RulingRow::new(&state, ruling)).collect();
    Json(rows).into_response()
}

/// One ruling, by the id of its flag or of what it is about, or the beginning of one.
pub(super) async fn one(State(shared): App, Path(id): Path<String>) -> Response {
    let state = shared.view.state();
    let prefix = id.to_ascii_lowercase();
    let fits = |id: RecordId| prefix.len() >= DIGITS_MIN && id.to_string().starts_with(&prefix);
    let mut found = state.rulings().filter(|ruling| fits(ruling.id) || fits(ruling.charge.subject));
    match (found.next(), found.next()) {
        (Some(ruling), None) => Json(RulingRow::new(&state, ruling)).into_response(),
        (Some(_), Some(_)) => fault(
            StatusCode::NOT_FOUND,
            &format!("several rulings fit {id}; give more digits of the flag's id"),
        ),
        (None, _) => fault(
            StatusCode::NOT_FOUND,
            &format!("no ruling is about {id} or has this id; `assay ruling list` has them"),
        ),
    }
}
