//! Whether one recipe repeats another on which it does not build.
//!
//! Everybody derives from the base recipe, and a claim from its parents: what either already had says
//! nothing about copying and is left out on both sides. Of the rest,
//!
//! - kernels are compared as sets of [`SHINGLE`] tokens in a row, without comments and white space and with
//!   the names that a shader declares replaced, by their Jaccard index: the share that both have of what
//!   either has (A. Broder, "On the resemblance and containment of documents", 1997);
//! - weights are compared by the hashes of their chunks.
//!
//! A recipe is a duplicate if what it brings in kernels or in weights is nearly what the earlier one has,
//! and it brings nothing of its own in the other; a sliver of a checkpoint, such as another configuration, is
//! nothing to excuse copied kernels with. A
//! shader that a compiler wrote anew passes as original: what this finds is copying with little effort. Null
//! claims, which are their parents in other words, are not charged, see `assay_protocol::state`.

use assay_kernels::registry::entries;
use assay_protocol::ids::BlobHash;
use std::collections::{BTreeMap, BTreeSet};

/// Tokens in a row that are compared.
const SHINGLE: usize = 8;
/// Fewest shingles of its own by which a bundle can be told from another.
const SHINGLES_MIN: usize = 60;
/// Jaccard index from which kernels are nearly the same, in per cent.
const ALIKE_PERCENT: usize = 85;
/// Share of a checkpoint's own chunks from which weights are nearly the same, in per cent.
const CHUNKS_PERCENT: usize = 90;
/// What the words about repeated weights begin with.
pub(super) const WEIGHTS: &str = "weights";
/// Share of a checkpoint below which its own chunks are no work of one's own, in per cent.
const SLIVER_PERCENT: usize = 10;
/// Bytes of shaders of one recipe that are looked at.
const SOURCE_BYTES_MAX: usize = 4 << 20;

/// Hash of tokens in a row.
pub(super) type Shingle = [u8; 16];

/// What a recipe is made of.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// The files of its bundle; none for the built-in kernels.
    pub(super) kernels: BTreeMap<String, Vec<u8>>,
    /// The chunks of its checkpoint.
    pub(super) weights: Vec<BlobHash>,
    /// The checkpoint itself.
    pub(super) checkpoint: BlobHash,
    /// Its drafter's checkpoint.
    pub(super) drafter: Option<BlobHash>,
}

impl Work {
    pub(super) fn shaders(&self) -> impl Iterator<Item = &[u8]> {
        let shaders = self.kernels.iter().filter(|(name, _)| name.ends_with(".wgsl"));
        shaders.map(|(_, data)| data.as_slice())
    }
}

/// How what a recipe brings lies to what an earlier one brings.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Own {
    /// It brings nothing, or too little to tell.
    Nothing,
    /// It brings something else.
    Original,
    /// It brings nearly the same; what shows it.
    Repeated(String),
}

/// In what `later` repeats `earlier`, apart from what it has of `inherited`; none if it does not.
pub(super) fn compare(later: &Work, earlier: &Work, inherited: &[Work]) -> Option<String> {
    let drafter = |work: &Work| work.drafter == later.drafter;
    let drafts_anew =
        later.drafter.is_some() && !drafter(earlier) && !inherited.iter().any(drafter);
    let parts = [kernels(later, earlier, inherited), weights(later, earlier, inherited)];
    if drafts_anew || parts.contains(&Own::Original) {
        return None;
    }
    let repeated: Vec<String> = parts
        .into_iter()
        .filter_map(|part| match part {
            Own::Repeated(words) => Some(words),
            _ => None,
        })
        .collect();
    (!repeated.is_empty()).then(|| repeated.join("; "))
}

fn kernels(later: &Work, earlier: &Work, inherited: &[Work]) -> Own {
    let mut known = built_in();
    known.extend(inherited.iter().flat_map(|work| shingles(work.shaders())));
    let own = |work: &Work| -> BTreeSet<Shingle> {
        shingles(work.shaders()).difference(&known).copied().collect()
    };
    let (mine, theirs) = (own(later), own(earlier));
    if mine.len() < SHINGLES_MIN {
        return Own::Nothing;
    }
    let both = mine.intersection(&theirs).count();
    let either = mine.len() + theirs.len() - both;
    match both * 100 >= either * ALIKE_PERCENT {
        true => Own::Repeated(format!("kernels: {both} of {either} passages are the same")),
        false => Own::Original,
    }
}

