//! Hostile and mistaken kernel bundles are refused with an error that names the fault.

mod common;

use assay_kernels::bundle::{KERNELS_MAX, SOURCE_BYTES_MAX, tuned_files};
use assay_kernels::registry::Op;
use assay_kernels::respell::respelled;
use assay_kernels::{Bundle, Engine, EngineOptions};
use proptest::prelude::*;
use std::collections::BTreeMap;

const KERNEL: &str = "[[kernel]]\nop = \"argmax\"\nfile = \"a.wgsl\"\n";

fn files(manifest: &str, shader: &str) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([
        ("bundle.toml".to_string(), manifest.as_bytes().to_vec()),
        ("a.wgsl".to_string(), shader.as_bytes().to_vec()),
    ])
}

fn refusal(manifest: &str, shader: &str) -> String {
    match Bundle::from_files(files(manifest, shader)) {
        Ok(_) => panic!("accepted:\n{manifest}"),
        Err(e) => e.to_string(),
    }
}

fn manifest(rest: &str) -> String {
    format!("name = \"x\"\n{rest}")
}

#[test]
fn fusions_are_part_of_the_bundle() {
    let of = |manifest: &str| Bundle::from_files(files(manifest, "")).unwrap();
    let plain = of("name = \"x\"\n");
    let fused = of("name = \"x\"\nfusions = [\"query_rope\"]\n");
    assert!(plain.fusions().is_empty() && plain.digest() != fused.digest());
    assert_eq!(fused.fusions().iter().map(|f| f.name()).collect::<Vec<_>>(), ["query_rope"]);
    assert_eq!(fused.replaced_ops().count(), 0);
    let again = respelled(&files("name = \"x\"\nfusions = [\"query_rope\"]\n", ""), 3).unwrap();
    assert_eq!(Bundle::from_files(again).unwrap().fusions(), fused.fusions(), "in other words");
}

