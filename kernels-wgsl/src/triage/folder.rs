//! Reading a checkpoint's files without giving up at the first fault.

use super::Code;
use super::config::{Config, Family};
use super::gguf;
use super::ordered::Ordered;
use super::report::Findings;
use crate::load::{Bytes, Tensor, Tokenizer, header, tensors_of};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(super) const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Files beside the weights that a check looks at.
const TEXTS: [&str; 6] = [
    CONFIG,
    INDEX,
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
];
/// What may stand before the text model's names, longest first.
const PREFIXES: [&str; 4] = ["model.language_model.", "language_model.model.", "model.", ""];
/// Parts of multimodal checkpoints that a text engine does not read.
const OTHER_PARTS: [&str; 8] = [
    "vision_tower.",
    "audio_tower.",
    "embed_vision.",
    "embed_audio.",
    "vision_embedder.",
    "audio_embedder.",
    "multi_modal_projector.",
    "vision_model.",
];

/// The files of a checkpoint as far as they could be read.
pub(super) struct Folder {
    texts: BTreeMap<String, Bytes>,
    tensors: BTreeMap<String, Tensor>,
    /// There are weights files, whatever is in them.
    pub(super) has_weights: bool,
    /// The GGUF file that everything was read from.
    gguf: Option<(String, Bytes)>,
}

/// Tensors by the specification's names.
pub(super) struct Named<'a> {
    /// The text model, without prefix.
    pub(super) text: BTreeMap<&'a str, &'a Tensor>,
    /// `lm_head.*`, by what follows the dot.
    pub(super) head: BTreeMap<&'a str, &'a Tensor>,
}

impl Folder {
    /// The files inside the binary.
    pub(super) fn embedded(
        files: &BTreeMap<&'static str, &'static [u8]>,
        findings: &mut Findings,
    ) -> Folder {
        let files = files.iter().map(|(name, bytes)| (name.to_string(), Bytes::embedded(bytes)));
        let (weights, texts) = files.partition(|(name, _)| name.ends_with(".safetensors"));
        Self::new(texts, weights, findings)
    }

    /// Files in memory, by name.
    pub(super) fn from_files(files: BTreeMap<String, Vec<u8>>, findings: &mut Findings) -> Folder {
        let files = files.into_iter().map(|(name, bytes)| (name, Bytes::owned(bytes)));
        let (weights, texts) = files.partition(|(name, _)| name.ends_with(".safetensors"));
        Self::new(texts, weights, findings)
    }

    /// Reads what is in `path`.
    pub(super) fn open(path: &Path, findings: &mut Findings) -> Folder {
        let (mut texts, mut weights) = (BTreeMap::new(), BTreeMap::new());
        let is_gguf =
            |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
        let mut names = BTreeSet::new();
        let listed = std::fs::read_dir(path).map(|entries| {
            names.extend(entries.flatten().filter_map(|e| e.file_name().into_string().ok()));
        });
        let single = names.iter().find(|name| is_gguf(Path::new(name)));
        let file = match single.filter(|_| !names.contains(CONFIG)) {
            Some(name) => Some(path.join(name)),
            None => (path.is_file() || is_gguf(path)).then(|| path.to_owned()),
        };
        if let Some(file) = file {
            return Self::open_gguf(&file, findings);
        }
        if let Err(error) = listed {
            let mend = "name a folder with config.json and model.safetensors";
            findings.error(
                Code::ConfigUnreadable,
                path.display().to_string(),
                error.to_string(),
                mend,
            );
            return Folder { texts, tensors: BTreeMap::new(), has_weights: false, gguf: None };
        }
        for name in TEXTS.iter().filter(|name| names.contains(**name)) {
            match Bytes::read(&path.join(name)) {
                Ok(bytes) => {
                    texts.insert(name.to_string(), bytes);
                }
                Err(error) => {
                    let code = match *name {
                        "tokenizer.json" => Code::TokenizerUnreadable,
                        _ => Code::ConfigUnreadable,
                    };
                    findings.error(code, *name, error.to_string(), "fetch the file again");
                }
            }
        }
        for name in names.iter().filter(|name| name.ends_with(".safetensors")) {
            match Bytes::mapped(&path.join(name)) {
                Ok(bytes) => {
                    weights.insert(name.clone(), bytes);
                }
                Err(error) => {
                    findings.error(
                        Code::WeightsCorrupt,
                        name.as_str(),
                        error.to_string(),
                        "fetch the file again",
                    );
                }
            }
        }
        Self::new(texts, weights, findings)
    }

