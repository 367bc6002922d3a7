//! A target model: its configuration, tokenizer and tensors.

use super::bytes::read_safetensors;
use super::experts::unfuse;
use super::gguf::{Gguf, Target};
use super::matrix::expect_numbers;
use super::{Bytes, Matrix, Tensor, Tokenizer, embedded_files};
use crate::byte_math::{self, Parts, part_of};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Is told a component, its weights and its bytes per token.
type Visit<'a> = dyn FnMut(&'static str, u64, u64) -> Result<()> + 'a;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const GENERATION: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer.json";
const GGUF: &str = ".gguf";
/// What may stand before the tensor names of the text model, longest first.
const PREFIXES: [&str; 4] = ["model.language_model.", "language_model.model.", "model.", ""];

/// Where wrappers put an output head of its own.
const HEAD_PREFIXES: [&str; 4] =
    ["lm_head.", "language_model.lm_head.", "model.lm_head.", "model.language_model.lm_head."];
/// An output head of its own, wherever it was.
pub(crate) const HEAD: &str = "lm_head";

/// A Gemma text checkpoint whose files have been read and whose shapes agree with its configuration.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    config: ModelConfig,
    tensors: BTreeMap<String, Tensor>,
    files: BTreeMap<String, Bytes>,
}

impl Checkpoint {
    /// gemma4-nano, which is inside the binary.
    pub fn embedded() -> Result<Self> {
        let files = embedded_files().into_iter();
        Self::new(files.map(|(name, bytes)| (name.to_string(), Bytes::embedded(bytes))).collect())
    }

    /// A checkpoint folder: `config.json`, `model.safetensors` (or shards and their index), and
    /// `tokenizer.json` where text is wanted; or a GGUF file, or a folder that holds nothing but one.
    /// Weights are mapped, not copied.
    pub fn open(path: &Path) -> Result<Self> {
        match gguf_path(path)? {
            Some(file) => Self::new(read_gguf(&file)?),
            None => Self::new(read_folder(path, &[TOKENIZER])?),
        }
    }

    /// The same from files in memory, by name.
    pub fn from_files(files: BTreeMap<String, Vec<u8>>) -> Result<Self> {
        Self::new(files.into_iter().map(|(name, bytes)| (name, Bytes::owned(bytes))).collect())
    }

    fn new(mut files: BTreeMap<String, Bytes>) -> Result<Self> {
        drop_gguf_beside_config(&mut files);
        if let Some((name, bytes)) = gguf_of(&files) {
            return Self::from_gguf(name, bytes);
        }
        let mut config = ModelConfig::parse(required(&files, CONFIG)?.as_slice())?;
        if let Some(generation) = files.get(GENERATION) {
            config.add_generation(generation.as_slice())?;
        }
        let tensors = strip_prefix(read_tensors(&files)?)?;
        Self::checked(config, tensors, files)
    }

    fn from_gguf(name: &str, bytes: &Bytes) -> Result<Self> {
        let Target { config, tensors, mut files } = Gguf::read(name, bytes)?.model()?;
        files.insert(name.into(), bytes.clone());
        Self::checked(config, tensors, files)
    }

    fn checked(
        config: ModelConfig,
        mut tensors: BTreeMap<String, Tensor>,
        files: BTreeMap<String, Bytes>,
    ) -> Result<Self> {
        unfuse(&config, &mut tensors)?;
        if config.tied_head {
            refuse_own_head(&tensors)?;
        }
        let checkpoint = Checkpoint { config, tensors, files };
        checkpoint.visit_weights(&mut |_, _, _| Ok(()))?;
        Ok(checkpoint)
    }

