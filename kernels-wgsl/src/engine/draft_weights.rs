//! The drafter's weights and buffers on the device.

use super::build;
use super::weights::{Weights, table};
use crate::config::DrafterConfig;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::load::Drafter;
use crate::plan::{Buf, DraftBuf, Format, Pieces, draft_norm_layout};
use std::collections::BTreeMap;
use std::ops::Range;

/// What the plan must know of the uploaded weights.
pub(super) struct Uploaded {
    pub(super) pieces: Pieces,
    /// Vocabulary rows of each part of the head.
    pub(super) head_parts: Vec<Range<usize>>,
}

/// Uploads the drafter's weights and makes its buffers.
pub(super) fn upload(
    gpu: &Gpu,
    drafter: &Drafter,
    buffers: &mut BTreeMap<Buf, wgpu::Buffer>,
) -> Result<Uploaded> {
    let config = drafter.config();
    let (c, h, backbone) = (&config.text, config.text.hidden, config.backbone_hidden);
    let mut weights = Weights::new(gpu, build::Placement::of(gpu).part_bytes_max);
    weights.stack("draft.pre", &[drafter.matrix("pre_projection", h, 2 * backbone)?])?;
    weights.stack("draft.post", &[drafter.matrix("post_projection", backbone, h)?])?;
    if config.centroids > 0 {
        let centroids = drafter.matrix("masked_embedding.centroids", config.centroids, h)?;
        weights.stack("draft.centroids", &[centroids])?;
    }
    for (i, layer) in c.layers.iter().enumerate() {
        let matrix =
            |name: &str, rows, cols| drafter.matrix(&format!("layers.{i}.{name}"), rows, cols);
        let (q, wide) = (c.heads * layer.head_dim, layer.intermediate);
        weights.stack(&format!("draft.layers.{i}.q"), &[matrix("self_attn.q_proj", q, h)?])?;
        weights.stack(&format!("draft.layers.{i}.o"), &[matrix("self_attn.o_proj", h, q)?])?;
        weights.stack(&format!("draft.layers.{i}.down"), &[matrix("mlp.down_proj", h, wide)?])?;
        let (gate, up) = (matrix("mlp.gate_proj", wide, h)?, matrix("mlp.up_proj", wide, h)?);
        weights.alternate(&format!("draft.layers.{i}.gate_up"), &[gate], &[up])?;
    }
    let head_parts = upload_head(gpu, drafter, &mut weights)?;
    let mut norms = Vec::new();
    for (name, length) in draft_norm_layout(config) {
        norms.extend(drafter.vector(&format!("{name}.weight"), length)?);
    }
    let ordering = drafter.token_ordering()?;
    let mut put = |role, buffer| buffers.insert(Buf::Draft(role), buffer);
    put(DraftBuf::Norms, gpu.upload("draft norms", &[bytemuck::cast_slice(&norms)])?);
    put(DraftBuf::Ordering, gpu.upload("draft ordering", &[bytemuck::cast_slice(&ordering)])?);
    for (role, words) in work_words(config) {
        put(role, gpu.storage(&format!("draft {role:?}"), 4 * words as u64)?);
    }
    buffers.extend(weights.buffers);
    Ok(Uploaded { pieces: weights.pieces, head_parts })
}

/// The buffers that a draft step works in and their sizes in words.
pub(super) fn work_words(config: &DrafterConfig) -> [(DraftBuf, usize); 13] {
    let (c, h, backbone) = (&config.text, config.text.hidden, config.backbone_hidden);
    let candidates = match config.centroids {
        0 => c.vocab,
        centroids => c.vocab / centroids * config.centroids_searched,
    };
    [
        (DraftBuf::Step, 2),
        (DraftBuf::Input, 2 * backbone),
        (DraftBuf::Residual, h),
        (DraftBuf::Normed, h),
        (DraftBuf::Projected, c.widest_heads()),
        (DraftBuf::Queries, c.widest_heads()),
        (DraftBuf::Heads, c.widest_heads()),
        (DraftBuf::Branch, h),
        (DraftBuf::Product, c.widest_mlp()),
        (DraftBuf::Hidden, backbone),
        (DraftBuf::Scores, config.centroids),
        (DraftBuf::Chosen, config.centroids_searched),
        (DraftBuf::Logits, candidates),
    ]
}

/// Uploads the output head. A dense one is a matrix like any other; a centroid head is gathered row by row
/// from parts under the binding limit.
fn upload_head(
    gpu: &Gpu,
    drafter: &Drafter,
    weights: &mut Weights<'_>,
) -> Result<Vec<Range<usize>>> {
    let head = drafter.head()?;
    if drafter.config().centroids == 0 {
        weights.stack("draft.head", &[head])?;
        return Ok(Vec::new());
    }
    if head.format() != Format::Bf16 {
        return Err(Error::Unsupported {
            what: "a drafter with a quantised centroid head".into(),
            hint: "keep the drafter's embed_tokens in bf16".into(),
        });
    }
    let mut parts = Vec::new();
    for part in table(gpu, "draft head", &head, build::Placement::of(gpu).part_bytes_max)? {
        weights.buffers.insert(Buf::Draft(DraftBuf::Head(parts.len())), part.codes);
        parts.push(part.rows);
    }
    Ok(parts)
}
