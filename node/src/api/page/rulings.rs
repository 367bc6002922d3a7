//! What came of flags on a claim.

use super::format::quoted;
use crate::api::entry::Entry;
use crate::api::rulings::RulingRow;
use assay_protocol::ruling::Offence;
use maud::{Markup, html};

/// The rulings about a claim, the latest first; nothing where nobody flagged it.
pub(super) fn rulings(entry: &Entry) -> Markup {
    html! {
        @if !entry.rulings.is_empty() {
            section #rulings data-live aria-labelledby="rulings-title" {
                h2 #rulings-title { "Flags and rulings" }
                ul { @for row in &entry.rulings { li { (line(row)) } } }
            }
        }
    }
}

fn line(row: &RulingRow) -> Markup {
    let lost: u64 = row.hearings.iter().map(|hearing| hearing.lost).sum();
    html! {
        (mark(row.rule)) " "
        a href={ "/api/rulings/" (row.id) } { (row.state) }
        @if let Some(earlier) = row.evidence {
            ", of claim " a.id href={ "/claims/" (earlier) } { (earlier.short()) }
        }
        @if let Some(seen) = row.sighting { ", " (seen) }
        ". Flagged by " span title=(row.by.peer) { (quoted(&row.by.name)) } " in "
        a href={ "/ledger/" (row.opened_at) } { "block " (row.opened_at) }
        @if let Some(round) = row.measured.map(|measured| measured.round) {
            "; round " (round) " measured it"
        }
        @if lost > 0 { "; cost the losing side " (lost) " points" }
        "."
    }
}

/// The mark of a rule that was said or found to be broken.
pub(super) fn mark(rule: Offence) -> Markup {
    html! { span.flagged { "⚑ " (rule.word()) } }
}

/// The marks of the rules that a claim was found to break, on a line of their own.
pub(super) fn marks(upheld: &[Offence]) -> Markup {
    html! {
        @if !upheld.is_empty() {
            span.sub { @for rule in upheld { (mark(*rule)) " " } "upheld" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::claims::Named;
    use crate::api::rulings::HearingRow;
    use assay_protocol::ids::{BlobHash, PeerId, RecordId};

    #[test]
    fn a_ruling_says_what_was_found_and_what_it_cost() {
        let named = |name: &str| Named { peer: PeerId([1; 32]), name: name.to_owned() };
        let hearing = HearingRow {
            seats: Vec::new(),
            quorum: 3,
            appellant: None,
            until_ms: None,
            decision: Some("upheld".to_owned()),
            decided_at: Some(55),
            lost: 3,
        };
        let row = RulingRow {
            id: RecordId([2; 32]),
            rule: Offence::Duplicate,
            subject: RecordId([3; 32]),
            evidence: Some(BlobHash([0xab; 32])),
            sighting: None,
            state: "upheld".to_owned(),
            by: named("<b>bell</b>"),
            accused: named("cole"),
            opened_at: 51,
            appeal_until: None,
            hearings: vec![hearing],
            measured: None,
        };
        let said = line(&row).into_string();
        for part in [
            "⚑ duplicate",
            ">upheld</a>",
            ">abababab</a>",
            "block 51",
            "cost the losing side 3 points",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains("&lt;b&gt;bell") && !said.contains("<b>"), "{said}");
        assert!(marks(&[]).into_string().is_empty());
        assert!(marks(&[Offence::Path]).into_string().contains("⚑ path"));
    }
}
