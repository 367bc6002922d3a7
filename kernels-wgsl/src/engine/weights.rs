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

    /// Uploads pairs of matrices of one shape, one pair below the other, with a pair's rows alternating: first
    /// of `a`, first of `b`, …
    pub(super) fn alternate(
        &mut self,
        name: &str,
        a: &[Matrix<'_>],
        b: &[Matrix<'_>],
    ) -> Result<()> {
        let format = common_format(name, a)?;
        if format != common_format(name, b)? {
            return Err(mixed(name));
        }
        let size = a.iter().chain(b).map(|m| row_bytes(m).len() as u64).sum();
        let buffer = self.gpu.storage(name, size)?;
        let mut scales: Vec<Cow<'_, [u8]>> = Vec::new();
        let mut at = 0;
        for (a, b) in a.iter().zip(b) {
            let bytes = alternate(a.rows(), row_bytes(a), row_bytes(b));
            self.gpu.write(&buffer, at, &bytes);
            at += bytes.len() as u64;
            scales.push(alternate(a.rows(), &padded_scales(a), &padded_scales(b)).into());
        }
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

/// The rows of two matrices by turns.
fn alternate(rows: usize, a: &[u8], b: &[u8]) -> Vec<u8> {
    let width = (a.len() / rows).max(1);
    let pairs = a.chunks(width).zip(b.chunks(width));
    pairs.flat_map(|(a, b)| [a, b]).flatten().copied().collect()
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
