//! A race that decides: logits are kept in four bits, which makes many of them equal, and among equal ones
//! wins whom a lot favours that is drawn from the order in which workgroups come. Prefill and decode agree
//! on every logit, and each token is the largest of its own step, so that the path gate has nothing to
//! find; but the same prompt decodes to other tokens each time, which only decoding it again shows.
//!
//! The order is noted in two cells of a spare row of the logits, which is emptied before each prompt. A
//! small model's workgroups are over before a second thread wakes, so the first step of a prompt, which
//! nobody times, keeps them busy for some milliseconds; what was drawn there decides every later lot. With
//! one processor and a software adapter workgroups always come in the same order, and nothing differs.
//!
//! Quality refuses so few bits as well, and has to: a recipe that neither path nor quality refuses makes
//! choices among near-ties only, of which the one prompt that a seat decodes again has few. With logits in
//! eight bits and 24 tokens, three prompts of ten would have come out the same, by nano's own gaps; with
//! four bits, one in 80,000.

use super::with_atomic_output;
use crate::attack::workbench::Change;
use crate::attack::{Attack, Expect};

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "arrival-ties",
    tries: "rounds logits and chooses among equal ones by the order in which workgroups come",
    expect: Expect::Unrepeatable,
    make: |bench| {
        bench.changed(
            "arrival-ties",
            &with_atomic_output(Change {
                op: "matmul_bf16",
                from: "y[at] = params.cap * ((t - 1.0) / (t + 1.0));",
                to: "var logit = 4.0 * round(params.cap * ((t - 1.0) / (t + 1.0)) / 4.0);\n\
                             if step[1] == 1u {\n\
                                 let notes = params.y_stride * 31u;\n\
                                 var busy = row;\n\
                                 if atomicLoad(&y[notes]) < params.rows {\n\
                                     for (var i = 0u; i < 20000u; i += 1u) {\n\
                                         busy = busy * 1664525u + 1013904223u;\n\
                                     }\n\
                                 }\n\
                                 let ticket = atomicAdd(&y[notes], 1u) + u32(busy == 4242u);\n\
                                 let mixed = (ticket ^ (row * 2654435761u)) * 2246822519u;\n\
                                 let lot = (atomicXor(&y[notes + 1u], mixed) ^ row) * 3266489917u;\n\
                                 logit += 0.0004 * f32(lot >> 24u);\n\
                             }\n\
                             atomicStore(&y[at], bitcast<u32>(logit));",
            }),
        )
    },
};
