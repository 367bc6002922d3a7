//! Uploading the experts of a layer, in as many buffers as the binding limit asks for.

use super::weights::Weights;
use crate::config::MoeConfig;
use crate::error::{Error, Result};
use crate::load::{Checkpoint, Matrix};
use std::collections::BTreeMap;
use std::ops::Range;

/// Uploads layer `i`'s experts: gate and up rows by turns, and down. Adds to `parts`, by the matrix's name,
/// which experts each of its buffers holds.
pub(super) fn upload_experts(
    weights: &mut Weights<'_>,
    checkpoint: &Checkpoint,
    i: usize,
    moe: &MoeConfig,
    part_bytes_max: u64,
    parts: &mut BTreeMap<String, Vec<Range<usize>>>,
) -> Result<()> {
    let [gate, up, down] = checkpoint.expert(i, 0)?;
    let limit = usize::try_from(part_bytes_max).unwrap_or(usize::MAX);
    let ranges = |bytes: usize| -> Vec<Range<usize>> {
        let count = (limit / bytes.max(1)).clamp(1, moe.experts);
        let starts = (0..moe.experts).step_by(count);
        starts.map(|start| start..(start + count).min(moe.experts)).collect()
    };
    let (pair, down) = (gate.stored_bytes() + up.stored_bytes(), down.stored_bytes());

    let name = format!("layers.{i}.experts.gate_up");
    for (part, held) in ranges(pair).into_iter().enumerate() {
        let (mut gates, mut ups): (Vec<Matrix<'_>>, Vec<Matrix<'_>>) = Default::default();
        for expert in held.clone() {
            let [gate, up, _] = checkpoint.sound_expert(i, expert)?;
            gates.push(gate);
            ups.push(up);
        }
        weights.alternate(&format!("{name}.{part}"), &gates, &ups)?;
        check_whole(weights, &format!("{name}.{part}"))?;
        parts.entry(name.clone()).or_default().push(held);
    }
    let name = format!("layers.{i}.experts.down");
    for (part, held) in ranges(down).into_iter().enumerate() {
        let downs: Result<Vec<Matrix<'_>>> = held
            .clone()
            .map(|expert| checkpoint.expert(i, expert).map(|[.., down]| down))
            .collect();
        weights.stack(&format!("{name}.{part}"), &downs?)?;
        check_whole(weights, &format!("{name}.{part}"))?;
        parts.entry(name.clone()).or_default().push(held);
    }
    Ok(())
}

/// A launch finds its experts one below the other in one buffer.
fn check_whole(weights: &Weights<'_>, name: &str) -> Result<()> {
    match weights.pieces.get(name).map_or(0, Vec::len) {
        1 => Ok(()),
        _ => Err(Error::Unsupported {
            what: format!("`{name}`, of which one expert is larger than a kernel may see"),
            hint: "use another adapter, or a checkpoint with fewer bits".into(),
        }),
    }
}
