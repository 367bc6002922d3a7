//! Every shader of the repository parses, validates and fits its op. No adapter needed.

mod common;

use assay_kernels::Bundle;
use assay_kernels::registry::entries;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::collections::BTreeMap;

fn validate(name: &str, source: &str) -> naga::Module {
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(source)));
    Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(source)));
    module
}

#[test]
fn built_in_shaders_are_valid_and_keep_their_contract() {
    for entry in entries() {
        let module = validate(entry.name, entry.source);
        for (index, (binding, _)) in entry.bindings.iter().enumerate() {
            let global = module.global_variables.iter().find(|(_, g)| {
                g.binding.as_ref().is_some_and(|b| (b.group, b.binding) == (0, index as u32))
            });
            // A kernel may leave a binding of its op out, but what it names it names as the registry does.
            if let Some((_, global)) = global {
                assert_eq!(global.name.as_deref(), Some(*binding), "{}", entry.name);
            }
        }
        assert!(entry.source.starts_with("// "), "{} has no header", entry.name);
        for heading in ["// Shape", "// Dispatch", "// Why"] {
            assert!(entry.source.contains(heading), "{} lacks `{heading}`", entry.name);
        }
    }
}

#[test]
fn every_shader_file_is_registered() {
    for (name, source) in common::folder("shaders") {
        let source = String::from_utf8(source).expect("UTF-8");
        let known = entries().iter().any(|e| format!("{}.wgsl", e.name) == name);
        assert!(known, "shaders/{name} is in no registry entry");
        validate(&name, &source);
    }
}

/// A bundle may pass for the built-in kernels (as `same-again` does): then it is checked like them.
#[test]
fn built_in_kernels_pass_as_a_bundle() {
    let mut files = BTreeMap::new();
    let mut manifest = String::from("name = \"copy\"\n");
    for entry in entries() {
        let (name, rows, tiles) = (entry.name, entry.rows_per_workgroup, entry.batch_tiles);
        manifest += &format!(
            "[[kernel]]\nop = \"{name}\"\nfile = \"{name}.wgsl\"\nrows_per_workgroup = {rows}\n\
             batch_tiles = {tiles:?}\n"
        );
        files.insert(format!("{name}.wgsl"), entry.source.as_bytes().to_vec());
    }
    files.insert("bundle.toml".into(), manifest.into_bytes());
    let bundle = Bundle::from_files(files).expect("valid");
    assert_eq!(bundle.replaced_ops().count(), entries().len());
    assert_ne!(bundle.digest(), Bundle::builtin().digest());
}

#[test]
fn shipped_bundles_load() {
    for name in ["serial-rows", "half-dot", "same-again"] {
        let bundle = common::bundle(name);
        assert_eq!(bundle.name(), name);
        assert!(!bundle.summary().is_empty());
        assert!(bundle.replaced_ops().count() > 0);
    }
    for (name, source) in common::folder("../testnet/bundles/same-again") {
        if name.ends_with(".wgsl") {
            assert_eq!(source, std::fs::read(common::path(&format!("shaders/{name}"))).unwrap());
        }
    }
}
