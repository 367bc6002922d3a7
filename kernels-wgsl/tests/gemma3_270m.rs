//! Real weights: the base Gemma 3 270M in Q4_K_M. Opt-in, because it is a download of 250 MB:
//! `testnet/gemma3-270m FILE` fetches it, `ASSAY_GEMMA3_270M=FILE` runs this test.

mod common;

use assay_kernels::{Checkpoint, Path};

/// The reference's five largest logits after a prompt (f32 arithmetic over dequantised weights, three
/// decimals), and its greedy continuation.
struct Expected {
    prompt: &'static str,
    tokens: &'static [u32],
    top: [(usize, f32); 5],
    greedy: [u32; 12],
}

const CASES: [Expected; 3] = [
    Expected {
        prompt: "The capital of France is",
        tokens: &[2, 818, 5279, 529, 7001, 563],
        top: [(506, 19.091), (496, 18.548), (9079, 18.269), (886, 18.113), (3224, 17.784)],
        greedy: [506, 5279, 529, 506, 2891, 529, 7001, 236761, 1030, 563, 506, 7488],
    },
    Expected {
        prompt: "The opposite of hot is",
        tokens: &[2, 818, 11688, 529, 3425, 563],
        top: [(7445, 21.823), (711, 19.587), (5427, 19.225), (3425, 18.960), (496, 18.234)],
        greedy: [7445, 236761, 108, 818, 11688, 529, 7445, 563, 3425, 236761, 108, 818],
    },
    Expected {
        prompt: "Once upon a time, there was a little",
        tokens: &[2, 14946, 3324, 496, 990, 236764, 993, 691, 496, 2268],
        top: [(3953, 18.298), (6938, 16.938), (5148, 16.482), (9744, 15.739), (9865, 15.652)],
        greedy: [3953, 7489, 60708, 236761, 2625, 691, 496, 1401, 6538, 3953, 236764, 532],
    },
];

#[test]
fn gemma3_270m_gives_the_references_logits_and_tokens() {
    let Some(file) = std::env::var_os("ASSAY_GEMMA3_270M") else {
        println!("skipped: ASSAY_GEMMA3_270M names no file");
        return;
    };
    let checkpoint = Checkpoint::open(file.as_ref()).expect("the file loads");
    let tokenizer = checkpoint.tokenizer().expect("it has a tokenizer");
    let mut engine = common::engine(&checkpoint, 64, 8);
    let vocab = engine.config().vocab;
    for case in CASES {
        let mut tokens = vec![checkpoint.config().bos];
        tokens.extend(tokenizer.encode(case.prompt).expect("encodes"));
        assert_eq!(tokens, case.tokens, "{}", case.prompt);
        let rows = engine.logits(&tokens, Path::Prefill).expect("runs").logits;
        let last = &rows[rows.len() - vocab..];
        let mut worst = 0.0f32;
        for (id, expected) in case.top {
            worst = worst.max((last[id] - expected).abs());
        }
        println!("{}: largest difference of the top five {worst:.4}", case.prompt);
        // Half of the last decimal, and what f32 sums of 18 layers differ by.
        assert!(worst < 3e-3, "{}: {worst}", case.prompt);
        assert_eq!(common::argmax(last), case.top[0].0);
        engine.reset();
        let mut greedy = vec![engine.prefill(&tokens).expect("runs").next];
        greedy.extend(engine.decode_greedy(11, false).expect("runs").tokens);
        assert_eq!(greedy, case.greedy, "{}", case.prompt);
    }
}
