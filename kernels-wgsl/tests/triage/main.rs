//! Broken checkpoint folders and what the triage says about them.

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod configuration;
mod contents;
mod folder;
mod gguf;
mod honest;
mod run;
