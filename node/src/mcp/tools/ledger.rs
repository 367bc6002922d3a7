//! Reading the ledger: the node, claims with their ranking, members, and derivations.

use super::{Caller, Definition, Nothing, PREFIX_DIGITS};
use crate::api::{ClaimRow, Claims};
use crate::cli::board::{asked, checked_id};
use crate::cli::explain;
use crate::mcp::permissions::Permission::Read;
use crate::mcp::quote::quoted;
use assay_protocol::frontier::Track;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Most claims in one answer.
const CLAIMS_MAX: usize = 50;
/// Claims in one answer unless the client says otherwise.
const CLAIMS_DEFAULT: usize = 20;

#[derive(Debug, Deserialize, JsonSchema)]
struct Part {
    /// How many to skip, the newest first.
    #[serde(default)]
    offset: usize,
    /// How many to list, at most 50; 20 without it.
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OneClaim {
    /// The claim: its id, or the first 6 or more digits.
    id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Named {
    /// A claim, an entry, a peer or a hardware class: an id, its first digits, or a name.
    id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct On {
    /// The claim to build on, by its id or the first digits; the base recipe without it.
    parent: Option<String>,
}

pub(super) fn tools() -> Vec<Definition> {
    vec![
        Definition::new(
            Read,
            "ledger_status",
            "What this node is and does: its name, its standing, its hardware class, the network, \
             the height of the ledger, and what it is measuring at the moment.",
            |caller, Nothing {}| caller.quoted("/api/status"),
        ),
        Definition::new(
            Read,
            "ledger_members",
            "The members of the network with operator, standing and weight, best standing first.",
            |caller, Nothing {}| caller.quoted("/api/members"),
        ),
        Definition::new(
            Read,
            "ledger_ranking",
            "The accepted entries that are ranked, by hardware class and track, the best first. \
             Start here to see what is fastest and what a new claim would have to beat.",
            |caller, Nothing {}| ranked(caller),
        ),
        Definition::new(
            Read,
            "ledger_claims",
            "Claims, newest first: what was claimed, the measured speed ratio with its interval, \
             perplexity, KL divergence, rounds, verdict and rank.",
            claims,
        ),
        Definition::new(
            Read,
            "ledger_claim",
            "Everything about one claim: recipe, lineage, every round with its seats, gates and \
             raw samples.",
            |caller, OneClaim { id }| caller.quoted(&format!("/api/claims/{}", checked_id(&id)?)),
        ),
        Definition::new(
            Read,
            "ledger_explain",
            "Where a number comes from, step by step: the verdict of a claim, the standing of a \
             peer, or the noise and bandwidth of a hardware class.",
            |caller, Named { id }| caller.quoted(&explain::path_of(&id)?),
        ),
        Definition::new(
            Read,
            "ledger_proposals",
            "What members propose to change in the network's numbers, newest first, with the votes as \
             they stand. You may say what you think of one in its thread, which is named like the \
             proposal; the vote is the operator's own.",
            |caller, Nothing {}| caller.quoted("/api/proposals"),
        ),
        Definition::new(
            Read,
            "ledger_parameters",
            "The network's numbers that members may change by vote, as they are in force: committees, \
             gates, deadlines, membership.",
            |caller, Nothing {}| caller.quoted("/api/parameters"),
        ),
        Definition::new(
            Read,
            "ledger_cost",
            "What a claim would cost the network: seats, pairs, timed tokens, and time where it is \
             known. Ask before you claim.",
            cost,
        ),
    ]
}

fn claims(caller: &Caller, part: Part) -> anyhow::Result<String> {
    let limit = part.limit.unwrap_or(CLAIMS_DEFAULT).min(CLAIMS_MAX);
    let (offset, limit) = (part.offset.to_string(), limit.to_string());
    let query = [("offset", offset.as_str()), ("limit", limit.as_str())];
    caller.quoted(&asked("/api/claims", query))
}

fn cost(caller: &Caller, on: On) -> anyhow::Result<String> {
    let parent = caller.optional_claim(on.parent.as_ref())?.map(|parent| parent.to_string());
    caller.quoted(&asked("/api/cost", parent.as_deref().map(|parent| ("parent", parent))))
}

/// The ranked entries of every class and track, the best first.
pub(in crate::mcp) fn ranked(caller: &Caller) -> anyhow::Result<String> {
    let claims: Claims = caller.node()?.get("/api/claims")?;
    let mut rows: Vec<&ClaimRow> = claims.claims.iter().filter(|row| row.rank.is_some()).collect();
    let lossy = |row: &ClaimRow| row.track != Some(Track::Lossless);
    rows.sort_by_key(|row| (row.hardware_class.as_str(), lossy(row), row.rank));
    let total = rows.len();
    let rows: Vec<Value> = rows.into_iter().take(CLAIMS_MAX).map(ranked_row).collect();
    quoted(&json!({ "height": claims.height, "ranked": total, "entries": rows })).map(|text| {
        format!("{text}\nledger_claim has all about an entry: give it {PREFIX_DIGITS}.")
    })
}

fn ranked_row(row: &ClaimRow) -> Value {
    json!({
        "id": row.id, "summary": row.summary, "author": row.author.name,
        "hardware_class": row.hardware_class, "track": row.track, "rank": row.rank,
        "leads": row.leads, "parent": row.parent, "ratio": row.ratio,
        "ratio_to_base_ppm": row.ratio_to_base_ppm, "kl_micronats": row.kl_micronats,
        "perplexity_child_ppm": row.perplexity_child_ppm, "debunked": row.debunked,
    })
}
