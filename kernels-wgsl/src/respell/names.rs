//! Other names for everything in a module that has one of its own.

use fastrand::Rng;
use naga::{Function, Module, TypeInner};
use std::collections::{BTreeMap, BTreeSet};

/// What names are made of. None is a keyword of WGSL, and none ends with a digit.
const WORDS: [&str; 48] = [
    "acc", "base", "bits", "block", "cell", "chunk", "cols", "count", "cur", "data", "dst", "elem",
    "first", "group", "head", "hi", "idx", "item", "key", "lane", "last", "lhs", "lim", "lo",
    "mask", "mem", "next", "off", "part", "pos", "prev", "quad", "rhs", "row", "run", "scale",
    "seg", "slot", "span", "src", "step", "stride", "sum", "tile", "tmp", "unit", "val", "width",
];
/// Names that were given.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// Names that are not to be given.
    pub(super) fn reserve<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.taken.extend(names.map(str::to_owned));
    }

    /// A name that nothing has yet.
    pub(super) fn fresh(&mut self, rng: &mut Rng) -> String {
        let mut word = || WORDS[rng.usize(..WORDS.len())];
        let mut name = format!("{}_{}", word(), word());
        while !self.taken.insert(name.clone()) {
            name = format!("{name}_{}", word());
        }
        name
    }

    /// Replaces a name, or gives one.
    fn replace(&mut self, name: &mut Option<String>, rng: &mut Rng) {
        *name = Some(self.fresh(rng));
    }
}

/// Gives everything another name, save entry points and `fixed` overrides.
pub(super) fn rename(
    module: &mut Module,
    fixed: &BTreeSet<&'static str>,
    names: &mut Names,
    rng: &mut Rng,
) -> BTreeMap<String, String> {
    rename_structs(module, names, rng);
    for (_, constant) in module.constants.iter_mut().filter(|(_, c)| c.name.is_some()) {
        names.replace(&mut constant.name, rng);
    }
    let mut renamed = BTreeMap::new();
    for (_, constant) in module.overrides.iter_mut() {
        if constant.name.as_ref().is_some_and(|name| fixed.contains(name.as_str())) {
            continue;
        }
        let other = names.fresh(rng).to_uppercase();
        // One without a name is the length of an array that was written as an expression.
        if let Some(name) = constant.name.replace(other.clone()) {
            renamed.insert(name, other);
        }
    }
    for (_, variable) in module.global_variables.iter_mut() {
        names.replace(&mut variable.name, rng);
    }
    for (_, function) in module.functions.iter_mut() {
        names.replace(&mut function.name, rng);
        rename_locals(function, names, rng);
    }
    for entry in &mut module.entry_points {
        rename_locals(&mut entry.function, names, rng);
    }
    renamed
}

fn rename_structs(module: &mut Module, names: &mut Names, rng: &mut Rng) {
    let predeclared: BTreeSet<_> = module.special_types.predeclared_types.values().collect();
    let structs: Vec<_> = module
        .types
        .iter()
        .filter(|(handle, ty)| {
            matches!(ty.inner, TypeInner::Struct { .. }) && !predeclared.contains(handle)
        })
        .map(|(handle, ty)| (handle, ty.clone()))
        .collect();
    for (handle, mut ty) in structs {
        ty.name = Some(camel_case(&names.fresh(rng)));
        if let TypeInner::Struct { members, .. } = &mut ty.inner {
            for member in members {
                names.replace(&mut member.name, rng);
            }
        }
        module.types.replace(handle, ty);
    }
}

fn rename_locals(function: &mut Function, names: &mut Names, rng: &mut Rng) {
    for argument in &mut function.arguments {
        names.replace(&mut argument.name, rng);
    }
    for (_, local) in function.local_variables.iter_mut() {
        names.replace(&mut local.name, rng);
    }
    for name in function.named_expressions.values_mut() {
        *name = names.fresh(rng);
    }
}

fn camel_case(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('_').map(capital).collect()
}
