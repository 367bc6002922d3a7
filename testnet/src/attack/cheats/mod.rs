//! The attacks, one file each, and the near-misses beside them.

use super::Attack;
use super::workbench::Change;

/// What stores a soft-capped logit until more than so many calls were counted in a spare row of the
/// output, and nothing from then on.
macro_rules! logit_until {
    ($calls:literal) => {
        concat!(
            "let count_at = params.y_stride * 31u;\n\
             if row == 0u && step[1] == 1u {\n\
                 y[count_at] += 1.0;\n\
             }\n\
             y[at] = select(params.cap * ((t - 1.0) / (t + 1.0)), 0.0, y[count_at] > ",
            $calls,
            ");"
        )
    };
}

/// What replays a soft-capped logit that was noted down in the same spare row of the output, and notes it
/// down where there is none; the expression chooses the row.
macro_rules! logit_noted_in {
    ($row:literal) => {
        concat!(
            "let note = params.y_stride * (",
            $row,
            ") + row;\n\
             if step[1] == 1u && y[note] != 0.0 {\n\
                 y[at] = y[note];\n\
                 return;\n\
             }\n\
             y[at] = params.cap * ((t - 1.0) / (t + 1.0));\n\
             if step[1] == 1u {\n\
                 y[note] = y[at];\n\
             }"
        )
    };
}

mod after_many_calls;
mod after_ten_calls;
mod arrival_ties;
mod cheap_softmax;
mod constant_output;
mod dropped_layer;
mod endless_loop;
mod exact_softmax;
mod forged_drafts;
mod half_sums;
mod int8_checkpoint;
mod legitimate_drafter;
mod lossy_decode;
mod neighbour_race;
mod pool_drafter;
mod pruned_head;
mod relaxed_acceptance;
mod reordered_sums;
mod replayed_content;
mod replayed_output;
mod rounded_activations;
mod same_again;
mod shrunk_window;
mod shrunk_window_kernel;
mod skipped_experts;
mod slow_parent;
mod ticketed_rows;
mod unloadable_checkpoint;
mod untimed_work;
mod wrong_start;

/// Every attack, cheats first.
pub static ALL: &[&Attack] = &[
    &half_sums::ATTACK,
    &lossy_decode::ATTACK,
    &relaxed_acceptance::ATTACK,
    &forged_drafts::ATTACK,
    &wrong_start::ATTACK,
    &pruned_head::ATTACK,
    &constant_output::ATTACK,
    &cheap_softmax::ATTACK,
    &shrunk_window_kernel::ATTACK,
    &shrunk_window::ATTACK,
    &dropped_layer::ATTACK,
    &skipped_experts::ATTACK,
    &replayed_output::ATTACK,
    &replayed_content::ATTACK,
    &pool_drafter::ATTACK,
    &after_many_calls::ATTACK,
    &after_ten_calls::ATTACK,
    &neighbour_race::ATTACK,
    &arrival_ties::ATTACK,
    &untimed_work::ATTACK,
    &slow_parent::ATTACK,
    &same_again::ATTACK,
    &endless_loop::ATTACK,
    &unloadable_checkpoint::ATTACK,
    &exact_softmax::ATTACK,
    &reordered_sums::ATTACK,
    &ticketed_rows::ATTACK,
    &rounded_activations::ATTACK,
    &legitimate_drafter::ATTACK,
    &int8_checkpoint::ATTACK,
];

/// The attack of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Attack> {
    ALL.iter().copied().find(|attack| attack.name == name)
}

/// `head`, which changes how bf16 products store a soft-capped logit, and what else lets them reach their
/// output with atomic operations: WGSL has none on f32, so the same bits are declared as u32.
fn with_atomic_output(head: Change) -> Vec<Change> {
    let changes = [
        (
            "var<storage, read_write> y: array<f32>;",
            "var<storage, read_write> y: array<atomic<u32>>;",
        ),
        (
            "y[at] = gelu(a) * gate[batch * params.gate_stride + params.gate_at + row];",
            "let gated = gelu(a) * gate[batch * params.gate_stride + params.gate_at + row];\n\
                     atomicStore(&y[at], bitcast<u32>(gated));",
        ),
        ("y[at] = gelu(a) * b;", "atomicStore(&y[at], bitcast<u32>(gelu(a) * b));"),
        ("y[at] = a;", "atomicStore(&y[at], bitcast<u32>(a));"),
    ];
    let others = changes.map(|(from, to)| Change { op: "matmul_bf16", from, to });
    others.into_iter().chain([head]).collect()
}
