//! Writes GGUF files for tests: a small Gemma 4 model with random weights in any storage type.

use crate::kernels::random_matrix;
use crate::load::{Block, Matrix};
use crate::plan::Format;
use std::collections::BTreeMap;

/// A metadata value.
#[derive(Clone)]
pub(crate) enum Value {
    U32(u32),
    F32(f32),
    Text(String),
    Bools(Vec<bool>),
    Ints(Vec<i32>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
}

/// A tensor: dimensions as the file has them, number of its type, bytes.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) dims: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) data: Vec<u8>,
}

/// The contents of a file.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) version: u32,
    pub(crate) keys: BTreeMap<String, Value>,
    pub(crate) tensors: BTreeMap<String, Raw>,
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u64).to_le_bytes());
    into.extend(text.as_bytes());
}

fn list<T>(into: &mut Vec<u8>, kind: u32, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    into.extend(9u32.to_le_bytes());
    into.extend(kind.to_le_bytes());
    into.extend((items.len() as u64).to_le_bytes());
    items.iter().for_each(|item| put(into, item));
}

impl Writer {
    /// The file's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            text(&mut out, key);
            match value {
                Value::U32(n) => out.extend([4u32.to_le_bytes(), n.to_le_bytes()].concat()),
                Value::F32(n) => out.extend([6u32.to_le_bytes(), n.to_le_bytes()].concat()),
                Value::Text(value) => {
                    out.extend(8u32.to_le_bytes());
                    text(&mut out, value);
                }
                Value::Bools(items) => list(&mut out, 7, items, |out, b| out.push(u8::from(*b))),
                Value::Ints(items) => {
                    list(&mut out, 5, items, |out, n| out.extend(n.to_le_bytes()))
                }
                Value::Floats(items) => {
                    list(&mut out, 6, items, |out, n| out.extend(n.to_le_bytes()))
                }
                Value::Texts(items) => list(&mut out, 8, items, |out, item| text(out, item)),
            }
        }
        let mut offset = 0u64;
        for (name, raw) in &self.tensors {
            text(&mut out, name);
            out.extend((raw.dims.len() as u32).to_le_bytes());
            raw.dims.iter().for_each(|n| out.extend(n.to_le_bytes()));
            out.extend(raw.kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset = (offset + raw.data.len() as u64).next_multiple_of(32);
        }
        for raw in self.tensors.values() {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(&raw.data);
        }
        out
    }
}

/// Number of a type in the file.
pub(crate) fn kind_of(block: Block) -> u32 {
    match block {
        Block::F32 => 0,
        Block::F16 => 1,
        Block::Q4_0 => 2,
        Block::Q4_1 => 3,
        Block::Q5_0 => 6,
        Block::Q5_1 => 7,
        Block::Q8_0 => 8,
        Block::Q4K => 12,
        Block::Q5K => 13,
        Block::Q6K => 14,
        Block::Iq4Nl => 20,
    }
}

const HIDDEN: usize = 256;
const VOCAB: usize = 64;
const LAYERS: usize = 3;
const PLE: usize = 256;

/// Weights by name; `rows` and `cols` of each.
const MATRICES: [(&str, usize, usize); 8] = [
    ("attn_q", 256, 256),
    ("attn_output", 256, 256),
    ("attn_k", 64, 256),
    ("attn_v", 64, 256),
    ("ffn_gate", 512, 256),
    ("ffn_up", 512, 256),
    ("ffn_down", 256, 512),
    ("inp_gate", 256, 256),
];

