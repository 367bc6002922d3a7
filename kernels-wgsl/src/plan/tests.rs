//! The embedded model's plan, pinned.

use super::{Format, Piece, Pieces, PlePlace, Reach, Table, TargetInputs, target};
use crate::config::LayerKind;
use crate::fusion::Fusion;
use crate::load::Checkpoint;
use std::collections::{BTreeMap, BTreeSet};

fn render(pieces: &Pieces) -> String {
    fused(pieces, 1, &[])
}

fn fused(pieces: &Pieces, key_ranges: usize, fusions: &[Fusion]) -> String {
    let fusions: BTreeSet<Fusion> = fusions.iter().copied().collect();
    let checkpoint = Checkpoint::embedded().unwrap();
    let config = checkpoint.config();
    let parts = std::iter::once(0..config.vocab).collect();
    let whole_table = Table { format: Format::Bf16, parts };
    let inputs = TargetInputs {
        config,
        pieces,
        expert_parts: &BTreeMap::new(),
        layer_scalars: &[1.0; 8],
        rings: BTreeMap::from([(LayerKind::Sliding, 79), (LayerKind::Full, 256)]),
        key_ranges,
        embedding: &whole_table,
        head: None,
        ple: PlePlace::Device(Format::Bf16),
        fusions: &fusions,
    };
    target(&inputs).render()
}

#[test]
fn nano_plan_is_as_recorded() {
    let found = render(&BTreeMap::new());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/plan-nano.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &found).unwrap();
    }
    let recorded = std::fs::read_to_string(path).unwrap();
    assert!(found == recorded, "the plan changed; UPDATE_SNAPSHOTS=1 records it:\n{found}");
}

fn int4(rows: usize) -> Piece {
    Piece { format: Format::Int4 { group: 32 }, rows }
}

#[test]
fn parts_in_different_formats_are_launched_one_by_one() {
    let bf16 = |rows| Piece { format: Format::Bf16, rows };
    let pieces = Pieces::from([
        ("layers.0.qkv".to_string(), vec![int4(256), bf16(128)]),
        ("layers.0.gate".to_string(), vec![int4(512)]),
        ("layers.0.up".to_string(), vec![bf16(512)]),
    ]);
    let plan = render(&pieces);
    let lines: Vec<&str> = plan.lines().filter(|line| line.contains("layers.0.")).collect();
    let line = |text: &str| lines.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    assert_eq!(line("layers.0.qkv |").len(), 2);
    assert!(line("layers.0.qkv |")[1].contains("Weights(\"layers.0.qkv.1\")"));
    assert!(line("layers.0.qkv |")[1].contains("[128, 32, 384, 256, "), "{lines:#?}");
    assert!(line("layers.0.up |")[0].contains("matmul_bf16 EPILOGUE=0"));
    assert!(line("layers.0.gate |")[0].contains("matmul_int4 EPILOGUE=2"));
    assert!(line("gate_up").is_empty());
}

#[test]
fn a_quantised_layer_changes_only_its_own_launch() {
    let plain = render(&BTreeMap::new());
    let mixed = render(&Pieces::from([("layers.2.down".to_string(), vec![int4(256)])]));
    let changed: Vec<_> = plain.lines().zip(mixed.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(changed.len(), 1);
    assert!(changed[0].1.contains("layers.2.down | matmul_int4"));
}

#[test]
fn fusions_put_launches_together_where_a_layer_allows_it() {
    let none = Pieces::new();
    let lines = |text: &str| text.lines().filter(|line| !line.starts_with("--")).count();
    let plain = lines(&render(&none));
    let queries = fused(&none, 1, &[Fusion::QueryRope]);
    assert_eq!(lines(&queries), plain - 4, "layers 4 to 7 read another's cache");
    assert!(queries.contains("layers.4.attention | query_attention HEAD_DIM=64"), "{queries}");
    assert!(!queries.contains("layers.4.heads") && queries.contains("layers.3.heads"));
    // Keys in several ranges keep a launch for the queries, which every range reads.
    let split = fused(&none, 2, &[Fusion::QueryRope]);
    assert!(split.contains("layers.7.heads") && !split.contains("layers.6.heads"), "{split}");

    let ends = fused(&none, 1, &[Fusion::PerLayerInput]);
    assert_eq!(lines(&ends), plain - 3 * 8);
    assert!(!ends.contains("ple_gate |") && !ends.contains("post_feedforward_layernorm |"));
    let both = fused(&none, 1, &Fusion::ALL);
    assert_eq!(lines(&both), plain - 4 - 3 * 8);
    // What the fused kernel does not read stays apart.
    let int4 = Pieces::from([("layers.2.ple_proj".to_string(), vec![int4(256)])]);
    let mixed = fused(&int4, 1, &[Fusion::PerLayerInput]);
    assert_eq!(lines(&mixed), plain - 3 * 7);
    assert!(mixed.contains("layers.2.ple_gate | matmul_bf16"));
}

#[test]
fn launches_follow_how_far_a_batch_reaches() {
    assert_eq!(Reach::All.items(7, 1), Some(7));
    assert_eq!((Reach::FirstRange.items(4, 512), Reach::FirstRange.items(4, 513)), (Some(4), None));
    assert_eq!((Reach::Beyond.items(4, 512), Reach::Beyond.items(4, 513)), (None, Some(4)));
    let per_range = |end| Reach::PerRange(4).items(12, end);
    assert_eq!([512, 513, 1025, 9999].map(per_range), [None, Some(8), Some(12), Some(12)]);
}
