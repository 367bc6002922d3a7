//! The one error type of this crate. Every message names the thing that is wrong and the next step.

use std::path::PathBuf;

/// What can go wrong while loading, building or running an engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {path}: {source}; check that the path exists and is readable", path = path.display())]
    Io {
        /// The path that was tried.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file that a checkpoint or bundle must have is not there.
    #[error("{file} is missing; {hint}")]
    MissingFile {
        /// Name of the file inside the checkpoint or bundle.
        file: String,
        /// What to do about it.
        hint: String,
    },
    /// A configuration key is missing, has the wrong type, or a value out of range.
    #[error("{file}: key `{key}`: {message}")]
    Config {
        /// Name of the configuration file.
        file: String,
        /// Dotted path of the key.
        key: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A file is not what its name says.
    #[error("{file} is corrupt: {message}; fetch the file again and compare its hash")]
    Corrupt {
        /// Name of the file.
        file: String,
        /// What the parser found.
        message: String,
    },
    /// A tensor is missing or has the wrong shape, type or values.
    #[error("{file}: tensor `{tensor}`: {message}")]
    Tensor {
        /// File that holds, or should hold, the tensor.
        file: String,
        /// Tensor name without its checkpoint prefix.
        tensor: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The checkpoint is well formed but this crate does not run it.
    #[error("unsupported: {what}; {hint}")]
    Unsupported {
        /// The feature that is not there.
        what: String,
        /// What would work instead.
        hint: String,
    },
    /// A kernel bundle was refused.
    #[error("kernel bundle: {0}")]
    Bundle(String),
    /// The tokenizer could not be built or refused a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// No adapter answered the request.
    #[error(
        "no adapter {wanted}; found: {found}. Install a Vulkan driver (mesa-vulkan-drivers has a software one)"
    )]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// The adapters that are there.
        found: String,
    },
    /// The adapter or its driver refused something or was lost.
    #[error("adapter {adapter}: {message}")]
    Device {
        /// Adapter name.
        adapter: String,
        /// What happened.
        message: String,
    },
    /// A kernel did not compile on this adapter.
    #[error("kernel `{kernel}` does not build on this adapter: {message}")]
    Kernel {
        /// Name of the op and its variant.
        kernel: String,
        /// The compiler's message.
        message: String,
    },
    /// The caller asked for something the engine cannot do.
    #[error("{0}")]
    Input(String),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
