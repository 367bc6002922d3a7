//! Compiled kernels of one bundle.

use super::Gpu;
use crate::bundle::{Bundle, EXPERTS, Kernel};
use crate::error::{Error, Result};
use crate::plan::Dispatch;
use crate::registry::{Access, Op};
use std::collections::BTreeMap;

/// `override` that says how many batch rows one workgroup takes.
const BATCH_TILE: &str = "BATCH_TILE";
/// Bytes of a dispatch's uniform block.
pub(crate) const PARAMS_BYTES: u64 = 64;

/// A kernel compiled for one value of its mode constant: one pipeline per batch tile, smallest first.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    pub(crate) tiles: Vec<(u32, wgpu::ComputePipeline)>,
    pub(crate) rows_per_workgroup: u32,
}

impl Variant {
    /// The tile that runs `rows` batch rows at the least cost, where a workgroup costs two for reading its
    /// weights and one for every batch row of its tile, whether the row exists or not.
    pub(crate) fn tile_for(&self, rows: u32) -> &(u32, wgpu::ComputePipeline) {
        let cost = |tile: u32| u64::from(rows.div_ceil(tile)) * u64::from(tile + 2);
        let best = self.tiles.iter().min_by_key(|(tile, _)| cost(*tile));
        best.expect("a kernel has at least one tile: Bundle checks it")
    }
}

/// Names and values of a variant's `override` constants.
type Constants = Vec<(&'static str, u32)>;

/// Pipelines and layouts of a bundle, compiled as they are asked for and kept.
pub(crate) struct Pipelines<'a> {
    gpu: &'a Gpu,
    bundle: &'a Bundle,
    layouts: BTreeMap<Op, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    modules: BTreeMap<Op, wgpu::ShaderModule>,
    variants: BTreeMap<(Op, Constants), Variant>,
}

impl<'a> Pipelines<'a> {
    pub(crate) fn new(gpu: &'a Gpu, bundle: &'a Bundle) -> Self {
        let (layouts, modules, variants) = Default::default();
        Pipelines { gpu, bundle, layouts, modules, variants }
    }

    /// The bind group layout of an op.
    pub(crate) fn layout(&mut self, op: Op) -> wgpu::BindGroupLayout {
        self.layouts_of(op).0.clone()
    }

    fn layouts_of(&mut self, op: Op) -> &(wgpu::BindGroupLayout, wgpu::PipelineLayout) {
        let device = &self.gpu.device;
        self.layouts.entry(op).or_insert_with(|| {
            let entries: Vec<wgpu::BindGroupLayoutEntry> = (0..)
                .zip(op.entry().bindings)
                .map(|(binding, (_, access))| wgpu::BindGroupLayoutEntry {
                    binding,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer {
                        ty: match access {
                            Access::Uniform => wgpu::BufferBindingType::Uniform,
                            Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                            Access::Write => wgpu::BufferBindingType::Storage { read_only: false },
                        },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                    count: None,
                })
                .collect();
            let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(op.entry().name),
                entries: &entries,
            });
            let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(op.entry().name),
                bind_group_layouts: &[Some(&group)],
                immediate_size: 0,
            });
            (group, pipeline)
        })
    }

    /// The op's kernel compiled for the mode and the other constants of `dispatch`.
    pub(crate) fn variant(&mut self, dispatch: &Dispatch) -> Result<Variant> {
        let op = dispatch.op;
        let mut constants = dispatch.constants.clone();
        // Rows of different experts share no weights, so there is nothing to tile.
        let tiled = dispatch.experts == 0;
        if !tiled {
            constants.push((EXPERTS, dispatch.experts));
        }
        if let Some((name, value)) = self.bundle.missing(op, &constants) {
            let (bundle, op) = (self.bundle.name(), op.entry().name);
            return Err(Error::Bundle(format!(
                "`{bundle}` has a kernel for `{op}` that declares no `override {name}`, for which this \
                 model needs {value}; use another bundle, or add the constant as the built-in kernel has it"
            )));
        }
        let mode_constant = op.entry().mode_constant.map(|name| (name, dispatch.mode));
        constants.extend(mode_constant);
        let key = (op, constants);
        if let Some(variant) = self.variants.get(&key) {
            return Ok(variant.clone());
        }
        let kernel = self.bundle.kernel(op);
        let module = self.module(op, kernel)?;
        let layout = self.layouts_of(op).1.clone();
        let wanted: &[u32] = if tiled { &kernel.batch_tiles } else { &[1] };
        let mut tiles = Vec::with_capacity(wanted.len());
        for &tile in wanted {
            let given = [&key.1[..], &[(BATCH_TILE, tile)]].concat();
            tiles.push((tile, self.compile(op, &given, &module, &layout)?));
        }
        let variant = Variant { tiles, rows_per_workgroup: kernel.rows_per_workgroup };
        self.variants.insert(key, variant.clone());
        Ok(variant)
    }

    /// Foreign and built-in sources take the same checked path: bounds checks and bounded loops stay on.
    fn module(&mut self, op: Op, kernel: &Kernel) -> Result<wgpu::ShaderModule> {
        if let Some(module) = self.modules.get(&op) {
            return Ok(module.clone());
        }
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(op.entry().name),
            source: wgpu::ShaderSource::Wgsl(kernel.source.as_ref().into()),
        };
        let module = self
            .gpu
            .checked(|| self.gpu.device.create_shader_module(descriptor))
            .map_err(|message| Error::Kernel { kernel: op.entry().name.into(), message })?;
        self.modules.insert(op, module.clone());
        Ok(module)
    }

    fn compile(
        &self,
        op: Op,
        given: &[(&'static str, u32)],
        module: &wgpu::ShaderModule,
        layout: &wgpu::PipelineLayout,
    ) -> Result<wgpu::ComputePipeline> {
        let kernel = self.bundle.kernel(op);
        let mut constants: Vec<(&str, f64)> =
            kernel.constants.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let declared = given.iter().filter(|(name, _)| kernel.declared.contains(*name));
        constants.extend(declared.map(|(name, value)| (*name, f64::from(*value))));
        let descriptor = wgpu::ComputePipelineDescriptor {
            label: Some(op.entry().name),
            layout: Some(layout),
            module,
            entry_point: Some(&kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: true,
            },
            cache: None,
        };
        let name = format!("{} ({given:?})", op.entry().name);
        self.gpu
            .checked(|| self.gpu.device.create_compute_pipeline(&descriptor))
            .map_err(|message| Error::Kernel { kernel: name, message })
    }
}
