//! The page of one claim: everything that the ledger knows about it.

use super::disclosures::disclosures;
use super::dissent::{divided, says};
use super::format::{count, duration, percent, quoted, ratio, significant, summary};
use super::home::{key, perplexity, speed, standing, tokens};
use super::listed::downloads;
use super::plot::{Mark, Scale, from_ppm};
use super::recipe::{lineage, recipe, reproduce};
use super::rounds::{aftermath, rank, rounds};
use super::rulings::rulings;
use super::{Place, Snapshot, badge, document};
use crate::api::entry::{Entry, PairRow, RoundEntry, SeatRow};
use assay_protocol::gates::{Gate, GateResult};
use assay_protocol::genesis::Genesis;
use assay_protocol::verdict::{Estimate, Outcome};
use maud::{Markup, html};

/// The page.
pub(in crate::api) fn entry(snapshot: &Snapshot, entry: &Entry) -> Markup {
    let row = &entry.claim;
    let main = html! {
        nav.trail aria-label="Where you are" { a href="/#claims" { "Claims" } " / " (row.id.short()) }
        (verdict(snapshot, entry))
        (disclosures(entry))
        (rulings(entry))
        (rounds(entry))
        (samples(snapshot, entry))
        (gates(entry))
        (seats(entry))
        div.columns {
            (recipe(entry))
            (lineage(snapshot, entry))
        }
        (reproduce(snapshot, entry))
    };
    document(snapshot, Place::Challenge, &format!("Claim {} · Assay", row.id.short()), &main)
}

fn verdict(snapshot: &Snapshot, entry: &Entry) -> Markup {
    let row = &entry.claim;
    html! {
        section #verdict data-live aria-labelledby="claim-title" {
            h1 #claim-title { (summary(&row.summary)) }
            p.sub {
                "Claim " code.id { (row.id) } " by "
                span title=(row.author.peer) { (quoted(&row.author.name)) }
                " on " code { (row.hardware_class) } ", docketed in block " (row.docketed_at)
                @if let Some(height) = row.settled_at { ", settled in block " (height) }
            }
            dl.figures.large {
                div { dt { "Outcome" } dd { (standing(snapshot.now_ms, row)) } }
                div { dt { "Speed, × parent" } dd { (speed(row.ratio.as_ref())) } }
                div { dt { "Speed, × base" } dd { (rank(row)) } }
                div { dt { "Author's own figure" } dd { (own_result(entry)) } }
                div { dt { "Perplexity, parent → child" } dd { (perplexity(row)) } }
                div { dt { "KL to base, nat" } dd { (divergence(row.kl_micronats)) } }
                div { dt { "Tokens" } dd { (kept_tokens(row.lossless)) } }
                div { dt { "Forged quorum" } dd { (forged(snapshot, entry)) } }
                div { dt { "Cost" } dd { (cost(entry)) } }
                div { dt { "Lineage" } dd { a href={ "/lineage/" (row.id) } { "how it came about" } } }
            }
            @if row.outcome == Some(Outcome::Pending) {
                p {
                    "The quality is attested. Too few seats are of the class " code { (row.hardware_class) }
                    " to say anything about the speed."
                }
            }
            (divided(entry))
            (aftermath(row))
            @if row.outcome == Some(Outcome::Inconclusive) {
                p {
                    "Too few seats revealed: " (row.progress.revealed) " of the "
                    (row.progress.quorum) " that a verdict needs. Nothing was decided about the recipe."
                }
            }
        }
    }
}

fn divergence(kl_micronats: Option<u64>) -> Markup {
    match kl_micronats {
        Some(kl) => html! { (format!("{:.6}", from_ppm(kl))) },
        None => html! { span.muted.none { "–" } },
    }
}

/// Whether the tokens are those of the checkpoint. A quantised one may keep all of its own.
fn kept_tokens(lossless: Option<bool>) -> Markup {
    html! {
        (tokens(lossless))
        @if lossless.is_some() { span.sub { "against the built-in kernels on its checkpoint" } }
    }
}

/// What the author sealed beforehand, and how far it was off.
fn own_result(entry: &Entry) -> Markup {
    let Some(own_ppm) = entry.claim.author_ratio_ppm else {
        let seal = hex::encode(entry.ledger.result_seal);
        return html! {
            span.lead { "sealed" }
            span.sub title=(seal) { "opened after the verdict" }
        };
    };
    let off = entry.claim.ratio.map(|pooled| from_ppm(own_ppm) / from_ppm(pooled.ppm) - 1.0);
    html! {
        span.lead { (ratio(own_ppm)) }
        @if let Some(off) = off.filter(|off| off.is_finite()) {
            span.sub {
                (format!("{:.1}", off.abs() * 100.0)) " % "
                @if off > 0.0 { "above" } @else { "below" }
                " the committee's"
            }
        }
    }
}

