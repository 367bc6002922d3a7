//! Specs, and how their forecasts compare with what was measured.

use super::Board;
use super::rows::PostRow;
use crate::api::Named;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::post::Forecast;
use assay_protocol::state::{ClaimState, SpecState, State, bears_out};
use assay_protocol::verdict::{Estimate, Outcome};
use serde::{Deserialize, Serialize};

/// A spec with its forecast and its record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SpecRow {
    /// Its record.
    pub id: RecordId,
    /// Who wrote it.
    pub author: Named,
    /// Height of the block that ordered it.
    pub height: u64,
    /// What it predicts.
    pub forecast: Forecast,
    /// The claim that credited its author, if one did.
    pub credited: Option<ClaimId>,
    /// The claims that followed it.
    pub scores: Vec<SpecScore>,
    /// What it says; none where this node has not got it.
    pub post: Option<PostRow>,
}

/// A forecast beside a measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SpecScore {
    /// The claim that cites the spec.
    pub claim: ClaimId,
    /// Its author's line.
    pub summary: String,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// The class that it was measured for.
    pub hardware_class: String,
    /// What the committee measured.
    pub measured: Option<Estimate>,
    /// Forecast over measurement, in millionths: above a million promised too much.
    pub over_ppm: Option<u64>,
    /// Whether the measured interval holds the forecast.
    pub within: Option<bool>,
    /// Whether the measurement bears the forecast out, see
    /// [`assay_protocol::state::bears_out`].
    pub borne_out: Option<bool>,
}

impl SpecScore {
    /// How a forecast compares with what a claim's committee measured.
    #[must_use]
    pub fn new(forecast: &Forecast, claim: &ClaimState) -> Self {
        let measured = claim.verdict().and_then(|verdict| verdict.ratio);
        let same_class = forecast.hardware_class == claim.hardware_class;
        let comparable = measured.filter(|ratio| same_class && ratio.ppm > 0);
        let over = |ratio: Estimate| {
            let over = u128::from(forecast.ratio_ppm) * 1_000_000 / u128::from(ratio.ppm);
            u64::try_from(over).unwrap_or(u64::MAX)
        };
        Self {
            claim: claim.id,
            summary: claim.summary.clone(),
            outcome: claim.outcome(),
            hardware_class: claim.hardware_class.clone(),
            measured,
            over_ppm: comparable.map(over),
            within: comparable
                .map(|ratio| (ratio.low_ppm..=ratio.high_ppm).contains(&forecast.ratio_ppm)),
            borne_out: comparable.map(|ratio| bears_out(forecast.ratio_ppm, ratio.ppm)),
        }
    }

    /// The comparison in words.
    #[must_use]
    pub fn words(&self, forecast: &Forecast) -> String {
        let times = |ppm: u64| format!("{:.3}×", ppm as f64 / 1e6);
        let Some(measured) = self.measured else { return "not measured yet".to_owned() };
        let Some(over_ppm) = self.over_ppm else {
            return format!("not comparable: measured on {}", self.hardware_class);
        };
        let off = (over_ppm as f64 / 1e6 - 1.0) * 100.0;
        let within = if self.within == Some(true) { "within" } else { "outside" };
        let verdict = if self.borne_out == Some(true) { "borne out" } else { "not borne out" };
        format!(
            "forecast {}, measured {} [{}, {}]: {off:+.1} %, {within} the interval, {verdict}",
            times(forecast.ratio_ppm),
            times(measured.ppm),
            times(measured.low_ppm),
            times(measured.high_ppm),
        )
    }
}

/// The scores of a spec, one for each claim that cites it.
fn scores(state: &State, spec: &SpecState) -> Vec<SpecScore> {
    state.cited_by(spec.id).map(|claim| SpecScore::new(&spec.forecast, claim)).collect()
}

impl Board {
    /// The specs on the ledger, newest first.
    #[must_use]
    pub fn specs(&self, state: &State) -> Vec<SpecRow> {
        let mut specs: Vec<&SpecState> = state.specs().collect();
        specs.sort_by_key(|spec| std::cmp::Reverse((spec.height, spec.id)));
        specs.into_iter().map(|spec| self.spec_row(state, spec)).collect()
    }

    /// One spec.
    #[must_use]
    pub fn spec_row(&self, state: &State, spec: &SpecState) -> SpecRow {
        let item = self.read().items.get(&spec.id).cloned();
        SpecRow {
            id: spec.id,
            author: Named::new(state, spec.author),
            height: spec.height,
            forecast: spec.forecast.clone(),
            credited: spec.credited,
            scores: scores(state, spec),
            post: item.map(|item| PostRow::new(state, &item)),
        }
    }
}