    /// The model's geometry.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The tokenizer, read from `tokenizer.json` or the GGUF file.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        if let Some((name, bytes)) = gguf_of(&self.files) {
            return Tokenizer::from_gguf(name, bytes);
        }
        Tokenizer::parse(required(&self.files, TOKENIZER)?.as_slice())
    }

    /// Whether there is a tokenizer, readable or not.
    pub fn has_tokenizer(&self) -> bool {
        self.files.contains_key(TOKENIZER) || gguf_of(&self.files).is_some()
    }

    /// BLAKE3 over the geometry and every tensor's name, type and shape: what must not change for two
    /// checkpoints to be the same architecture in the same storage form. Weights are not part of it.
    pub fn shape_digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let config = serde_json::to_vec(&self.config).expect("a plain struct always serialises");
        hasher.update(b"assay checkpoint shape 1\n").update(&config);
        for (name, tensor) in &self.tensors {
            let line = format!("\n{name} {} {:?}", tensor.dtype.name(), tensor.shape);
            hasher.update(line.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// Weight bytes that one decoded token must read: every linear layer, norm and the output head, each
    /// once; of the embedding tables only the token's own rows. The KV cache comes on top.
    pub fn bytes_per_token(&self) -> u64 {
        self.parts_per_token().values().map(|part| part.bytes).sum()
    }

    /// The same, by component.
    pub fn parts_per_token(&self) -> Parts {
        let mut parts = Parts::new();
        // The walk succeeded when the checkpoint was made, and its tensors have not changed since.
        let walked = self.visit_weights(&mut |part, weights, bytes| {
            byte_math::add(&mut parts, part, weights, bytes);
            Ok(())
        });
        debug_assert!(walked.is_ok());
        parts
    }

    /// Name and size in bytes of every tensor, in name order.
    pub fn tensor_sizes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.data().len()))
    }

    /// Bytes of a file that came with the checkpoint, such as `chat_template.jinja`.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Bytes::as_slice)
    }

    pub(crate) fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    fn missing(&self, name: &str) -> Error {
        missing_tensor(name)
    }

    /// The tensor `name` with exactly `shape`.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor> {
        let tensor = self.tensors.get(name).ok_or_else(|| self.missing(name))?;
        tensor.expect_shape(shape)?;
        Ok(tensor)
    }

    /// A weight vector as f32.
    pub(crate) fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let tensor = self.tensor(name, &[length])?;
        tensor.expect_numbers()?;
        tensor.to_f32()
    }

    /// [`Self::matrix`] whose weights have been read and are numbers.
    pub(crate) fn sound_matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix<'_>> {
        expect_numbers(&self.tensors, name)?;
        self.matrix(name, rows, cols)
    }

    /// The linear layer `name` (without `.weight`).
    pub(crate) fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix<'_>> {
        let matrix = Matrix::find(&self.tensors, name, rows, cols, |key| self.missing(key))?;
        let declared = &self.config.quantised;
        let Some((bits, group)) = matrix.codes() else { return Ok(matrix) };
        let fits = |&(b, g): &(usize, usize)| b == bits && (g == group || g == 0 && group == cols);
        if declared.is_empty() || declared.iter().any(fits) {
            return Ok(matrix);
        }
        Err(Error::Config {
            file: CONFIG.into(),
            key: "quantization_config".into(),
            message: format!(
                "names (bits, group size) {declared:?}, but `{name}` has {bits} bits in groups of {group}"
            ),
        })
    }

    /// Walks every tensor the engine will read, checking names and shapes, and reports the component,
    /// weights and bytes that each costs per token.
    fn visit_weights(&self, visit: &mut Visit<'_>) -> Result<()> {
        let c = &self.config;
        let embedding = self.matrix("embed_tokens", c.vocab, c.hidden)?.stored_bytes() as u64;
        let head = (c.vocab * c.hidden) as u64;
        if c.tied_head {
            visit("head", head, embedding)?;
        } else {
            visit("embeddings", 0, embedding / c.vocab.max(1) as u64)?;
            visit("head", head, self.matrix(HEAD, c.vocab, c.hidden)?.stored_bytes() as u64)?;
        }
        visit("norms", 0, self.tensor("norm.weight", &[c.hidden])?.data().len() as u64)?;
        let p = c.ple_width;
        if p > 0 {
            let all = c.layers.len() * p;
            let table = self.tensor("embed_tokens_per_layer.weight", &[c.ple_vocab, all])?;
            visit("embeddings", 0, table.weight_bytes()? / c.ple_vocab.max(1) as u64)?;
            let projection = self.matrix("per_layer_model_projection", all, c.hidden)?;
            let weights = (all * c.hidden) as u64;
            visit("per-layer", weights, projection.stored_bytes() as u64)?;
            let norm = self.tensor("per_layer_projection_norm.weight", &[p])?;
            visit("norms", 0, norm.data().len() as u64)?;
        }
        for i in 0..c.layers.len() {
            for (name, rows, cols) in self.layer_matrices(i) {
                let bytes = self.matrix(&name, rows, cols)?.stored_bytes() as u64;
                visit(part_of(&name), (rows * cols) as u64, bytes)?;
            }
            self.visit_experts(i, visit)?;
            for (name, length) in self.layer_vectors(i) {
                let bytes = self.tensor(&name, &[length])?.data().len() as u64;
                visit(part_of(&name), 0, bytes)?;
            }
        }
        Ok(())
    }

    /// Walks the experts of layer `i`; a token pays for those that run for it.
    fn visit_experts(&self, i: usize, visit: &mut Visit<'_>) -> Result<()> {
        let Some(moe) = self.config.moe else { return Ok(()) };
        let mut bytes = 0;
        for expert in 0..moe.experts {
            for matrix in self.expert(i, expert)? {
                bytes += matrix.stored_bytes();
            }
        }
        let weights = 3 * moe.intermediate * self.config.hidden * moe.per_token;
        visit("experts", weights as u64, (bytes / moe.experts * moe.per_token) as u64)
    }

    /// [`Self::expert`] whose weights have been read and are numbers.
    pub(crate) fn sound_expert(&self, i: usize, expert: usize) -> Result<[Matrix<'_>; 3]> {
        for part in ["gate_proj", "up_proj", "down_proj"] {
            expect_numbers(&self.tensors, &format!("layers.{i}.experts.{expert}.{part}"))?;
        }
        self.expert(i, expert)
    }

    /// Gate, up and down matrix of an expert of layer `i`.
    pub(crate) fn expert(&self, i: usize, expert: usize) -> Result<[Matrix<'_>; 3]> {
        let hidden = self.config.hidden;
        let wide = self.config.moe.map_or(0, |moe| moe.intermediate);
        let matrix = |name: &str, rows, cols| {
            self.matrix(&format!("layers.{i}.experts.{expert}.{name}"), rows, cols)
        };
        Ok([
            matrix("gate_proj", wide, hidden)?,
            matrix("up_proj", wide, hidden)?,
            matrix("down_proj", hidden, wide)?,
        ])
    }

    /// Name, output and input width of every linear layer of decoder layer `i` that every token goes through.
    pub(crate) fn layer_matrices(&self, i: usize) -> Vec<(String, usize, usize)> {
        let c = &self.config;
        let layer = &c.layers[i];
        let q = c.heads * layer.head_dim;
        let kv = layer.kv_heads * layer.head_dim;
        let mut list = vec![("self_attn.q_proj", q, c.hidden), ("self_attn.o_proj", c.hidden, q)];
        if layer.kv_source == i {
            list.push(("self_attn.k_proj", kv, c.hidden));
            if !layer.k_eq_v {
                list.push(("self_attn.v_proj", kv, c.hidden));
            }
        }
        list.push(("mlp.gate_proj", layer.intermediate, c.hidden));
        list.push(("mlp.up_proj", layer.intermediate, c.hidden));
        list.push(("mlp.down_proj", c.hidden, layer.intermediate));
        if let Some(moe) = c.moe {
            list.push(("router.proj", moe.experts, c.hidden));
        }
        if c.ple_width > 0 {
            list.push(("per_layer_input_gate", c.ple_width, c.hidden));
            list.push(("per_layer_projection", c.hidden, c.ple_width));
        }
        list.into_iter().map(|(name, o, i_)| (format!("layers.{i}.{name}"), o, i_)).collect()
    }

    /// Name and length of every vector of decoder layer `i`.
    fn layer_vectors(&self, i: usize) -> Vec<(String, usize)> {
        let c = &self.config;
        let layer = &c.layers[i];
        let mut list = vec![
            ("input_layernorm.weight", c.hidden),
            ("post_attention_layernorm.weight", c.hidden),
            ("pre_feedforward_layernorm.weight", c.hidden),
            ("post_feedforward_layernorm.weight", c.hidden),
            ("self_attn.q_norm.weight", layer.head_dim),
        ];
        if c.layer_scalar {
            list.push(("layer_scalar", 1));
        }
        if let Some(moe) = c.moe {
            list.push(("post_feedforward_layernorm_1.weight", c.hidden));
            list.push(("pre_feedforward_layernorm_2.weight", c.hidden));
            list.push(("post_feedforward_layernorm_2.weight", c.hidden));
            list.push(("router.scale", c.hidden));
            list.push(("router.per_expert_scale", moe.experts));
        }
        if layer.kv_source == i {
            list.push(("self_attn.k_norm.weight", layer.head_dim));
        }
        if c.ple_width > 0 {
            list.push(("post_per_layer_input_norm.weight", c.hidden));
        }
        list.into_iter().map(|(name, n)| (format!("layers.{i}.{name}"), n)).collect()
    }
}