/// What decoding took of the seats' machines, all rounds together.
fn cost(entry: &Entry) -> Markup {
    let seats = || entry.rounds.iter().flat_map(|round| &round.seats);
    let measured = seats().filter(|seat| seat.samples.is_some()).count();
    let decoding_ns = seats().fold(0_u64, |sum, seat| sum.saturating_add(seat.decoding_ns()));
    match measured {
        0 => html! { span.muted { "–" } },
        _ => html! {
            span.lead { (duration(decoding_ns / 1_000_000)) }
            span.sub { "of decoding by " (count(measured, "seat", "seats")) ", preparation aside" }
        },
    }
}

/// The network's numbers by which what is shown of an entry was measured and judged.
pub(super) fn parameters<'a>(snapshot: &'a Snapshot, entry: &Entry) -> &'a Genesis {
    let state = &snapshot.state;
    entry.ledger.shown().map_or_else(|| state.parameters(), |round| state.parameters_of(round))
}

/// How likely dishonest seats alone make a quorum.
fn forged(snapshot: &Snapshot, entry: &Entry) -> Markup {
    let assumed = parameters(snapshot, entry).committee.assumed_dishonest_ppm;
    match entry.verdict.as_ref() {
        Some(verdict) => {
            let probability = verdict.forged_quorum_ppb as f64 / 1e7;
            html! {
                span.lead { (significant(probability)) " %" }
                span.sub { "if " (percent(assumed)) " of seats are dishonest" }
            }
        }
        None => html! { span.muted { "–" } },
    }
}

fn samples(snapshot: &Snapshot, entry: &Entry) -> Markup {
    let rules = &parameters(snapshot, entry).significance;
    let needed = 1.0 + from_ppm(rules.eta_ppm);
    let measured: Vec<Measured> = entry.seats.iter().filter_map(Measured::of).collect();
    let verdict = entry.verdict.as_ref();
    let pooled = verdict.and_then(|verdict| Some((verdict.outcome, verdict.ratio?)));
    html! {
        section #samples data-live aria-labelledby="samples-title" {
            h2 #samples-title { "Samples" }
            @if measured.is_empty() {
                p.empty {
                    "No seat has revealed. Measurements stay sealed until all seats have sealed or "
                    "the deadline has passed, so that nobody can copy."
                }
            } @else {
                (by_seat(needed, &measured, pooled.as_ref()))
                p.key {
                    "A dot is one prompt, decoded by parent and child in turn on the seat's machine: "
                    "child speed over parent speed. The stroke is the seat's geometric mean."
                }
                (key(needed, rules.alpha_ppm))
                (downloads(&format!("/api/claims/{}/pairs", entry.claim.id), "Pairs"))
            }
        }
    }
}

/// What one seat measured, as the plot shows it.
struct Measured<'a> {
    name: &'a str,
    pairs: &'a [PairRow],
    /// Geometric mean of the pairs' ratios.
    ratio: f64,
}

impl<'a> Measured<'a> {
    /// A seat that revealed.
    fn of(seat: &'a SeatRow) -> Option<Self> {
        let samples = seat.samples.as_ref()?;
        Some(Self { name: &seat.seat.name, pairs: &samples.pairs, ratio: samples.ratio })
    }

    fn spoken(&self) -> String {
        let ratios = self.pairs.iter().map(|pair| pair.ratio);
        let low = ratios.clone().fold(f64::INFINITY, f64::min);
        let high = ratios.fold(0.0, f64::max);
        format!("{} pairs of {}, ratios {low:.3} to {high:.3}", self.pairs.len(), self.name)
    }
}