    fn new(
        texts: BTreeMap<String, Bytes>,
        weights: BTreeMap<String, Bytes>,
        findings: &mut Findings,
    ) -> Folder {
        let index = texts.get(INDEX).and_then(|bytes| read_index(bytes, &weights, findings));
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for (file, bytes) in &weights {
            // With an index, or a file of the usual name, other files belong to something else.
            let listed = match &index {
                Some(index) => index.values().any(|f| f == file),
                None => file == WEIGHTS || !weights.contains_key(WEIGHTS),
            };
            if listed {
                read_file(file, bytes, &mut tensors, findings);
            }
        }
        if weights.is_empty() {
            let mend = "download model.safetensors, or all shards and their index";
            findings.error(Code::WeightsCorrupt, WEIGHTS, "there are no weights", mend);
        }
        if let Some(index) = &index {
            check_index(index, &tensors, findings);
        }
        Folder { texts, tensors, has_weights: !weights.is_empty(), gguf: None }
    }

    /// A GGUF file as the folder that it stands for.
    fn open_gguf(path: &Path, findings: &mut Findings) -> Folder {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("model.gguf").to_string();
        let mut folder = Folder {
            texts: BTreeMap::new(),
            tensors: BTreeMap::new(),
            has_weights: true,
            gguf: None,
        };
        let read = Bytes::mapped(path).and_then(|bytes| {
            let (texts, tensors) = gguf::read(&name, &bytes, findings)?;
            Ok((bytes, texts, tensors))
        });
        match read {
            Ok((bytes, texts, tensors)) => {
                folder = Folder { texts, tensors, gguf: Some((name, bytes)), ..folder };
            }
            Err(error) => {
                let mend = "fetch the file again; if its hash is right, the program that wrote it is at fault";
                findings.error(Code::GgufHeader, name, error.to_string(), mend);
            }
        }
        folder
    }

    /// The GGUF file that everything was read from, by name.
    pub(super) fn gguf(&self) -> Option<&(String, Bytes)> {
        self.gguf.as_ref()
    }

    /// The tokenizer, where there is one.
    pub(super) fn tokenizer(&self) -> Option<crate::Result<Tokenizer>> {
        match &self.gguf {
            Some((name, bytes)) => Some(Tokenizer::from_gguf(name, bytes)),
            None => Some(Tokenizer::parse(self.text("tokenizer.json")?)),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&[u8]> {
        self.texts.get(name).map(Bytes::as_slice)
    }

    /// A JSON file with its keys in order; a fault is reported as `code`.
    pub(super) fn json(&self, name: &str, code: Code, findings: &mut Findings) -> Option<Ordered> {
        let parsed = serde_json::from_slice::<Ordered>(self.text(name)?);
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                findings.error(code, name, format!("is not JSON: {error}"), "fetch the file again");
                None
            }
        }
    }

    /// Sorts the tensors into the text model, the head, and what is not the text model's.
    pub(super) fn names(&self, config: &Config, findings: &mut Findings) -> Named<'_> {
        let drafter = config.family == Family::Assistant;
        let embeds =
            |prefix: &&str| self.tensors.contains_key(&format!("{prefix}embed_tokens.weight"));
        let layers = |prefix: &&str| {
            let first = format!("{prefix}layers.0.");
            self.tensors.keys().any(|name| name.starts_with(&first))
        };
        let prefix =
            PREFIXES.into_iter().find(embeds).or_else(|| PREFIXES.into_iter().find(layers));
        let prefix = prefix.unwrap_or("model.");
        let mut named = Named { text: BTreeMap::new(), head: BTreeMap::new() };
        for (name, tensor) in &self.tensors {
            let bare = PREFIXES.iter().find_map(|p| name.strip_prefix(p)?.strip_prefix("lm_head."));
            if let Some(part) = bare.or_else(|| name.strip_prefix("language_model.lm_head.")) {
                named.head.insert(part, tensor);
            } else if let Some(short) = name.strip_prefix(prefix).filter(|n| !is_other_part(n)) {
                named.text.insert(short, tensor);
            } else if drafter {
                named.text.insert(name, tensor);
            } else if !is_other_part(name) {
                let mend = "delete it, or check which model the file was made from";
                let file = &tensor.file;
                let message = "stands outside the text model and is not read";
                findings.warning(Code::UnknownTensor, format!("{file}: {name}"), message, mend);
            }
        }
        named
    }
}

