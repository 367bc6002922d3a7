//! Decode speed of the embedded model with several kernel bundles, interleaved.
//!
//! usage: speed [--int4] [--steps N] [--runs N] [--draft K] [--context N] [--prompt N] [--lane-rows N] [BUNDLE_DIR ...]
//!
//! With `--draft K` every bundle is also run with the drafter. On Linux the processor time per token is
//! shown too: it says more than the clock while the machine is busy with other things.

use assay_kernels::bundle::tuned_files;
use assay_kernels::measure::{Samples, per_second};
use assay_kernels::registry::Op;
use assay_kernels::{
    AdapterRequest, Bundle, Checkpoint, Drafter, Engine, EngineOptions, Gpu, heldout_text, quantize,
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

fn tuned(lane_rows: u32) -> Bundle {
    let settings = [Op::MatmulBf16, Op::MatmulInt4].map(|op| (op, "LANE_ROWS", lane_rows));
    let name = format!("{lane_rows} rows a lane");
    Bundle::from_files(tuned_files(&name, "", &settings).expect("tunable")).expect("valid")
}

/// Processor seconds this process has used, all threads together; 0 where the system does not tell.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    // Fields 14 and 15 count user and system time in hundredths of a second; field 3 comes first here.
    fields.skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

struct Arm {
    name: String,
    engine: Engine,
    decode: Vec<f64>,
    prefill: Vec<f64>,
    processor_seconds: f64,
}

fn main() {
    let (mut steps, mut runs, mut int4, mut bundles) = (96, 5, false, vec![Bundle::builtin()]);
    let (mut drafts, mut context, mut prompt_tokens) = (0, 512, 64);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse().ok()).expect("a number");
        match argument.as_str() {
            "--int4" => int4 = true,
            "--steps" => steps = number(),
            "--runs" => runs = number(),
            "--draft" => drafts = number(),
            "--context" => context = number(),
            "--prompt" => prompt_tokens = number(),
            "--lane-rows" => bundles.push(tuned(number() as u32)),
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
    prompt.extend(tokenizer.encode(heldout_text()).expect("encodes").iter().take(prompt_tokens));
    let options = EngineOptions::new(context, 16);
    let drafter = Drafter::embedded().expect("embedded drafter");
    let mut arms = Vec::new();
    for bundle in &bundles {
        for drafts in if drafts > 0 { vec![0, drafts] } else { vec![0] } {
            let mut engine = Engine::new(&gpu, &checkpoint, bundle, &options).expect("builds");
            let mut name = bundle.name().to_string();
            if drafts > 0 {
                engine = engine.with_drafter(&drafter, drafts).expect("fits");
                name += &format!(" + {drafts} drafts");
            }
            let (decode, prefill) = (Vec::new(), Vec::new());
            arms.push(Arm { name, engine, decode, prefill, processor_seconds: 0.0 });
        }
    }
    for run in 0..=runs {
        for arm in &mut arms {
            arm.engine.reset();
            let filled = arm.engine.prefill(&prompt).expect("prefills");
            let before = processor_seconds();
            let decoded = arm.engine.decode_greedy(steps, false).expect("decodes");
            if run > 0 {
                arm.processor_seconds += processor_seconds() - before;
                arm.decode.push(per_second(steps, decoded.wall_ns));
                arm.prefill.push(per_second(prompt.len(), filled.wall_ns));
            }
        }
    }
    for arm in &mut arms {
        arm.engine.reset();
        arm.engine.prefill(&prompt).expect("prefills");
        for phase in arm.engine.phases(20).expect("times") {
            let us = phase.wall_ns as f64 / 1000.0;
            println!("{:24} {:16} {:3} launches {us:9.1} us", arm.name, phase.op, phase.launches);
        }
    }
    for arm in arms {
        arm.print(runs * steps);
    }
}

impl Arm {
    fn print(self, tokens: usize) {
        let milliseconds = 1000.0 * self.processor_seconds / tokens as f64;
        let decode = Samples::of(self.decode).expect("at least one run");
        let prefill = Samples::of(self.prefill).expect("at least one run");
        println!(
            "{:24} decode {:7.1} tok/s ({:.1} to {:.1}), {milliseconds:.2} processor ms/tok, prefill {:7.1} tok/s",
            self.name, decode.median, decode.min, decode.max, prefill.median
        );
    }
}