/// The shingles of the kernels that everybody has.
pub(super) fn built_in() -> BTreeSet<Shingle> {
    shingles(entries().iter().map(|entry| entry.source.as_bytes()))
}

fn weights(later: &Work, earlier: &Work, inherited: &[Work]) -> Own {
    let known: BTreeSet<BlobHash> =
        inherited.iter().flat_map(|work| work.weights.iter().copied()).collect();
    if inherited.iter().any(|work| work.checkpoint == later.checkpoint) {
        return Own::Nothing;
    }
    let mine: Vec<&BlobHash> = later.weights.iter().filter(|hash| !known.contains(hash)).collect();
    let theirs: BTreeSet<&BlobHash> = earlier.weights.iter().collect();
    let both = mine.iter().filter(|hash| theirs.contains(**hash)).count();
    match (mine.len(), both) {
        (0, _) => Own::Nothing,
        (all, both) if both * 100 >= all * CHUNKS_PERCENT => {
            Own::Repeated(format!("{WEIGHTS}: {both} of {all} pieces are the same"))
        }
        (all, _) if all * 100 < later.weights.len() * SLIVER_PERCENT => Own::Nothing,
        _ => Own::Original,
    }
}

/// The shingles of some shaders, each by its hash.
pub(super) fn shingles<'a>(shaders: impl Iterator<Item = &'a [u8]>) -> BTreeSet<Shingle> {
    let mut left = SOURCE_BYTES_MAX;
    let mut found = BTreeSet::new();
    for data in shaders {
        let data = data.get(..data.len().min(left)).unwrap_or_default();
        left -= data.len();
        let source = String::from_utf8_lossy(data);
        let tokens = plain_tokens(&source);
        for window in tokens.windows(SHINGLE) {
            let hash = blake3::hash(window.join(" ").as_bytes());
            if let Some(short) = hash.as_bytes().first_chunk() {
                found.insert(*short);
            }
        }
    }
    found
}

/// A shader's tokens without comments, each name that it declares as `_`.
fn plain_tokens(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut declared = BTreeSet::new();
    for pair in tokens.windows(2) {
        let [first, second] = pair else { continue };
        let declares = matches!(
            first.as_str(),
            "fn" | "let" | "var" | "const" | "override" | "struct" | "alias"
        );
        if declares && is_name(second) {
            declared.insert(second.clone());
        }
        // Parameters, fields of structures, and variables with an address space before them.
        if second == ":" && is_name(first) {
            declared.insert(first.clone());
        }
    }
    let plain = |token: String| if declared.contains(&token) { "_".to_owned() } else { token };
    tokens.into_iter().map(plain).collect()
}