#[test]
fn manifests_are_checked() {
    let good = Op::Argmax.entry().source;
    assert!(Bundle::from_files(files(&manifest(KERNEL), good)).is_ok());
    let cases = [
        ("not toml at all [", "bundle.toml"),
        ("name = \"\"", "name"),
        ("summary = \"no name\"", "name"),
        ("name = \"x\"\ncolour = 1", "colour"),
        ("name = \"x\"\n[[kernel]]\nop = \"argmax\"", "file"),
        ("name = \"x\"\nfusions = [\"all\"]", "the fusions are per_layer_input, query_rope"),
        ("name = \"x\"\nfusions = [\"query_rope\", \"query_rope\"]", "twice"),
        ("name = \"x\"\nfusions = \"query_rope\"", "fusions"),
    ];
    for (text, expected) in cases {
        let error = refusal(text, good);
        assert!(error.contains(expected), "{error}");
    }
    let kernels = [
        ("[[kernel]]\nop = \"teleport\"\nfile = \"a.wgsl\"\n", "teleport"),
        ("[[kernel]]\nop = \"argmax\"\nfile = \"b.wgsl\"\n", "b.wgsl"),
        ("[[kernel]]\nop = \"argmax\"\nfile = \"a.wgsl\"\nspeed = 9\n", "speed"),
        (&format!("{KERNEL}{KERNEL}"), "two kernels"),
        (&format!("{KERNEL}rows_per_workgroup = 0\n"), "rows_per_workgroup"),
        (&format!("{KERNEL}batch_tiles = []\n"), "batch_tiles"),
        (&format!("{KERNEL}batch_tiles = [1, 4]\n"), "BATCH_TILE"),
        (&format!("{KERNEL}entry = \"other\"\n"), "other"),
        (&format!("{KERNEL}constants = {{ NOPE = 1 }}\n"), "NOPE"),
        (&format!("{KERNEL}constants = {{ FEED = 1 }}\n"), "FEED"),
        (&KERNEL.repeat(KERNELS_MAX + 1), "limit"),
    ];
    for (text, expected) in kernels {
        let error = refusal(&manifest(text), good);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn shaders_are_checked() {
    let bind =
        |declaration: &str| format!("{declaration}\n@compute @workgroup_size(1) fn main() {{}}");
    let cases = [
        ("fn main() {".to_string(), "a.wgsl"),
        (
            "@vertex fn main() -> @builtin(position) vec4<f32> { return vec4<f32>(); }".into(),
            "entry",
        ),
        (bind("@group(1) @binding(0) var<uniform> p: vec4<u32>;"), "group 1"),
        (bind("@group(0) @binding(9) var<storage, read> p: array<u32>;"), "binding 9"),
        // The logits are the op's to read only.
        (bind("@group(0) @binding(2) var<storage, read_write> l: array<f32>;"), "binding 2"),
        (bind("@group(0) @binding(0) var t: texture_2d<f32>;"), "binding 0"),
        ("@compute @workgroup_size(1) fn main() { let a: u32 = 1.5; }".into(), "a.wgsl"),
    ];
    for (shader, expected) in cases {
        let error = refusal(&manifest(KERNEL), &shader);
        assert!(error.contains(expected), "{error}");
    }
    let mut large = files(&manifest(KERNEL), Op::Argmax.entry().source);
    large.insert("padding.txt".into(), vec![b' '; SOURCE_BYTES_MAX]);
    assert!(Bundle::from_files(large).unwrap_err().to_string().contains("limit"));
    let mut binary = files(&manifest(KERNEL), "");
    binary.insert("a.wgsl".into(), vec![0xff, 0xfe, 0x00]);
    assert!(Bundle::from_files(binary).unwrap_err().to_string().contains("UTF-8"));
    assert!(Bundle::from_files(BTreeMap::new()).is_err());
}

/// What naga accepts and the adapter does not is an error of the engine, not a crash.
#[test]
fn adapters_refuse_with_an_error() {
    let shader = "@compute @workgroup_size(1024, 64, 1) fn main() {}";
    let bundle = Bundle::from_files(files(&manifest(KERNEL), shader)).expect("valid WGSL");
    let options = EngineOptions::new(32, 2);
    let error = Engine::new(common::gpu(), &common::e_series(), &bundle, &options).unwrap_err();
    assert!(error.to_string().contains("argmax"), "{error}");
}

#[test]
fn digests_depend_on_names_and_bytes() {
    let source = Op::Argmax.entry().source;
    let digest = |f| Bundle::from_files(f).expect("valid").digest();
    let base = digest(files(&manifest(KERNEL), source));
    assert_eq!(base, digest(files(&manifest(KERNEL), source)));
    assert_ne!(base, digest(files(&manifest(KERNEL), &format!("{source}\n"))));
    let mut renamed = files(&manifest(KERNEL), source);
    renamed.insert("b".into(), Vec::new());
    assert_ne!(base, digest(renamed));
}

#[test]
fn only_known_constants_are_tunable() {
    let op = Op::MatmulInt4;
    assert!(tuned_files("x", "", &[(op, "LANE_ROWS", 4)]).is_ok());
    for settings in [
        vec![(op, "LANE_ROWS", 3)],
        vec![(op, "OTHER", 1)],
        vec![(Op::Norm, "LANE_ROWS", 1)],
        vec![(op, "LANE_ROWS", 1), (op, "LANE_ROWS", 2)],
    ] {
        assert!(tuned_files("x", "", &settings).is_err(), "{settings:?}");
    }
}

proptest! {
    #[test]
    fn no_manifest_panics(text in "\\PC{0,200}") {
        let _ = Bundle::from_files(files(&text, ""));
    }

    #[test]
    fn no_shader_panics(text in "[ a-z0-9@<>{}()\\[\\];:=,.\n]{0,200}") {
        let _ = Bundle::from_files(files(&manifest(KERNEL), &text));
    }
}
