//! The drafter's weights and buffers on the device.

use super::build;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::load::{Drafter, Matrix};
use crate::plan::{Buf, DraftBuf, Format, draft_norm_layout};
use std::collections::BTreeMap;
use std::ops::Range;

/// What the plan must know of the uploaded weights.
pub(super) struct Uploaded {
    pub(super) formats: BTreeMap<String, Format>,
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
    let mut weights = Weights::new(gpu);
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
    let candidates = match config.centroids {
        0 => c.vocab,
        centroids => c.vocab / centroids * config.centroids_searched,
    };
    let mut put = |role, buffer| buffers.insert(Buf::Draft(role), buffer);
    put(DraftBuf::Norms, gpu.upload("draft norms", &[bytemuck::cast_slice(&norms)])?);
    put(DraftBuf::Ordering, gpu.upload("draft ordering", &[bytemuck::cast_slice(&ordering)])?);
    for (role, words) in [
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
    ] {
        put(role, gpu.storage(&format!("draft {role:?}"), 4 * words as u64)?);
    }
    buffers.extend(weights.buffers);
    Ok(Uploaded { formats: weights.formats, head_parts })
}

/// Uploads the output head in parts under the binding limit. A centroid head is gathered row by row, so its
/// parts are plain bf16 tables; a dense one is a matmul like any other.
fn upload_head(
    gpu: &Gpu,
    drafter: &Drafter,
    weights: &mut Weights<'_>,
) -> Result<Vec<Range<usize>>> {
    let (vocab, width) = (drafter.config().text.vocab, drafter.config().text.hidden);
    let head = drafter.head()?;
    let Matrix::Bf16 { data, .. } = &head else {
        return Err(Error::Unsupported {
            what: "a drafter with a quantised output head".into(),
            hint: "keep the drafter's embed_tokens in bf16".into(),
        });
    };
    let parts = build::row_parts(vocab, 2 * width, build::Placement::of(gpu).part_bytes_max);
    for (part, range) in parts.iter().enumerate() {
        let slice = &data[range.start * 2 * width..range.end * 2 * width];
        if drafter.config().centroids > 0 {
            let buffer = gpu.upload("draft head", &[slice])?;
            weights.buffers.insert(Buf::Draft(DraftBuf::Head(part)), buffer);
        } else {
            let matrix = Matrix::Bf16 { rows: range.len(), data: slice.into() };
            weights.stack(&format!("draft.head.{part}"), &[matrix])?;
        }
    }
    Ok(parts)
}
