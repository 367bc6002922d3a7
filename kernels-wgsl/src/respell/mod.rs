//! The same kernels in other words: another text, other names, the same bits at the same speed.
//!
//! Every file is parsed and written again from naga's representation. On the way everything that has
//! a name of its own gets another one, and operands are exchanged where the result is the same to the
//! bit on every adapter: sums and products of integers, and comparisons. Sums and products of floats
//! stay as they are, because a compiler may contract `a * b + c * d` either way. Then the declarations
//! are shuffled, which WGSL allows in any order, and so are the files and the kernels of the manifest.
//! Entry points, bindings, launch geometry and the names of `override`s that the engine or the
//! manifest sets stay: they are the contract.
//!
//! What it does not hide: comments are gone and every load stands on a line of its own, as a program
//! writes and a person would not; and whoever normalises both texts, or compares what a compiler makes
//! of them, finds the same program. It is proof against reading and against comparing texts.

mod deferred;
mod names;

use crate::bundle::{
    Bundle, EXPERTS, KernelEntry, MANIFEST, Manifest, copied_files, parse, text_of, validate,
};
use crate::error::{Error, Result};
use crate::registry::Op;
use deferred::Deferred;
use fastrand::Rng;
use naga::back::wgsl::{WriterFlags, write_string};
use naga::valid::ModuleInfo;
use naga::{BinaryOperator, Expression, Module, ScalarKind};
use names::{Names, rename};
use std::collections::{BTreeMap, BTreeSet};

/// Most kernels that [`some_builtin_files`] copies.
const COPIES_MAX: usize = 3;
/// Ops whose built-in kernels it copies: those that every model runs.
const COPIED: [Op; 6] =
    [Op::MatmulBf16, Op::Norm, Op::ResidualNorm, Op::HeadNormRope, Op::Attention, Op::Argmax];

/// The files of a bundle in other words, chosen by `seed`. Files that no kernel names are left out.
///
/// # Errors
///
/// [`Error::Bundle`] when the files are no valid bundle, or when naga cannot write one of its shaders.
pub fn respelled(
    files: &BTreeMap<String, Vec<u8>>,
    seed: u64,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut rng = Rng::with_seed(seed);
    let mut manifest = Manifest::of(files)?;
    rng.shuffle(&mut manifest.kernel);
    let mut names = Names::default();
    manifest.name = names.fresh(&mut rng).replace('_', "-");
    manifest.summary = String::new();
    let mut respelled = BTreeMap::new();
    let sources: BTreeSet<String> = manifest.kernel.iter().map(|k| k.file.clone()).collect();
    // A new name that is another file's old one would be taken for it further down.
    names.reserve(sources.iter().filter_map(|file| file.strip_suffix(".wgsl")));
    for file in sources {
        let source = files.get(&file).ok_or_else(|| {
            Error::Bundle(format!("{MANIFEST}: file `{file}` is not in the bundle"))
        })?;
        let fixed = fixed_names(manifest.kernel.iter().filter(|kernel| kernel.file == file));
        let (text, renamed) = shader(&file, text_of(&file, source)?, &fixed, &mut rng)?;
        let other = format!("{}.wgsl", names.fresh(&mut rng));
        for kernel in manifest.kernel.iter_mut().filter(|kernel| kernel.file == file) {
            kernel.file.clone_from(&other);
            let constants = std::mem::take(&mut kernel.constants).into_iter();
            kernel.constants = constants
                .map(|(name, value)| (renamed.get(&name).cloned().unwrap_or(name), value))
                .collect();
        }
        respelled.insert(other, text.into_bytes());
    }
    manifest.put(&mut respelled)?;
    Bundle::from_files(respelled.clone())?;
    Ok(respelled)
}

/// Files of a bundle with copies of one to three built-in kernels, chosen by `seed` among those that
/// every model runs.
///
/// # Errors
///
/// [`Error::Bundle`] when the manifest cannot be written.
pub fn some_builtin_files(seed: u64) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut rng = Rng::with_seed(seed);
    let ops = rng.choose_multiple(COPIED, COPIES_MAX);
    copied_files("copies", &ops[..rng.usize(1..=ops.len())])
}

/// The `override`s of a shader whose names the engine knows.
fn fixed_names<'a>(kernels: impl Iterator<Item = &'a KernelEntry>) -> BTreeSet<&'static str> {
    let ops = kernels.filter_map(|kernel| Op::named(&kernel.op));
    let of_op = |op: Op| {
        let planned = op.entry().constants.iter().map(|(name, _)| *name);
        planned.chain(op.entry().mode_constant)
    };
    ops.flat_map(of_op).chain(["BATCH_TILE", EXPERTS]).collect()
}

