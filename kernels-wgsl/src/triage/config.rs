//! `config.json`, read key by key without giving up at the first fault.

use super::Code;
use super::folder::{CONFIG, Folder};
use super::report::{ConfigEdit, Findings};
use serde_json::{Map, Value, json};

/// Which of the models a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// A Gemma 4 text model, alone or inside a multimodal one.
    Gemma4,
    /// A Gemma 3 text model.
    Gemma3,
    /// An MTP drafter.
    Assistant,
}

impl Family {
    /// The family of a `model_type`.
    pub(crate) fn of(model_type: &str) -> Option<Family> {
        match model_type {
            "gemma4" | "gemma4_text" | "gemma4_unified" | "gemma4_unified_text" => {
                Some(Family::Gemma4)
            }
            "gemma3" | "gemma3_text" => Some(Family::Gemma3),
            "gemma4_assistant" | "gemma4_unified_assistant" => Some(Family::Assistant),
            _ => None,
        }
    }
}

/// A configuration whose family is known.
pub(crate) struct Config {
    value: Value,
    nested: bool,
    pub(crate) family: Family,
}

/// Keys that must be numbers above zero, with the largest that any model could have.
const COUNTS: [(&str, usize); 12] = [
    ("vocab_size", 1 << 22),
    ("hidden_size", 1 << 17),
    ("intermediate_size", 1 << 19),
    ("num_hidden_layers", 1024),
    ("num_attention_heads", 1024),
    ("num_key_value_heads", 1024),
    ("head_dim", 512),
    ("global_head_dim", 512),
    ("num_global_key_value_heads", 1024),
    ("sliding_window", 1 << 24),
    ("max_position_embeddings", 1 << 24),
    ("moe_intermediate_size", 1 << 19),
];
const FLAGS: [&str; 6] = [
    "tie_word_embeddings",
    "attention_k_eq_v",
    "enable_moe_block",
    "use_double_wide_mlp",
    "attention_bias",
    "use_ordered_embeddings",
];

impl Config {
    /// A configuration that is known to be in order, such as a published one.
    pub(crate) fn of(value: Value) -> Option<Config> {
        let family = Family::of(value.get("model_type")?.as_str()?)?;
        let nested = value.get("text_config").is_some_and(Value::is_object);
        Some(Config { value, nested, family })
    }

    /// Reads `config.json` and reports what is wrong with it alone.
    pub(super) fn read(folder: &Folder, findings: &mut Findings) -> Option<Config> {
        if folder.text(CONFIG).is_none() {
            let known = findings.has(Code::ConfigUnreadable) || findings.has(Code::GgufHeader);
            if folder.has_weights && !known {
                let mend = "download config.json from where the weights came from";
                findings.error(Code::ConfigUnreadable, CONFIG, "is missing", mend);
            }
            return None;
        }
        let ordered = folder.json(CONFIG, Code::ConfigUnreadable, findings)?;
        if let Some(key) = ordered.duplicate_key() {
            let message = format!("`{key}` stands twice; loaders differ in which one they take");
            findings.error(Code::ConfigUnreadable, CONFIG, message, "delete one of the two");
        }
        let value = ordered.to_value();
        if !value.is_object() {
            let mend = "fetch the file again";
            findings.error(Code::ConfigUnreadable, CONFIG, "is no JSON object", mend);
            return None;
        }
        let kind = value.get("model_type").and_then(Value::as_str).unwrap_or("");
        let Some(family) = Family::of(kind) else {
            let message = match kind {
                "" => "has no model_type".to_string(),
                other => format!("model_type is `{other}`"),
            };
            let mend = "use a Gemma 3 or Gemma 4 text checkpoint (gemma3_text, gemma4_text, gemma4_unified, …)";
            findings.error(Code::UnknownFamily, CONFIG, message, mend);
            return None;
        };
        let nested = value.get("text_config").is_some_and(Value::is_object);
        let config = Config { value, nested, family };
        config.check_values(findings);
        config.check_nesting(findings);
        config.check_constants(findings);
        Some(config)
    }

    /// The object with the text model's keys.
    pub(super) fn text(&self) -> &Value {
        if self.nested { &self.value["text_config"] } else { &self.value }
    }

    pub(super) fn is_nested(&self) -> bool {
        self.nested
    }

