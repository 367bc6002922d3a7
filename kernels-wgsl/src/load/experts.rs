//! Expert tensors, which files hold fused over all experts or one by one, as one kind of the two.

use super::Tensor;
use crate::config::{ModelConfig, MoeConfig};
use crate::error::Result;
use std::collections::BTreeMap;

/// Replaces `experts.gate_up_proj` `[experts, 2 intermediate, hidden]` and `experts.down_proj`
/// `[experts, hidden, intermediate]` by views of each expert's own matrices: `experts.<e>.gate_proj`,
/// `up_proj` and `down_proj`. Nothing is copied. Tensors that are one by one already stay.
pub(super) fn unfuse(config: &ModelConfig, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let Some(moe) = config.moe else { return Ok(()) };
    for i in 0..config.layers.len() {
        split(&format!("layers.{i}.experts"), config.hidden, &moe, tensors)?;
    }
    Ok(())
}

fn split(
    prefix: &str,
    hidden: usize,
    moe: &MoeConfig,
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<()> {
    let (experts, wide) = (moe.experts, moe.intermediate);
    let gate_up: &[&str] = &["gate_proj", "up_proj"];
    for (fused, names, shape) in
        [("gate_up_proj", gate_up, [wide, hidden]), ("down_proj", &["down_proj"], [hidden, wide])]
    {
        let Some(all) = tensors.remove(&format!("{prefix}.{fused}")) else { continue };
        let rows = names.len() * shape[0];
        all.expect_shape(&[experts, rows, shape[1]])?;
        for expert in 0..experts {
            for (at, name) in names.iter().enumerate() {
                let name = format!("{prefix}.{expert}.{name}.weight");
                let index = expert * names.len() + at;
                let part =
                    all.part(&name, index, experts * names.len(), &shape).ok_or_else(|| {
                        all.error("does not divide into the experts that config.json names")
                    })?;
                tensors.insert(name, part);
            }
        }
    }
    Ok(())
}
