//! What a claim is made of, what it builds on, and how to measure it oneself.

use super::Snapshot;
use super::entry::parameters;
use super::format::{duration, millionths, percent, quoted, ratio, summary};
use super::relay::relay;
use crate::api::entry::Entry;
use assay_protocol::ids::BlobHash;
use assay_protocol::record::Recipe;
use maud::{Markup, html};

/// What is claimed to be fast, beside its parent.
pub(super) fn recipe(entry: &Entry) -> Markup {
    let recipe = &entry.ledger.recipe;
    let parts = |recipe: &Recipe| {
        [
            blob(Some(recipe.checkpoint), ""),
            blob(recipe.bundle, "built-in"),
            blob(recipe.drafter.map(|drafter| drafter.checkpoint), "none"),
            html! { (recipe.drafter.map_or_else(|| "–".to_owned(), |d| d.draft_len.to_string())) },
        ]
    };
    let names = ["Checkpoint", "Kernel bundle", "Drafter", "Drafts a step"];
    let parents = entry.parent_recipe.as_ref().map(parts);
    html! {
        section #recipe data-live aria-labelledby="recipe-title" {
            h2 #recipe-title { "Recipe" }
            p.sub { code.id { (entry.recipe_id) } }
            table.recipe {
                thead {
                    tr { th scope="col" {} th scope="col" { "Parent" } th scope="col" { "This claim" } }
                }
                tbody {
                    @for (index, (name, value)) in names.iter().zip(parts(recipe)).enumerate() {
                        @let parent = parents.as_ref().and_then(|parts| parts.get(index));
                        @let same = parent.is_some_and(|p| p.0 == value.0);
                        tr {
                            th scope="row" { (name) }
                            td { @if let Some(parent) = parent { (parent) } }
                            td { @if same { span.muted { "the same" } } @else { (value) } }
                        }
                    }
                }
            }
        }
    }
}

fn blob(hash: Option<BlobHash>, none: &str) -> Markup {
    match hash {
        Some(hash) => html! { code title=(hash) { (hash.short()) } },
        None => html! { (none) },
    }
}

/// What the claim builds on.
pub(super) fn lineage(snapshot: &Snapshot, entry: &Entry) -> Markup {
    let lineage = &entry.lineage;
    let base = &snapshot.state.genesis().challenge;
    html! {
        section #lineage data-live aria-labelledby="lineage-title" {
            h2 #lineage-title { "Lineage" }
            (relay(entry))
            ol.lineage {
                li {
                    strong { "This claim" } " "
                    span.muted { @if let Some(r) = &entry.claim.ratio { (ratio(r.ppm)) } }
                }
                @for step in &lineage.ancestors {
                    li {
                        a.id href={ "/claims/" (step.claim) } { (step.claim.short()) } " "
                        (summary(&step.summary)) " "
                        span.muted {
                            "by " (quoted(&step.author.name))
                            @if let Some(r) = &step.ratio { ", " (ratio(r.ppm)) }
                        }
                    }
                }
                @if lineage.cut { li.muted { "older claims left out" } }
                li { "Base recipe of " (quoted(&base.name)) " " (blob(Some(base.base.checkpoint), "")) }
            }
        }
    }
}

/// How to check and to measure it oneself.
pub(super) fn reproduce(snapshot: &Snapshot, entry: &Entry) -> Markup {
    let id = entry.claim.id;
    let numbers = parameters(snapshot, entry);
    let rules = &numbers.measurement;
    let pool = &numbers.challenge.pool;
    let shown = entry.ledger.shown();
    html! {
        section #reproduce data-live aria-labelledby="reproduce-title" {
            h2 #reproduce-title { "Reproduce" }
            p {
                "Check the decision: export the ledger and replay it. The audit draws this committee "
                "again and recomputes this verdict from the raw samples."
            }
            pre { code {
                "assay ledger export --out ledger.bin\nassay audit ledger.bin --genesis genesis.json"
            } }
            p {
                "Measure it yourself: each seat decoded " (shown.map_or(rules.pairs, |round| round.pairs.max(1))) " prompts of "
                (pool.prompt_tokens) " tokens, " (rules.decode_tokens) " tokens each, by parent and "
                "child in ABBA order, and had " (duration(numbers.committee.seal_ms)) " to seal. "
                @match shown.and_then(|round| round.beacon) {
                    Some(beacon) => {
                        "The prompts follow from beacon " code title=(beacon) { (beacon.short()) }
                        ", the round and the seat's key, over the pool "
                        (blob(Some(pool.text), "")) "."
                    }
                    None => { "The prompts are drawn when the beacon is fixed." }
                }
            }
            pre { code {
                "assay audit ledger.bin --genesis genesis.json --reproduce " (id.short()) " --home ./mine"
            } }
            p {
                "Everything on this page, samples included: "
                a href={ "/api/claims/" (id) } { "JSON" } ". The network's rules and quality bounds ("
                "KL ≤ " (millionths(numbers.challenge.kl_max_micronats)) " nat, agreement ≥ "
                (percent(numbers.challenge.agreement_min_ppm)) ", perplexity ratio ≤ "
                (millionths(numbers.challenge.perplexity_ratio_max_ppm)) "): "
                a href="/api/genesis" { "genesis" } "."
            }
        }
    }
}
