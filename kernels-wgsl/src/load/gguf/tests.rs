//! GGUF files that are whole, in every storage type, and files that lie.

use super::writer::{Raw, Value, Writer, kind_of, model};
use crate::load::{Block, Bytes};
use crate::{AdapterRequest, Bundle, Checkpoint, Engine, EngineOptions, Gpu, Path};
use std::collections::BTreeMap;

const TYPES: [Block; 11] = [
    Block::F32,
    Block::F16,
    Block::Q4_0,
    Block::Q4_1,
    Block::Q5_0,
    Block::Q5_1,
    Block::Q8_0,
    Block::Q4K,
    Block::Q5K,
    Block::Q6K,
    Block::Iq4Nl,
];
const TOKENS: [u32; 14] = [2, 9, 17, 40, 33, 8, 63, 5, 6, 0, 7, 55, 12, 30];

fn open(writer: &Writer) -> crate::Result<Checkpoint> {
    Checkpoint::from_files(BTreeMap::from([("model.gguf".to_string(), writer.bytes())]))
}

fn logits(gpu: &Gpu, checkpoint: &Checkpoint, path: Path) -> Vec<f32> {
    let options = EngineOptions::new(32, 5);
    let mut engine = Engine::new(gpu, checkpoint, &Bundle::builtin(), &options).unwrap();
    engine.logits(&TOKENS, path).unwrap().logits
}

/// Differences between a quantised matrix's kernel and the f32 one on the same values are those of the
/// order of additions alone.
fn check_types(gpu: &Gpu, name: &str, format: impl Fn(&str) -> Block) {
    let checkpoint = open(&model(&format, false)).unwrap();
    let found = logits(gpu, &checkpoint, Path::Prefill);
    for path in [Path::Decode, Path::Batch(2)] {
        let other = logits(gpu, &checkpoint, path);
        let same = found.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{name}: {path} has other bits");
    }
    let wide = open(&model(&format, true)).unwrap();
    let expected = logits(gpu, &wide, Path::Prefill);
    let error = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{name}: largest difference to the same values in f32: {error:e}");
    assert!(error < 2e-3, "{name}: {error}");
    assert!(wide.bytes_per_token() >= checkpoint.bytes_per_token());
}

#[test]
fn every_storage_type_gives_the_values_it_stands_for() {
    let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
    for block in TYPES {
        check_types(&gpu, block.name(), |_| block);
    }
    // Parts of q, k, v and of gate, up in different types, as mixtures like Q4_K_M have them.
    check_types(&gpu, "mixed", |name| match name {
        n if n.contains("attn_v") || n.contains("ffn_down") => Block::Q6K,
        n if n.contains("ffn_up") => Block::Q5_0,
        n if n.contains("token_embd") => Block::Q8_0,
        n if n.contains("model_proj") => Block::F16,
        _ => Block::Q4K,
    });
}

#[test]
fn a_file_is_read_under_the_names_of_safetensors() {
    let mut writer = model(|_| Block::Q8_0, false);
    let checkpoint = open(&writer).unwrap();
    let config = checkpoint.config();
    assert_eq!((config.hidden, config.vocab, config.layers.len()), (256, 64, 3));
    assert_eq!(config.layers[2].kv_source, 1);
    assert_eq!(config.rope.full_fraction, 0.25);
    assert_eq!(config.eos, [1, 4]);
    assert_eq!(checkpoint.file("chat_template.jinja"), Some(&b"{{ messages }}"[..]));
    assert!(checkpoint.tensor_sizes().any(|(n, _)| n == "layers.1.self_attn.k_proj.weight"));
    let tokenizer = checkpoint.tokenizer().unwrap();
    assert_eq!(tokenizer.encode("<bos> abab").unwrap(), [2, 7, 6]);
    assert_eq!(tokenizer.decode(&[2, 7, 6], false).unwrap(), " abab");

    // Version 2 and a fused q, k, v say the same.
    writer.version = 2;
    for i in 0..3 {
        let parts = ["attn_q", "attn_k", "attn_v"];
        let parts = parts.map(|n| writer.tensors.remove(&format!("blk.{i}.{n}.weight")).unwrap());
        let data = parts.iter().flat_map(|p| p.data.clone()).collect();
        let fused = Raw { dims: vec![256, 256 + 2 * 64], kind: kind_of(Block::Q8_0), data };
        writer.tensors.insert(format!("blk.{i}.attn_qkv.weight"), fused);
    }
    let fused = open(&writer).unwrap();
    assert_eq!(fused.config(), config);
    assert_eq!(fused.shape_digest(), checkpoint.shape_digest());

    // Without attn_v a full layer's values are its keys.
    let mut writer = model(|_| Block::Q8_0, false);
    writer.tensors.remove("blk.1.attn_v.weight");
    let layers = open(&writer).unwrap().config().layers.clone();
    assert_eq!(layers.iter().map(|l| l.k_eq_v).collect::<Vec<_>>()[..2], [false, true]);
}

