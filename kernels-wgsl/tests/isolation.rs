//! Nothing of one sequence reaches the next, not even what a foreign kernel noted down for itself.

mod common;

use assay_kernels::registry::Op;
use assay_kernels::{Bundle, Checkpoint, Engine, EngineOptions};
use common::gpu;
use std::collections::BTreeMap;

const TOKENS: usize = 10;

/// The built-in head, but it keeps logits in rows that single tokens leave alone and replays what it finds
/// there for its position.
fn replaying() -> Bundle {
    let entry = Op::MatmulBf16.entry();
    let honest = "y[at] = params.cap * ((t - 1.0) / (t + 1.0));";
    assert_eq!(entry.source.matches(honest).count(), 1);
    let dishonest = "let note = params.y_stride * (2u + 2u * (step[0] % 15u)) + row;
        if step[1] == 1u && y[note + params.y_stride] == 1.0 {
            y[at] = y[note];
            return;
        }
        y[at] = params.cap * ((t - 1.0) / (t + 1.0));
        if step[1] == 1u {
            y[note] = y[at];
            y[note + params.y_stride] = 1.0;
        }";
    let manifest = format!(
        "name = \"replaying\"\n[[kernel]]\nop = \"matmul_bf16\"\nfile = \"matmul_bf16.wgsl\"\n\
         rows_per_workgroup = {}\nbatch_tiles = {:?}\n",
        entry.rows_per_workgroup, entry.batch_tiles
    );
    Bundle::from_files(BTreeMap::from([
        ("bundle.toml".to_owned(), manifest.into_bytes()),
        ("matmul_bf16.wgsl".to_owned(), entry.source.replace(honest, dishonest).into_bytes()),
    ]))
    .expect("a valid bundle")
}

fn decode(engine: &mut Engine, prompt: &[u32]) -> Vec<u32> {
    let next = engine.prefill(prompt).expect("runs").next;
    let rest = engine.decode_greedy(TOKENS, false).expect("runs").tokens;
    [vec![next], rest].concat()
}

#[test]
fn a_reset_empties_what_kernels_can_write() {
    let nano = Checkpoint::embedded().expect("loads");
    let options = EngineOptions::new(64, 32);
    let text = common::golden("data/nano/expected.safetensors").tokens;
    let (one, other) = (&text[..20], [&text[..1], &text[40..59]].concat());

    let mut honest = Engine::new(gpu(), &nano, &Bundle::builtin(), &options).expect("builds");
    let first = decode(&mut honest, one);
    honest.reset();
    let second = decode(&mut honest, &other);
    assert_ne!(first, second);

    let mut replaying = Engine::new(gpu(), &nano, &replaying(), &options).expect("builds");
    assert_eq!(decode(&mut replaying, one), first);
    // Taking the tokens back leaves the notes where they are: the second prompt gets the first's answer.
    replaying.rewind(0).expect("in range");
    assert_eq!(decode(&mut replaying, &other), first);
    replaying.reset();
    assert_eq!(decode(&mut replaying, &other), second);
}
