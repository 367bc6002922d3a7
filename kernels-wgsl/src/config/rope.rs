//! Rotary parameters, in the style of `rope_parameters` or of the older separate keys.

use super::parse::unsupported;
use super::{Family, Keys, RopeConfig};
use crate::error::Result;

const FILE: &str = "config.json";

/// Reads the rotary parameters. Absent keys have the family's own values.
pub(super) fn parse_rope(family: Family, text: &Keys<'_>) -> Result<RopeConfig> {
    let full_fraction = if family == Family::Gemma4 { 0.25 } else { 1.0 };
    let mut rope =
        RopeConfig { sliding_theta: 1e4, full_theta: 1e6, full_fraction, full_factor: 1.0 };
    if family == Family::Gemma3 {
        rope.full_theta = text.positive("rope_theta")?.unwrap_or(rope.full_theta);
        rope.sliding_theta = text.positive("rope_local_base_freq")?.unwrap_or(rope.sliding_theta);
        if let Some(scaling) = text.get("rope_scaling") {
            let keys = Keys::new(FILE, "rope_scaling.", scaling)?;
            apply_full(family, &keys, &mut rope)?;
        }
    }
    let Some(value) = text.get("rope_parameters") else { return Ok(rope) };
    let table = Keys::new(FILE, "rope_parameters.", value)?;
    let (sliding, full) = (table.get("sliding_attention"), table.get("full_attention"));
    if let Some(sliding) = sliding {
        let keys = Keys::new(FILE, "rope_parameters.sliding_attention.", sliding)?;
        if !matches!(keys.string("rope_type")?, None | Some("default")) {
            return Err(unsupported("a rope_type other than `default` in sliding layers"));
        }
        rope.sliding_theta = keys.positive("rope_theta")?.unwrap_or(rope.sliding_theta);
    }
    if let Some(full) = full {
        let keys = Keys::new(FILE, "rope_parameters.full_attention.", full)?;
        apply_full(family, &keys, &mut rope)?;
    }
    if sliding.is_none() && full.is_none() {
        // One flat table speaks of the full layers.
        apply_full(family, &table, &mut rope)?;
    }
    Ok(rope)
}

/// The keys of the full layers: `rope_type` (or `type`), `rope_theta`, `factor`, `partial_rotary_factor`.
fn apply_full(family: Family, keys: &Keys<'_>, rope: &mut RopeConfig) -> Result<()> {
    let kind = match keys.string("rope_type")? {
        Some(kind) => Some(kind),
        None => keys.string("type")?,
    };
    rope.full_theta = keys.positive("rope_theta")?.unwrap_or(rope.full_theta);
    let factor = keys.positive("factor")?.unwrap_or(1.0);
    match (family, kind) {
        (Family::Gemma4, None | Some("proportional")) => {
            rope.full_factor = factor;
            // A table that names the type without a fraction rotates the whole head.
            let default = if kind.is_some() { 1.0 } else { rope.full_fraction };
            rope.full_fraction = keys.positive("partial_rotary_factor")?.unwrap_or(default);
            if rope.full_fraction > 1.0 {
                return Err(keys.error("partial_rotary_factor", "must not be above 1"));
            }
        }
        (Family::Gemma3, Some("linear")) => rope.full_factor = factor,
        (Family::Gemma3, None | Some("default")) => {}
        (_, Some(other)) => {
            return Err(unsupported(format!("rope_type `{other}` in full layers")));
        }
    }
    Ok(())
}