/// The error for a tensor that no file holds.
pub(super) fn missing_tensor(name: &str) -> Error {
    Error::Tensor {
        file: WEIGHTS.into(),
        tensor: name.into(),
        message: "is missing; config.json and the weights are not of the same model".into(),
    }
}

fn required<'a>(files: &'a BTreeMap<String, Bytes>, name: &str) -> Result<&'a Bytes> {
    files.get(name).ok_or_else(|| Error::MissingFile {
        file: name.into(),
        hint: "a checkpoint has config.json, model.safetensors and, for text, tokenizer.json"
            .into(),
    })
}

/// Errors where the files hold an output head of their own that a tied configuration would leave unread: a
/// loader that took the embedding table for the head would run another model than was made. A head that
/// repeats the table is none of its own.
fn refuse_own_head(tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let (head, table) = (format!("{HEAD}.weight"), "embed_tokens.weight");
    let own = match (tensors.get(&head), tensors.get(table)) {
        (Some(head), Some(table)) => head.shape != table.shape || head.data() != table.data(),
        (head, _) => head.is_some() || tensors.contains_key(&format!("{HEAD}.weight_packed")),
    };
    if !own {
        return Ok(());
    }
    Err(Error::Config {
        file: CONFIG.into(),
        key: "tie_word_embeddings".into(),
        message: "says that the embedding table is the output head, and the files hold an lm_head of their own; \
                  `assay model check` says which holds and mends it"
            .into(),
    })
}

