//! Widths and counts of the configuration against the tensors.

use super::Code;
use super::config::{Config, Family};
use super::layers::{count, first_shared, kinds};
use super::observed::{LayerSeen, Observed};
use super::report::Findings;

/// A key, what the tensors say about it, and what common loaders assume without it.
struct Size {
    key: &'static str,
    seen: Option<usize>,
    default: Option<usize>,
    /// This engine does not assume a default.
    required: bool,
    /// Where the tensors show it.
    shown_by: &'static str,
}

pub(super) fn check(config: &Config, seen: &Observed, findings: &mut Findings) {
    for size in table(config, seen) {
        compare(config, &size, findings);
    }
    check_global_head(config, seen, findings);
    check_double_wide(config, seen, findings);
    check_per_layer_embedding(config, seen, findings);
    check_layer_names(config, seen, findings);
}

fn per_head(l: &LayerSeen, rows: Option<usize>) -> Option<usize> {
    let width = l.q_norm.filter(|w| *w > 0)?;
    rows.filter(|r| r % width == 0).map(|r| r / width)
}

fn table(config: &Config, seen: &Observed) -> Vec<Size> {
    let kinds = seen.kinds().unwrap_or_else(|| kinds(config, seen.layers.len()));
    let first = first_shared(config, seen.layers.len());
    let sliding = |i: usize| !kinds.get(i).copied().unwrap_or(false);
    let heads = seen.agreed(|_, l| per_head(l, l.q_rows));
    let head_dim = seen.agreed(|i, l| l.q_norm.filter(|_| sliding(i)));
    let kv = seen.agreed(|i, l| per_head(l, l.k_rows).filter(|_| sliding(i) && i < first));
    let inner = seen.agreed(|i, l| l.inner.filter(|_| i < first));
    let layers = Some(seen.layers.len()).filter(|n| *n > 0);
    let gemma3 = config.family == Family::Gemma3;
    let size = |key, seen, default, shown_by| Size { key, seen, default, required: true, shown_by };
    vec![
        size(
            "vocab_size",
            seen.vocab,
            Some(if gemma3 { 262_208 } else { 262_144 }),
            "embed_tokens",
        ),
        size("hidden_size", seen.hidden, Some(2304), "the norms"),
        size("num_hidden_layers", layers, Some(if gemma3 { 26 } else { 30 }), "the layer numbers"),
        size("num_attention_heads", heads, Some(8), "q_proj and q_norm"),
        size("head_dim", head_dim, Some(256), "q_norm of sliding layers"),
        Size {
            required: false,
            ..size("num_key_value_heads", kv, Some(4), "k_proj and q_norm of sliding layers")
        },
        size("intermediate_size", inner, Some(9216), "gate_proj"),
    ]
}

fn compare(config: &Config, size: &Size, findings: &mut Findings) {
    let (key, place) = (size.key, config.place(size.key));
    let Some(seen) = size.seen else {
        if config.get(key).is_none() && size.required {
            let message = "is missing, and no tensor shows it";
            findings.error(
                Code::MissingKey,
                place,
                message,
                "write the value the model was made with",
            );
        }
        return;
    };
    match (config.get(key), config.count(key)) {
        (Some(_), Some(claimed)) if claimed != seen => {
            let message = format!("is {claimed}; {} say {seen}", size.shown_by);
            findings
                .error(Code::SizeKey, place, message, format!("write {seen}"))
                .push(config.edit(key, seen));
        }
        (None, _) if size.required || size.default != Some(seen) => {
            let default = size.default.map_or("nothing".into(), |d| d.to_string());
            let message =
                format!("is missing; transformers assumes {default}, {} say {seen}", size.shown_by);
            findings
                .error(Code::MissingKey, place, message, format!("write {seen}"))
                .push(config.edit(key, seen));
        }
        (Some(_), None) => {
            // The value itself was reported; the tensors know the right one.
            findings
                .error(
                    Code::SizeKey,
                    place,
                    format!("{} say {seen}", size.shown_by),
                    format!("write {seen}"),
                )
                .push(config.edit(key, seen));
        }
        _ => {}
    }
}

