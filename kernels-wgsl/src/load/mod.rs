//! Checkpoints: files in, checked tensors out.

mod bytes;
mod checkpoint;
mod drafter;
mod embedded;
pub(crate) mod header;
mod matrix;
mod tokenizer;

pub(crate) use bytes::{Bytes, Tensor, tensors_of};
pub use checkpoint::Checkpoint;
pub use drafter::Drafter;
pub use embedded::{embedded_drafter_files, embedded_files, heldout_text};
pub(crate) use matrix::Matrix;
pub use tokenizer::Tokenizer;