/// One shader in other words, and what its free `override`s are called in them.
fn shader(
    file: &str,
    source: &str,
    fixed: &BTreeSet<&'static str>,
    rng: &mut Rng,
) -> Result<(String, BTreeMap<String, String>)> {
    let mut module = parse(file, source)?;
    let info = validate(file, source, &module)?;
    exchange_operands(&mut module, &info, rng);
    let mut names = Names::default();
    names.reserve(fixed.iter().copied());
    names.reserve(module.entry_points.iter().map(|entry| entry.name.as_str()));
    let renamed = rename(&mut module, fixed, &mut names, rng);
    let sizes = Deferred::take(file, &mut module)?;
    // Neither exchanged operands nor deferred sizes change what an expression's type is, so that
    // what was learned of the module before still holds.
    let text = write_string(&module, &info, WriterFlags::empty())
        .map_err(|e| Error::Bundle(format!("{file}: cannot be written again: {e}")))?;
    let text = sizes.put_back(&replaced_words(&text, &mut names, rng, &sizes.lengths));
    Ok((shuffled(text, rng), renamed))
}

/// Exchanges the operands of every other operation where that changes no bit.
fn exchange_operands(module: &mut Module, info: &ModuleInfo, rng: &mut Rng) {
    let Module { types, functions, entry_points, .. } = module;
    let functions = functions.iter_mut().map(|(handle, function)| (&info[handle], function));
    let entries = entry_points.iter_mut().enumerate();
    let entries = entries.map(|(index, entry)| (info.get_entry_point(index), &mut entry.function));
    for (info, function) in functions.chain(entries) {
        for (handle, expression) in function.expressions.iter_mut() {
            let Expression::Binary { op, left, right } = expression else { continue };
            let kind = info[handle].ty.inner_with(types).scalar_kind();
            let integer = matches!(kind, Some(ScalarKind::Sint | ScalarKind::Uint));
            if let Some(mirrored) = mirrored(*op, integer).filter(|_| rng.bool()) {
                *op = mirrored;
                std::mem::swap(left, right);
            }
        }
    }
}

/// The operator that gives the same with its operands exchanged; `integer` says what it gives.
fn mirrored(op: BinaryOperator, integer: bool) -> Option<BinaryOperator> {
    use BinaryOperator as B;
    match op {
        B::Less => Some(B::Greater),
        B::LessEqual => Some(B::GreaterEqual),
        B::Greater => Some(B::Less),
        B::GreaterEqual => Some(B::LessEqual),
        B::Equal | B::NotEqual => Some(op),
        B::Add | B::Multiply | B::And | B::InclusiveOr | B::ExclusiveOr => integer.then_some(op),
        _ => None,
    }
}

