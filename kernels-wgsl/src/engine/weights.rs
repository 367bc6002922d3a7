//! Weights from a checkpoint to device buffers, fused as the kernels read them.

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::load::Matrix;
use crate::plan::{Buf, Format};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Buffers and formats of the linear layers uploaded so far.
pub(super) struct Weights<'a> {
    gpu: &'a Gpu,
    pub(super) buffers: BTreeMap<Buf, wgpu::Buffer>,
    pub(super) formats: BTreeMap<String, Format>,
}

impl<'a> Weights<'a> {
    pub(super) fn new(gpu: &'a Gpu) -> Self {
        Weights { gpu, buffers: BTreeMap::new(), formats: BTreeMap::new() }
    }

    /// Uploads matrices of equal input width one below the other as the weights `name`.
    pub(super) fn stack(&mut self, name: &str, parts: &[Matrix<'_>]) -> Result<()> {
        let format = common_format(name, parts)?;
        let bytes: Vec<&[u8]> = parts.iter().map(row_bytes).collect();
        let buffer = self.gpu.upload(name, &bytes)?;
        let scales: Vec<Cow<'_, [u8]>> = parts.iter().map(padded_scales).collect();
        self.keep(name, format, buffer, &scales)
    }

    /// Uploads two matrices of one shape with their rows alternating: first of `a`, first of `b`, …
    pub(super) fn alternate(&mut self, name: &str, a: &Matrix<'_>, b: &Matrix<'_>) -> Result<()> {
        let rows = a.rows();
        let alternate = |a: &[u8], b: &[u8]| -> Vec<u8> {
            let width = (a.len() / rows).max(1);
            a.chunks(width)
                .zip(b.chunks(width))
                .flat_map(|(a, b)| [a, b])
                .flatten()
                .copied()
                .collect()
        };
        let format = match (a, b) {
            (Matrix::Bf16 { .. }, Matrix::Bf16 { .. }) => Format::Bf16,
            (Matrix::Int4 { .. }, Matrix::Int4 { .. }) => Format::Int4,
            _ => return Err(mixed(name)),
        };
        let buffer = self.gpu.upload(name, &[&alternate(row_bytes(a), row_bytes(b))])?;
        let scales = match format {
            Format::Bf16 => Vec::new(),
            Format::Int4 => vec![Cow::Owned(alternate(&padded_scales(a), &padded_scales(b)))],
        };
        self.keep(name, format, buffer, &scales)
    }

    fn keep(
        &mut self,
        name: &str,
        format: Format,
        weights: wgpu::Buffer,
        scales: &[Cow<'_, [u8]>],
    ) -> Result<()> {
        self.buffers.insert(Buf::Weights(name.into()), weights);
        if format == Format::Int4 {
            let parts: Vec<&[u8]> = scales.iter().map(|s| s.as_ref()).collect();
            let buffer = self.gpu.upload(name, &parts)?;
            self.buffers.insert(Buf::Scales(name.into()), buffer);
        }
        self.formats.insert(name.into(), format);
        Ok(())
    }
}

fn mixed(name: &str) -> Error {
    Error::Unsupported {
        what: format!("`{name}` has some parts in bf16 and some in int4"),
        hint: "quantise q, k, v alike and gate and up alike".into(),
    }
}

fn common_format(name: &str, parts: &[Matrix<'_>]) -> Result<Format> {
    let mut formats = parts.iter().map(Format::of);
    let first = formats.next().unwrap_or(Format::Bf16);
    if formats.all(|f| f == first) { Ok(first) } else { Err(mixed(name)) }
}

fn row_bytes<'m>(matrix: &'m Matrix<'_>) -> &'m [u8] {
    match matrix {
        Matrix::Bf16 { data, .. } => data,
        Matrix::Int4 { codes, .. } => codes,
    }
}

/// Scales with every row padded to whole words, as the kernel addresses them; empty for bf16.
fn padded_scales<'m>(matrix: &'m Matrix<'_>) -> Cow<'m, [u8]> {
    let Matrix::Int4 { rows, scales, .. } = matrix else { return Cow::Borrowed(&[]) };
    let width = scales.len() / (*rows).max(1);
    if width % 4 == 0 {
        return Cow::Borrowed(scales);
    }
    Cow::Owned(scales.chunks(width).flat_map(|row| row.iter().copied().chain([0, 0])).collect())
}
