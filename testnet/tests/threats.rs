//! `testnet/bench/THREATS.md` names what is there: every test and every attack.

use assay_testnet::attack::cheats;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

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

/// Rows of the table of gates: the gate, then what tests it, attacks it and passes it.
fn gates() -> Vec<Vec<String>> {
    let text = include_str!("../bench/THREATS.md");
    let table = text.split("## Gates").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn every_gate_has_tests_a_cheat_and_a_near_miss_or_says_none() {
    let rows = gates();
    let names: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let all = ["identity", "path", "quality", "reach", "shape", "physics", "speed", "repeat"];
    assert_eq!(names, all);
    for row in rows {
        assert_eq!(row.len(), 5, "{row:?}");
        for cell in &row[1..] {
            assert!(!cell.is_empty(), "{row:?}");
            named_exists(&row[0], cell);
        }
    }
}

#[test]
fn every_row_is_there_and_covered_or_says_none() {
    let rows = rows();
    let numbers: Vec<&str> = rows.iter().map(|(number, _)| number.as_str()).collect();
    let threats = (1..=24).map(|number| format!("T{number}"));
    let loopholes = (1..=23).map(|number| format!("L{number}"));
    let expected: Vec<String> = threats.chain(loopholes).collect();
    assert_eq!(numbers, expected);
    for (number, covered) in rows {
        let named = covered.contains('`') || covered.contains("attack");
        assert!(named || covered.contains("none"), "{number}: {covered}");
    }
}

#[test]
fn every_test_and_attack_named_exists() {
    for (number, covered) in rows() {
        named_exists(&number, &covered);
    }
}

/// Every test and attack that a cell names is there.
fn named_exists(row: &str, cell: &str) {
    static TESTS: LazyLock<BTreeSet<String>> = LazyLock::new(all_tests);
    // Property tests are functions inside a macro whose attribute stands there too.
    for name in cell.split('`').skip(1).step_by(2).filter(|name| name.contains('_')) {
        assert!(TESTS.contains(name), "{row} names `{name}`, and there is no such test");
    }
    for part in cell.split("attack").skip(1) {
        let list = part.trim_start_matches('s').split([';', '.', '`']).next().unwrap_or_default();
        for name in list.split(',').map(|n| n.split('(').next().unwrap_or_default().trim()) {
            let known = name.is_empty() || cheats::named(name).is_some();
            assert!(known, "{row} names attack {name}, and there is no such attack");
        }
    }
}

/// Names of all tests of the workspace.
fn all_tests() -> BTreeSet<String> {
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
    tests
}