#[test]
fn a_folder_with_one_file_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = model(|_| Block::Q4_0, false).bytes();
    std::fs::write(folder.path().join("a.gguf"), &bytes).unwrap();
    let file = Checkpoint::open(&folder.path().join("a.gguf")).unwrap();
    assert_eq!(Checkpoint::open(folder.path()).unwrap().shape_digest(), file.shape_digest());
    std::fs::write(folder.path().join("b.gguf"), &bytes).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("several GGUF files") && error.contains("b.gguf"), "{error}");
}

#[test]
fn a_copy_beside_safetensors_is_passed_over() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gemma3");
    let mut files: BTreeMap<String, Vec<u8>> = ["config.json", "model.safetensors"]
        .map(|name| (name.to_string(), std::fs::read(folder.join(name)).unwrap()))
        .into();
    let alone = Checkpoint::from_files(files.clone()).unwrap();
    files.insert("a.gguf".into(), model(|_| Block::Q4_0, false).bytes());
    let both = Checkpoint::from_files(files).unwrap();
    assert_eq!(both.shape_digest(), alone.shape_digest());
    assert!(both.file("model.gguf").is_none() && !both.has_tokenizer());
}

type Change = fn(&mut Writer);

/// What is done to a whole file, and what its error must say.
const LIES: &[(&str, &str, Change)] = &[
    ("version 1", "version 1", |w| w.version = 1),
    ("version of the other byte order", "version 50331648", |w| w.version = 3 << 24),
    ("no architecture", "general.architecture", |w| drop(w.keys.remove("general.architecture"))),
    ("architecture of another model", "llama", |w| set(w, "general.architecture", text("llama"))),
    ("architecture as a number", "general.architecture", |w| {
        set(w, "general.architecture", Value::U32(1))
    }),
    ("no layers", "block_count", |w| set(w, "gemma4.block_count", Value::U32(0))),
    ("a billion layers", "block_count", |w| set(w, "gemma4.block_count", Value::U32(1 << 30))),
    ("a layer too many", "[64, 1024]", |w| {
        set(w, "gemma4.block_count", Value::U32(4));
        set(w, "gemma4.feed_forward_length", Value::U32(512));
        set(w, "gemma4.attention.sliding_window_pattern", Value::U32(2));
    }),
    ("widths of too few layers", "feed_forward_length", |w| {
        set(w, "gemma4.feed_forward_length", Value::Ints(vec![512; 2]));
    }),
    ("a negative width", "feed_forward_length", |w| {
        set(w, "gemma4.feed_forward_length", Value::Ints(vec![-512; 3]));
    }),
    ("a width that is no number", "embedding_length", |w| {
        set(w, "gemma4.embedding_length", Value::F32(f32::NAN));
    }),
    ("a fraction of a width", "embedding_length", |w| {
        set(w, "gemma4.embedding_length", Value::F32(256.5));
    }),
    ("another width", "token_embd", |w| set(w, "gemma4.embedding_length", Value::U32(512))),
    ("no heads", "head_count", |w| set(w, "gemma4.attention.head_count", Value::U32(0))),
    ("kv heads that do not divide", "head", |w| {
        set(w, "gemma4.attention.head_count_kv", Value::U32(3));
    }),
    ("all layers shared", "no cache", |w| {
        set(w, "gemma4.attention.shared_kv_layers", Value::U32(2));
    }),
    ("a short pattern", "sliding_window_pattern", |w| {
        set(w, "gemma4.attention.sliding_window_pattern", Value::Bools(vec![true]));
    }),
    ("no window", "sliding_window", |w| drop(w.keys.remove("gemma4.attention.sliding_window"))),
    ("an alignment of three", "alignment", |w| set(w, "general.alignment", Value::U32(3))),
    ("an alignment of nothing", "alignment", |w| set(w, "general.alignment", Value::U32(0))),
    ("other rotations", "rope_freqs", |w| {
        tensor(w, "rope_freqs.weight").data[..4].copy_from_slice(&2.0f32.to_le_bytes());
    }),
    ("no embedding", "token_embd", |w| drop(w.tensors.remove("token_embd.weight"))),
    ("a missing matrix", "ffn_up", |w| drop(w.tensors.remove("blk.1.ffn_up.weight"))),
    ("a missing norm", "ffn_norm", |w| drop(w.tensors.remove("blk.1.ffn_norm.weight"))),
    ("an unknown type", "blk.0.attn_q.weight", |w| tensor(w, "blk.0.attn_q.weight").kind = 200),
    ("a type that is not read", "IQ4_XS", |w| tensor(w, "blk.0.attn_q.weight").kind = 23),
    ("2^60 columns", "blk.0.attn_q.weight", |w| {
        tensor(w, "blk.0.attn_q.weight").dims = vec![1 << 60, 1 << 60];
    }),
    ("dimensions whose product wraps", "blk.0.attn_q.weight", |w| {
        tensor(w, "blk.0.attn_q.weight").dims = vec![1 << 32, 1 << 32, 1 << 32];
    }),
    ("no dimensions", "blk.0.attn_q.weight", |w| {
        tensor(w, "blk.0.attn_q.weight").dims = vec![];
    }),
    ("nine dimensions", "blk.0.attn_q.weight", |w| {
        tensor(w, "blk.0.attn_q.weight").dims = vec![1; 9];
    }),
    ("an empty dimension", "blk.0.attn_q.weight", |w| {
        tensor(w, "blk.0.attn_q.weight").dims = vec![256, 0];
    }),
    ("half a block a row", "blk.0.attn_q.weight", |w| {
        tensor(w, "blk.0.attn_q.weight").dims = vec![240, 256];
    }),
    ("rows that are not there", "data", |w| {
        tensor(w, "token_embd.weight").dims = vec![256, 1 << 20];
    }),
    ("other shapes", "attn_q", |w| tensor(w, "blk.0.attn_q.weight").dims = vec![128, 512]),
    ("a name of a kilobyte", "name", |w| {
        let raw = tensor(w, "blk.0.attn_q.weight").clone();
        w.tensors.insert("x".repeat(2000), raw);
    }),
    ("an empty name", "name", |w| {
        let raw = tensor(w, "blk.0.attn_q.weight").clone();
        w.tensors.insert(String::new(), raw);
    }),
];