fn is_other_part(name: &str) -> bool {
    let name = name.strip_prefix("model.").unwrap_or(name);
    OTHER_PARTS.iter().any(|part| name.starts_with(part))
}

fn read_file(
    file: &str,
    bytes: &Bytes,
    tensors: &mut BTreeMap<String, Tensor>,
    findings: &mut Findings,
) {
    let header = match header::read(bytes.as_slice()) {
        Ok(header) => header,
        Err(message) => {
            let mend = "the file is cut off or not a safetensors file; fetch it again";
            findings.error(Code::WeightsCorrupt, file, message, mend);
            return;
        }
    };
    for fault in header.faults {
        let code = if fault.duplicate { Code::DuplicateTensor } else { Code::WeightsCorrupt };
        let place = match &fault.tensor {
            Some(tensor) => format!("{file}: {}", tensor.escape_debug()),
            None => file.to_string(),
        };
        let mend = "fetch the file again; a program that wrote it like this is at fault";
        findings.error(code, place, fault.message, mend);
    }
    for tensor in tensors_of(file, bytes, header.entries) {
        if let Some(other) = tensors.get(&tensor.name) {
            let message = format!("is also in {}", other.file);
            let mend = "keep one of the two, the one that the index names";
            findings.error(
                Code::DuplicateTensor,
                format!("{file}: {}", tensor.name),
                message,
                mend,
            );
            continue;
        }
        tensors.insert(tensor.name.clone(), tensor);
    }
}

/// Tensor to file, with the faults of the index itself reported.
fn read_index(
    bytes: &Bytes,
    weights: &BTreeMap<String, Bytes>,
    findings: &mut Findings,
) -> Option<BTreeMap<String, String>> {
    let value = match serde_json::from_slice::<serde_json::Value>(bytes.as_slice()) {
        Ok(value) => value,
        Err(error) => {
            let message = format!("is not JSON: {error}");
            findings.error(Code::ShardIndex, INDEX, message, "fetch the file again");
            return None;
        }
    };
    let Some(map) = value.get("weight_map").and_then(|m| m.as_object()) else {
        findings.error(Code::ShardIndex, INDEX, "`weight_map` is missing", "fetch the file again");
        return None;
    };
    let mut index = BTreeMap::new();
    let mut absent = BTreeSet::new();
    for (tensor, file) in map {
        match file.as_str().filter(|f| !f.contains(['/', '\\']) && !f.starts_with('.')) {
            Some(file) => {
                if !weights.contains_key(file) {
                    absent.insert(file.to_string());
                }
                index.insert(tensor.clone(), file.to_string());
            }
            None => {
                let message = format!("{file} is not a file name of this folder");
                let mend = "an index may only name files beside it; do not use this checkpoint";
                findings.error(Code::ShardIndex, format!("{INDEX}: {tensor}"), message, mend);
            }
        }
    }
    for file in absent {
        let mend = "download the shard; a shard is fetched whole or not at all";
        findings.error(Code::ShardIndex, format!("{INDEX}: {file}"), "is not there", mend);
    }
    Some(index)
}

fn check_index(
    index: &BTreeMap<String, String>,
    tensors: &BTreeMap<String, Tensor>,
    findings: &mut Findings,
) {
    for (name, file) in index {
        match tensors.get(name) {
            Some(tensor) if *tensor.file != **file => {
                let message = format!("is in {}, the index says {file}", tensor.file);
                let mend = "write the index again from the shards' headers";
                findings.warning(Code::ShardIndex, format!("{INDEX}: {name}"), message, mend);
            }
            Some(_) => {}
            None => {
                let message = format!("is not in {file}");
                let mend = "fetch the shard again, or write the index from the shards' headers";
                findings.error(Code::ShardIndex, format!("{INDEX}: {name}"), message, mend);
            }
        }
    }
}
