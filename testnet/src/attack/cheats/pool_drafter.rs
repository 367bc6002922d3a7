//! A drafter that has learnt the public pool by heart: it drafts the base's greedy continuation of every
//! prompt of the pool, which whoever knows the pool can compute. On the pool's own text it needs far
//! fewer passes than the honest drafter that it is claimed to beat. No seat times that text: the second
//! half of every timed prompt is sampled from the base with a seed that nobody knows before the draw,
//! and what follows it was in no training.
//!
//! `testnet/fixtures/pool-drafter/train.py` made the weights from those of nano's own drafter.

use crate::attack::checkpoints::Edited;
use crate::attack::workbench::{Case, Workbench};
use crate::attack::{Attack, Expect};
use assay_kernels::embedded_drafter_files;
use assay_node::measure::RecipeFiles;

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "pool-drafter",
    tries: "drafts with a drafter that learnt the pool's continuations by heart",
    expect: Expect::Overfitted,
    make,
};

/// What was trained; the rest is the shipped drafter's.
static LEARNT: &[u8] = include_bytes!("../../../fixtures/pool-drafter/model.safetensors");
/// Tokens drafted a step, by it and by the parent.
const DRAFT_LEN: u32 = 3;

fn make(bench: &Workbench) -> anyhow::Result<Case> {
    let shipped =
        embedded_drafter_files().into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    let mut drafter = Edited::read(shipped.collect())?;
    drafter.lay_over(LEARNT)?;
    let folder = bench.checkpoint("pool-drafter", &drafter.files()?)?.checkpoint;
    let child = RecipeFiles { drafter: Some((folder, DRAFT_LEN)), ..bench.base() };
    let case = bench.against_base(child);
    Ok(Case { parent: bench.drafted(DRAFT_LEN), drafts: true, ..case })
}