/// The GGUF file among a checkpoint's files.
pub(super) fn gguf_of(files: &BTreeMap<String, Bytes>) -> Option<(&str, &Bytes)> {
    let gguf = |(name, _): &(&String, &Bytes)| name.ends_with(GGUF);
    files.iter().find(gguf).map(|(name, bytes)| (name.as_str(), bytes))
}

/// A folder with a `config.json` is one of safetensors; a GGUF file in it is another copy of the model.
pub(super) fn drop_gguf_beside_config(files: &mut BTreeMap<String, Bytes>) {
    if files.contains_key(CONFIG) {
        files.retain(|name, _| !name.ends_with(GGUF));
    }
}

/// The GGUF file that `path` is, or that a folder without a `config.json` holds. Two or more of them are
/// an error, because nothing says which is meant.
pub(super) fn gguf_path(path: &Path) -> Result<Option<PathBuf>> {
    if path.is_file() {
        return Ok(Some(path.to_path_buf()));
    }
    if !path.is_dir() || path.join(CONFIG).exists() {
        return Ok(None);
    }
    let io = |source| Error::Io { path: path.into(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        if file.to_str().is_some_and(|name| name.ends_with(GGUF)) {
            found.push(file);
        }
    }
    found.sort();
    match &found[..] {
        [_, second, ..] => Err(Error::Input(format!(
            "{} holds several GGUF files, {} among them; name the one you mean",
            path.display(),
            second.display()
        ))),
        _ => Ok(found.pop()),
    }
}

/// Maps one GGUF file, under a name that ends in `.gguf`.
pub(super) fn read_gguf(path: &Path) -> Result<BTreeMap<String, Bytes>> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("model");
    let name = if name.ends_with(GGUF) { name.to_string() } else { format!("{name}{GGUF}") };
    Ok(BTreeMap::from([(name, Bytes::mapped(path)?)]))
}

