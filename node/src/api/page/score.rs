//! The score: how the published best came about, who leads, and what it takes to change that.

use super::chart::{Chart, Dot};
use super::format::{count, interval, millionths, percent, ratio, significant, summary};
use super::lineage::{fate, mark};
use super::listed::downloads;
use super::plot::{Scale, from_ppm};
use super::rulings::marks;
use super::{Snapshot, peer};
use crate::api::challenge::{BestRow, LeaderRow, Score, ScoreRow, best_ppm};
use crate::api::escaped;
use assay_protocol::frontier::Track;
use maud::{Markup, html};

/// All of it for one class.
pub(super) fn score(snapshot: &Snapshot, score: &Score) -> Markup {
    html! {
        (over_time(snapshot, score))
        (board(score, Track::Lossless))
        (pareto(score))
        (board(score, Track::Lossy))
    }
}

/// Links to the classes of the challenge.
fn classes(score: &Score) -> Markup {
    html! {
        @if score.classes.len() > 1 {
            nav.filters aria-label="Hardware classes" {
                @for (class, claims) in &score.classes {
                    a href={ "/?class=" (escaped(class)) } aria-current=[(*class == score.class).then_some("page")] {
                        (class) " " span.muted { (claims) }
                    }
                }
            }
        }
    }
}

/// The ratio around the best within which a measurement proves nothing.
fn noise(snapshot: &Snapshot, score: &Score) -> f64 {
    let tie = 1.0 + from_ppm(snapshot.state.parameters().significance.eta_ppm);
    score.norms.counts_from.unwrap_or(tie).max(tie)
}

fn over_time(snapshot: &Snapshot, score: &Score) -> Markup {
    let noise = noise(snapshot, score);
    let is_drawn = |row: &&ScoreRow| row.track != Some(Track::Lossy);
    let rows: Vec<&ScoreRow> = score.claims.iter().filter(is_drawn).collect();
    html! {
        section #score data-live aria-labelledby="score-title" {
            h2 #score-title { "Score over time " span.muted { "lossless, on " (score.class) } }
            (classes(score))
            @if rows.is_empty() {
                p.empty {
                    "Nothing was measured for this class yet: the score is the base recipe's, 1.000×. "
                    "A member claims with " code { "assay claim new" } "."
                }
            } @else {
                (chart(snapshot.state.height(), &score.best, &rows, noise))
                (legend())
            }
            (tie(snapshot, score, noise))
            (downloads(&format!("/api/score?class={}", escaped(&score.class)), "The score"))
        }
    }
}

/// The claims of a class up to a block, with the published best and the noise around it.
fn chart(height: u64, best: &[BestRow], rows: &[&ScoreRow], noise: f64) -> Markup {
    let first = rows.iter().map(|row| row.height).min().unwrap_or_default();
    let across = (first.saturating_sub(1) as f64, height as f64);
    let line = shown(best, across.0);
    let values = rows.iter().flat_map(|row| {
        [Some(row.ratio_to_base_ppm), row.low_ppm, row.high_ppm].into_iter().flatten().map(from_ppm)
    });
    let bands = line.iter().flat_map(|(_, ratio)| [ratio * noise, ratio / noise]);
    let chart = Chart { up: Scale::over(values.chain(bands)), across };
    let spoken = format!(
        "Speed over the base recipe's of {}, by block; the published best is {}",
        count(rows.len(), "claim", "claims"),
        ratio(best_ppm(best))
    );
    let marks = html! {
        (chart.band(&line, noise))
        (chart.steps("best", &line))
        @for row in rows { (chart.point(&dot(row, row.height as f64))) }
    };
    html! { (chart.frame(&spoken, "block", |value| format!("{value:.0}"), &marks)) }
}

/// The published best as the chart shows it: what led when the chart begins, and what came later.
fn shown(best: &[BestRow], first: f64) -> Vec<(f64, f64)> {
    let before = best.iter().filter(|row| row.height as f64 <= first).count().saturating_sub(1);
    let rows = best.iter().skip(before);
    rows.map(|row| ((row.height as f64).max(first), from_ppm(row.ratio_to_base_ppm))).collect()
}

fn dot(row: &ScoreRow, across: f64) -> Dot {
    let words = format!(
        "{} {}: {} the base recipe's speed, block {}",
        row.claim.short(),
        row.fate.word(),
        ratio(row.ratio_to_base_ppm),
        row.height
    );
    let say = crate::text::line(&crate::text::cut(&row.summary, 80));
    Dot {
        across,
        ratio: from_ppm(row.ratio_to_base_ppm),
        bounds: row.low_ppm.zip(row.high_ppm).map(|(low, high)| (from_ppm(low), from_ppm(high))),
        mark: mark(row.fate),
        leads: row.leads,
        page: format!("/claims/{}", row.claim),
        words: format!("{words}: {say}"),
    }
}

fn legend() -> Markup {
    use crate::api::lineage::Fate;
    let fates = [Fate::Accepted, Fate::Refuted, Fate::Undecided, Fate::Open, Fate::Debunked];
    html! {
        p.key.legend { @for one in fates { (fate(one)) " " } span { "◯ around a mark: leads" } }
        p.key {
            "The line is the published best; the band around it is noise: what lies inside is a tie with it. "
            "A claim stands at its parent's speed times its own ratio, with the bounds of its own measurement. "
            "Claims without a number stand at their parent's speed."
        }
    }
}

