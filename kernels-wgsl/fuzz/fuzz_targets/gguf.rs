//! GGUF files made of anything. Run with `cargo +nightly fuzz run gguf` in `kernels-wgsl/`.
#![no_main]

#[path = "../bodies/gguf.rs"]
mod gguf;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    gguf::run(data);
});