/// Reads or maps a checkpoint folder: configuration, weights, and whichever of `optional` is there.
pub(super) fn read_folder(dir: &Path, optional: &[&str]) -> Result<BTreeMap<String, Bytes>> {
    let read = |name: &str| -> Result<Bytes> {
        let path = dir.join(name);
        Bytes::read(&path).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::MissingFile {
                    file: path.display().to_string(),
                    hint: "point to a folder with config.json and model.safetensors".into(),
                }
            }
            other => other,
        })
    };
    let mut files = BTreeMap::from([(CONFIG.to_string(), read(CONFIG)?)]);
    let extra = ["tokenizer_config.json", GENERATION, "chat_template.jinja"];
    for name in optional.iter().chain(&extra) {
        if dir.join(name).is_file() {
            files.insert((*name).to_string(), read(name)?);
        }
    }
    if dir.join(INDEX).is_file() {
        let index = read(INDEX)?;
        for shard in shard_names(index.as_slice())? {
            let bytes = Bytes::mapped(&dir.join(&shard))?;
            files.insert(shard, bytes);
        }
        files.insert(INDEX.to_string(), index);
    } else if dir.join(WEIGHTS).is_file() {
        files.insert(WEIGHTS.to_string(), Bytes::mapped(&dir.join(WEIGHTS))?);
    }
    Ok(files)
}

/// The files named by a shard index. Names with a path in them are refused.
fn shard_names(index: &[u8]) -> Result<BTreeSet<String>> {
    let corrupt = |message: String| Error::Corrupt { file: INDEX.into(), message };
    let value: serde_json::Value =
        serde_json::from_slice(index).map_err(|e| corrupt(e.to_string()))?;
    let map = value.get("weight_map").and_then(|m| m.as_object());
    let map = map.ok_or_else(|| corrupt("`weight_map` is missing".into()))?;
    map.values()
        .map(|name| {
            let plain = name.as_str().filter(|n| !n.contains(['/', '\\']) && !n.starts_with('.'));
            plain.map(str::to_string).ok_or_else(|| corrupt(format!("{name} is not a file name")))
        })
        .collect()
}

pub(super) fn read_tensors(files: &BTreeMap<String, Bytes>) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    match files.get(INDEX) {
        Some(index) => {
            for shard in shard_names(index.as_slice())? {
                read_safetensors(&shard, required(files, &shard)?, &mut tensors)?;
            }
        }
        None => read_safetensors(WEIGHTS, required(files, WEIGHTS)?, &mut tensors)?,
    }
    Ok(tensors)
}

/// Keeps the text model's tensors under the names of the specification, whatever wrapper wrote the file.
fn strip_prefix(tensors: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
    let holds = |prefix: &&&str| tensors.contains_key(&format!("{prefix}embed_tokens.weight"));
    let Some(prefix) = PREFIXES.iter().find(holds) else {
        return Err(missing_tensor("model.embed_tokens.weight"));
    };
    let named = tensors.into_iter().filter_map(|(name, mut tensor)| {
        let head = HEAD_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
        let short = match head {
            Some(part) => format!("lm_head.{part}"),
            None => name.strip_prefix(prefix)?.to_string(),
        };
        tensor.name.clone_from(&short);
        Some((short, tensor))
    });
    Ok(named.collect())
}
