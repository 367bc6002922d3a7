//! The command line: one file a command, each with its arguments and a `run`.

pub mod bench;
mod engine;
pub mod generate;
pub mod logits;
pub mod model;
pub mod output;
pub mod ppl;
pub mod worker;