/// The pairs of each seat as dots, and below them what the verdict pooled from them.
fn by_seat(needed: f64, measured: &[Measured], pooled: Option<&(Outcome, Estimate)>) -> Markup {
    let band = pooled.map(|(_, ratio)| ratio);
    let dots = measured.iter().flat_map(|seat| seat.pairs.iter().map(|pair| pair.ratio));
    let ends = band.into_iter().flat_map(|e| [e.low_ppm, e.high_ppm]).map(from_ppm);
    let scale = Scale::over(dots.chain(ends).chain([needed]));
    html! {
        ol.plot.by-seat {
            @for seat in measured {
                li {
                    span.name { (quoted(seat.name)) }
                    (scale.strip(needed, &seat.spoken(), &html! {
                        @if let Some(pooled) = band { (scale.band(pooled)) }
                        (scale.dots(seat.pairs.iter().map(|pair| pair.ratio), seat.ratio))
                    }))
                    span.value { (significant(seat.ratio)) "×" }
                }
            }
            @if let Some((outcome, pooled)) = pooled { (pooled_line(scale, needed, *outcome, pooled)) }
            li.foot aria-hidden="true" { span.name {} (scale.axis()) span.value {} }
        }
    }
}

fn pooled_line(scale: Scale, needed: f64, outcome: Outcome, pooled: &Estimate) -> Markup {
    let mark = Mark::of(Some(outcome));
    html! {
        li.pooled {
            span.name { "Pooled" }
            (scale.strip(needed, &format!("pooled ratio {}", ratio(pooled.ppm)), &html! {
                (scale.band(pooled))
                (scale.estimate(mark, pooled))
            }))
            span.value { (ratio(pooled.ppm)) }
        }
    }
}

fn gates(entry: &Entry) -> Markup {
    let results = entry.verdict.as_ref().map(|v| v.gates.as_slice()).unwrap_or_default();
    html! {
        section #gates data-live aria-labelledby="gates-title" {
            h2 #gates-title { "Gates" }
            @if results.is_empty() {
                p.empty { "The gates are applied to the revealed measurements of a quorum." }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="gates-title" {
                    table.gates {
                        thead {
                            tr {
                                th scope="col" { "Gate" }
                                th scope="col" { "Result" }
                                th scope="col" { "Found" }
                                th scope="col" { "Passes when" }
                            }
                        }
                        tbody { @for result in results { (gate_line(result)) } }
                    }
                }
                (downloads(&format!("/api/claims/{}/gates", entry.claim.id), "Gates"))
            }
        }
    }
}

fn gate_line(result: &GateResult) -> Markup {
    let (name, rule) = meaning(result.gate);
    let verdict = match (result.pass, result.gate) {
        (true, Gate::Physics) => badge(Mark::Accepted, "advisory"),
        (true, _) => badge(Mark::Accepted, "pass"),
        // Identity decides between lossless and lossy; it does not fail a claim.
        (false, Gate::Identity) => badge(Mark::Inconclusive, "lossy"),
        (false, _) => badge(Mark::Refuted, "fail"),
    };
    html! {
        tr {
            th scope="row" { (name) }
            td { (verdict) }
            td { (quoted(&result.detail)) }
            td.muted { (rule) }
        }
    }
}

/// A gate's name and when it passes.
fn meaning(gate: Gate) -> (&'static str, &'static str) {
    match gate {
        Gate::Identity => {
            ("identity", "the built-in bundle emits the same tokens, near-ties excused")
        }
        Gate::Path => ("path", "prefill and decode give the same logits"),
        Gate::Quality => ("quality", "KL, agreement and perplexity stay close to the base"),
        Gate::Reach => ("reach", "random tokens of the whole vocabulary have their logits"),
        Gate::Shape => ("shape", "layers, widths, window and vocabulary are the parent's"),
        Gate::Physics => {
            ("physics", "always; reading weights faster than memory allows is flagged")
        }
        Gate::Speed => ("speed", "the lower bound of the pooled ratio exceeds the gain needed"),
        Gate::Repeat => ("repeat", "the same prompt decodes to the same tokens again"),
    }
}

fn seats(entry: &Entry) -> Markup {
    html! {
        section #seats data-live aria-labelledby="seats-title" {
            h2 #seats-title { "Seats" }
            @if entry.rounds.iter().all(|round| round.seats.is_empty()) {
                p.empty {
                    "No committee yet. It is drawn from the beacon that the ledger fixes two blocks "
                    "after docketing."
                }
            } @else {
                @for round in entry.rounds.iter().filter(|round| !round.seats.is_empty()) {
                    (seats_of(entry, round))
                }
                (downloads(&format!("/api/claims/{}/seats", entry.claim.id), "Seats"))
            }
        }
    }
}