/// A Gemma 4 model of three layers (sliding, full, sliding that shares the first one's cache) whose weights
/// are random blocks of the type that `format` names for a tensor; `wide` stores the same values as f32.
pub(crate) fn model(format: impl Fn(&str) -> Block, wide: bool) -> Writer {
    let mut tensors = BTreeMap::new();
    let mut seed = 1;
    let mut matrix = |name: String, rows: usize, cols: usize| {
        seed += 1;
        let matrix = random_matrix(Format::Block(format(&name)), seed, rows, cols);
        let Matrix::Block { block, data, .. } = &matrix else { unreachable!("asked for a block") };
        let (kind, data) = match wide {
            false => (kind_of(*block), data.to_vec()),
            true => {
                let mut values = Vec::new();
                matrix.decode_rows(0..rows, &mut values);
                (0, bytemuck::cast_slice(&values).to_vec())
            }
        };
        (name, Raw { dims: vec![cols as u64, rows as u64], kind, data })
    };
    tensors.extend([matrix("token_embd.weight".into(), VOCAB, HIDDEN)]);
    tensors.extend([matrix("per_layer_token_embd.weight".into(), VOCAB, LAYERS * PLE)]);
    tensors.extend([matrix("per_layer_model_proj.weight".into(), LAYERS * PLE, HIDDEN)]);
    for i in 0..LAYERS {
        for (name, rows, cols) in MATRICES {
            tensors.extend([matrix(format!("blk.{i}.{name}.weight"), rows, cols)]);
        }
        tensors.extend([matrix(format!("blk.{i}.proj.weight"), HIDDEN, PLE)]);
    }
    let vector = |values: Vec<f32>| Raw {
        dims: vec![values.len() as u64],
        kind: 0,
        data: bytemuck::cast_slice(&values).to_vec(),
    };
    let ones = |n: usize| vector((0..n).map(|j| 0.9 + 0.01 * (j % 20) as f32).collect());
    for i in 0..LAYERS {
        let mut put = |name: &str, raw| tensors.insert(format!("blk.{i}.{name}.weight"), raw);
        for name in ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm"] {
            put(name, ones(HIDDEN));
        }
        put("attn_q_norm", ones(64));
        put("attn_k_norm", ones(64));
        put("layer_output_scale", vector(vec![0.8]));
    }
    tensors.insert("output_norm.weight".into(), ones(HIDDEN));
    tensors.insert("per_layer_proj_norm.weight".into(), ones(PLE));
    let still = (0..32).map(|j| if j < 8 { 1.0 } else { 1e30 }).collect();
    tensors.insert("rope_freqs.weight".into(), vector(still));
    Writer { version: 3, keys: keys(), tensors }
}

fn keys() -> BTreeMap<String, Value> {
    let tokens = (0..VOCAB).map(|i| match i {
        0 => "<pad>".to_string(),
        1 => "<eos>".to_string(),
        2 => "<bos>".to_string(),
        3 => "<unk>".to_string(),
        4 => "<turn|>".to_string(),
        5 => "\u{2581}".to_string(),
        6 => "ab".to_string(),
        7 => "\u{2581}ab".to_string(),
        _ => char::from(b'a' + (i as u8 - 8) % 26).to_string().repeat(1 + (i - 8) / 26),
    });
    let types = (0..VOCAB).map(|i| if i < 5 { 3 } else { 1 });
    let number = |n: u32| Value::U32(n);
    let keys = [
        ("general.architecture", Value::Text("gemma4".into())),
        ("gemma4.block_count", number(LAYERS as u32)),
        ("gemma4.context_length", number(512)),
        ("gemma4.embedding_length", number(HIDDEN as u32)),
        ("gemma4.feed_forward_length", Value::Ints(vec![512; LAYERS])),
        ("gemma4.attention.head_count", number(4)),
        ("gemma4.attention.head_count_kv", number(1)),
        ("gemma4.attention.key_length", number(64)),
        ("gemma4.attention.key_length_swa", number(64)),
        ("gemma4.attention.sliding_window", number(8)),
        ("gemma4.attention.sliding_window_pattern", Value::Bools(vec![true, false, false])),
        ("gemma4.attention.shared_kv_layers", number(1)),
        ("gemma4.attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
        ("gemma4.rope.freq_base", Value::F32(1e6)),
        ("gemma4.final_logit_softcapping", Value::F32(30.0)),
        ("gemma4.embedding_length_per_layer_input", number(PLE as u32)),
        ("tokenizer.ggml.model", Value::Text("gemma4".into())),
        ("tokenizer.ggml.tokens", Value::Texts(tokens.collect())),
        ("tokenizer.ggml.token_type", Value::Ints(types.collect())),
        ("tokenizer.ggml.scores", Value::Floats(vec![-1000.0; VOCAB])),
        ("tokenizer.ggml.merges", Value::Texts(vec!["a b".into(), "\u{2581} ab".into()])),
        ("tokenizer.ggml.bos_token_id", number(2)),
        ("tokenizer.ggml.eos_token_id", number(1)),
        ("tokenizer.ggml.unknown_token_id", number(3)),
        ("tokenizer.chat_template", Value::Text("{{ messages }}".into())),
    ];
    keys.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}
