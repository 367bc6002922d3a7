//! The committed types equal what the schema generates.
//!
//! `UPDATE_GENERATED=1 cargo test -p assay-proto` rewrites them after a change of the schema.

use std::path::Path;

const FILES: [&str; 8] = [
    "assay/v1/membership.proto",
    "assay/v1/ruling.proto",
    "assay/v1/post.proto",
    "assay/v1/proposal.proto",
    "assay/v1/record.proto",
    "assay/v1/ledger.proto",
    "assay/v1/exchange.proto",
    "assay/v1/consensus.proto",
];

#[test]
fn generated_types_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = std::env::temp_dir().join(format!("assay-proto-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("create the output folder");
    let files = protox::compile(FILES, [root]).expect("the schema compiles");
    prost_build::Config::new().out_dir(&out).compile_fds(files).expect("code generation");
    let fresh = std::fs::read_to_string(out.join("assay.v1.rs")).expect("read generated code");
    std::fs::remove_dir_all(&out).expect("remove the output folder");

    let committed = root.join("src/v1.rs");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&committed, &fresh).expect("write generated code");
    }
    let current = std::fs::read_to_string(&committed).unwrap_or_default();
    assert!(current == fresh, "src/v1.rs differs from the schema; run with UPDATE_GENERATED=1");
}
