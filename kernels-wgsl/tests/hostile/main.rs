//! Lying and damaged checkpoints: every reader answers with an error that names the file and the tensor or
//! key, without a panic and without taking memory on the file's word.

mod corruptions;
mod memory;

#[path = "../../fuzz/bodies/safetensors.rs"]
mod body;

use assay_kernels::triage::{self, Options, Subject};
use assay_kernels::{Checkpoint, embedded_files};
use corruptions::corruptions;
use std::collections::BTreeMap;

/// More than the files of a case, their parsed headers and a tokenizer take together; a tensor of the
/// smallest lying size in the table is a thousand times that.
const PEAK_BYTES_MAX: usize = 256 << 20;

#[test]
fn every_corruption_is_named_within_bounds() {
    let cases = corruptions();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    for case in cases {
        memory::reset();
        let loaded = Checkpoint::from_files(case.files.clone());
        let error = match (loaded, case.loads) {
            (Ok(_), true) => String::new(),
            (Ok(_), false) => panic!("{}: accepted", case.name),
            (Err(error), _) => error.to_string(),
        };
        for part in case.names.iter().filter(|_| !case.loads) {
            assert!(error.contains(part), "{}: {error:?} does not name {part:?}", case.name);
        }
        // The checker must survive the same files, find an error, and name the same things.
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, bytes) in &case.files {
            std::fs::write(folder.path().join(name), bytes).expect("writable");
        }
        assert!(Checkpoint::open(folder.path()).is_err() || case.loads, "{}: opened", case.name);
        let report = triage::check(Subject::Path(folder.path()), &Options::default());
        assert!(!report.ok, "{}: the checker found nothing", case.name);
        let said: Vec<String> = report
            .diagnostics
            .iter()
            .map(|d| format!("{} {} {}", d.code, d.place, d.message))
            .collect();
        for part in case.names {
            let hit = said.iter().any(|line| line.contains(part));
            assert!(hit, "{}: the checker names {part:?} in none of {said:#?}", case.name);
        }
        let peak = memory::peak();
        assert!(peak < PEAK_BYTES_MAX, "{}: {peak} bytes were allocated", case.name);
    }
}

/// Inputs that the fuzzer and the mutations below found worth keeping, and the seeds they start from.
#[test]
fn the_corpus_replays() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/safetensors");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let bytes = std::fs::read(entry.expect("readable").path()).expect("readable");
        body::run(&bytes);
        count += 1;
    }
    assert!(count >= 5, "{count} inputs");
}

/// The fuzz target's body under random mutations of honest headers. The environment variable
/// `ASSAY_FUZZ_SECONDS` makes it run that long; without it some thousand inputs are tried.
#[test]
fn mutated_headers_do_not_panic() {
    let seconds: u64 =
        std::env::var("ASSAY_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let seeds = body::seeds(embedded_files()["config.json"]);
    let mut rng = fastrand::Rng::with_seed(7);
    let start = std::time::Instant::now();
    let mut tried = 0u64;
    while tried < 3_000 || start.elapsed().as_secs() < seconds {
        let mut input = seeds[rng.usize(..seeds.len())].clone();
        for _ in 0..rng.usize(1..6) {
            mutate(&mut input, &mut rng);
        }
        body::run(&input);
        tried += 1;
    }
    println!("{tried} inputs in {} s", start.elapsed().as_secs());
}

fn mutate(input: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    let words: [&[u8]; 12] = [
        b"18446744073709551615",
        b"-1",
        b"1e400",
        b"null",
        b"[]",
        b"{}",
        b"\"BF16\"",
        b"9223372036854775807",
        b"0",
        b"[[[[",
        b"\xff\xfe",
        b"\"data_offsets\":[0,4]",
    ];
    let at = rng.usize(..=input.len());
    match rng.u8(..5) {
        0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
        1 => input.truncate(at),
        2 => {
            let word = words[rng.usize(..words.len())];
            input.splice(at..at, word.iter().copied());
        }
        3 => {
            let end = (at + rng.usize(1..40)).min(input.len());
            input.drain(at..end);
        }
        _ => {
            let end = (at + rng.usize(1..200)).min(input.len());
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
    }
}

#[test]
fn honest_files_still_load() {
    let files: BTreeMap<String, Vec<u8>> =
        embedded_files().into_iter().map(|(name, bytes)| (name.into(), bytes.to_vec())).collect();
    assert!(Checkpoint::from_files(files).is_ok());
}
