//! Layer types, cache sharing and per-layer overrides.

use super::Code;
use super::config::{Config, Family};
use super::observed::Observed;
use super::report::Findings;
use serde_json::{Value, json};

const SLIDING: &str = "sliding_attention";
const FULL: &str = "full_attention";

/// Number of layers: what the tensors show, or else what the configuration says.
pub(super) fn count(config: &Config, seen: &Observed) -> usize {
    match seen.layers.len() {
        0 => config.count("num_hidden_layers").unwrap_or(0).min(1024),
        layers => layers,
    }
}

/// Which of `count` layers the configuration makes full ones.
pub(crate) fn kinds(config: &Config, count: usize) -> Vec<bool> {
    let last_is_full = config.family != Family::Gemma3;
    let listed = config.layer_types().filter(|types| types.len() == count);
    let mut kinds: Vec<bool> = match listed {
        Some(types) => types.iter().map(|name| *name == FULL).collect(),
        None => {
            let period = config.count("sliding_window_pattern").filter(|&n| n > 0).unwrap_or(6);
            (0..count).map(|i| (i + 1) % period == 0).collect()
        }
    };
    if let (true, Some(last)) = (last_is_full, kinds.last_mut()) {
        *last = true;
    }
    kinds
}

/// The layers from which on caches are shared; the count where none are.
pub(super) fn first_shared(config: &Config, count: usize) -> usize {
    count - config.count("num_kv_shared_layers").unwrap_or(0).min(count)
}

pub(super) fn check(config: &Config, seen: &Observed, findings: &mut Findings) {
    check_types(config, seen, findings);
    check_sharing(config, seen, findings);
    check_overrides(config, seen, findings);
    check_key_is_value(config, seen, findings);
}

fn check_types(config: &Config, seen: &Observed, findings: &mut Findings) {
    let place = config.place("layer_types");
    let count = count(config, seen);
    let observed = seen.kinds();
    let names = |kinds: &[bool]| -> Value {
        kinds.iter().map(|full| json!(if *full { FULL } else { SLIDING })).collect()
    };
    let right = observed.clone().unwrap_or_else(|| kinds(config, count));
    let mend = "write the types that the widths of q_norm show (wide: full attention)";
    match (config.get("layer_types"), config.layer_types()) {
        (None, _) => {
            if let Some(observed) = observed.filter(|o| *o != kinds(config, count)) {
                let message = "is missing and defaults to a full layer every six; the norms' widths say otherwise";
                findings
                    .error(Code::MissingKey, place, message, mend)
                    .push(config.edit("layer_types", names(&observed)));
            }
        }
        (Some(_), None) => {
            let message = "is not a list of names";
            findings
                .error(Code::LayerTypes, place, message, mend)
                .push(config.edit("layer_types", names(&right)));
        }
        (Some(_), Some(types)) => {
            if let Some(unknown) = types.iter().find(|t| **t != SLIDING && **t != FULL) {
                let message = format!("names `{}`", unknown.chars().take(40).collect::<String>());
                let mend = format!("Gemma layers are {SLIDING} or {FULL}");
                findings.error(Code::LayerTypes, place.clone(), message, mend);
            }
            if types.len() != count && count > 0 {
                let message = format!("names {} layers, the model has {count}", types.len());
                findings
                    .error(Code::LayerTypes, place, message, mend)
                    .push(config.edit("layer_types", names(&right)));
            } else if let Some(observed) = observed.filter(|o| *o != kinds(config, count)) {
                let own = kinds(config, count);
                let wrong: Vec<String> =
                    (0..count).filter(|&i| own[i] != observed[i]).map(|i| i.to_string()).collect();
                let message = format!(
                    "is wrong for layers {} by the widths of their norms",
                    wrong.join(", ")
                );
                findings
                    .error(Code::LayerTypes, place, message, mend)
                    .push(config.edit("layer_types", names(&observed)));
            } else if config.family != Family::Gemma3 && types.last() == Some(&SLIDING) {
                let message =
                    "ends with a sliding layer; loaders make the last one full without asking";
                findings
                    .warning(
                        Code::LayerTypes,
                        place,
                        message,
                        "write full_attention for the last layer",
                    )
                    .push(config.edit("layer_types", names(&kinds(config, count))));
            }
        }
    }
}

