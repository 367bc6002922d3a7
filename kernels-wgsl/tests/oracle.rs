//! Every kernel of every honest bundle against the f64 oracles.

mod common;

use assay_kernels::{Bundle, kernels};
use common::gpu;

fn bundles() -> [Bundle; 4] {
    [
        Bundle::builtin(),
        common::bundle("serial-rows"),
        common::bundle("same-again"),
        common::tuned(4),
    ]
}

#[test]
fn kernels_match_their_oracles() {
    for bundle in bundles() {
        for report in kernels::check(gpu(), &bundle).expect("runs") {
            println!(
                "{:12} {:?} {}: {:.1e} of {:.1e}",
                bundle.name(),
                report.op,
                report.case,
                report.largest_error,
                report.tolerance
            );
            assert!(report.passed, "{}: {report:?}", bundle.name());
        }
    }
}

#[test]
fn rows_do_not_depend_on_their_batch() {
    for bundle in bundles() {
        let found = kernels::batch_dependent(gpu(), &bundle).expect("runs");
        assert!(found.is_empty(), "{}: {found:?}", bundle.name());
    }
}

#[test]
fn the_oracles_refuse_half_a_product() {
    let reports = kernels::check(gpu(), &common::bundle("half-dot")).expect("runs");
    assert!(reports.iter().any(|r| !r.passed), "half the terms went unnoticed");
    assert!(reports.iter().all(|r| r.passed || r.op.entry().name.starts_with("matmul")));
}