/// Head width and K/V heads of full layers, in whichever style they are written.
fn check_global_head(config: &Config, seen: &Observed, findings: &mut Findings) {
    if config.family == Family::Gemma3 {
        return;
    }
    let kinds = seen.kinds().unwrap_or_else(|| kinds(config, seen.layers.len()));
    let full = |i: usize| kinds.get(i).copied().unwrap_or(false);
    let styled = config.get("per_layer_config").is_some();
    if let Some(width) = seen.agreed(|i, l| l.q_norm.filter(|_| full(i))) {
        let claimed = match config.get("per_layer_config") {
            // Every layer has its own entry; one that is wrong is enough.
            Some(_) => {
                let own = |i: usize| config.override_of(i, "head_dim").or(config.count("head_dim"));
                let layers = || (0..kinds.len()).filter(|&i| full(i)).filter_map(own);
                layers().find(|own| *own != width).or(layers().next())
            }
            None => config.count("global_head_dim"),
        };
        let (key, place) = match styled {
            true => ("per_layer_config", config.place("per_layer_config.*.head_dim")),
            false => ("global_head_dim", config.place("global_head_dim")),
        };
        let fixes = overrides(config, &kinds, styled, key, "head_dim", width);
        match claimed {
            None if width != 512 || config.count("head_dim") != Some(width) => {
                let message = format!(
                    "is missing; transformers assumes 512, other loaders head_dim, the norms of full layers \
                     say {width}"
                );
                findings
                    .error(Code::MissingKey, place, message, format!("write {width}"))
                    .extend(fixes);
            }
            Some(claimed) if claimed != width => {
                let message = format!("is {claimed}; the norms of full layers are {width} wide");
                findings
                    .error(Code::SizeKey, place, message, format!("write {width}"))
                    .extend(fixes);
            }
            _ => {}
        }
    }
    if config.family == Family::Assistant {
        return;
    }
    let first = first_shared(config, seen.layers.len());
    let Some(kv) = seen.agreed(|i, l| per_head(l, l.k_rows).filter(|_| full(i) && i < first))
    else {
        return;
    };
    let own = config.count("num_key_value_heads");
    let claimed = match styled {
        true => seen.agreed(|i, _| {
            full(i).then(|| config.override_of(i, "num_key_value_heads").or(own))?
        }),
        false if config.flag("attention_k_eq_v") => {
            config.count("num_global_key_value_heads").or(own)
        }
        false => own,
    };
    if claimed.is_some_and(|claimed| claimed != kv) {
        let (key, place) = match styled {
            true => ("per_layer_config", config.place("per_layer_config.*.num_key_value_heads")),
            false => ("num_global_key_value_heads", config.place("num_global_key_value_heads")),
        };
        let found = claimed.unwrap_or(0);
        let message = format!("makes {found} K/V heads in full layers; k_proj and q_norm say {kv}");
        let fixes = overrides(config, &kinds, styled, key, "num_key_value_heads", kv);
        findings.error(Code::SizeKey, place, message, format!("write {kv}")).extend(fixes);
    }
}

/// The edits that give full layers `value`, in the style of the file.
fn overrides(
    config: &Config,
    kinds: &[bool],
    styled: bool,
    key: &str,
    own: &str,
    value: usize,
) -> Vec<super::ConfigEdit> {
    if !styled {
        return vec![config.edit(key, value)];
    }
    let full = (0..kinds.len()).filter(|&i| kinds[i]);
    full.map(|i| {
        let mut edit = config.edit(key, value);
        edit.path.extend([i.to_string(), own.to_string()]);
        edit
    })
    .collect()
}

