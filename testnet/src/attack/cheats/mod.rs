//! The attacks, one file each, and the near-misses beside them.

use super::Attack;

mod after_many_calls;
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
mod replayed_output;
mod rounded_activations;
mod same_again;
mod shrunk_window;
mod shrunk_window_kernel;
mod skipped_experts;
mod slow_parent;
mod unloadable_checkpoint;
mod untimed_work;

/// Every attack, cheats first.
pub static ALL: &[&Attack] = &[
    &half_sums::ATTACK,
    &lossy_decode::ATTACK,
    &relaxed_acceptance::ATTACK,
    &forged_drafts::ATTACK,
    &pruned_head::ATTACK,
    &constant_output::ATTACK,
    &cheap_softmax::ATTACK,
    &shrunk_window_kernel::ATTACK,
    &shrunk_window::ATTACK,
    &dropped_layer::ATTACK,
    &skipped_experts::ATTACK,
    &replayed_output::ATTACK,
    &pool_drafter::ATTACK,
    &after_many_calls::ATTACK,
    &neighbour_race::ATTACK,
    &untimed_work::ATTACK,
    &slow_parent::ATTACK,
    &same_again::ATTACK,
    &endless_loop::ATTACK,
    &unloadable_checkpoint::ATTACK,
    &exact_softmax::ATTACK,
    &reordered_sums::ATTACK,
    &rounded_activations::ATTACK,
    &legitimate_drafter::ATTACK,
    &int8_checkpoint::ATTACK,
];

/// The attack of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Attack> {
    ALL.iter().copied().find(|attack| attack.name == name)
}
