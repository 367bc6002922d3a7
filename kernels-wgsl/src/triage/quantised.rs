//! `quantization_config` against the tensors.

use super::config::Config;
use super::folder::{CONFIG, Named};
use super::observed::{dimension, dims};
use super::report::Findings;
use super::{Code, ConfigEdit};
use crate::load::Tensor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const KEY: &str = "quantization_config";

/// A quantised linear layer as its tensors show it.
struct Packed {
    bits: usize,
    /// Columns per scale; the whole row where there is one scale a row.
    group: usize,
    cols: usize,
}

pub(super) fn check(config: &Config, named: &Named<'_>, findings: &mut Findings) {
    let mut all: BTreeMap<String, Packed> = modules(&named.text, "", findings);
    all.extend(modules(&named.head, "lm_head", findings));
    let place = format!("{CONFIG}: {KEY}");
    let declared = config.quantisation();
    match (declared, all.is_empty()) {
        (None, true) => {}
        (None, false) => {
            let count = all.len();
            let message = format!("is missing, and {count} modules are packed");
            let mend = "write the compressed-tensors description of the packed weights";
            let fix = describe(&all).map(|value| edit(&[], value));
            findings.error(Code::Quantisation, place, message, mend).extend(fix);
        }
        (Some(_), true) => {
            let message = "is there, and no weight is packed";
            let mend = "delete it, or fetch the quantised weights";
            let nested = config.top(KEY).is_none();
            let path =
                if nested { vec!["text_config".into(), KEY.into()] } else { vec![KEY.into()] };
            findings.error(Code::Quantisation, place, message, mend).push(ConfigEdit {
                file: CONFIG,
                path,
                value: None,
            });
        }
        (Some(declared), false) => {
            check_method(declared, &place, findings);
            check_groups(declared, &all, findings);
            check_ignored(declared, &all, findings);
        }
    }
}

fn edit(path: &[&str], value: Value) -> ConfigEdit {
    let path = std::iter::once(KEY).chain(path.iter().copied()).map(str::to_string).collect();
    ConfigEdit { file: CONFIG, path, value: Some(value) }
}

/// Every module with packed weights. The tensors that go with them are checked against each other.
fn modules(
    tensors: &BTreeMap<&str, &Tensor>,
    base: &str,
    findings: &mut Findings,
) -> BTreeMap<String, Packed> {
    let mut found = BTreeMap::new();
    for (name, packed) in tensors {
        let Some(module) = name.strip_suffix("weight_packed") else { continue };
        let module = module.trim_end_matches('.');
        let part = |part: &str| match module {
            "" => tensors.get(part),
            module => tensors.get(format!("{module}.{part}").as_str()),
        };
        let label =
            [base, module].into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(".");
        let place = format!("{}: {label}", packed.file);
        let Some(scale) = part("weight_scale") else {
            let mend = "fetch the file again; packed weights are useless without their scales";
            findings.error(Code::Quantisation, place, "has no weight_scale", mend);
            continue;
        };
        let key = if module.is_empty() { "" } else { module };
        let shape = match key {
            "" => part("weight_shape").and_then(|t| t.whole_numbers()).and_then(|n| match n[..] {
                [r, c] => Some((dimension(r)?, dimension(c)?)),
                _ => None,
            }),
            key => dims(tensors, key),
        };
        let (Some((_, cols)), [_, words], [_, groups]) =
            (shape, &packed.shape[..], &scale.shape[..])
        else {
            let message = "has packed weights or scales that are no matrices";
            findings.error(Code::Quantisation, place, message, "fetch the file again");
            continue;
        };
        let bits = if *words > 0 && cols > 0 { 32 * words / cols } else { 0 };
        if !(bits == 4 || bits == 8) || *groups == 0 || cols % groups != 0 {
            let message = format!("packs {cols} columns into {words} words with {groups} scales");
            let mend = "this engine reads 4 and 8 bit codes with whole groups";
            findings.error(Code::Quantisation, place, message, mend);
            continue;
        }
        if part("weight").is_some() {
            let message = "is there packed and plain; loaders differ in which one they take";
            findings.error(Code::Quantisation, place, message, "delete one of the two");
        }
        found.insert(label, Packed { bits, group: cols / groups, cols });
    }
    found
}

fn check_method(declared: &serde_json::Map<String, Value>, place: &str, findings: &mut Findings) {
    let word = |key: &str| declared.get(key).and_then(Value::as_str).unwrap_or("");
    let (method, format) = (word("quant_method"), word("format"));
    if method != "compressed-tensors" || format != "pack-quantized" {
        let message = format!(
            "says `{method}` in format `{format}`; the tensors are compressed-tensors, pack-quantized"
        );
        let fixes = [
            edit(&["quant_method"], "compressed-tensors".into()),
            edit(&["format"], "pack-quantized".into()),
        ];
        findings
            .error(Code::Quantisation, place, message, "write what the tensors are")
            .extend(fixes);
    }
}

