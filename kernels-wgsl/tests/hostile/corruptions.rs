//! The table of corruptions. Each starts from gemma4-nano and breaks one thing.

use assay_kernels::embedded_files;
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Files = BTreeMap<String, Vec<u8>>;

/// One broken checkpoint.
pub(crate) struct Corruption {
    pub(crate) name: &'static str,
    pub(crate) files: Files,
    /// What errors must name.
    pub(crate) names: &'static [&'static str],
    /// The engine loads it: only looking at the values shows the fault.
    pub(crate) loads: bool,
}

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const Q: &str = "model.layers.0.self_attn.q_proj.weight";

fn nano() -> Files {
    embedded_files().into_iter().map(|(name, bytes)| (name.into(), bytes.to_vec())).collect()
}

fn with(name: &str, bytes: Vec<u8>) -> Files {
    let mut files = nano();
    files.insert(name.into(), bytes);
    files
}

/// Header and data of nano's weights.
fn parts() -> (Value, Vec<u8>) {
    let files = embedded_files();
    let bytes = files[WEIGHTS];
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
    (header, bytes[8 + length..].to_vec())
}

fn join(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
}

/// nano with its header changed.
fn header(change: impl FnOnce(&mut Value)) -> Files {
    let (mut header, data) = parts();
    change(&mut header);
    with(WEIGHTS, join(header.to_string().as_bytes(), &data))
}

/// nano with its header changed as text.
fn text(change: impl FnOnce(String) -> Vec<u8>) -> Files {
    let (header, data) = parts();
    with(WEIGHTS, join(&change(header.to_string()), &data))
}

fn config(change: impl FnOnce(&mut Value)) -> Files {
    let mut value: Value = serde_json::from_slice(embedded_files()["config.json"]).expect("JSON");
    change(&mut value);
    with("config.json", value.to_string().into_bytes())
}

fn index(map: Value) -> Files {
    with(INDEX, json!({ "weight_map": map }).to_string().into_bytes())
}

