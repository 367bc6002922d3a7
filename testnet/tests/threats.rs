//! `testnet/bench/THREATS.md` names what is there: every test and every attack.

use assay_testnet::attack::cheats;
use std::collections::BTreeSet;
use std::path::Path;

/// Rows of both tables and the last cell of each, which names what covers it.
fn rows() -> Vec<(String, String)> {
    let text = include_str!("../bench/THREATS.md");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let numbered = |row: &Vec<String>| {
        let number = row[0].strip_prefix(['T', 'L']).and_then(|n| n.parse::<u32>().ok());
        number.is_some() && row.len() > 3
    };
    let rows = text.lines().filter(|line| line.starts_with("| ")).map(cells).filter(numbered);
    rows.map(|row| (row[0].clone(), row.last().cloned().unwrap_or_default())).collect()
}

/// Names of all test functions below `folder`.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
                if let (true, Some((name, _))) =
                    (marked, name.and_then(|rest| rest.split_once('(')))
                {
                    found.insert(name.to_owned());
                    marked = false;
                }
            }
        }
    }
}

#[test]
fn every_row_is_there_and_covered_or_says_none() {
    let rows = rows();
    let numbers: Vec<&str> = rows.iter().map(|(number, _)| number.as_str()).collect();
    let expected: Vec<String> =
        ["T", "L"].iter().flat_map(|kind| (1..24).map(move |n| format!("{kind}{n}"))).collect();
    assert_eq!(numbers, expected);
    for (number, covered) in rows {
        let named = covered.contains('`') || covered.contains("attack");
        assert!(named || covered.contains("none"), "{number}: {covered}");
    }
}

#[test]
fn every_test_and_attack_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut tests = BTreeSet::new();
    for package in ["proto", "protocol", "kernels-wgsl", "node", "testnet"] {
        for folder in ["src", "tests"] {
            let folder = root.join(package).join(folder);
            if folder.is_dir() {
                tests_below(&folder, &mut tests);
            }
        }
    }
    // Property tests are functions inside a macro whose attribute stands there too.
    for (number, covered) in rows() {
        for name in covered.split('`').skip(1).step_by(2).filter(|name| name.contains('_')) {
            assert!(tests.contains(name), "{number} names `{name}`, and there is no such test");
        }
        for part in covered.split("attack").skip(1) {
            let list =
                part.trim_start_matches('s').split([';', '.', '`']).next().unwrap_or_default();
            for name in list.split(',').map(|n| n.split('(').next().unwrap_or_default().trim()) {
                let known = name.is_empty() || cheats::named(name).is_some();
                assert!(known, "{number} names attack {name}, and there is no such attack");
            }
        }
    }
}