/// What is a tie, and what would change the ranking.
fn tie(snapshot: &Snapshot, score: &Score, noise: f64) -> Markup {
    let eta = snapshot.state.parameters().significance.eta_ppm;
    let needed = from_ppm(best_ppm(&score.best)) * (1.0 + from_ppm(eta));
    let norms = &score.norms;
    html! {
        dl.rows.tie {
            div { dt { "Published best" } dd { (ratio(best_ppm(&score.best))) " the base recipe" } }
            div { dt { "A tie" } dd { "faster or slower by at most " (percent(eta)) ", or by less than noise shows" } }
            div { dt { "A new best" } dd {
                "a lossless claim whose lower bound is above a tie with its parent and whose figure is above "
                (format!("{needed:.3}×")) " the base; a second committee then supplies the number"
            } }
            @match norms.counts_from {
                Some(counts) => div { dt { "On this class" } dd {
                    "a committee of " (norms.seats) " seats with " (norms.pairs) " pairs shows a gain from a measured "
                    (format!("{counts:.3}×")) " of the parent on"
                    @if let Some(found) = norms.found_from {
                        ", and finds nine of ten gains of " (format!("{found:.3}×")) " or more"
                    }
                } },
                None => div { dt { "On this class" } dd {
                    "no round has shown the noise yet; the band is the " (format!("{:.1}", (noise - 1.0) * 100.0)) " % of a tie"
                } },
            }
        }
    }
}

/// The leaderboard of one track.
fn board(score: &Score, track: Track) -> Markup {
    let rows: Vec<&LeaderRow> = score.leaders.iter().filter(|row| row.track == track).collect();
    let (id, title) = match track {
        Track::Lossless => ("lossless", "Lossless leaderboard"),
        Track::Lossy => ("lossy", "Lossy leaderboard"),
    };
    let heading = format!("{id}-title");
    html! {
        section id=(id) data-live aria-labelledby=(heading) {
            h2 id=(heading) { (title) " " span.muted { (rows.len()) } }
            @if rows.is_empty() {
                p.empty {
                    @match track {
                        Track::Lossless => "No lossless claim was accepted on this class. The base recipe leads.",
                        Track::Lossy => "No lossy claim was accepted on this class. A recipe that changes tokens competes here, within the quality bounds of the genesis.",
                    }
                }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby=(heading) { (table(&rows, track)) }
                (downloads(&format!("/api/leaderboard?class={}&track={id}", escaped(&score.class)), title))
            }
            @if track == Track::Lossy {
                p.key {
                    "Lossy recipes lead while nobody is at least as close to the base, in perplexity and KL, and less than a "
                    "tie slower: rank says who is faster, the front who leads."
                }
            }
        }
    }
}

fn table(rows: &[&LeaderRow], track: Track) -> Markup {
    html! {
        table.leaders {
            thead { tr {
                th.number scope="col" { "Rank" }
                th scope="col" { "Entry" }
                th.number scope="col" { "× base" }
                th.number scope="col" { "× parent" }
                th.number scope="col" { "Tokens/s" }
                th.number scope="col" { "PPL" }
                th.number scope="col" { "KL, nat" }
                th scope="col" { "Recipe" }
                th scope="col" { "Author" }
                th.number scope="col" { "Seats" }
            } }
            tbody { @for row in rows { (line(row, track)) } }
        }
    }
}

fn line(row: &LeaderRow, track: Track) -> Markup {
    use crate::api::lineage::Fate;
    html! {
        tr {
            th.number scope="row" {
                @match row.rank { Some(rank) => (rank), None => span.muted { "–" } }
                @if row.leads { span.sub { @if track == Track::Lossless { "best" } @else { "front" } } }
            }
            td.what {
                a.id href={ "/claims/" (row.claim) } { (row.claim.short()) } " " (summary(&row.summary))
                @if row.fate != Fate::Accepted { span.sub { (fate(row.fate)) } }
                @else if !row.confirmed { span.sub { "by one committee" } }
                (marks(&row.upheld))
            }
            td.number { (ratio(row.ratio_to_base_ppm)) }
            td.number { @match &row.ratio {
                Some(estimate) => { (ratio(estimate.ppm)) span.sub { (interval(estimate)) } },
                None => "–",
            } }
            td.number { @match row.decode_mtps { Some(mtps) => (significant(mtps as f64 / 1e3)), None => span.muted { "–" } } }
            td.number {
                @match row.perplexity_ppm { Some(ppl) => (millionths(ppl)), None => "–" }
                @if let Some(over) = row.perplexity_ratio_ppm { span.sub { (ratio(over)) " base" } }
            }
            td.number { @match row.kl_micronats { Some(kl) => (format!("{:.6}", from_ppm(kl))), None => "–" } }
            td { (recipe(row)) }
            td { (peer(&row.author)) }
            td.number { (row.seats) span.sub { a href={ "/lineage/" (row.claim) } { "lineage" } } }
        }
    }
}

