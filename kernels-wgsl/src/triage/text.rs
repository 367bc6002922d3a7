//! Tokenizer, chat template, stop tokens and BOS.

use super::config::{Config, Family};
use super::folder::{CONFIG, Folder};
use super::observed::Observed;
use super::report::Findings;
use super::{Code, ConfigEdit};
use crate::load::Tokenizer;
use serde_json::{Value, json};

const GENERATION: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer.json";
const TEMPLATE: &str = "chat_template.jinja";
/// Rows of the embedding table of every published Gemma 3 and 4.
const GEMMA_VOCAB: usize = 262_144;
/// Special tokens of Gemma 4 and their ids (specification §9).
const GEMMA4_IDS: [(&str, u32); 15] = [
    ("<pad>", 0),
    ("<eos>", 1),
    ("<bos>", 2),
    ("<unk>", 3),
    ("<|tool>", 46),
    ("<tool|>", 47),
    ("<|tool_call>", 48),
    ("<tool_call|>", 49),
    ("<|tool_response>", 50),
    ("<tool_response|>", 51),
    ("<|\"|>", 52),
    ("<|channel>", 100),
    ("<channel|>", 101),
    ("<|turn>", 105),
    ("<turn|>", 106),
];
const GEMMA3_IDS: [(&str, u32); 5] =
    [("<pad>", 0), ("<eos>", 1), ("<bos>", 2), ("<start_of_turn>", 105), ("<end_of_turn>", 106)];
/// `</s>`, which in Gemma's vocabulary is a piece of plain text.
const PLAIN_TEXT_STOP: u64 = 212;

pub(super) fn check(folder: &Folder, config: &Config, seen: &Observed, findings: &mut Findings) {
    let tokenizer = check_tokenizer(folder, seen, findings);
    let settings = folder.json("tokenizer_config.json", Code::TokenizerUnreadable, findings);
    let settings = settings.map(|s| s.to_value()).unwrap_or_default();
    let template = template(folder, &settings);
    match &template {
        None => {
            let mend = "copy chat_template.jinja from the instruction-tuned model of this family; a base model \
                        needs none and is used through completion";
            findings.warning(Code::NoChatTemplate, TEMPLATE, "there is none", mend);
        }
        Some(template) => check_template(config, template, tokenizer.as_ref(), findings),
    }
    check_special_ids(config, seen, tokenizer.as_ref(), findings);
    check_stops(folder, config, template.as_deref(), tokenizer.as_ref(), seen, findings);
    check_bos(config, template.as_deref(), &settings, tokenizer.as_ref(), findings);
}

fn check_tokenizer(folder: &Folder, seen: &Observed, findings: &mut Findings) -> Option<Tokenizer> {
    let Some(parsed) = folder.tokenizer() else {
        if !findings.has(Code::TokenizerUnreadable) {
            let mend = "download tokenizer.json; without it only token ids can be given and shown";
            findings.warning(Code::NoTokenizer, TOKENIZER, "there is none", mend);
        }
        return None;
    };
    let tokenizer = match parsed {
        Ok(tokenizer) => tokenizer,
        Err(error) => {
            let mend = "fetch the file again";
            findings.error(Code::TokenizerUnreadable, TOKENIZER, error.to_string(), mend);
            return None;
        }
    };
    let rows = seen.vocab?;
    let (pieces, all) = (tokenizer.vocab_size(false), tokenizer.vocab_size(true));
    let mend = "fetch the tokenizer that was published with these weights";
    if pieces > rows {
        let message = format!("has {pieces} pieces, the embedding table {rows} rows");
        findings.error(Code::TokenizerVocabulary, TOKENIZER, message, mend);
    } else if all > rows {
        let message = format!(
            "has {} added tokens past the {rows} rows of the embedding table; text that spells one is refused",
            all - rows
        );
        findings.note(
            Code::TokenizerVocabulary,
            TOKENIZER,
            message,
            "nothing, if they are never used",
        );
    } else if all + 256 < rows {
        let message = format!("has {all} pieces, the embedding table {rows} rows");
        findings.warning(Code::TokenizerVocabulary, TOKENIZER, message, mend);
    }
    Some(tokenizer)
}

fn template(folder: &Folder, settings: &Value) -> Option<String> {
    let own = folder.text(TEMPLATE).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    own.or_else(|| match settings.get("chat_template")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => list.first()?.get("template")?.as_str().map(str::to_string),
        _ => None,
    })
    .filter(|text| !text.trim().is_empty())
}

fn check_template(
    config: &Config,
    template: &str,
    tokenizer: Option<&Tokenizer>,
    findings: &mut Findings,
) {
    let (own, other) = match config.family {
        Family::Gemma3 => ("<start_of_turn>", "<|turn>"),
        _ => ("<|turn>", "<start_of_turn>"),
    };
    if template.contains(other) && !template.contains(own) {
        let message = format!("writes `{other}`; this generation's marker is `{own}`");
        let mend = "copy the template of the model's own generation";
        findings.error(Code::TemplateFamily, TEMPLATE, message, mend);
        return;
    }
    let Some(tokenizer) = tokenizer else { return };
    let names = GEMMA4_IDS.iter().chain(&GEMMA3_IDS).map(|(name, _)| *name);
    let unknown: Vec<&str> = names
        .filter(|name| template.contains(name) && tokenizer.token_id(name).is_none())
        .collect();
    if !unknown.is_empty() {
        let message =
            format!("writes {}, which the tokenizer cuts into pieces", unknown.join(", "));
        let mend = "use template and tokenizer of one model";
        findings.warning(Code::SpecialIds, TEMPLATE, message, mend);
    }
}

