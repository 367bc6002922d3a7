//! What the integration tests share: the adapter and the golden files.
#![allow(dead_code, unreachable_pub)]

use assay_kernels::bundle::tuned_files;
use assay_kernels::compose::composed_files;
use assay_kernels::registry::Op;
use assay_kernels::{AdapterRequest, Bundle, Checkpoint, Engine, EngineOptions, Fusion, Gpu};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The adapter every test runs on.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        Gpu::open(&AdapterRequest::default()).expect("a Vulkan, Metal or DX12 adapter")
    })
}

/// A path inside this crate.
pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The fixture model with every E-series mechanism at toy widths and random weights.
pub fn e_series() -> Checkpoint {
    fixture("e-series")
}

/// A fixture model: toy widths, random weights, every mechanism of its family.
pub fn fixture(name: &str) -> Checkpoint {
    Checkpoint::open(&path(&format!("tests/fixtures/{name}"))).expect("the fixture loads")
}

/// An engine with the built-in kernels.
pub fn engine(checkpoint: &Checkpoint, context_tokens: usize, batch_max: usize) -> Engine {
    let options = EngineOptions::new(context_tokens, batch_max);
    Engine::new(gpu(), checkpoint, &Bundle::builtin(), &options).expect("the engine builds")
}

/// The files of a folder, by name; folders in it are passed over.
pub fn folder(relative: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(path(relative)).expect("the folder exists");
    entries
        .map(|entry| entry.expect("readable"))
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().expect("UTF-8");
            (name, std::fs::read(entry.path()).expect("readable"))
        })
        .collect()
}

/// A kernel bundle of the repository.
pub fn bundle(name: &str) -> Bundle {
    Bundle::from_files(folder(&format!("../testnet/bundles/{name}"))).expect("the bundle loads")
}

/// The built-in matrix products with another number of rows a lane.
pub fn tuned(lane_rows: u32) -> Bundle {
    let settings = [Op::MatmulBf16, Op::MatmulInt4].map(|op| (op, "LANE_ROWS", lane_rows));
    let files = tuned_files("tuned", "a test", &settings).expect("known tunables");
    Bundle::from_files(files).expect("valid")
}

/// The built-in kernels with some launches put together.
pub fn fused(fusions: &[Fusion]) -> Bundle {
    let fusions = fusions.iter().copied().collect();
    let files = composed_files("fused", None, &BTreeMap::new(), Some(&fusions)).expect("valid");
    Bundle::from_files(files.expect("a fusion is no built-in kernel")).expect("valid")
}

/// Expected outputs of a reference implementation.
pub struct Golden {
    pub tokens: Vec<u32>,
    pub greedy: Vec<u32>,
    pub logits: Vec<f32>,
    pub hidden: Vec<f32>,
}

pub fn ids(file: &SafeTensors<'_>, name: &str) -> Vec<u32> {
    let data = file.tensor(name).expect("present").data();
    data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32).collect()
}

pub fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let data = file.tensor(name).expect("present").data();
    data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

pub fn golden(relative: &str) -> Golden {
    let bytes = std::fs::read(path(relative)).expect("the golden file exists");
    let file = SafeTensors::deserialize(&bytes).expect("the golden file parses");
    Golden {
        tokens: ids(&file, "tokens"),
        greedy: ids(&file, "greedy"),
        logits: floats(&file, "logits"),
        hidden: floats(&file, "hidden"),
    }
}

/// Bit patterns, so that comparisons tell −0 from 0 and never skip a NaN.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

pub fn argmax(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// Difference between the two largest values.
pub fn top_gap(row: &[f32]) -> f32 {
    let best = argmax(row);
    let others = row.iter().enumerate().filter(|(i, _)| *i != best);
    row[best] - others.map(|(_, v)| *v).fold(f32::NEG_INFINITY, f32::max)
}
