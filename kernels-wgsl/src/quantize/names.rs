//! Which tensors are quantised.

use super::{Options, Scheme};
use crate::error::{Error, Result};
use crate::load::{Checkpoint, HEAD};
use std::collections::BTreeMap;

/// The output head where it is tied.
pub(super) const EMBEDDING: &str = "embed_tokens";
const PLE_PROJECTIONS: [&str; 3] =
    ["per_layer_model_projection", "per_layer_input_gate", "per_layer_projection"];

/// Scheme of every linear layer to quantise, by its name without `.weight`.
pub(super) fn quantised(
    checkpoint: &Checkpoint,
    options: &Options,
) -> Result<BTreeMap<String, Scheme>> {
    let config = checkpoint.config();
    let mut linear: Vec<(String, usize)> = (0..config.layers.len())
        .flat_map(|i| checkpoint.layer_matrices(i))
        .map(|(name, _, cols)| (name, cols))
        // A token's experts follow from small differences between the router's scores.
        .filter(|(name, _)| !name.ends_with("router.proj"))
        .collect();
    if let Some(moe) = config.moe {
        for (i, e) in (0..config.layers.len()).flat_map(|i| (0..moe.experts).map(move |e| (i, e))) {
            let parts = [
                ("gate_proj", config.hidden),
                ("up_proj", config.hidden),
                ("down_proj", moe.intermediate),
            ];
            linear
                .extend(parts.map(|(part, cols)| (format!("layers.{i}.experts.{e}.{part}"), cols)));
        }
    }
    if config.ple_width > 0 {
        linear.push(("per_layer_model_projection".into(), config.hidden));
    }
    let is_ple = |name: &str| PLE_PROJECTIONS.iter().any(|part| name.ends_with(part));
    linear.retain(|(name, _)| options.per_layer_projections || !is_ple(name));
    linear.retain(|(name, _)| !kept(&options.keep, name));
    let mut chosen = BTreeMap::new();
    for (name, cols) in linear {
        let scheme = fitting(options.scheme, &name, cols)?;
        chosen.insert(name, scheme);
    }
    if let Some(scheme) = options.head {
        chosen.insert(HEAD.into(), fitting(scheme, HEAD, config.hidden)?);
    }
    Ok(chosen)
}

fn fitting(scheme: Scheme, name: &str, cols: usize) -> Result<Scheme> {
    scheme.fitting(cols).ok_or_else(|| {
        Error::Input(format!(
            "`{name}` has rows of {cols} weights, which no group of {scheme} divides; keep it with \
             --keep '{name}'"
        ))
    })
}

/// Whether one of `patterns` matches a tensor's name, with or without `.weight`.
pub(super) fn kept(patterns: &[String], name: &str) -> bool {
    let whole = format!("{name}.weight");
    let fits = |pattern: &String| {
        matches(pattern.as_bytes(), name.as_bytes())
            || matches(pattern.as_bytes(), whole.as_bytes())
    };
    patterns.iter().any(fits)
}

/// `*` stands for anything, `?` for one character.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the latest star, should what follows it not fit.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_with_and_without_their_ending() {
        let kept = |pattern: &str, name: &str| kept(&[pattern.to_string()], name);
        assert!(kept("layers.0.*", "layers.0.mlp.up_proj"));
        assert!(kept("*.down_proj", "layers.7.mlp.down_proj"));
        assert!(kept("*.down_proj.weight", "layers.7.mlp.down_proj"));
        assert!(kept("layers.?.mlp*proj", "layers.7.mlp.down_proj"));
        assert!(kept("*", "x") && kept("**a*b*", "cab"));
        assert!(!kept("layers.0.*", "layers.10.mlp.up_proj"));
        assert!(!kept("down_proj", "layers.7.mlp.down_proj") && !kept("", "x"));
    }
}
