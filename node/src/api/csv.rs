//! The claims table as CSV (RFC 4180), safe to open in a spreadsheet.

use super::claims::{ClaimRow, Named, outcome_word};
use std::fmt::Write;

const HEADER: &str = "id,summary,author,author_name,parent,phase,outcome,lossless,ratio,ratio_low,\
     ratio_high,author_ratio,perplexity_parent,perplexity_child,seats,sealed,revealed,attested_by,\
     docketed_at,settled_at,track,ratio_to_base,rank,leads,confirmed,kl_nat,rounds,\
     debunked_at,descends_from_debunked,null";

/// The table with its header line; lines end with CR LF.
pub(super) fn table(rows: &[ClaimRow]) -> String {
    let mut out = String::from(HEADER);
    out.push_str("\r\n");
    for row in rows {
        out.push_str(&line(row));
        out.push_str("\r\n");
    }
    out
}

fn line(row: &ClaimRow) -> String {
    let names: Vec<&str> = row.attested_by.iter().map(|Named { name, .. }| name.as_str()).collect();
    let fields = [
        row.id.to_string(),
        text(&row.summary),
        row.author.peer.to_string(),
        text(&row.author.name),
        row.parent.to_string(),
        row.phase_word().to_owned(),
        row.outcome.map(outcome_word).unwrap_or_default().to_owned(),
        row.lossless.map(|lossless| lossless.to_string()).unwrap_or_default(),
        millionths(row.ratio.map(|ratio| ratio.ppm)),
        millionths(row.ratio.map(|ratio| ratio.low_ppm)),
        millionths(row.ratio.map(|ratio| ratio.high_ppm)),
        millionths(row.author_ratio_ppm),
        millionths(row.perplexity_parent_ppm),
        millionths(row.perplexity_child_ppm),
        row.progress.seats.to_string(),
        row.progress.sealed.to_string(),
        row.progress.revealed.to_string(),
        text(&names.join(" ")),
        row.docketed_at.to_string(),
        row.settled_at.map(|height| height.to_string()).unwrap_or_default(),
        row.track.map(|track| format!("{track:?}").to_lowercase()).unwrap_or_default(),
        millionths(row.ratio_to_base_ppm),
        row.rank.map(|rank| rank.to_string()).unwrap_or_default(),
        row.leads.to_string(),
        row.confirmed.to_string(),
        millionths(row.kl_micronats),
        row.rounds.len().to_string(),
        row.debunked.map(|debunked| debunked.height.to_string()).unwrap_or_default(),
        row.descends_from_debunked.map(|entry| entry.to_string()).unwrap_or_default(),
        row.null.map(|null| null.to_string()).unwrap_or_default(),
    ];
    fields.join(",")
}

/// Millionths as a decimal, exactly.
fn millionths(ppm: Option<u64>) -> String {
    ppm.map(|ppm| format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000)).unwrap_or_default()
}

/// Text that others wrote. Spreadsheets run a cell that begins like a formula, even behind spaces,
/// so such text gets an apostrophe in front, which they hide.
pub(super) fn text(value: &str) -> String {
    let formula = value.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || value.starts_with(['\t', '\r', '\n']);
    let guard = if formula { "'" } else { "" };
    let mut out = String::with_capacity(value.len() + 3);
    // Writing to a string cannot fail.
    let _ = write!(out, "\"{guard}{}\"", value.replace('"', "\"\""));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_formulas_disarmed() {
        assert_eq!(text("plain, with comma"), "\"plain, with comma\"");
        assert_eq!(text("say \"x\""), "\"say \"\"x\"\"\"");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "＝1"] {
            assert_eq!(text(formula), format!("\"'{formula}\""));
        }
    }

    #[test]
    fn millionths_are_exact() {
        assert_eq!(millionths(Some(1_304_050)), "1.304050");
        assert_eq!(millionths(Some(u64::MAX)), "18446744073709.551615");
        assert_eq!(millionths(None), "");
    }
}