fn seats_of(entry: &Entry, round: &RoundEntry) -> Markup {
    html! {
        @if entry.rounds.len() > 1 {
            h3 { "Round " (round.row.number) ", " (round.row.purpose.word()) }
        }
        div.scroll tabindex="0" role="region" aria-labelledby="seats-title" {
            table.seats-table {
                thead {
                    tr {
                        th scope="col" { "Seat" }
                        th.number scope="col" { "Standing" }
                        th scope="col" { "State" }
                        th.number scope="col" { "Parent, tok/s" }
                        th.number scope="col" { "Child, tok/s" }
                        th.number scope="col" { "Memory, GB/s" }
                        th.number scope="col" { "Load, before → after" }
                        th scope="col" { "Adapter" }
                    }
                }
                tbody { @for seat in &round.seats { (seat_line(round, seat)) } }
            }
        }
        @for seat in &round.seats {
            @if let Some(samples) = &seat.samples { (pairs(round, seat, &samples.pairs)) }
        }
    }
}

fn seat_line(round: &RoundEntry, seat: &SeatRow) -> Markup {
    let standing = seat.standing.map_or_else(|| "–".to_owned(), |standing| standing.to_string());
    html! {
        tr {
            th scope="row" {
                (quoted(&seat.seat.name)) " " code.muted title=(seat.seat.peer) { (seat.seat.peer.short()) }
                @if seat.reserve { " " span.muted { "reserve" } }
            }
            td.number { (standing) }
            td {
                (seat.stage.word())
                @for found in round.row.dissent.iter().filter(|f| f.seat.peer == seat.seat.peer) {
                    span.sub { "at odds: " (says(found.gate)) }
                }
            }
            @if let Some(samples) = &seat.samples {
                @let environment = &samples.environment;
                td.number { (significant(samples.parent_tps)) }
                td.number { (significant(samples.child_tps)) }
                td.number {
                    (significant(environment.bandwidth_mb_s as f64 / 1e3))
                    span.sub { (significant(environment.compute_mflop_s as f64 / 1e3)) " GFLOP/s" }
                }
                td.number {
                    (format!("{:.2}", f64::from(environment.load_before_milli) / 1e3)) " → "
                    (format!("{:.2}", f64::from(environment.load_after_milli) / 1e3))
                }
                td.adapter {
                    (quoted(&environment.adapter))
                    span.sub {
                        (quoted(&environment.backend)) " " (quoted(&environment.driver))
                        @if environment.repeats > 0 {
                            ", repeated " (environment.repeats) " times after disturbance"
                        }
                    }
                }
            } @else {
                td.muted colspan="5" { "nothing revealed" }
            }
        }
    }
}

fn pairs(round: &RoundEntry, seat: &SeatRow, pairs: &[PairRow]) -> Markup {
    html! {
        details id={ "pairs-" (round.row.number) "-" (seat.seat.peer.short()) } {
            summary { "Raw pairs of " (quoted(&seat.seat.name)) " (" (pairs.len()) ")" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th.number scope="col" { "Prompt" }
                            th.number scope="col" { "Parent, ms" }
                            th.number scope="col" { "Child, ms" }
                            th.number scope="col" { "Ratio" }
                            th scope="col" { "Tokens" }
                        }
                    }
                    tbody { @for pair in pairs { (pair_line(pair)) } }
                }
            }
        }
    }
}

fn pair_line(pair: &PairRow) -> Markup {
    html! {
        tr {
            td.number { (pair.prompt) }
            td.number { (format!("{:.2}", pair.parent_ns as f64 / 1e6)) }
            td.number { (format!("{:.2}", pair.child_ns as f64 / 1e6)) }
            td.number { (significant(pair.ratio)) "×" }
            td { @if pair.same_tokens { "same" } @else { "differ" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_lines;
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn the_plot_of_pairs_looks_as_it_did() {
        let pairs = |ratios: [f64; 3]| {
            ratios.map(|ratio| PairRow {
                prompt: 7,
                parent_ns: 2_000_000,
                child_ns: 1_500_000,
                ratio,
                same_tokens: true,
            })
        };
        let (bell, curie) = (pairs([1.29, 1.31, 1.33]), pairs([1.24, 1.30, 1.41]));
        let measured = [
            Measured { name: "bell", pairs: &bell, ratio: 1.31 },
            Measured { name: "<curie>", pairs: &curie, ratio: 1.315 },
        ];
        let pooled = Estimate { ppm: 1_312_000, low_ppm: 1_281_000, high_ppm: 1_344_000 };
        let plot = by_seat(1.01, &measured, Some(&(Outcome::Accepted, pooled)));
        assert_snapshot!(in_lines(&plot));
    }
}