fn recipe(row: &LeaderRow) -> Markup {
    html! {
        code title={ "checkpoint " (row.checkpoint) } { (row.checkpoint.short()) }
        span.sub {
            @match row.bundle {
                Some(bundle) => { "kernels " code title=(bundle) { (bundle.short()) } },
                None => "built-in kernels",
            }
            @if let Some(drafter) = row.drafter {
                ", drafts " span title=(drafter.checkpoint) { (drafter.draft_len) } " a step"
            }
        }
    }
}

/// Speed against distance from the base, where there is a lossy claim.
fn pareto(score: &Score) -> Markup {
    let placed: Vec<(&ScoreRow, f64)> = score
        .claims
        .iter()
        .filter(|row| row.track == Some(Track::Lossy))
        .filter_map(|row| Some((row, from_ppm(row.kl_micronats?))))
        .collect();
    html! {
        @if !placed.is_empty() {
            section #pareto data-live aria-labelledby="pareto-title" {
                h2 #pareto-title { "Speed against quality " span.muted { "lossy, on " (score.class) } }
                (front(&placed))
                p.key {
                    "Up is faster, left is closer to the base recipe. The line is the Pareto front: for every distance "
                    "the fastest accepted recipe that is as close. Perplexity counts as well; the table has it."
                }
            }
        }
    }
}

/// Lossy claims by their distance from the base, with the Pareto front.
fn front(placed: &[(&ScoreRow, f64)]) -> Markup {
    let most = placed.iter().map(|(_, kl)| *kl).fold(0.0, f64::max);
    let values = placed.iter().flat_map(|(row, _)| {
        [Some(row.ratio_to_base_ppm), row.low_ppm, row.high_ppm].into_iter().flatten().map(from_ppm)
    });
    let chart = Chart { up: Scale::over(values), across: (0.0, most.max(1e-6)) };
    let mut front: Vec<(f64, f64)> = placed
        .iter()
        .filter(|(row, _)| row.leads)
        .map(|(row, kl)| (*kl, from_ppm(row.ratio_to_base_ppm)))
        .collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    let marks = html! {
        (chart.steps("best", &front))
        @for (row, kl) in placed { (chart.point(&dot(row, *kl))) }
    };
    let spoken = format!(
        "Speed and distance from the base of {}",
        count(placed.len(), "lossy claim", "lossy claims")
    );
    chart.frame(&spoken, "KL to the base, nat a token", significant, &marks)
}

#[cfg(test)]
mod tests {
    use super::super::in_lines;
    use super::*;
    use crate::api::lineage::Fate;
    use assay_protocol::ids::ClaimId;
    use insta::assert_snapshot;

    /// A claim of this number with a ratio to the base, or at its parent's speed without one of its own.
    fn row(number: u8, fate: Fate, track: Option<Track>, ratio_ppm: u64) -> ScoreRow {
        let measured = track.is_some();
        ScoreRow {
            claim: ClaimId([number; 32]),
            summary: format!("claim <{number}>"),
            track,
            fate,
            height: u64::from(number) * 10,
            ratio_to_base_ppm: ratio_ppm,
            low_ppm: measured.then_some(ratio_ppm - 20_000),
            high_ppm: measured.then_some(ratio_ppm + 20_000),
            perplexity_ratio_ppm: None,
            kl_micronats: None,
            leads: false,
        }
    }

    #[test]
    fn the_score_over_time_looks_as_it_did() {
        let lossless = Some(Track::Lossless);
        let first = row(1, Fate::Debunked, lossless, 1_250_000);
        let second = ScoreRow { leads: true, ..row(2, Fate::Accepted, lossless, 1_310_000) };
        let claims = [
            first,
            second,
            row(3, Fate::Refuted, lossless, 1_290_000),
            row(4, Fate::Undecided, None, 1_310_000),
            row(5, Fate::Open, None, 1_310_000),
        ];
        let best = [(0, None, 1_000_000), (10, Some(1), 1_250_000), (20, Some(2), 1_310_000)];
        let best: Vec<BestRow> = best
            .map(|(height, claim, ratio_to_base_ppm)| BestRow {
                height,
                claim: claim.map(|number| ClaimId([number; 32])),
                ratio_to_base_ppm,
            })
            .to_vec();
        let rows: Vec<&ScoreRow> = claims.iter().collect();
        assert_snapshot!(in_lines(&chart(60, &best, &rows, 1.03)));
    }

    #[test]
    fn the_pareto_front_looks_as_it_did() {
        let lossy = Some(Track::Lossy);
        let claims = [
            ScoreRow { leads: true, ..row(1, Fate::Accepted, lossy, 1_400_000) },
            ScoreRow { leads: true, ..row(2, Fate::Accepted, lossy, 1_900_000) },
            row(3, Fate::Accepted, lossy, 1_500_000),
        ];
        let distances = [0.002, 0.009, 0.011];
        let placed: Vec<(&ScoreRow, f64)> = claims.iter().zip(distances).collect();
        assert_snapshot!(in_lines(&front(&placed)));
    }
}
