//! How far something is held to go: the predicate of a limit.

use crate::error::Reject;
use crate::ids::BlobHash;
use crate::record::is_class_name;
use crate::wire::{bytes32, field};
use assay_proto::v1;
use serde::{Deserialize, Serialize};

/// What a limit bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Speed over the base recipe's along the lineage, in millionths.
    RatioToBase,
    /// Tokens a second that the class decodes, in thousandths.
    DecodeSpeed,
}

impl Quantity {
    /// A value of it, in its own unit.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn words(self, value: u64) -> String {
        match self {
            Self::RatioToBase => format!("{:.3}×", value as f64 / 1e6),
            Self::DecodeSpeed => format!("{:.1} tokens/s", value as f64 / 1e3),
        }
    }
}

/// "No recipe goes further than this."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The hardware class that it holds for.
    pub hardware_class: String,
    /// The checkpoint that recipes must decode for it to hold; none means any.
    #[serde(default)]
    pub checkpoint: Option<BlobHash>,
    /// What is bounded.
    pub quantity: Quantity,
    /// The largest value, in the unit of the quantity, above 0.
    pub most: u64,
}

impl Bound {
    /// Whether a value goes beyond the bound by more than a tie of `eta_ppm` millionths.
    #[must_use]
    pub fn is_broken_by(&self, value: u64, eta_ppm: u64) -> bool {
        // In 128 bits no product of two 64-bit numbers overflows.
        let reach = u128::from(self.most) * u128::from(1_000_000_u64.saturating_add(eta_ppm));
        u128::from(value) * 1_000_000 > reach
    }

    pub(super) fn to_proto(&self) -> v1::Bound {
        let of = |quantity| if self.quantity == quantity { self.most } else { 0 };
        v1::Bound {
            hardware_class: self.hardware_class.clone(),
            checkpoint: self.checkpoint.map(BlobHash::to_vec).unwrap_or_default(),
            ratio_to_base_ppm: of(Quantity::RatioToBase),
            decode_speed_mtps: of(Quantity::DecodeSpeed),
        }
    }

    pub(super) fn from_proto(bound: v1::Bound) -> Result<Self, Reject> {
        if !is_class_name(&bound.hardware_class) {
            let reason = "letters, digits and dashes, at most 120 of them".to_owned();
            return Err(field("bound.hardware_class", reason));
        }
        let (quantity, most) = match (bound.ratio_to_base_ppm, bound.decode_speed_mtps) {
            (ppm, 0) if ppm > 0 => (Quantity::RatioToBase, ppm),
            (0, mtps) if mtps > 0 => (Quantity::DecodeSpeed, mtps),
            _ => return Err(field("bound", "one of ratio and speed, above 0".to_owned())),
        };
        let checkpoint = match bound.checkpoint.as_slice() {
            [] => None,
            bytes => Some(BlobHash(bytes32("bound.checkpoint", bytes)?)),
        };
        Ok(Self { hardware_class: bound.hardware_class, checkpoint, quantity, most })
    }
}
