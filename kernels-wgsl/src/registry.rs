//! The kernels this engine has: source, binding contract and launch geometry of every op.
//!
//! An op is a contract: what its bindings hold, what it writes, and in which order it adds. A kernel
//! bundle may bring another implementation of an op; the plan, the buffers and the launch stay the same.
//! The oracle, the cases and the tolerance of each op are in [`crate::kernels`].

use crate::kernels::{self, Case};
use serde::Serialize;
use std::ops::Range;

/// A kernel contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Token embedding rows, scaled.
    Embed,
    /// Per-layer embeddings from the token row and the context projection.
    PleCombine,
    /// RMSNorm with a weight.
    Norm,
    /// Residual add of a normed branch, then the next norm.
    ResidualNorm,
    /// Matrix product with bf16 weights and an epilogue.
    MatmulBf16,
    /// Matrix product with int4 weights in groups and an epilogue.
    MatmulInt4,
    /// Matrix product with weights in any other storage type and an epilogue.
    MatmulBlock,
    /// Token embedding rows of a table in any of those types, scaled.
    EmbedBlock,
    /// Head norms, rotation and cache write.
    HeadNormRope,
    /// Causal attention over the cache.
    Attention,
    /// Causal attention over one range of the cache.
    AttentionPart,
    /// The ranges of a head put together.
    AttentionMerge,
    /// Experts of a token and their shares.
    Route,
    /// Sum of the experts and of the dense branch, each normed.
    ExpertMix,
    /// Index of the largest logit.
    Argmax,
    /// Token embedding and hidden state, one after the other, for a draft step.
    DraftInput,
    /// The centroids with the largest scores.
    CentroidTop,
    /// Logits of the tokens in the chosen clusters.
    CentroidHead,
    /// The drafted token.
    DraftChoose,
    /// Norm and rotation of the queries, and attention over another layer's cache.
    QueryAttention,
    /// Residual step, gated per-layer embedding, its projection, and the residual step after it.
    PerLayerInput,
}

/// How a kernel sees a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The dispatch's constants: a uniform buffer of 64 bytes.
    Uniform,
    /// A storage buffer that is only read.
    Read,
    /// A storage buffer that may be written.
    Write,
}

/// A constant of a built-in kernel that a bundle may set. Every value gives the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tunable {
    /// Name of the `override`.
    pub name: &'static str,
    /// Values it may have.
    pub values: &'static [u32],
    /// The value the built-in bundle uses.
    pub default: u32,
    /// `rows_per_workgroup` divided by the value.
    pub rows_per_workgroup_each: u32,
}

/// One registry entry.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The contract.
    pub op: Op,
    /// Its name in `bundle.toml`.
    pub name: &'static str,
    /// WGSL of the built-in kernel.
    pub source: &'static str,
    /// Bindings 0, 1, 2, … of group 0: name in the shader and access.
    pub bindings: &'static [(&'static str, Access)],
    /// `override` constant by which the plan chooses a variant of the op.
    pub mode_constant: Option<&'static str>,
    /// Further `override` constants that the plan sets, with their defaults.
    pub constants: &'static [(&'static str, u32)],
    /// Items along x (output rows, heads, words) that one workgroup of the built-in kernel covers.
    pub rows_per_workgroup: u32,
    /// Values of `BATCH_TILE` (batch rows per workgroup along y) that the built-in kernel is built for.
    pub batch_tiles: &'static [u32],
    /// `override` constants that change the launch but not the result.
    pub tunables: &'static [Tunable],
    /// Cases of the op's oracle for a range of batch rows.
    pub(crate) cases: fn(Range<usize>) -> Vec<Case>,
}

use Access::{Read, Uniform, Write};

const PARAMS: (&str, Access) = ("params", Uniform);
const STEP: (&str, Access) = ("step", Read);

macro_rules! shader {
    ($name:literal) => {
        include_str!(concat!("../shaders/", $name, ".wgsl"))
    };
}

const fn entry(
    op: Op,
    name: &'static str,
    source: &'static str,
    bindings: &'static [(&'static str, Access)],
    cases: fn(Range<usize>) -> Vec<Case>,
) -> Entry {
    Entry {
        op,
        name,
        source,
        bindings,
        mode_constant: None,
        constants: &[],
        rows_per_workgroup: 1,
        batch_tiles: &[1],
        tunables: &[],
        cases,
    }
}

