//! A checkpoint that nobody can load: it costs every seat and reserve a download and the round its
//! deadlines, and it can only ever come to nothing. `assay claim new` refuses it by the diagnosis of
//! `assay model check`; an author who insists gets no measurement out of any seat, which each learns when
//! it loads and not at its deadline.

use crate::attack::checkpoints::Edited;
use crate::attack::{Attack, Expect};

/// The tensor that is left out, as diagnoses name it.
const LEFT_OUT: &str = "layers.5.mlp.down_proj.weight";

/// The attack.
pub(super) const ATTACK: Attack = Attack {
    name: "unloadable-checkpoint",
    tries: "leaves a tensor out of its checkpoint, to waste the time of every seat",
    expect: Expect::Unloadable(LEFT_OUT),
    make: |bench| {
        let mut edited = Edited::nano()?;
        edited.tensors.remove(&format!("model.{LEFT_OUT}"));
        Ok(bench.against_base(bench.checkpoint("unloadable-checkpoint", &edited.files()?)?))
    },
};
