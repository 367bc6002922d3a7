//! Checkpoints: files in, checked tensors out.

mod bytes;
mod checkpoint;
mod drafter;
mod embedded;
mod experts;
mod matrix;
mod tokenizer;

pub(crate) use bytes::{Bytes, Tensor};
pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::HEAD;
pub use drafter::Drafter;
pub use embedded::{embedded_drafter_files, embedded_files, heldout_text};
pub(crate) use matrix::Matrix;
pub use tokenizer::Tokenizer;