fn set(writer: &mut Writer, key: &str, value: Value) {
    writer.keys.insert(key.into(), value);
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn tensor<'a>(writer: &'a mut Writer, name: &str) -> &'a mut Raw {
    writer.tensors.get_mut(name).unwrap()
}

#[test]
fn files_that_lie_are_refused_by_name() {
    for (what, needle, change) in LIES {
        let mut writer = model(|_| Block::Q8_0, false);
        change(&mut writer);
        let error = match open(&writer) {
            Ok(_) => panic!("{what}: accepted"),
            Err(e) => e.to_string(),
        };
        let names = |text: &str| error.replace("layers.1.mlp.up_proj", "ffn_up").contains(text);
        let hf = error.replace("layers.1.mlp.up_proj", "ffn_up");
        let hf = hf.replace("layers.1.pre_feedforward_layernorm", "ffn_norm");
        let hf = hf
            .replace("embed_tokens.weight", "token_embd")
            .replace("layers.0.self_attn.q_proj", "attn_q");
        assert!(hf.contains(needle) || names(needle), "{what}: {error}");
    }
}

/// Lies in the bytes that no writer writes.
#[test]
fn bytes_that_lie_are_refused() {
    let whole = model(|_| Block::Q8_0, false).bytes();
    let refused = |bytes: Vec<u8>, what: &str| {
        let files = BTreeMap::from([("model.gguf".to_string(), bytes)]);
        let error = Checkpoint::from_files(files).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("model.gguf"), "{what}: {error}");
    };
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let huge = u64::MAX.to_le_bytes();
    refused(with(0, b"GGML"), "magic");
    refused(with(8, &huge), "number of tensors");
    refused(with(8, &(1u64 << 40).to_le_bytes()), "number of tensors in a short file");
    refused(with(16, &huge), "number of keys");
    refused(with(24, &huge), "length of the first key");
    refused(with(32, &[0xff]), "a key that is not UTF-8");
    let find = |needle: &[u8]| whole.windows(needle.len()).position(|w| w == needle).unwrap();
    let after = |needle: &str| find(needle.as_bytes()) + needle.len();
    let tokens = after("tokenizer.ggml.tokens");
    refused(with(tokens, &99u32.to_le_bytes()), "type of a value");
    refused(with(tokens + 4, &9u32.to_le_bytes()), "a list of lists");
    refused(with(tokens + 8, &huge), "length of a list");
    refused(with(tokens + 16, &huge), "length of a string in a list");
    let offset = after("blk.0.attn_q.weight") + 4 + 16 + 4;
    refused(with(offset, &huge), "offset past the end");
    refused(with(offset, &7u64.to_le_bytes()), "offset that is not aligned");
    refused(with(offset, &0u64.to_le_bytes()), "offset inside another tensor");
    let second = find(b"blk.0.attn_k.weight");
    refused(with(second, b"blk.0.attn_q.weight"), "a name twice");
    let key = find(b"gemma4.rope.freq_base");
    refused(with(key, b"gemma4.context_length"), "a key twice");
    for length in (0..whole.len()).step_by(whole.len() / 97) {
        refused(whole[..length].to_vec(), "a file that ends early");
    }
}

