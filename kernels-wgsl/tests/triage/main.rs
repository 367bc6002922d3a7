//! Broken checkpoint folders and what the triage says about them.

#[path = "../common/mod.rs"]
mod common;
mod broken;
mod folder;
mod honest;
mod run;