    /// A key of the text model; JSON null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.text().get(key).filter(|v| !v.is_null())
    }

    /// A key of the top level.
    pub(super) fn top(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|v| !v.is_null())
    }

    /// A whole number.
    pub(crate) fn count(&self, key: &str) -> Option<usize> {
        self.get(key)?.as_u64().and_then(|n| usize::try_from(n).ok())
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The names of layer types, where they are a list of names.
    pub(super) fn layer_types(&self) -> Option<Vec<&str>> {
        self.get("layer_types")?.as_array()?.iter().map(Value::as_str).collect()
    }

    /// A number under `per_layer_config.<layer>`.
    pub(super) fn override_of(&self, layer: usize, key: &str) -> Option<usize> {
        let entry = self.get("per_layer_config")?.get(layer.to_string())?;
        entry.get(key)?.as_u64().and_then(|n| usize::try_from(n).ok())
    }

    /// `config.json: text_config.key`.
    pub(super) fn place(&self, key: &str) -> String {
        let prefix = if self.nested { "text_config." } else { "" };
        format!("{CONFIG}: {prefix}{key}")
    }

    /// The edit that sets a key of the text model.
    pub(super) fn edit(&self, key: &str, value: impl Into<Value>) -> ConfigEdit {
        let mut path = vec![key.to_string()];
        if self.nested {
            path.insert(0, "text_config".into());
        }
        ConfigEdit { file: CONFIG, path, value: Some(value.into()) }
    }

    /// `quantization_config`, at the top level or inside.
    pub(super) fn quantisation(&self) -> Option<&Map<String, Value>> {
        let found = self.top("quantization_config").or_else(|| self.get("quantization_config"))?;
        found.as_object()
    }

    fn check_values(&self, findings: &mut Findings) {
        for (key, most) in COUNTS {
            let Some(value) = self.get(key) else { continue };
            if !value.as_u64().is_some_and(|n| n > 0 && n <= most as u64) {
                let message = format!("is {value}; expected a whole number from 1 to {most}");
                let mend = "write the value that the model was trained with";
                findings.error(Code::BadValue, self.place(key), message, mend);
            }
        }
        for key in FLAGS {
            let Some(value) = self.get(key).or_else(|| self.top(key)) else { continue };
            if !value.is_boolean() {
                let message = format!("is {value}; expected true or false");
                findings.error(Code::BadValue, self.place(key), message, "write true or false");
            }
        }
        if let Some(value) = self.get("rms_norm_eps") {
            let number = value.as_f64().unwrap_or(-1.0);
            if !(number > 0.0 && number < 0.1) {
                let message = format!("is {value}; Gemma's is 1e-6");
                findings
                    .error(Code::BadValue, self.place("rms_norm_eps"), message, "write 1e-06")
                    .push(self.edit("rms_norm_eps", 1e-6));
            }
        }
        if let Some(value) = self.get("hidden_activation")
            && value.as_str() != Some("gelu_pytorch_tanh")
        {
            let message = format!("is {value}; every Gemma text model uses gelu_pytorch_tanh");
            let place = self.place("hidden_activation");
            findings
                .error(Code::BadValue, place, message, "write \"gelu_pytorch_tanh\"")
                .push(self.edit("hidden_activation", "gelu_pytorch_tanh"));
        }
    }

    /// Keys that stand at both levels must agree.
    fn check_nesting(&self, findings: &mut Findings) {
        if !self.nested {
            return;
        }
        let keys = COUNTS.iter().map(|(key, _)| *key).chain([
            "num_kv_shared_layers",
            "hidden_size_per_layer_input",
            "final_logit_softcapping",
            "attention_k_eq_v",
        ]);
        for key in keys {
            if let (Some(top), Some(text)) = (self.top(key), self.get(key))
                && top != text
            {
                let message = format!("is {top} at the top level and {text} in text_config");
                let mend = "delete the one at the top level; text_config describes the text model";
                let fix = ConfigEdit { file: CONFIG, path: vec![key.into()], value: None };
                let place = format!("{CONFIG}: {key}");
                findings.error(Code::NestedConfig, place, message, mend).push(fix);
            }
        }
    }

    /// Constants that no tensor shows.
    fn check_constants(&self, findings: &mut Findings) {
        self.check_cap(findings);
        self.check_window(findings);
        self.check_scale(findings);
        if self.flag("attention_bias") {
            let mend = "no Gemma text model has biases; write false";
            let place = self.place("attention_bias");
            findings
                .error(Code::BadValue, place, "is true", mend)
                .push(self.edit("attention_bias", false));
        }
        let Some(rope) = self.get("rope_parameters") else { return };
        let full = rope.get("full_attention");
        let sliding = rope.get("sliding_attention");
        if self.family != Family::Gemma4 || (full.is_none() && sliding.is_none()) {
            return;
        }
        let wanted = [
            (full, "full_attention", "rope_type", json!("proportional")),
            (full, "full_attention", "rope_theta", json!(1_000_000.0)),
            (full, "full_attention", "partial_rotary_factor", json!(0.25)),
            (sliding, "sliding_attention", "rope_theta", json!(10_000.0)),
        ];
        for (table, kind, key, right) in wanted {
            let found = table.and_then(|t| t.get(key)).filter(|v| !v.is_null());
            let same = match found {
                None => key != "rope_type" && key != "partial_rotary_factor",
                Some(found) => {
                    found == &right || found.as_f64().is_some_and(|f| Some(f) == right.as_f64())
                }
            };
            if !same {
                let found = found.map_or("missing".to_string(), |f| format!("is {f}"));
                let message = format!("{found}; every published Gemma 4 has {right}");
                let mut edit = self.edit("rope_parameters", right.clone());
                edit.path.extend([kind.to_string(), key.to_string()]);
                let place = self.place(&format!("rope_parameters.{kind}.{key}"));
                let mend = "write the published value, unless the model was trained with another";
                findings.warning(Code::Rotation, place, message, mend).push(edit);
            }
        }
    }

    fn check_cap(&self, findings: &mut Findings) {
        let place = self.place("final_logit_softcapping");
        match (self.family, self.get("final_logit_softcapping")) {
            (Family::Gemma4, None) => {
                let message =
                    "is missing and defaults to no cap; every Gemma 4 caps its logits at 30";
                findings
                    .warning(Code::LogitCap, place, message, "write 30.0")
                    .push(self.edit("final_logit_softcapping", 30.0));
            }
            (Family::Gemma4, Some(cap)) if cap.as_f64() != Some(30.0) => {
                let message = format!("is {cap}; every published Gemma 4 has 30.0");
                let mend = "write 30.0, unless the model was trained with another cap";
                findings
                    .warning(Code::LogitCap, place, message, mend)
                    .push(self.edit("final_logit_softcapping", 30.0));
            }
            (Family::Gemma3 | Family::Assistant, Some(cap)) => {
                let message = format!("is {cap}; Gemma 3 models and drafters have no cap");
                findings
                    .warning(Code::LogitCap, place, message, "write null")
                    .push(self.edit("final_logit_softcapping", Value::Null));
            }
            _ => {}
        }
    }

    fn check_window(&self, findings: &mut Findings) {
        let (window, most) = (self.count("sliding_window"), self.count("max_position_embeddings"));
        let place = self.place("sliding_window");
        // Published windows, by the residual width that tells the models apart.
        let published = match (self.family, self.count("hidden_size")) {
            (Family::Gemma4, Some(1536 | 2560)) => Some(512),
            (Family::Gemma4, Some(3840 | 2816 | 5376)) => Some(1024),
            (Family::Gemma3, Some(640 | 1152)) => Some(512),
            _ => None,
        };
        match (window, published) {
            (None, published) if self.family != Family::Assistant => {
                let defaults = if self.family == Family::Gemma3 { 4096 } else { 512 };
                let message = format!(
                    "is missing; loaders that do not refuse it assume {defaults}, whatever the model was \
                     trained with"
                );
                let fix =
                    findings.error(Code::MissingKey, place, message, "write the model's window");
                fix.extend(published.map(|w| self.edit("sliding_window", w)));
            }
            (Some(window), Some(right)) if window != right => {
                let message = format!("is {window}; the published model of this width has {right}");
                findings
                    .warning(Code::Window, place, message, format!("write {right}"))
                    .push(self.edit("sliding_window", right));
            }
            (Some(window), _) if most.is_some_and(|most| window > most) => {
                let message = format!("is {window}, longer than max_position_embeddings");
                findings.warning(Code::Window, place, message, "write the model's window");
            }
            _ => {}
        }
    }

    fn check_scale(&self, findings: &mut Findings) {
        let place = self.place("query_pre_attn_scalar");
        match (self.family, self.get("query_pre_attn_scalar")) {
            (Family::Gemma4, Some(value)) => {
                let message = format!(
                    "is {value}; Gemma 4's attention scale is 1 and a loader may apply this"
                );
                let mut fix = self.edit("query_pre_attn_scalar", Value::Null);
                fix.value = None;
                findings.warning(Code::AttentionScale, place, message, "delete the key").push(fix);
            }
            (Family::Gemma3, None) => {
                let dim = self.count("head_dim").unwrap_or(256);
                if dim != 256 {
                    let message = format!(
                        "is missing and defaults to 256; heads are {dim} wide, so {dim} is likelier"
                    );
                    findings
                        .warning(Code::AttentionScale, place, message, format!("write {dim}"))
                        .push(self.edit("query_pre_attn_scalar", dim));
                }
            }
            _ => {}
        }
    }
}