/// `use_double_wide_mlp` doubles the inner width of layers that share their cache.
fn check_double_wide(config: &Config, seen: &Observed, findings: &mut Findings) {
    let count = seen.layers.len();
    let first = first_shared(config, count);
    if first == 0 || first >= count {
        return;
    }
    let own = seen.agreed(|i, l| l.inner.filter(|_| i < first));
    let shared = seen.agreed(|i, l| l.inner.filter(|_| i >= first));
    let (Some(own), Some(shared)) = (own, shared) else { return };
    let place = config.place("use_double_wide_mlp");
    let claimed = config.flag("use_double_wide_mlp");
    let double = shared == 2 * own;
    // Files that say the width layer by layer need no rule.
    if (first..count).all(|i| config.override_of(i, "intermediate_size") == Some(shared)) {
        return;
    }
    if claimed != double && (double || shared == own) {
        let message = format!(
            "is {}; layers before {first} are {own} wide, those from it on {shared}",
            if config.get("use_double_wide_mlp").is_some() {
                claimed.to_string()
            } else {
                "missing (false)".into()
            },
        );
        findings
            .error(Code::SizeKey, place, message, format!("write {double}"))
            .push(config.edit("use_double_wide_mlp", double));
    }
}

fn check_per_layer_embedding(config: &Config, seen: &Observed, findings: &mut Findings) {
    if config.family != Family::Gemma4 {
        return;
    }
    let place = config.place("hidden_size_per_layer_input");
    let key = "hidden_size_per_layer_input";
    let claimed = config.count(key);
    let layers = count(config, seen).max(1);
    let from_gate = seen.agreed(|_, l| l.ple);
    let from_table = seen.ple_table.map(|(_, cols)| cols / layers);
    let width = from_gate.or(from_table).unwrap_or(0);
    match claimed {
        None if width == 0 && !seen.layers.is_empty() => {
            let message = "is missing and defaults to 256 in transformers; the model has no per-layer embedding";
            findings.warning(Code::MissingKey, place, message, "write 0").push(config.edit(key, 0));
        }
        None if width > 0 => {
            let message = format!("is missing; the per-layer embedding is {width} wide");
            findings
                .error(Code::MissingKey, place, message, format!("write {width}"))
                .push(config.edit(key, width));
        }
        Some(claimed) if claimed != width && !seen.layers.is_empty() => {
            let message =
                format!("is {claimed}; the tensors of the per-layer embedding say {width}");
            findings
                .error(Code::PerLayerEmbedding, place, message, format!("write {width}"))
                .push(config.edit(key, width));
        }
        _ => {}
    }
    let Some((rows, cols)) = seen.ple_table else { return };
    if width > 0 && cols != width * layers {
        let message =
            format!("has {cols} columns; {layers} layers of {width} need {}", width * layers);
        let mend = "the table is of another model; fetch the right file";
        findings.error(Code::PerLayerEmbedding, "embed_tokens_per_layer.weight", message, mend);
    }
    let key = "vocab_size_per_layer_input";
    let claimed = config.count(key);
    if claimed.unwrap_or(262_144) != rows {
        let found = claimed.map_or("missing (262144)".into(), |n| n.to_string());
        let message = format!("is {found}; the per-layer table has {rows} rows");
        findings
            .error(Code::PerLayerEmbedding, config.place(key), message, format!("write {rows}"))
            .push(config.edit(key, rows));
    }
}

/// Layers must be numbered without gaps.
fn check_layer_names(config: &Config, seen: &Observed, findings: &mut Findings) {
    let empty = |l: &LayerSeen| l.q_rows.is_none() && l.inner.is_none() && l.hidden.is_none();
    let gap: Vec<String> = seen
        .layers
        .iter()
        .enumerate()
        .filter(|(_, l)| empty(l))
        .map(|(i, _)| i.to_string())
        .collect();
    if !gap.is_empty() {
        let message = format!("layers {} have no tensors", gap.join(", "));
        let mend = "a shard is missing; download all of them";
        findings.error(Code::MissingTensor, config.place("num_hidden_layers"), message, mend);
    }
}
