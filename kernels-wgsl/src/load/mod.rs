//! Checkpoints: files in, checked tensors out.

mod bytes;
mod checkpoint;
mod decode;
mod drafter;
mod dtype;
mod embedded;
mod experts;
mod gguf;
pub(crate) mod header;
mod matrix;
mod repack;
mod tokenizer;

pub(crate) use bytes::{Bytes, Tensor, tensors_of};
pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::HEAD;
pub(crate) use decode::decode;
pub use drafter::Drafter;
pub(crate) use dtype::{Block, Dtype};
pub use embedded::{embedded_drafter_files, embedded_files, heldout_text};
pub(crate) use gguf::Gguf;
pub(crate) use matrix::Matrix;
pub(crate) use repack::row_bytes;
pub use tokenizer::Tokenizer;