fn case(name: &'static str, files: Files, names: &'static [&'static str]) -> Corruption {
    Corruption { name, files, names, loads: false }
}

pub(crate) fn corruptions() -> Vec<Corruption> {
    let mut all = whole_files();
    all.extend(tensors());
    all.extend(names());
    all.extend(others());
    all
}

fn whole_files() -> Vec<Corruption> {
    let whole = embedded_files()[WEIGHTS].to_vec();
    let cut = |at: usize| with(WEIGHTS, whole[..at].to_vec());
    let mut none = nano();
    none.remove(WEIGHTS);
    let garbage: Vec<u8> =
        (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        case("empty", cut(0), &[WEIGHTS]),
        case("three bytes", cut(3), &[WEIGHTS]),
        case("no header", cut(8), &[WEIGHTS]),
        case("cut header", cut(1000), &[WEIGHTS]),
        case("cut data", cut(whole.len() / 2), &[WEIGHTS]),
        case("one byte short", cut(whole.len() - 1), &[WEIGHTS]),
        case("one byte long", with(WEIGHTS, [&whole[..], &[0]].concat()), &[WEIGHTS, "no tensor"]),
        case("garbage", with(WEIGHTS, garbage), &[WEIGHTS]),
        case("no weights", none, &[WEIGHTS]),
        case("header of 2^64 bytes", with(WEIGHTS, [0xff; 64].to_vec()), &[WEIGHTS, "header"]),
        case(
            "header of 2^62 bytes",
            with(WEIGHTS, [&(1u64 << 62).to_le_bytes()[..], &whole[8..]].concat()),
            &[WEIGHTS, "header"],
        ),
        case("header is a list", with(WEIGHTS, join(b"[]", b"")), &[WEIGHTS]),
        case("header is empty", with(WEIGHTS, join(b"", b"")), &[WEIGHTS]),
        case("deep header", with(WEIGHTS, join(&vec![b'['; 1 << 20], b"")), &[WEIGHTS]),
        case(
            "deep entry",
            text(|t| [b"{\"x\":", &[b'['; 50_000][..], t.as_bytes()].concat()),
            &[WEIGHTS, "`x`"],
        ),
    ]
}

fn tensors() -> Vec<Corruption> {
    let entry = |key: &'static str, value: Value| header(|h| h[Q][key] = value);
    let named: &[&str] = &[WEIGHTS, "layers.0.self_attn.q_proj.weight"];
    let other = "model.layers.0.self_attn.o_proj.weight";
    vec![
        case("past the end", entry("data_offsets", json!([0, 1u64 << 40])), named),
        case("backwards", entry("data_offsets", json!([131_072, 0])), named),
        case("offset of 2^64", entry("data_offsets", json!([0, u64::MAX])), named),
        case("negative offset", entry("data_offsets", json!([-1, 4])), named),
        case("three offsets", entry("data_offsets", json!([0, 4, 8])), named),
        case("offsets as text", entry("data_offsets", json!(["0", "4"])), named),
        case("2^60 rows", entry("shape", json!([1u64 << 60, 256])), named),
        case(
            "nothing of 2^62",
            header(|h| {
                h[Q]["shape"] = json!([0, 1u64 << 62]);
                h[Q]["data_offsets"] = json!([0, 0]);
            }),
            named,
        ),
        case("overflowing shape", entry("shape", json!([1u64 << 33, 1u64 << 33])), named),
        case("negative shape", entry("shape", json!([-1, 256])), named),
        case("fractional shape", entry("shape", json!([1.5, 256])), named),
        case("a thousand dimensions", entry("shape", json!(vec![1; 1000])), named),
        case("a scalar shape", entry("shape", json!([])), named),
        case("another shape", entry("shape", json!([128, 512])), named),
        case("transposed width", entry("shape", json!([512, 128])), named),
        case("unknown type", entry("dtype", json!("F13")), named),
        case("type as number", entry("dtype", json!(7)), named),
        case("type of another width", entry("dtype", json!("F32")), named),
        case("integers", entry("dtype", json!("I16")), named),
        case(
            "overlapping",
            header(|h| h[Q]["data_offsets"] = h[other]["data_offsets"].clone()),
            &[WEIGHTS, "overlaps"],
        ),
        case(
            "no type",
            header(|h| drop(h[Q].as_object_mut().expect("object").remove("dtype"))),
            named,
        ),
        case("entry is null", header(|h| h[Q] = Value::Null), named),
    ]
}

fn names() -> Vec<Corruption> {
    let twice = format!(
        "{{\"{Q}\":{{\"dtype\":\"BF16\",\"shape\":[256,256],\"data_offsets\":[0,131072]}},"
    );
    vec![
        case(
            "twice in one header",
            text(|t| t.replacen('{', &twice, 1).into_bytes()),
            &[WEIGHTS, Q],
        ),
        case(
            "not UTF-8",
            text(|t| {
                let mut bytes = t.into_bytes();
                let at = bytes.windows(6).position(|w| w == b"q_proj").expect("there");
                bytes[at] = 0xff;
                bytes
            }),
            &[WEIGHTS],
        ),
        case("control character", header(|h| h["a\u{7}b"] = h[Q].clone()), &[WEIGHTS]),
        case("endless name", header(|h| h["n".repeat(100_000)] = h[Q].clone()), &[WEIGHTS]),
        case(
            "missing",
            header(|h| drop(h.as_object_mut().expect("object").remove(Q))),
            &[WEIGHTS, "no tensor"],
        ),
        case(
            "hundred thousand strangers",
            text(|t| {
                let many: String =
                    (0..100_000).map(|i| format!("\"t{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[9999999999,9999999999]}},")).collect();
                t.replacen('{', &format!("{{{many}"), 1).into_bytes()
            }),
            &[WEIGHTS, "t0"],
        ),
    ]
}

fn others() -> Vec<Corruption> {
    let mut nan = nano();
    let weights = nan.get_mut(WEIGHTS).expect("there");
    let end = weights.len();
    weights[end - 2..].copy_from_slice(&[0xc0, 0x7f]);
    let deep = [b"{\"model_type\":".to_vec(), vec![b'['; 200_000]].concat();
    let mut shards = nano();
    let whole = shards.remove(WEIGHTS).expect("there");
    shards.insert("a.safetensors".into(), whole.clone());
    shards.insert("b.safetensors".into(), whole);
    let both = json!({ "weight_map": { "x": "a.safetensors", "y": "b.safetensors" } });
    shards.insert(INDEX.into(), both.to_string().into_bytes());
    vec![
        Corruption { loads: true, ..case("NaN", nan, &[WEIGHTS, "NaN"]) },
        case("config cut", with("config.json", b"{ \"model_type\"".to_vec()), &["config.json"]),
        case("config deep", with("config.json", deep), &["config.json"]),
        case(
            "config of NaN",
            with("config.json", b"{ \"rms_norm_eps\": NaN }".to_vec()),
            &["config.json"],
        ),
        case(
            "2^60 tokens",
            config(|c| c["vocab_size"] = json!(1u64 << 60)),
            &["config.json", "vocab_size"],
        ),
        case(
            "2^60 layers",
            config(|c| c["num_hidden_layers"] = json!(1u64 << 60)),
            &["config.json", "num_hidden_layers"],
        ),
        case("another vocabulary", config(|c| c["vocab_size"] = json!(8192)), &["embed_tokens"]),
        case("index names a parent", index(json!({ "x": "../../etc/passwd" })), &[INDEX, "passwd"]),
        case("index names a root", index(json!({ "x": "/etc/passwd" })), &[INDEX, "passwd"]),
        case(
            "index names nothing",
            index(json!({ "x": "none.safetensors" })),
            &["none.safetensors"],
        ),
        case("index names a number", index(json!({ "x": 7 })), &[INDEX]),
        case("index is no object", with(INDEX, b"[1]".to_vec()), &[INDEX]),
        case("two shards with one tensor", shards, &["is also in a.safetensors"]),
    ]
}