/// Group size and bit width of every declared group against the tensors.
fn check_groups(
    declared: &serde_json::Map<String, Value>,
    all: &BTreeMap<String, Packed>,
    findings: &mut Findings,
) {
    let place = format!("{CONFIG}: {KEY}.config_groups");
    let Some(groups) = declared.get("config_groups").and_then(Value::as_object) else {
        let mend = "describe the packed weights in a group";
        let fix = describe(all)
            .and_then(|v| Some(edit(&["config_groups"], v.get("config_groups")?.clone())));
        findings.error(Code::Quantisation, place, "is missing", mend).extend(fix);
        return;
    };
    let kinds: BTreeSet<(usize, usize)> = all.values().map(signature).collect();
    for (name, group) in groups {
        let weights = group.get("weights").cloned().unwrap_or_default();
        let number = |key: &str| weights.get(key).and_then(Value::as_u64).map(|n| n as usize);
        let bits = number("num_bits").unwrap_or(0);
        let channel = weights.get("strategy").and_then(Value::as_str) == Some("channel");
        let size = if channel { 0 } else { number("group_size").unwrap_or(0) };
        if weights.get("symmetric").and_then(Value::as_bool) == Some(false) {
            let message = format!("{name} is asymmetric, which this engine does not read");
            findings.error(Code::Quantisation, place.clone(), message, "quantise symmetrically");
        }
        // A row as long as one group can be called either.
        let fits = |packed: &Packed| {
            packed.bits == bits
                && (packed.group == size || size == 0 && packed.group == packed.cols)
        };
        if all.values().any(fits) {
            continue;
        }
        let seen: Vec<String> = kinds.iter().map(|(b, g)| words(*b, *g)).collect();
        let message =
            format!("{name} says {}, the tensors are {}", words(bits, size), seen.join(" and "));
        let fix = findings.error(
            Code::Quantisation,
            place.clone(),
            message,
            "write what the tensors are",
        );
        if let ([(bits, size)], 1) = (&kinds.iter().copied().collect::<Vec<_>>()[..], groups.len())
        {
            let value = weights_value(*bits, *size);
            fix.push(edit(&["config_groups", name, "weights"], value));
        }
    }
}

/// Bits and columns per scale, 0 for one scale a row.
fn signature(packed: &Packed) -> (usize, usize) {
    (packed.bits, if packed.group == packed.cols { 0 } else { packed.group })
}

fn words(bits: usize, group: usize) -> String {
    match group {
        0 => format!("{bits} bit with one scale a row"),
        group => format!("{bits} bit in groups of {group}"),
    }
}

fn weights_value(bits: usize, group: usize) -> Value {
    match group {
        0 => json!({ "num_bits": bits, "type": "int", "symmetric": true, "strategy": "channel" }),
        group => json!({
            "num_bits": bits, "type": "int", "symmetric": true, "strategy": "group",
            "group_size": group,
        }),
    }
}

/// The description of weights that are all packed alike.
fn describe(all: &BTreeMap<String, Packed>) -> Option<Value> {
    let kinds: BTreeSet<(usize, usize)> = all.values().map(signature).collect();
    let mut kinds = kinds.into_iter();
    let (bits, group) = kinds.next().filter(|_| kinds.len() == 0)?;
    let ignore: Vec<&str> = if all.contains_key("lm_head") { vec![] } else { vec!["lm_head"] };
    Some(json!({
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": { "targets": ["Linear"], "weights": weights_value(bits, group) },
        },
        "ignore": ignore,
    }))
}

/// Modules that the ignore list keeps plain must not be packed.
fn check_ignored(
    declared: &serde_json::Map<String, Value>,
    all: &BTreeMap<String, Packed>,
    findings: &mut Findings,
) {
    let Some(list) = declared.get("ignore").and_then(Value::as_array) else { return };
    let names: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    let hits = |name: &str, module: &str| match name.strip_prefix("re:") {
        Some(pattern) => matches_pattern(pattern, module),
        None => name == module || name.ends_with(&format!(".{module}")),
    };
    let mut kept = Vec::new();
    let mut wrong = Vec::new();
    for name in &names {
        match all.keys().find(|module| hits(name, module)) {
            Some(module) => wrong.push((*name, module)),
            None => kept.push(*name),
        }
    }
    for (name, module) in wrong {
        let message = format!("lists `{name}`, and {module} is packed");
        let mend = "take it off the list, or loaders look for plain weights";
        let place = format!("{CONFIG}: {KEY}.ignore");
        findings
            .error(Code::Quantisation, place, message, mend)
            .push(edit(&["ignore"], json!(kept)));
    }
}

/// Whether a pattern made of literal text, `\.` and `.*` matches `module` from its start, as
/// compressed-tensors matches. Other patterns count as not matching, so that nothing is said about them.
fn matches_pattern(pattern: &str, module: &str) -> bool {
    let literal = pattern.trim_end_matches('$').replace("\\.", "\u{1}");
    let parts: Vec<String> = literal.split(".*").map(|part| part.replace('\u{1}', ".")).collect();
    if parts.iter().any(|part| part.contains(['(', '[', '|', '\\', '+', '?', '*', '^'])) {
        return false;
    }
    // Modules stand here without their prefix, so a pattern may begin with it.
    let whole = format!("model.language_model.{module}");
    let mut rest = whole.as_str();
    for part in &parts {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    !pattern.ends_with('$') || rest.is_empty() || parts.last().is_some_and(String::is_empty)
}
