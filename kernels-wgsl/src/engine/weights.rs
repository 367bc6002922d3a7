//! Weights from a checkpoint to device buffers, fused as the kernels read them.
//!
//! Rows go up in chunks: a tensor is never copied as a whole, whatever form it has to be brought into.

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::load::{Matrix, row_bytes};
use crate::plan::{Buf, Piece, Pieces, piece_name};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes of a chunk of rows on their way to the device.
const CHUNK_BYTES: usize = 8 << 20;
/// Rows that one launch covers with any kernel: workgroups along an axis, eight rows each.
pub(super) const ROWS_MAX: usize = 65_535 * 8;

/// Buffers and pieces of the linear layers uploaded so far.
pub(super) struct Weights<'a> {
    gpu: &'a Gpu,
    /// Largest buffer that a kernel may see.
    limit: usize,
    pub(super) buffers: BTreeMap<Buf, wgpu::Buffer>,
    pub(super) pieces: Pieces,
}

/// Rows of one or two matrices in the order in which the device has them.
#[derive(Clone, Copy)]
enum Rows<'m, 'a> {
    Of(&'m Matrix<'a>),
    /// First of the one, first of the other, second of the one, …
    Alternating(&'m Matrix<'a>, &'m Matrix<'a>),
}

impl Rows<'_, '_> {
    fn planes(&self, part: Range<usize>, codes: &mut Vec<u8>, rest: &mut Vec<u8>) {
        match self {
            Rows::Of(matrix) => matrix.planes(part, codes, rest),
            Rows::Alternating(a, b) => {
                for row in part {
                    let matrix = if row % 2 == 0 { a } else { b };
                    matrix.planes(row / 2..row / 2 + 1, codes, rest);
                }
            }
        }
    }
}

impl<'a> Weights<'a> {
    /// Weights in buffers of at most `part_bytes_max`.
    pub(super) fn new(gpu: &'a Gpu, part_bytes_max: u64) -> Self {
        let limit = usize::try_from(part_bytes_max).unwrap_or(usize::MAX);
        Weights { gpu, limit, buffers: BTreeMap::new(), pieces: Pieces::new() }
    }

