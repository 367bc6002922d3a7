//! assay-kernels
pub mod bundle;
pub mod config;
pub mod engine;
mod error;
mod gpu;
mod load;
pub mod measure;
mod plan;
pub mod quantize;
pub mod registry;

pub use bundle::Bundle;
pub use config::{DrafterConfig, LayerConfig, LayerKind, ModelConfig};
pub use engine::{Decode, Engine, EngineOptions, LogitRows, Path, Prefill};
pub use error::{Error, Result};
pub use gpu::{AdapterInfo, AdapterRequest, Gpu};
pub use load::{
    Checkpoint, Drafter, Tokenizer, embedded_drafter_files, embedded_files, heldout_text,
};
pub use measure::{bench, ppl};
