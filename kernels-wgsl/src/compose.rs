//! Bundles made of kernels that are there already, for a search over them.

use crate::bundle::{Bundle, KernelEntry, Manifest};
use crate::error::{Error, Result};
use crate::registry::{Op, entries};
use std::collections::BTreeMap;

/// Files of a bundle by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Where a composed bundle takes the kernel of an op from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// The built-in kernel.
    Builtin,
    /// The built-in kernel with another value of a tunable constant.
    Tuned(&'a str, u32),
    /// The kernel of another bundle.
    Bundle(&'a Files),
}

/// Every op whose built-in kernel has a tunable constant: the op, the constant, and its values other than
/// the default.
pub fn tunings() -> impl Iterator<Item = (Op, &'static str, Vec<u32>)> {
    entries().iter().flat_map(|entry| {
        entry.tunables.iter().map(|tunable| {
            let values = tunable.values.iter().copied();
            (entry.op, tunable.name, values.filter(|v| *v != tunable.default).collect())
        })
    })
}

/// Files of the bundle `from` (the built-in kernels without one) with the kernels of some ops taken from
/// elsewhere; `None` where only built-in kernels are left. Errors where a source has no such kernel, or
/// the result is no valid bundle.
pub fn composed_files(
    name: &str,
    from: Option<&Files>,
    changes: &BTreeMap<Op, Source<'_>>,
) -> Result<Option<Files>> {
    let mut files = Files::new();
    let mut manifest = Manifest { name: name.into(), summary: String::new(), kernel: Vec::new() };
    let mut add = |mut entry: KernelEntry, op: Op, source: Vec<u8>| {
        entry.file = format!("{}.wgsl", op.entry().name);
        files.insert(entry.file.clone(), source);
        manifest.kernel.push(entry);
    };
    if let Some(from) = from {
        for entry in Manifest::of(from)?.kernel {
            let op = named(&entry.op)?;
            if !changes.contains_key(&op) {
                let source = source_of(from, &entry)?;
                add(entry, op, source);
            }
        }
    }
    for (op, source) in changes {
        match source {
            Source::Builtin => {}
            Source::Tuned(constant, value) => {
                let entry = KernelEntry::tuned(*op, constant, *value)?;
                add(entry, *op, op.entry().source.as_bytes().to_vec());
            }
            Source::Bundle(other) => {
                let entries = Manifest::of(other)?.kernel;
                let entry = entries.into_iter().find(|entry| entry.op == op.entry().name);
                let Some(entry) = entry else {
                    let message = format!("has no kernel for op `{}`", op.entry().name);
                    return Err(Error::Bundle(message));
                };
                let source = source_of(other, &entry)?;
                add(entry, *op, source);
            }
        }
    }
    if manifest.kernel.is_empty() {
        return Ok(None);
    }
    manifest.put(&mut files)?;
    Bundle::from_files(files.clone())?;
    Ok(Some(files))
}

fn named(op: &str) -> Result<Op> {
    Op::named(op).ok_or_else(|| Error::Bundle(format!("op `{op}` is unknown")))
}

fn source_of(files: &Files, entry: &KernelEntry) -> Result<Vec<u8>> {
    let missing = || Error::Bundle(format!("file `{}` is not in the bundle", entry.file));
    files.get(&entry.file).cloned().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{copied_files, tuned_files};

    fn replaced(files: &Files) -> Vec<&'static str> {
        let mut ops: Vec<_> = Bundle::from_files(files.clone()).unwrap().replaced_ops().collect();
        ops.sort_unstable();
        ops
    }

    #[test]
    fn kernels_come_from_where_they_are_taken() {
        let base = copied_files("base", &[Op::MatmulBf16, Op::Norm, Op::Attention]).unwrap();
        let other = tuned_files("other", "", &[(Op::MatmulBf16, "LANE_ROWS", 4)]).unwrap();
        let changes = BTreeMap::from([
            (Op::MatmulBf16, Source::Bundle(&other)),
            (Op::Norm, Source::Builtin),
            (Op::MatmulInt4, Source::Tuned("LANE_ROWS", 1)),
        ]);
        let files = composed_files("mixed", Some(&base), &changes).unwrap().unwrap();
        assert_eq!(replaced(&files), ["attention", "matmul_bf16", "matmul_int4"]);
        let bundle = Bundle::from_files(files).unwrap();
        assert_eq!(bundle.kernel(Op::MatmulBf16).constants["LANE_ROWS"], 4.0);
        assert_eq!(bundle.kernel(Op::MatmulBf16).rows_per_workgroup, 32);
        assert_eq!(bundle.kernel(Op::MatmulInt4).rows_per_workgroup, 8);
    }

    #[test]
    fn what_is_all_built_in_is_no_bundle() {
        let base = copied_files("base", &[Op::Norm]).unwrap();
        let changes = BTreeMap::from([(Op::Norm, Source::Builtin)]);
        assert!(composed_files("none", Some(&base), &changes).unwrap().is_none());
        assert!(composed_files("none", None, &BTreeMap::new()).unwrap().is_none());
    }

    #[test]
    fn sources_that_lack_the_kernel_are_refused() {
        let other = copied_files("other", &[Op::Norm]).unwrap();
        for source in [Source::Bundle(&other), Source::Tuned("LANE_ROWS", 3), Source::Tuned("", 1)]
        {
            let changes = BTreeMap::from([(Op::MatmulBf16, source)]);
            assert!(composed_files("x", None, &changes).is_err(), "{source:?}");
        }
        let nonsense = Files::from([("bundle.toml".to_owned(), b"nonsense".to_vec())]);
        let changes = BTreeMap::from([(Op::Norm, Source::Bundle(&nonsense))]);
        assert!(composed_files("x", None, &changes).is_err());
    }

    #[test]
    fn tunings_leave_the_default_out() {
        let all: Vec<_> = tunings().collect();
        assert!(all.contains(&(Op::MatmulBf16, "LANE_ROWS", vec![2, 4])), "{all:?}");
        assert!(all.contains(&(Op::MatmulInt4, "LANE_ROWS", vec![1, 4])), "{all:?}");
    }
}
