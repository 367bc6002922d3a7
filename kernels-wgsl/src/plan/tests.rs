//! The embedded model's plan, pinned.

use super::{Format, TargetInputs, target};
use crate::config::LayerKind;
use crate::load::Checkpoint;
use std::collections::BTreeMap;

fn render(formats: &BTreeMap<String, Format>) -> String {
    let checkpoint = Checkpoint::embedded().unwrap();
    let config = checkpoint.config();
    let whole_table = std::iter::once(0..config.vocab).collect::<Vec<_>>();
    let inputs = TargetInputs {
        config,
        formats,
        expert_parts: &BTreeMap::new(),
        layer_scalars: &[1.0; 8],
        rings: BTreeMap::from([(LayerKind::Sliding, 79), (LayerKind::Full, 256)]),
        embedding_parts: &whole_table,
        head_parts: None,
        ple_on_device: true,
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

#[test]
fn a_quantised_layer_changes_only_its_own_launch() {
    let plain = render(&BTreeMap::new());
    let mixed = render(&BTreeMap::from([("layers.2.down".to_string(), Format::Int4)]));
    let changed: Vec<_> = plain.lines().zip(mixed.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(changed.len(), 1);
    assert!(changed[0].1.contains("layers.2.down | matmul_int4"));
}
