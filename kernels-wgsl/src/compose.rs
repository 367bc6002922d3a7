//! Bundles made of kernels that are there already, for a search over them.

use crate::bundle::{Bundle, KernelEntry, Manifest};
use crate::error::{Error, Result};
use crate::fusion::Fusion;
use crate::registry::{Op, entries};
use std::collections::{BTreeMap, BTreeSet};

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
/// elsewhere, and with `fusions`, or those of `from` without any; `None` where only built-in kernels and no
/// fusions are left. Errors where a source has no such kernel, or
/// the result is no valid bundle.
pub fn composed_files(
    name: &str,
    from: Option<&Files>,
    changes: &BTreeMap<Op, Source<'_>>,
    fusions: Option<&BTreeSet<Fusion>>,
) -> Result<Option<Files>> {
    let mut files = Files::new();
    let before = match from {
        Some(from) => Manifest::of(from)?.fusions()?,
        None => BTreeSet::new(),
    };
    let fusions = fusions.unwrap_or(&before).iter().map(|fusion| fusion.name().to_owned());
    let mut manifest = Manifest {
        name: name.into(),
        summary: String::new(),
        fusions: fusions.collect(),
        kernel: Vec::new(),
    };
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
    if manifest.kernel.is_empty() && manifest.fusions.is_empty() {
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
        let files = composed_files("mixed", Some(&base), &changes, None).unwrap().unwrap();
        assert_eq!(replaced(&files), ["attention", "matmul_bf16", "matmul_int4"]);
        let bundle = Bundle::from_files(files).unwrap();
        assert_eq!(bundle.kernel(Op::MatmulBf16).constants["LANE_ROWS"], 4.0);
        assert_eq!(bundle.kernel(Op::MatmulBf16).rows_per_workgroup, 32);
        assert_eq!(bundle.kernel(Op::MatmulInt4).rows_per_workgroup, 8);
    }

    #[test]
    fn fusions_are_kept_unless_others_are_asked_for() {
        let asked = |fusions: &[Fusion]| fusions.iter().copied().collect::<BTreeSet<_>>();
        let (none, both) = (asked(&[]), asked(&Fusion::ALL));
        let of = |files: &Files| Bundle::from_files(files.clone()).unwrap().fusions().clone();
        let fused = composed_files("fused", None, &BTreeMap::new(), Some(&both)).unwrap().unwrap();
        assert_eq!((fused.len(), of(&fused)), (1, both.clone()), "no kernel of its own");
        let changes = BTreeMap::from([(Op::Norm, Source::Tuned("LANE_ROWS", 1))]);
        assert!(composed_files("x", Some(&fused), &changes, None).is_err());
        let other = copied_files("other", &[Op::Norm]).unwrap();
        let changes = BTreeMap::from([(Op::Norm, Source::Bundle(&other))]);
        let kept = composed_files("kept", Some(&fused), &changes, None).unwrap().unwrap();
        assert_eq!((of(&kept), replaced(&kept)), (both, vec!["norm"]));
        let one = asked(&[Fusion::QueryRope]);
        let fewer = composed_files("fewer", Some(&kept), &BTreeMap::new(), Some(&one));
        assert_eq!(of(&fewer.unwrap().unwrap()), one);
        let gone = composed_files("gone", Some(&fused), &BTreeMap::new(), Some(&none));
        assert!(gone.unwrap().is_none());
    }

    #[test]
    fn what_is_all_built_in_is_no_bundle() {
        let base = copied_files("base", &[Op::Norm]).unwrap();
        let changes = BTreeMap::from([(Op::Norm, Source::Builtin)]);
        assert!(composed_files("none", Some(&base), &changes, None).unwrap().is_none());
        assert!(composed_files("none", None, &BTreeMap::new(), None).unwrap().is_none());
    }

    #[test]
    fn sources_that_lack_the_kernel_are_refused() {
        let other = copied_files("other", &[Op::Norm]).unwrap();
        for source in [Source::Bundle(&other), Source::Tuned("LANE_ROWS", 3), Source::Tuned("", 1)]
        {
            let changes = BTreeMap::from([(Op::MatmulBf16, source)]);
            assert!(composed_files("x", None, &changes, None).is_err(), "{source:?}");
        }
        let nonsense = Files::from([("bundle.toml".to_owned(), b"nonsense".to_vec())]);
        let changes = BTreeMap::from([(Op::Norm, Source::Bundle(&nonsense))]);
        assert!(composed_files("x", None, &changes, None).is_err());
    }

    #[test]
    fn tunings_leave_the_default_out() {
        let all: Vec<_> = tunings().collect();
        assert!(all.contains(&(Op::MatmulBf16, "LANE_ROWS", vec![2, 4])), "{all:?}");
        assert!(all.contains(&(Op::MatmulInt4, "LANE_ROWS", vec![1, 4])), "{all:?}");
    }
}
