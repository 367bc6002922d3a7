//! From planned dispatches to recorded ones: the only place that launches kernels.

use super::Gpu;
use super::pipelines::{PARAMS_BYTES, Pipelines, Variant};
use crate::error::{Error, Result};
use crate::plan::{Buf, Dispatch, Reach};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes from one dispatch's uniforms to the next: the largest alignment any adapter asks for.
const SLOT_BYTES: u64 = 256;
/// Most workgroups along one axis that every adapter takes.
const WORKGROUPS_MAX: u32 = 65_535;

struct Launch {
    variant: Variant,
    bind_group: wgpu::BindGroup,
    items: u32,
    reach: Reach,
    /// Rows along y for every batch row.
    rows_each: u32,
}

/// Dispatches with their pipelines and bind groups, ready to be recorded for any number of rows.
pub(crate) struct Resolved {
    launches: Vec<Launch>,
}

impl Resolved {
    /// Makes the uniform arena, pipelines and bind groups of `dispatches`.
    pub(crate) fn new(
        gpu: &Gpu,
        pipelines: &mut Pipelines<'_>,
        buffers: &BTreeMap<Buf, wgpu::Buffer>,
        dispatches: &[Dispatch],
    ) -> Result<Self> {
        let arena = uniform_arena(gpu, dispatches)?;
        let mut launches = Vec::with_capacity(dispatches.len());
        for (slot, dispatch) in (0u64..).zip(dispatches) {
            let variant = pipelines.variant(dispatch)?;
            let groups_x = dispatch.items.div_ceil(variant.rows_per_workgroup);
            if groups_x > WORKGROUPS_MAX {
                return Err(Error::Unsupported {
                    what: format!("{groups_x} workgroups for `{}`", dispatch.label),
                    hint: format!("cover more rows per workgroup; the limit is {WORKGROUPS_MAX}"),
                });
            }
            let bind_group = bind(gpu, pipelines, dispatch, (&arena, slot * SLOT_BYTES), buffers)?;
            let rows_each = dispatch.experts.max(1);
            let (items, reach) = (dispatch.items, dispatch.reach);
            launches.push(Launch { variant, bind_group, items, reach, rows_each });
        }
        Ok(Resolved { launches })
    }

    /// Records the dispatches in `range` for `rows` batch rows, of which the first is at `position`, into one
    /// pass.
    pub(crate) fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        range: Range<usize>,
        (position, rows): (usize, usize),
    ) {
        let (rows, end) = (rows as u32, (position + rows) as u32);
        for launch in &self.launches[range] {
            let Some(items) = launch.reach.items(launch.items, end) else { continue };
            let groups_x = items.div_ceil(launch.variant.rows_per_workgroup);
            let rows = rows * launch.rows_each;
            let (tile, pipeline) = launch.variant.tile_for(rows);
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &launch.bind_group, &[]);
            pass.dispatch_workgroups(groups_x, rows.div_ceil(*tile), 1);
        }
    }
}

fn uniform_arena(gpu: &Gpu, dispatches: &[Dispatch]) -> Result<wgpu::Buffer> {
    let mut bytes = vec![0u8; dispatches.len() * SLOT_BYTES as usize];
    for (slot, dispatch) in bytes.chunks_exact_mut(SLOT_BYTES as usize).zip(dispatches) {
        debug_assert!(dispatch.params.len() as u64 * 4 <= PARAMS_BYTES);
        for (word, value) in slot.chunks_exact_mut(4).zip(&dispatch.params) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let arena = gpu.buffer("uniforms", bytes.len() as u64, usage)?;
    gpu.write(&arena, 0, &bytes);
    Ok(arena)
}

fn bind(
    gpu: &Gpu,
    pipelines: &mut Pipelines<'_>,
    dispatch: &Dispatch,
    (arena, offset): (&wgpu::Buffer, u64),
    buffers: &BTreeMap<Buf, wgpu::Buffer>,
) -> Result<wgpu::BindGroup> {
    let layout = pipelines.layout(dispatch.op);
    let mut entries = vec![wgpu::BindGroupEntry {
        binding: 0,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: arena,
            offset,
            size: wgpu::BufferSize::new(PARAMS_BYTES),
        }),
    }];
    for (binding, role) in (1..).zip(&dispatch.bindings) {
        let buffer = buffers.get(role).ok_or_else(|| {
            gpu.error(format!("`{}` reads {role:?}, which was not made", dispatch.label))
        })?;
        entries.push(wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
    }
    let descriptor = wgpu::BindGroupDescriptor {
        label: Some(&dispatch.label),
        layout: &layout,
        entries: &entries,
    };
    gpu.checked(|| gpu.device.create_bind_group(&descriptor))
        .map_err(|e| gpu.error(format!("`{}`: {e}", dispatch.label)))
}