fn check_special_ids(
    config: &Config,
    seen: &Observed,
    tokenizer: Option<&Tokenizer>,
    findings: &mut Findings,
) {
    let Some(tokenizer) = tokenizer.filter(|_| seen.vocab == Some(GEMMA_VOCAB)) else { return };
    let ids: &[(&str, u32)] = match config.family {
        Family::Gemma3 => &GEMMA3_IDS,
        _ => &GEMMA4_IDS,
    };
    let wrong: Vec<String> = ids
        .iter()
        .filter(|(name, id)| tokenizer.token_id(name) != Some(*id))
        .map(|(name, id)| match tokenizer.token_id(name) {
            Some(found) => format!("{name} is {found} instead of {id}"),
            None => format!("{name} ({id}) is missing"),
        })
        .collect();
    if !wrong.is_empty() {
        let mend = "fetch the tokenizer that was published with these weights";
        findings.warning(Code::SpecialIds, TOKENIZER, wrong.join("; "), mend);
    }
}

/// A list of ids, or one.
fn ids(value: Option<&Value>) -> Option<Vec<u64>> {
    match value? {
        Value::Array(list) => list.iter().map(Value::as_u64).collect(),
        one => Some(vec![one.as_u64()?]),
    }
}

fn check_stops(
    folder: &Folder,
    config: &Config,
    template: Option<&str>,
    tokenizer: Option<&Tokenizer>,
    seen: &Observed,
    findings: &mut Findings,
) {
    let generation = folder.json(GENERATION, Code::BadValue, findings);
    let generation = generation.map(|g| g.to_value()).unwrap_or_default();
    let own = generation.get("eos_token_id").filter(|v| !v.is_null());
    let stated = own.or_else(|| config.top("eos_token_id")).or_else(|| config.get("eos_token_id"));
    let file = if own.is_some() { GENERATION } else { CONFIG };
    let place = format!("{file}: eos_token_id");
    let stops = match (stated, ids(stated)) {
        (None, _) => Vec::new(),
        (Some(value), None) => {
            let message = format!("is {value}; expected an id or a list of ids");
            findings.error(Code::BadValue, place, message, "write a list of token ids");
            return;
        }
        (Some(_), Some(stops)) => stops,
    };
    let gemma = seen.vocab == Some(GEMMA_VOCAB);
    if gemma && stops.contains(&PLAIN_TEXT_STOP) {
        let right: Vec<u64> = stops.iter().copied().filter(|s| *s != PLAIN_TEXT_STOP).collect();
        let message = "holds 212, `</s>`, which is plain text in this vocabulary";
        findings
            .warning(Code::StopSet, place.clone(), message, "take it off the list")
            .push(stop_edit(right));
    }
    // A base model ends documents, not turns.
    let Some(template) = template else { return };
    let (turn, response) = match config.family {
        Family::Gemma3 => ("<end_of_turn>", None),
        _ => ("<turn|>", Some("<|tool_response>")),
    };
    let id = |name: &str, usual: u32| {
        let known = tokenizer.and_then(|t| t.token_id(name));
        known.or((gemma && tokenizer.is_none()).then_some(usual)).map(u64::from)
    };
    let Some(turn_id) = id(turn, 106) else { return };
    let mut right = stops.clone();
    if !right.contains(&turn_id) {
        right.push(turn_id);
        let message = format!(
            "is {stops:?} and lacks {turn_id}, `{turn}`: chat does not stop at a turn's end"
        );
        let mend = format!("write {right:?}");
        findings
            .warning(Code::StopSet, place.clone(), message, mend)
            .push(stop_edit(right.clone()));
    }
    let calls = response.filter(|_| template.contains("<|tool_call>"));
    if let Some(response_id) = calls.and_then(|name| id(name, 50))
        && !right.contains(&response_id)
    {
        right.push(response_id);
        let message =
            format!("lacks {response_id}, `<|tool_response>`, where the host answers a tool call");
        let mend = format!("write {right:?}");
        findings.note(Code::StopSet, place, message, mend).push(stop_edit(right));
    }
}

fn stop_edit(stops: Vec<u64>) -> ConfigEdit {
    let path = vec!["eos_token_id".to_string()];
    ConfigEdit { file: GENERATION, path, value: Some(json!(stops)) }
}

fn check_bos(
    config: &Config,
    template: Option<&str>,
    settings: &Value,
    tokenizer: Option<&Tokenizer>,
    findings: &mut Findings,
) {
    let right = tokenizer.map_or(Some(2), |t| t.token_id("<bos>"));
    let stated = config.get("bos_token_id").or_else(|| config.top("bos_token_id"));
    if let (Some(right), Some(stated)) = (right, stated)
        && stated.as_u64() != Some(u64::from(right))
    {
        let message = format!("is {stated}; the tokenizer's <bos> is {right}");
        findings
            .error(Code::Bos, config.place("bos_token_id"), message, format!("write {right}"))
            .push(config.edit("bos_token_id", right));
    }
    if tokenizer.is_some() && right.is_none() {
        let mend = "fetch the tokenizer that was published with these weights";
        findings.warning(Code::Bos, TOKENIZER, "knows no <bos>", mend);
    }
    let Some(template) = template else { return };
    let writes = template.contains("bos_token") || template.contains("<bos>");
    let adds = settings.get("add_bos_token").and_then(Value::as_bool);
    match (writes, adds) {
        (true, Some(true)) => {
            let message = "add_bos_token is true, and the chat template writes <bos> too: some loaders give two";
            let mend = "write false, as instruction-tuned releases do";
            findings.warning(Code::Bos, "tokenizer_config.json: add_bos_token", message, mend);
        }
        (false, Some(false)) => {
            let message = "neither the chat template nor the tokenizer writes <bos>";
            let mend = "begin the template with {{ bos_token }}";
            findings.warning(Code::Bos, TEMPLATE, message, mend);
        }
        _ => {}
    }
}
