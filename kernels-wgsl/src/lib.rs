//! A Gemma engine written as WGSL kernels on wgpu. It knows nothing of the network around it.
//!
//! # From a checkpoint to a token
//!
//! ```text
//!  config.json, *.safetensors, *.gguf       bundle.toml, *.wgsl
//!        │ load: shapes checked                   │ bundle: naga-validated
//!        ▼                                        ▼
//!  Checkpoint ──► plan: dispatch list ──► gpu: pipelines, bind groups ──► Engine
//!                 (plain data)            (made once, at load)
//!
//!  one forward pass, per token row m:
//!
//!  tokens ─ embed ─► residual x ───────────────► ple_context ─ ple_combine ─► ple[layer]
//!                       │                                                        │
//!   per layer           ▼                                                        │
//!     norm ─ matmul qkv ─ head_norm_rope ─► q, K/V cache ─ attention ─ matmul o  │
//!        x += norm(·) ◄──────────────────────────────────────────────────┘       │
//!     norm ─ matmul gate·up ─ matmul down                                        │
//!        │     with experts: norm ─ matmul router ─ route ─► ids, shares           │
//!        │                   norm ─ matmul gate·up ─ matmul down, per id ─ mix     │
//!        x += norm(·) ◄────────────┘                                             │
//!     matmul ple_gate: gelu(·) * ple ◄───────────────────────────────────────────┘
//!        │ matmul ple_proj
//!        x = (x + norm(·)) * layer_scalar
//!                       ▼
//!     norm ─ matmul head, soft-cap ─► logits ─ argmax ─► next token, fed to the next step on the device
//! ```
//!
//! The model is specified in the Gemma 4 text specification (RMSNorm without 1 + w, attention scale 1,
//! value norm without a weight, proportional rotation in full layers, layer scalar on the whole residual).
//! Layers from `first_shared_layer` on read the cache of the last layer of their kind before it. Gemma 3
//! takes the same path: 1 is added to its norm weights and its attention scale is multiplied into the query
//! norm when they are loaded, and it has no value norm, layer scalar or experts.
//!
//! With a drafter ([`Engine::with_drafter`]) a round runs K small query-only steps over the target's cache,
//! each feeding the next on the device, and one batch of the target that verifies all of them. Tokens are
//! chosen greedily on the device, or by a [`Choose`] on the host, such as a [`Sampler`]; a draft is kept
//! exactly where it is the token so chosen, so drafting changes neither.
//!
//! # What is bit-exact, and why
//!
//! On one adapter, row r of a batch has the same bits as that row alone; so prefill, decode and
//! verification batches agree bit for bit, runs repeat exactly, and greedy decoding with a drafter gives
//! the tokens without it. That holds because
//!
//! - every reduction is split by a rule that depends on the row's own length or position: matmul lanes
//!   own fixed chunks of eight, norms 64 fixed lanes, attention tiles start at multiples of 64 positions
//!   and, in full layers, ranges that are merged in order at multiples of 512;
//! - a row's arithmetic never sees another row: rows share loads of weights, never sums;
//! - products are explicit `fma`s, so a compiler has no contraction left to choose;
//! - ring size, batch tile and buffer splits move data, not the order of additions.
//!
//! Between adapters bits differ (`exp`, `inverseSqrt` and fused multiply-add have several correct
//! answers); there, the oracles' tolerances apply.
//!
//! # Storage types
//!
//! Weights stay on the device as their file has them: bf16 and compressed-tensors int4 by a kernel each;
//! f32, f16, the GGUF types Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K and IQ4_NL, and int8 by one
//! kernel whose `FORMAT` is folded when its pipeline is made. Blocks are brought into two aligned planes
//! of the same size, in chunks of rows, when they are uploaded. A fused product whose parts are stored
//! differently, or that exceeds what one binding may hold, is launched piece by piece. Rows of a
//! per-layer table that is too large for the device are decoded on the host, to the same bits.
//!
//! # What is deliberately absent
//!
//! No chat templates, grammars or text streaming: those belong to whoever asks for tokens. No unchecked
//! shaders: built-in and foreign kernels are compiled with the same run-time checks, because a
//! measurement compares them. No image or audio towers, and so no attention in both directions; no
//! attention biases, soft-capped scores or rotations other than plain, proportional and linear ones: no
//! Gemma text model has them, and a checkpoint that does is refused with an error that says so. A layer's
//! keys are one buffer, so a context whose keys outgrow what a kernel may see is refused with the longest
//! that fits. Bundles whose matrix products declare no `EXPERTS` run no mixture of experts; bundles that bring
//! an attention of their own run it over the whole context at once.
//!
//! # Where things are
//!
//! [`Checkpoint`] and `load/` read files, GGUF ones in `load/gguf/`; [`quantize`] writes int4 and int8
//! ones. [`registry`] lists the kernels in `shaders/`, [`kernels`] their oracles and cases. `plan/` lays
//! out the dispatches, `gpu/` launches them, [`engine`] runs tokens through, [`sample`] draws them.
//! [`bundle`] reads foreign kernels, [`fusion`] is what of the launches above a bundle may put together, [`compose`] makes bundles of kernels of several. [`byte_math`] is what a token reads. [`measure`] has perplexity and speed. [`triage`] finds out what is wrong with a checkpoint, [`synth`] makes random ones.
//!
//! ```no_run
//! use assay_kernels::{AdapterRequest, Bundle, Checkpoint, Engine, EngineOptions, Gpu};
//!
//! # fn main() -> assay_kernels::Result<()> {
//! let gpu = Gpu::open(&AdapterRequest::default())?;
//! let checkpoint = Checkpoint::embedded()?;
//! let options = EngineOptions::new(512, 16);
//! let mut engine = Engine::new(&gpu, &checkpoint, &Bundle::builtin(), &options)?;
//! let tokenizer = checkpoint.tokenizer()?;
//! let mut prompt = vec![checkpoint.config().bos];
//! prompt.extend(tokenizer.encode("In the beginning")?);
//! let first = engine.prefill(&prompt)?.next;
//! let rest = engine.decode_greedy(15, false)?.tokens;
//! println!("{}", tokenizer.decode(&[vec![first], rest].concat(), false)?);
//! # Ok(())
//! # }
//! ```

pub mod bundle;
pub mod byte_math;
pub mod compose;
pub mod config;
pub mod engine;
mod error;
pub mod fusion;
mod gpu;
pub mod kernels;
mod load;
pub mod measure;
mod plan;
pub mod quantize;
pub mod registry;
pub mod respell;
pub mod sample;
pub mod synth;
pub mod triage;

pub use bundle::Bundle;
pub use config::{
    DrafterConfig, Family, LayerConfig, LayerKind, ModelConfig, MoeConfig, RopeConfig,
};
pub use engine::{
    Decode, DraftChain, DraftStats, Engine, EngineOptions, LogitRows, MemoryNeed, Path, Phase,
    Prefill,
};
pub use error::{Error, Result};
pub use fusion::Fusion;
pub use gpu::{AdapterInfo, AdapterRequest, Gpu};
pub use load::{
    Checkpoint, Drafter, Tokenizer, embedded_drafter_files, embedded_files, heldout_text,
};
pub use measure::{bench, ppl};
pub use sample::{Choose, Sampler, SamplingParams};