    /// Uploads matrices of equal input width one below the other as the weights `name`. Neighbours in one
    /// format share a buffer; another format, or the binding limit, begins another piece.
    pub(super) fn stack(&mut self, name: &str, parts: &[Matrix<'_>]) -> Result<()> {
        let mut pieces = Vec::new();
        for run in parts.chunk_by(|a, b| a.format() == b.format()) {
            let total = run.iter().map(Matrix::rows).sum();
            let rows: Vec<_> = run.iter().map(|matrix| (Rows::Of(matrix), matrix.rows())).collect();
            self.put(name, &rows, &run[0], total, &mut pieces)?;
        }
        self.pieces.insert(name.into(), pieces);
        Ok(())
    }

    /// Uploads the gate and up projections of layer prefix `name`: row by row in turn as `<name>gate_up`
    /// where they are in one format, else each by itself as `<name>gate` and `<name>up`.
    pub(super) fn gate_up(&mut self, name: &str, gate: Matrix<'_>, up: Matrix<'_>) -> Result<()> {
        if gate.format() != up.format() {
            self.stack(&format!("{name}gate"), &[gate])?;
            return self.stack(&format!("{name}up"), &[up]);
        }
        self.alternate(&format!("{name}gate_up"), &[gate], &[up])
    }

    /// Uploads pairs of matrices of one shape, one pair below the other, with a pair's rows alternating: first
    /// of `a`, first of `b`, …
    pub(super) fn alternate(
        &mut self,
        name: &str,
        a: &[Matrix<'_>],
        b: &[Matrix<'_>],
    ) -> Result<()> {
        let Some(first) = a.first() else { return Ok(()) };
        if let Some(other) = a.iter().chain(b).find(|m| m.format() != first.format()) {
            let (one, other) = (first.format(), other.format());
            return Err(Error::Unsupported {
                what: format!("`{name}` has some parts in {one:?} and some in {other:?}"),
                hint: "store the experts' gate and up matrices alike".into(),
            });
        }
        let pairs = a.iter().zip(b);
        let rows: Vec<_> =
            pairs.map(|(a, b)| (Rows::Alternating(a, b), a.rows() + b.rows())).collect();
        let total = rows.iter().map(|(_, count)| count).sum();
        let mut pieces = Vec::new();
        self.put(name, &rows, first, total, &mut pieces)?;
        self.pieces.insert(name.into(), pieces);
        Ok(())
    }

    /// Uploads `total` rows in the format of `like` as further pieces of `name`.
    fn put(
        &mut self,
        name: &str,
        rows: &[(Rows<'_, '_>, usize)],
        like: &Matrix<'_>,
        total: usize,
        pieces: &mut Vec<Piece>,
    ) -> Result<()> {
        let most = rows_per_part(like, self.limit);
        for start in (0..total).step_by(most) {
            let part = start..(start + most).min(total);
            let own = piece_name(name, pieces.len());
            let (codes, rest) = upload(self.gpu, &own, rows, like, part.clone())?;
            self.buffers.insert(Buf::Weights(own.clone()), codes);
            if let Some(rest) = rest {
                self.buffers.insert(Buf::Scales(own), rest);
            }
            pieces.push(Piece { format: like.format(), rows: part.len() });
        }
        Ok(())
    }
}

/// Buffers of one part of a table: its rows, codes and scales.
pub(super) struct TablePart {
    pub(super) rows: Range<usize>,
    pub(super) codes: wgpu::Buffer,
    pub(super) scales: Option<wgpu::Buffer>,
}

/// Uploads a table in parts of at most `limit` bytes, every part but the last a whole number of workgroups.
pub(super) fn table(
    gpu: &Gpu,
    label: &str,
    table: &Matrix<'_>,
    limit: u64,
) -> Result<Vec<TablePart>> {
    let most = rows_per_part(table, usize::try_from(limit).unwrap_or(usize::MAX));
    let total = table.rows();
    let mut parts = Vec::new();
    for start in (0..total).step_by(most) {
        let rows = start..(start + most).min(total);
        let whole = [(Rows::Of(table), total)];
        let (codes, scales) = upload(gpu, label, &whole, table, rows.clone())?;
        parts.push(TablePart { rows, codes, scales });
    }
    Ok(parts)
}

/// Rows that fit into `limit` bytes and one launch, a multiple of eight.
fn rows_per_part(matrix: &Matrix<'_>, limit: usize) -> usize {
    let (codes, rest) = row_bytes(matrix.format(), matrix.cols());
    (limit / codes.max(rest).max(1) / 8 * 8).clamp(8, ROWS_MAX)
}

/// Uploads `part` of the rows of several matrices that lie one below the other.
fn upload(
    gpu: &Gpu,
    label: &str,
    rows: &[(Rows<'_, '_>, usize)],
    like: &Matrix<'_>,
    part: Range<usize>,
) -> Result<(wgpu::Buffer, Option<wgpu::Buffer>)> {
    let (code_bytes, rest_bytes) = row_bytes(like.format(), like.cols());
    let size = |each: usize| (each * part.len()) as u64;
    let codes = gpu.storage(label, size(code_bytes))?;
    let scales = match like.format().has_scales() {
        true => Some(gpu.storage(label, size(rest_bytes))?),
        false => None,
    };
    let chunk = (CHUNK_BYTES / (code_bytes + rest_bytes).max(1)).max(1);
    let (mut own, mut rest) = (Vec::new(), Vec::new());
    let (mut first, mut written) = (0, 0);
    for (source, count) in rows {
        // The rows of this matrix that are within the part.
        let held = part.start.clamp(first, first + count)..part.end.clamp(first, first + count);
        for start in held.clone().step_by(chunk) {
            let end = (start + chunk).min(held.end);
            own.clear();
            rest.clear();
            source.planes(start - first..end - first, &mut own, &mut rest);
            gpu.write(&codes, (written * code_bytes) as u64, &own);
            if let Some(scales) = &scales {
                gpu.write(scales, (written * rest_bytes) as u64, &rest);
            }
            gpu.queue.submit([]);
            written += end - start;
        }
        first += count;
    }
    Ok((codes, scales))
}
