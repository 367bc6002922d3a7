//! The command line: one file a command, each with its arguments and a `run`.

pub mod output;
pub mod worker;