fn check_sharing(config: &Config, seen: &Observed, findings: &mut Findings) {
    let count = count(config, seen);
    let Some(value) = config.get("num_kv_shared_layers") else { return };
    let place = config.place("num_kv_shared_layers");
    let Some(shared) = config.count("num_kv_shared_layers") else {
        let message = format!("is {value}; expected a whole number");
        findings.error(Code::BadValue, place, message, "write the number of layers that share");
        return;
    };
    if config.family == Family::Assistant {
        return;
    }
    // Layers that own their keys have a key projection; files with redundant ones have it everywhere.
    let owners = seen.layers.iter().take_while(|l| l.k_rows.is_some()).count();
    // One layer without them is a missing tensor, not a shared layer.
    let rest = &seen.layers[owners..];
    let sharing = rest.len() > 1 && owners > 0 && rest.iter().all(|l| l.k_rows.is_none());
    let from_tensors = sharing.then_some(rest.len());
    let fix = from_tensors.map(|n| config.edit("num_kv_shared_layers", n));
    if shared >= count && count > 0 {
        let message =
            format!("is {shared} of {count} layers, which leaves none that writes a cache");
        findings
            .error(Code::KvSharing, place, message, "write the number of layers without k_proj")
            .extend(fix);
        return;
    }
    if let Some(right) = from_tensors.filter(|right| *right != shared) {
        let message = format!("is {shared}; the last {right} layers have no key projection");
        let mend = format!("write {right}");
        findings.error(Code::KvSharing, place, message, mend).extend(fix);
        return;
    }
    let kinds = kinds(config, count);
    let first = count.saturating_sub(shared);
    let orphan = (first..count).find(|&i| !kinds[..first].contains(&kinds[i]));
    if let Some(orphan) = orphan {
        let kind = if kinds[orphan] { FULL } else { SLIDING };
        let message = format!("shares layer {orphan}, but no layer before {first} is {kind}");
        let mend = "share fewer layers, or correct layer_types";
        findings.error(Code::KvSharing, place, message, mend);
    }
}

fn check_overrides(config: &Config, seen: &Observed, findings: &mut Findings) {
    let count = count(config, seen);
    let kinds = kinds(config, count);
    let Some(table) = config.get("per_layer_config") else { return };
    let place = config.place("per_layer_config");
    let Some(table) = table.as_object() else {
        let mend = "write an object from layer index to overrides, or delete it";
        findings.error(Code::LayerOverride, place, "is not an object", mend);
        return;
    };
    if let Some(odd) = table.keys().find(|k| !k.parse::<usize>().is_ok_and(|i| i < count)) {
        let message =
            format!("names layer `{}` of {count}", odd.chars().take(40).collect::<String>());
        findings.error(Code::LayerOverride, place.clone(), message, "delete the entry");
    }
    let pairs =
        [("global_head_dim", "head_dim"), ("num_global_key_value_heads", "num_key_value_heads")];
    for (global, own) in pairs {
        let Some(all) = config.count(global) else { continue };
        let differs =
            |i: &usize| kinds[*i] && config.override_of(*i, own).is_some_and(|value| value != all);
        if let Some(i) = (0..count).find(differs) {
            let value = config.override_of(i, own).unwrap_or(0);
            let message = format!("gives layer {i} {own} {value}, {global} says {all}");
            let mend = format!("keep one style: delete {global}, or per_layer_config");
            let mut fix = config.edit(global, Value::Null);
            fix.value = None;
            findings.error(Code::LayerOverride, place.clone(), message, mend).push(fix);
        }
    }
}

fn check_key_is_value(config: &Config, seen: &Observed, findings: &mut Findings) {
    if config.family == Family::Assistant || seen.layers.is_empty() {
        return;
    }
    let kinds = seen.kinds().unwrap_or_else(|| kinds(config, seen.layers.len()));
    let first = first_shared(config, seen.layers.len());
    let owners = || {
        let layers = seen.layers.iter().enumerate();
        layers.filter(|(i, l)| kinds[*i] && *i < first && l.k_rows.is_some())
    };
    let (total, without) = (owners().count(), owners().filter(|(_, l)| !l.has_v).count());
    let claimed = config.flag("attention_k_eq_v");
    let place = config.place("attention_k_eq_v");
    if total > 0 && without == total && !claimed {
        let message = "is false or missing (its default is false), and no full layer has a v_proj";
        findings
            .error(Code::KeyIsValue, place, message, "write true")
            .push(config.edit("attention_k_eq_v", true));
    } else if total > 0 && without == 0 && claimed {
        let message = "is true, and the full layers have a v_proj, which a loader then drops";
        findings
            .error(Code::KeyIsValue, place, message, "write false")
            .push(config.edit("attention_k_eq_v", false));
    }
}
