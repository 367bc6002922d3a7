//! Configurations and safetensors files made of anything. Run with `cargo +nightly fuzz run safetensors fuzz/seeds/safetensors` in
//! `kernels-wgsl/`.
#![no_main]

#[path = "../bodies/safetensors.rs"]
mod safetensors;

libfuzzer_sys::fuzz_target!(|data: &[u8]| safetensors::run(data));