/// The text with other names for what naga numbers, `_e12` and the like, and with `words` replaced.
fn replaced_words(
    text: &str,
    names: &mut Names,
    rng: &mut Rng,
    words: &BTreeMap<String, String>,
) -> String {
    let mut given: BTreeMap<&str, String> = BTreeMap::new();
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text;
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    while let Some(start) = rest.find(in_name) {
        let (between, from) = rest.split_at(start);
        let length = from.find(|c| !in_name(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(length);
        out += between;
        let number = word.strip_prefix("_e").filter(|digits| !digits.is_empty());
        match number.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
            true => out += given.entry(word).or_insert_with(|| names.fresh(rng)),
            false => out += words.get(word).map_or(word, String::as_str),
        }
        rest = after;
    }
    out + rest
}

/// Declarations in another order; directives stay in front.
fn shuffled(mut declarations: Vec<String>, rng: &mut Rng) -> String {
    let directives = ["enable ", "requires ", "diagnostic("];
    let directive = |d: &&String| directives.iter().any(|word| d.starts_with(word));
    let front = declarations.iter().take_while(directive).count();
    rng.shuffle(&mut declarations[front..]);
    declarations.join("\n\n") + "\n"
}

/// The declarations of a module: each ends with a semicolon or a closing brace outside of all others.
fn declarations(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    for (at, letter) in text.char_indices() {
        let ends = match letter {
            '(' | '[' | '{' => {
                depth += 1;
                false
            }
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                depth == 0 && letter == '}'
            }
            ';' => depth == 0,
            _ => false,
        };
        if ends {
            found.push(text[start..=at].trim());
            start = at + 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::entries;

    fn all_files() -> BTreeMap<String, Vec<u8>> {
        let ops: Vec<Op> = entries().iter().map(|entry| entry.op).collect();
        copied_files("the-original", &ops).unwrap()
    }

    fn text(files: &BTreeMap<String, Vec<u8>>) -> String {
        files.values().map(|file| std::str::from_utf8(file).unwrap()).collect()
    }

    #[test]
    fn every_built_in_kernel_can_be_respelled_in_many_ways() {
        let original = all_files();
        let mut digests = BTreeSet::new();
        for seed in 0..8 {
            let other = respelled(&original, seed).unwrap();
            let bundle = Bundle::from_files(other.clone()).unwrap();
            assert_eq!(bundle.replaced_ops().count(), entries().len());
            assert!(digests.insert(bundle.digest()));
            assert_eq!(other, respelled(&original, seed).unwrap(), "the seed decides");
            // A respelled bundle is as good a parent as any.
            respelled(&other, seed + 100).unwrap();
        }
    }

    #[test]
    fn hardly_a_line_is_left() {
        let original = all_files();
        let lines = |text: &str| -> BTreeSet<String> {
            let lines = text.lines().map(|line| line.split_whitespace().collect::<String>());
            lines.filter(|line| line.len() > 20).collect()
        };
        let (before, after) = (text(&original), text(&respelled(&original, 3).unwrap()));
        let (before, after) = (lines(&before), lines(&after));
        let same: Vec<&String> = before.intersection(&after).collect();
        assert!(same.len() * 50 < before.len(), "{same:?}");
    }

    #[test]
    fn nothing_names_the_writer_or_the_original() {
        for seed in 0..4 {
            let other = text(&respelled(&all_files(), seed).unwrap());
            for trace in ["_e1", "//", "naga", "bf16.wgsl", "kv_heads", "the-original"] {
                assert!(!other.contains(trace), "{trace}");
            }
        }
    }

    #[test]
    fn constants_of_the_manifest_follow_their_new_names() {
        let files =
            crate::bundle::tuned_files("x", "", &[(Op::MatmulInt4, "LANE_ROWS", 4)]).unwrap();
        let other = respelled(&files, 1).unwrap();
        let manifest = Manifest::of(&other).unwrap();
        let (name, value) = manifest.kernel[0].constants.iter().next().unwrap();
        assert_eq!(*value, 4.0);
        assert!(name != "LANE_ROWS" && text(&other).contains(&format!("override {name}")));
    }

    #[test]
    fn what_the_writer_cannot_write_is_an_error() {
        let manifest = "name = \"x\"\n[[kernel]]\nop = \"argmax\"\nfile = \"a.wgsl\"\n";
        let shaders = [
            "override N = 4u;\n@compute @workgroup_size(N) fn main() {}",
            "override N = 4u;\nvar<private> p = N * 2u;\n\
             @compute @workgroup_size(1) fn main() { p = 1u; }",
            "override N = abs(-4);\noverride M = abs(N);\n@compute @workgroup_size(1) fn main() {}",
        ];
        for shader in shaders {
            let files = [("bundle.toml", manifest), ("a.wgsl", shader)];
            let files = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
            let files = BTreeMap::from(files);
            Bundle::from_files(files.clone()).unwrap();
            let error = respelled(&files, 1).unwrap_err().to_string();
            assert!(error.contains("cannot be written again"), "{error}");
        }
    }

    #[test]
    fn hostile_bundles_are_refused_and_not_rewritten() {
        let mut broken = all_files();
        broken.insert("argmax.wgsl".to_owned(), b"fn main( {".to_vec());
        assert!(matches!(respelled(&broken, 1), Err(Error::Bundle(_))));
        let mut missing = all_files();
        missing.remove("argmax.wgsl");
        assert!(respelled(&missing, 1).unwrap_err().to_string().contains("argmax.wgsl"));
        assert!(respelled(&BTreeMap::new(), 1).is_err());
    }

    #[test]
    fn declarations_are_told_apart() {
        let text = "struct A { b: u32, }\nconst C = 1u;\n@compute @workgroup_size(1, 1, 1)\n\
                    fn main() { if (C > 0u) { return; } }\n";
        let found = declarations(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[2].starts_with("@compute") && found[2].ends_with('}'));
    }

    #[test]
    fn a_choice_of_built_in_kernels_is_a_bundle() {
        for seed in 0..16 {
            let bundle = Bundle::from_files(some_builtin_files(seed).unwrap()).unwrap();
            assert!((1..=COPIES_MAX).contains(&bundle.replaced_ops().count()));
        }
    }
}
