//! How much memory loading a checkpoint takes, beside the size of its files (Linux).
//!
//! `cargo run --release -p assay-kernels --example memory -- PATH`
//!
//! On a software adapter device buffers are ordinary memory of this process, so the weights count once as
//! anonymous memory and, while they are mapped, once more as pages of the file that can be dropped.

use assay_kernels::{AdapterRequest, Bundle, Checkpoint, Engine, EngineOptions, Gpu};

fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn report(what: &str) {
    let [peak, anonymous, file] = ["VmHWM", "RssAnon", "RssFile"].map(status);
    println!("{what:16} peak {peak:6} MiB, now {anonymous:6} MiB anonymous, {file:6} MiB of files");
}

fn main() -> assay_kernels::Result<()> {
    let path = std::env::args_os().nth(1).unwrap_or_default();
    let gpu = Gpu::open(&AdapterRequest::default())?;
    report("adapter");
    let checkpoint = Checkpoint::open(path.as_ref())?;
    let bytes: usize = checkpoint.tensor_sizes().map(|(_, bytes)| bytes).sum();
    println!("tensors          {} MiB", bytes >> 20);
    report("checkpoint");
    let options = EngineOptions::new(64, 8);
    let mut engine = Engine::new(&gpu, &checkpoint, &Bundle::builtin(), &options)?;
    report("engine");
    engine.prefill(&[checkpoint.config().bos, 5, 6])?;
    engine.decode_greedy(4, false)?;
    report("decoded");
    Ok(())
}