const fn lane_rows(default: u32) -> Tunable {
    Tunable { name: "LANE_ROWS", values: &[1, 2, 4], default, rows_per_workgroup_each: 8 }
}

const fn matmul(tunables: &'static [Tunable; 1], entry: Entry) -> Entry {
    Entry {
        mode_constant: Some("EPILOGUE"),
        rows_per_workgroup: tunables[0].default * tunables[0].rows_per_workgroup_each,
        batch_tiles: &[1, 2, 3, 4],
        tunables,
        ..entry
    }
}

const SCALED_MATMUL: [(&str, Access); 7] =
    [PARAMS, STEP, ("x", Read), ("w", Read), ("scales", Read), ("gate", Read), ("y", Write)];

/// Many workgroups matter more than loads of x, which is as large as the weights it meets.
const BF16_TUNABLES: [Tunable; 1] = [lane_rows(1)];
/// x is eight times the size of the codes it meets.
const INT4_TUNABLES: [Tunable; 1] = [lane_rows(2)];

static ENTRIES: [Entry; 21] = [
    Entry {
        rows_per_workgroup: 64,
        ..entry(
            Op::Embed,
            "embed",
            shader!("embed"),
            &[PARAMS, STEP, ("tokens", Read), ("table", Read), ("x", Write)],
            kernels::embed,
        )
    },
    entry(
        Op::PleCombine,
        "ple_combine",
        shader!("ple_combine"),
        &[
            PARAMS,
            STEP,
            ("tokens", Read),
            ("table", Read),
            ("context", Read),
            ("weights", Read),
            ("ple", Write),
        ],
        kernels::ple_combine,
    ),
    entry(
        Op::Norm,
        "norm",
        shader!("norm"),
        &[PARAMS, STEP, ("x", Read), ("weights", Read), ("out", Write)],
        kernels::norm,
    ),
    entry(
        Op::ResidualNorm,
        "residual_norm",
        shader!("residual_norm"),
        &[PARAMS, STEP, ("branch", Read), ("weights", Read), ("x", Write), ("out", Write)],
        kernels::residual_norm,
    ),
    matmul(
        &BF16_TUNABLES,
        entry(
            Op::MatmulBf16,
            "matmul_bf16",
            shader!("matmul_bf16"),
            &[PARAMS, STEP, ("x", Read), ("w", Read), ("gate", Read), ("y", Write)],
            kernels::matmul_bf16,
        ),
    ),
    Entry {
        constants: &[("GROUP", 32)],
        ..matmul(
            &INT4_TUNABLES,
            entry(
                Op::MatmulInt4,
                "matmul_int4",
                shader!("matmul_int4"),
                &SCALED_MATMUL,
                kernels::matmul_int4,
            ),
        )
    },
    Entry {
        mode_constant: Some("EPILOGUE"),
        constants: &[("FORMAT", 0), ("GROUP", 32), ("EXPERTS", 0)],
        rows_per_workgroup: 8,
        batch_tiles: &[1, 2, 3, 4],
        ..entry(
            Op::MatmulBlock,
            "matmul_block",
            shader!("matmul_block"),
            &SCALED_MATMUL,
            kernels::matmul_block,
        )
    },
    Entry {
        constants: &[("FORMAT", 0), ("GROUP", 32)],
        rows_per_workgroup: 64,
        ..entry(
            Op::EmbedBlock,
            "embed_block",
            shader!("embed_block"),
            &[PARAMS, STEP, ("tokens", Read), ("table", Read), ("scales", Read), ("x", Write)],
            kernels::embed_block,
        )
    },
    entry(
        Op::HeadNormRope,
        "head_norm_rope",
        shader!("head_norm_rope"),
        &[
            PARAMS,
            STEP,
            ("qkv", Read),
            ("weights", Read),
            ("rope", Read),
            ("q", Write),
            ("k_cache", Write),
            ("v_cache", Write),
        ],
        kernels::head_norm_rope,
    ),
    Entry {
        mode_constant: Some("HEAD_DIM"),
        ..entry(
            Op::Attention,
            "attention",
            shader!("attention"),
            &[PARAMS, STEP, ("q", Read), ("k_cache", Read), ("v_cache", Read), ("out", Write)],
            kernels::attention,
        )
    },
    Entry {
        mode_constant: Some("HEAD_DIM"),
        ..entry(
            Op::AttentionPart,
            "attention_part",
            shader!("attention_part"),
            &[PARAMS, STEP, ("q", Read), ("k_cache", Read), ("v_cache", Read), ("partials", Write)],
            kernels::attention_part,
        )
    },
    Entry {
        mode_constant: Some("HEAD_DIM"),
        ..entry(
            Op::AttentionMerge,
            "attention_merge",
            shader!("attention_merge"),
            &[PARAMS, STEP, ("partials", Read), ("out", Write)],
            kernels::attention_merge,
        )
    },
    entry(
        Op::Route,
        "route",
        shader!("route"),
        &[PARAMS, STEP, ("scores", Read), ("weights", Read), ("ids", Write), ("shares", Write)],
        kernels::route,
    ),
    entry(
        Op::ExpertMix,
        "expert_mix",
        shader!("expert_mix"),
        &[
            PARAMS,
            STEP,
            ("dense", Read),
            ("experts", Read),
            ("shares", Read),
            ("weights", Read),
            ("out", Write),
        ],
        kernels::expert_mix,
    ),
    Entry {
        mode_constant: Some("FEED"),
        ..entry(
            Op::Argmax,
            "argmax",
            shader!("argmax"),
            &[PARAMS, ("step", Write), ("logits", Read), ("next", Write), ("tokens", Write)],
            kernels::argmax,
        )
    },
    Entry {
        rows_per_workgroup: 64,
        ..entry(
            Op::DraftInput,
            "draft_input",
            shader!("draft_input"),
            &[PARAMS, STEP, ("tokens", Read), ("table", Read), ("hidden", Read), ("out", Write)],
            kernels::draft_input,
        )
    },
    Entry {
        rows_per_workgroup: 64,
        ..entry(
            Op::CentroidTop,
            "centroid_top",
            shader!("centroid_top"),
            &[PARAMS, STEP, ("scores", Read), ("chosen", Write)],
            kernels::centroid_top,
        )
    },
    entry(
        Op::CentroidHead,
        "centroid_head",
        shader!("centroid_head"),
        &[
            PARAMS,
            STEP,
            ("chosen", Read),
            ("ordering", Read),
            ("table", Read),
            ("y", Read),
            ("logits", Write),
        ],
        kernels::centroid_head,
    ),
    Entry {
        mode_constant: Some("DENSE"),
        ..entry(
            Op::DraftChoose,
            "draft_choose",
            shader!("draft_choose"),
            &[
                PARAMS,
                STEP,
                ("chosen", Read),
                ("ordering", Read),
                ("logits", Read),
                ("tokens", Write),
            ],
            kernels::draft_choose,
        )
    },
    Entry {
        mode_constant: Some("HEAD_DIM"),
        ..entry(
            Op::QueryAttention,
            "query_attention",
            shader!("query_attention"),
            &[
                PARAMS,
                STEP,
                ("qkv", Read),
                ("weights", Read),
                ("rope", Read),
                ("k_cache", Read),
                ("v_cache", Read),
                ("out", Write),
            ],
            kernels::query_attention,
        )
    },
    entry(
        Op::PerLayerInput,
        "per_layer_input",
        shader!("per_layer_input"),
        &[
            PARAMS,
            STEP,
            ("branch", Read),
            ("weights", Read),
            ("gate_w", Read),
            ("proj_w", Read),
            ("ple", Read),
            ("x", Write),
            ("out", Write),
        ],
        kernels::per_layer_input,
    ),
];

/// Every entry, in the order of [`Op`].
pub fn entries() -> &'static [Entry] {
    &ENTRIES
}

impl Op {
    /// The entry of this op.
    pub fn entry(self) -> &'static Entry {
        &ENTRIES[self as usize]
    }

    /// The op with this name in `bundle.toml`.
    pub fn named(name: &str) -> Option<Op> {
        ENTRIES.iter().find(|e| e.name == name).map(|e| e.op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_indexed_by_their_op() {
        for entry in entries() {
            assert_eq!(entry.op.entry().name, entry.name);
            assert_eq!(Op::named(entry.name), Some(entry.op));
        }
    }
}
