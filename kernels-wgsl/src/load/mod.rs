//! Checkpoints: files in, checked tensors out.

mod bytes;
mod checkpoint;
mod decode;
mod drafter;
mod dtype;
mod embedded;
pub(crate) mod header;
mod gguf;
mod experts;
mod matrix;
mod repack;
mod tokenizer;

pub(crate) use bytes::{Bytes, Tensor, tensors_of};
pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::HEAD;
pub use drafter::Drafter;
pub use embedded::{embedded_drafter_files, embedded_files, heldout_text};
pub(crate) use decode::decode;
pub(crate) use dtype::{Block, Dtype};
pub(crate) use gguf::Gguf;
pub(crate) use matrix::Matrix;
pub(crate) use repack::row_bytes;
pub use tokenizer::Tokenizer;