fn is_name(token: &str) -> bool {
    token.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

/// Names, numbers, and every other sign by itself.
fn tokens(source: &str) -> Vec<String> {
    let plain = without_comments(source);
    let mut tokens = Vec::new();
    let mut word = String::new();
    for c in plain.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if !c.is_whitespace() {
            tokens.push(c.to_string());
        }
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    tokens
}

/// A source whose comments are blanks. Those of several lines nest in WGSL.
fn without_comments(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    let (mut depth, mut line) = (0_usize, false);
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match (c, next) {
            ('\n', _) => {
                line = false;
                out.push('\n');
            }
            _ if line => {}
            ('/', Some('/')) if depth == 0 => line = true,
            ('/', Some('*')) => {
                depth += 1;
                chars.next();
                out.push(' ');
            }
            ('*', Some('/')) if depth > 0 => {
                depth -= 1;
                chars.next();
            }
            _ if depth > 0 => {}
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_kernels::respell::some_builtin_files;

    /// A shader with so many different statements, numbered from `first`.
    fn shader(name: &str, first: u32, statements: u32) -> String {
        let lines: String = (first..first + statements)
            .map(|n| format!("  {name}_{n} = {name}_{} * {n}.5 + f32({n}u % 7u);\n", n + 1))
            .collect();
        format!("@compute @workgroup_size(64)\nfn {name}() {{\n{lines}}}\n")
    }

    fn work(source: &str) -> Work {
        let kernels = match source {
            "" => BTreeMap::new(),
            source => BTreeMap::from([("a.wgsl".to_owned(), source.as_bytes().to_vec())]),
        };
        Work { kernels, weights: Vec::new(), checkpoint: BlobHash([1; 32]), drafter: None }
    }

    fn weighs(work: Work, checkpoint: u8, chunks: std::ops::Range<u8>) -> Work {
        let weights = chunks.map(|n| BlobHash([n; 32])).collect();
        Work { weights, checkpoint: BlobHash([checkpoint; 32]), ..work }
    }

    #[test]
    fn names_comments_and_blanks_hide_nothing() {
        let plain = "fn sum(a: f32) -> f32 { let b = a + 1.0; return b; }";
        let other = "/* other /* words */ */ fn total(first : f32)->f32 // all\n{\nlet z=first+1.0;\n\
                     return z;}";
        assert_eq!(plain_tokens(plain), plain_tokens(other));
        assert_ne!(plain_tokens(plain), plain_tokens(&plain.replace("1.0", "2.0")));
        assert!(tokens("a /* never closed").len() == 1);
        assert!(tokens("").is_empty());
    }

    #[test]
    fn a_copy_is_found_and_work_of_ones_own_is_not() {
        let base = [work("")];
        let original = work(&shader("x", 0, 80));
        let copy = work(&format!("// mine\n{}", shader("x", 0, 80)));
        let found = compare(&copy, &original, &base).unwrap();
        assert!(found.starts_with("kernels: "), "{found}");
        // A tenth of it changed is still a copy; half of it is not.
        let nearly = work(&format!("{}{}", shader("x", 0, 78), shader("y", 500, 4)));
        assert!(compare(&nearly, &original, &base).is_some());
        let half = work(&format!("{}{}", shader("x", 0, 40), shader("y", 500, 40)));
        assert_eq!(compare(&half, &original, &base), None);
        assert_eq!(compare(&work(&shader("y", 900, 80)), &original, &base), None);
        // What both have of an ancestor is nobody's own, and a little is not enough to tell.
        let parent = [work(""), original.clone()];
        assert_eq!(compare(&copy, &original, &parent), None);
        assert_eq!(compare(&work(&shader("x", 0, 2)), &work(&shader("x", 0, 2)), &base), None);
    }

    #[test]
    fn copies_of_the_built_in_kernels_are_nobodys_own() {
        let files = Work { kernels: some_builtin_files(3).unwrap(), ..work("") };
        assert_eq!(compare(&files, &files.clone(), &[work("")]), None);
    }

    #[test]
    fn weights_are_compared_by_what_is_not_inherited() {
        let base = [weighs(work(""), 1, 0..20)];
        let original = weighs(work(""), 2, 30..50);
        let copy = weighs(work(""), 3, 31..51);
        let found = compare(&copy, &original, &base).unwrap();
        assert_eq!(found, "weights: 19 of 20 pieces are the same");
        assert_eq!(compare(&weighs(work(""), 3, 35..55), &original, &base), None);
        // The base's own pieces count for nobody.
        assert_eq!(compare(&weighs(work(""), 3, 0..20), &original, &base), None);
        assert_eq!(compare(&weighs(work(""), 1, 0..20), &original, &base), None);
        // The same weights under kernels of one's own are a work of one's own.
        let kernels = weighs(work(&shader("y", 900, 80)), 3, 31..51);
        assert_eq!(compare(&kernels, &original, &base), None);
        let drafts = Work { drafter: Some(BlobHash([9; 32])), ..copy };
        assert_eq!(compare(&drafts, &original, &base), None);
    }

    /// A relay: one ran the broken checkpoint, the other runs the corrected one.
    #[test]
    fn a_corrected_configuration_is_no_copy_and_excuses_none() {
        let base = weighs(work(""), 1, 0..20);
        let broken = weighs(work(&shader("x", 0, 80)), 2, 30..60);
        let chunks = (30..59).chain([99]).map(|n| BlobHash([n; 32])).collect::<Vec<_>>();
        let of = |source: &str| Work {
            weights: chunks.clone(),
            checkpoint: BlobHash([3; 32]),
            ..work(source)
        };
        let found = compare(&of(""), &broken, std::slice::from_ref(&base)).unwrap();
        assert!(found.starts_with("weights: 29 of 30"), "{found}");
        // What the claim owes to its relay is nobody's to charge it with.
        let owed = weighs(work(""), 2, 30..60);
        let inherited = [base, owed];
        assert_eq!(compare(&of(""), &broken, &inherited), None);
        assert_eq!(compare(&of(&shader("y", 500, 80)), &broken, &inherited), None);
        // Copied kernels are not excused by one chunk of a configuration.
        let copied = compare(&of(&shader("x", 0, 80)), &broken, &inherited).unwrap();
        assert!(copied.starts_with("kernels: "), "{copied}");
    }
}
