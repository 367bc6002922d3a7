//! What the mark for off-channel solicitation finds and misses in the labelled set.

use assay_node::board::solicits;

const SET: &str = include_str!("../bench/off-channel.tsv");

/// Found, missed and wrongly marked among the posts of one part of the set, with their number.
fn counts(part: &str) -> (u32, u32, u32, u32) {
    let (mut found, mut missed, mut wrong, mut all) = (0, 0, 0, 0);
    for row in SET.lines().skip(1) {
        let [label, _, set, text] = row.splitn(4, '\t').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        if set != part {
            continue;
        }
        all += 1;
        match (label == "1", solicits(text).is_some()) {
            (true, true) => found += 1,
            (true, false) => missed += 1,
            (false, true) => wrong += 1,
            (false, false) => {}
        }
    }
    (found, missed, wrong, all)
}

#[test]
fn precision_and_recall_are_those_of_the_page() {
    let page = include_str!("../bench/OFF_CHANNEL.md");
    for part in ["made-with", "held-out"] {
        let (found, missed, wrong, all) = counts(part);
        let precision = f64::from(found) / f64::from((found + wrong).max(1));
        let recall = f64::from(found) / f64::from((found + missed).max(1));
        let row = format!(
            "| {part} | {all} | {found} | {missed} | {wrong} | {precision:.3} | {recall:.3} |"
        );
        assert!(page.contains(&row), "the page should have: {row}");
    }
}

#[test]
fn hostile_texts_end() {
    for text in ["@".repeat(8_192), "t.".repeat(4_096), "a ".repeat(4_096), "+1".repeat(4_096)] {
        let _ = solicits(&text);
    }
    assert!(solicits("").is_none());
}