/// Flips bytes of the header at random places; whatever is read, nothing panics.
#[test]
fn damaged_headers_never_panic() {
    let whole = model(|_| Block::Q4_0, false).bytes();
    let end = whole.windows(9).rposition(|w| w == b"rope_freq").unwrap() + 64;
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    for _ in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..1 + next() % 4 {
            bytes[next() % end] = next() as u8;
        }
        let files = BTreeMap::from([("model.gguf".to_string(), bytes)]);
        if let Ok(checkpoint) = Checkpoint::from_files(files) {
            let _ = checkpoint.tokenizer();
        }
    }
}

#[test]
fn tokenizers_of_both_kinds_are_rebuilt() {
    let mut writer = model(|_| Block::F16, false);
    set(&mut writer, "tokenizer.ggml.model", text("llama"));
    let mut scores: Vec<f32> = (0..64).map(|i| -(i as f32)).collect();
    scores[7] = 0.0;
    set(&mut writer, "tokenizer.ggml.scores", Value::Floats(scores));
    let bytes = Bytes::owned(writer.bytes());
    let tokenizer = crate::load::Tokenizer::from_gguf("model.gguf", &bytes).unwrap();
    assert_eq!(tokenizer.encode("ab ab<turn|>").unwrap(), [6, 7, 4]);
    for (key, value) in [
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.tokens", Value::Ints(vec![1])),
        ("tokenizer.ggml.token_type", Value::Ints(vec![1])),
        ("tokenizer.ggml.scores", Value::Floats(vec![1.0])),
        ("tokenizer.ggml.unknown_token_id", Value::U32(1 << 30)),
    ] {
        let mut writer = writer.clone();
        set(&mut writer, key, value);
        let bytes = Bytes::owned(writer.bytes());
        let error = crate::load::Tokenizer::from_gguf("model.gguf", &bytes).unwrap_err();
        assert!(error.to_string().contains("model.gguf"), "{key}: {error}");
    }
}

/// Texts and ids of specification §9, without a BOS token.
const VECTORS: [(&str, &[u32]); 13] = [
    ("Hello world", &[9259, 1902]),
    (" Hello", &[26352]),
    ("\n\n\n", &[109]),
    ("a\n\nb", &[236746, 108, 236763]),
    ("12345", &[236770, 236778, 236800, 236812, 236810]),
    ("🦙", &[478, 397, 404, 391]),
    ("  two  spaces", &[138, 13498, 138, 35220]),
    ("\r\n", &[251, 107]),
    ("naïve café", &[1789, 238527, 560, 33443]),
    (
        "fn main() {\n    println!(\"hi\");\n}\n",
        &[15059, 1689, 825, 642, 107, 140, 4629, 36492, 2202, 1443, 107, 236783, 107],
    ),
    ("日本語のテスト", &[94951, 236945, 88733]),
    ("<|turn>user\nHi<turn|>\n<|turn>model\n", &[105, 2364, 107, 10979, 106, 107, 105, 4368, 107]),
    ("thought\n", &[45518, 107]),
];

/// Opt-in: `pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36`, unpack
/// `vendor/llama.cpp/models/ggml-vocab-gemma-4.gguf*` and name the file in `ASSAY_GEMMA4_VOCAB`.
#[test]
fn a_real_vocabulary_gives_the_reference_ids() {
    let Some(path) = std::env::var_os("ASSAY_GEMMA4_VOCAB") else {
        println!("skipped: ASSAY_GEMMA4_VOCAB names no file");
        return;
    };
    let path = std::path::PathBuf::from(path);
    let bytes = Bytes::mapped(&path).unwrap();
    let tokenizer = crate::load::Tokenizer::from_gguf("vocabulary", &bytes).unwrap();
    for (text, ids) in VECTORS {
        assert_eq!(tokenizer.encode(text).unwrap(), ids, "{text:?}");
        assert_eq!(tokenizer.decode(ids, true).unwrap(), text, "{text:?}");
    }
    let beside = |ending: &str| {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        std::fs::read_to_string(name).unwrap()
    };
    let (texts, ids) = (beside(".inp"), beside(".out"));
    let texts = texts.split("\n__ggml_vocab_test__\n");
    let mut count = 0;
    for (text, ids) in texts.zip(ids.lines()) {
        let ids: Vec<u32> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(tokenizer.encode(text).unwrap(), ids, "{text:?}");
        count += 1;
    }
    println!("{count} texts of llama.cpp have the same ids");
    assert!(count > 40);
    // Long prompts take time in proportion to their length, more or less.
    let long = "word ".repeat(20_000);
    assert!(tokenizer.encode(&long).unwrap().len() > 15_000);
}
