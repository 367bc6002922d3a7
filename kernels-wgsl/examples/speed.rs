//! Decode speed of the embedded model with several kernel bundles, interleaved.
//!
//! usage: speed [--int4] [--steps N] [--runs N] [BUNDLE_DIR ...]

use assay_kernels::measure::{Samples, per_second};
use assay_kernels::{
    AdapterRequest, Bundle, Checkpoint, Engine, EngineOptions, Gpu, heldout_text, quantize,
};
use std::collections::BTreeMap;

fn bundle(dir: &str) -> Bundle {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("bundle folder") {
        let entry = entry.expect("readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, std::fs::read(entry.path()).expect("readable"));
    }
    Bundle::from_files(files).expect("valid bundle")
}

fn main() {
    let (mut steps, mut runs, mut int4, mut bundles) = (96, 5, false, vec![Bundle::builtin()]);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse().ok()).expect("a number");
        match argument.as_str() {
            "--int4" => int4 = true,
            "--steps" => steps = number(),
            "--runs" => runs = number(),
            dir => bundles.push(bundle(dir)),
        }
    }
    let gpu = Gpu::open(&AdapterRequest::default()).expect("an adapter");
    println!("{}", serde_json::to_string(gpu.info()).expect("serialises"));
    let mut checkpoint = Checkpoint::embedded().expect("embedded model");
    if int4 {
        let files = quantize::int4_g32(&checkpoint).expect("quantises").files;
        checkpoint = Checkpoint::from_files(files).expect("loads");
    }
    let tokenizer = checkpoint.tokenizer().expect("tokenizer");
    let mut prompt = vec![checkpoint.config().bos];
    prompt.extend(tokenizer.encode(heldout_text()).expect("encodes").iter().take(64));
    let options = EngineOptions { context_tokens: 512, batch_max: 16 };
    let mut engines: Vec<Engine> = bundles
        .iter()
        .map(|b| Engine::new(&gpu, &checkpoint, b, &options).expect("builds"))
        .collect();
    let mut decode = vec![Vec::new(); engines.len()];
    let mut prefill = vec![Vec::new(); engines.len()];
    for run in 0..=runs {
        for (i, engine) in engines.iter_mut().enumerate() {
            engine.reset();
            let filled = engine.prefill(&prompt).expect("prefills");
            let decoded = engine.decode_greedy(steps, false).expect("decodes");
            if run > 0 {
                decode[i].push(per_second(steps, decoded.wall_ns));
                prefill[i].push(per_second(prompt.len(), filled.wall_ns));
            }
        }
    }
    for (bundle, engine) in bundles.iter().zip(&mut engines) {
        engine.prefill(&prompt).expect("prefills");
        for phase in engine.phases(20).expect("times") {
            let us = phase.wall_ns as f64 / 1000.0;
            println!("{:14} {:16} {:3} launches {us:9.1} us", bundle.name(), phase.op, phase.launches);
        }
    }
    for ((bundle, decode), prefill) in bundles.iter().zip(decode).zip(prefill) {
        let decode = Samples::of(decode).expect("at least one run");
        let prefill = Samples::of(prefill).expect("at least one run");
        println!(
            "{:14} decode {:8.1} tok/s ({:.1} to {:.1})   prefill {:8.1}",
            bundle.name(),
            decode.median,
            decode.min,
            decode.max,
            prefill.median
        );
    }
}
