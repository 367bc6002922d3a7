//! The body of the GGUF fuzz target over its seeds and over random changes of them. No adapter needed.

#[path = "../fuzz/bodies/gguf.rs"]
mod body;

fn seeds() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/gguf");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the seeds are there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("readable")).collect()
}

#[test]
fn whole_seeds_are_read() {
    let seeds = seeds();
    assert!(seeds.len() >= 6);
    for (i, seed) in seeds.iter().enumerate() {
        assert!(body::run(seed), "seed {i}");
    }
}

/// The environment variable `ASSAY_FUZZ_SECONDS` makes it run that long; without it some thousand inputs
/// are tried.
#[test]
fn changed_seeds_do_not_panic() {
    let seconds: u64 =
        std::env::var("ASSAY_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let seeds = seeds();
    let mut rng = fastrand::Rng::with_seed(11);
    let start = std::time::Instant::now();
    let (mut tried, mut whole) = (0u64, 0u64);
    while tried < 2_000 || start.elapsed().as_secs() < seconds {
        let mut input = seeds[rng.usize(..seeds.len())].clone();
        for _ in 0..rng.usize(1..5) {
            change(&mut input, &mut rng);
        }
        whole += u64::from(body::run(&input));
        tried += 1;
    }
    println!("{tried} inputs in {} s, {whole} of them still whole", start.elapsed().as_secs());
}

fn change(input: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    let lengths = [0, 1, 3, 31, 32, 255, 1 << 16, 1 << 31, 1 << 32, 1 << 60, u64::MAX];
    // Most of what is read is in the header, the first few kilobytes.
    let end = input.len().min(if rng.bool() { 4096 } else { usize::MAX });
    let at = rng.usize(..=end);
    match rng.u8(..6) {
        0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
        1 if at + 8 <= input.len() => {
            let length = lengths[rng.usize(..lengths.len())];
            input[at..at + 8].copy_from_slice(&length.to_le_bytes());
        }
        2 if at + 4 <= input.len() => {
            input[at..at + 4].copy_from_slice(&rng.u32(..48).to_le_bytes());
        }
        3 => input.truncate(at),
        4 => {
            let end = (at + rng.usize(1..40)).min(input.len());
            input.drain(at..end);
        }
        _ => {
            let end = (at + rng.usize(1..100)).min(input.len());
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
    }
}
