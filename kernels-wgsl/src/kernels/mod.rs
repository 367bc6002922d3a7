//! Oracles: what every op must compute, in f64 on the CPU, with inputs to try it on.
//!
//! A kernel without an oracle does not ship, and a foreign kernel is measured against the same ones.
//! Each case carries its tolerance and the argument for it. Inputs of a batch row depend on the row's
//! number alone, so the same row can be run in a batch and by itself and must give the same bits.

mod argmax;
mod attention;
mod drafting;
mod embedding;
mod experts;
mod fused;
mod heads;
mod inputs;
mod matmul;
mod norms;

use crate::bundle::{Bundle, EXPERTS};
use crate::error::Result;
use crate::gpu::{Gpu, Pipelines, Resolved};
use crate::plan::{Buf, Dispatch, Reach};
use crate::registry::{Op, entries};
use serde::Serialize;
use std::ops::Range;

pub(crate) use argmax::argmax;
pub(crate) use attention::{attention, attention_merge, attention_part};
pub(crate) use drafting::{centroid_head, centroid_top, draft_choose, draft_input};
pub(crate) use embedding::{embed, embed_block, ple_combine};
pub(crate) use experts::{expert_mix, route};
pub(crate) use fused::{per_layer_input, query_attention};
pub(crate) use heads::head_norm_rope;
#[cfg(test)]
pub(crate) use inputs::random_matrix;
pub(crate) use matmul::{matmul_bf16, matmul_block, matmul_int4};
pub(crate) use norms::{norm, residual_norm};

/// Spacing of f32 values around one, halved: the error of one rounding.
pub(crate) const ROUNDING: f64 = 1.0 / (1u64 << 24) as f64;

/// What one batch row must find at an output binding.
#[derive(Debug, Clone)]
pub(crate) struct OutputRow {
    /// First value, counted in words from the start of the buffer.
    pub(crate) at: usize,
    /// The oracle's values.
    pub(crate) expected: Vec<f64>,
    /// Largest difference that rounding explains.
    pub(crate) tolerance: f64,
}

/// One output binding of a case.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) binding: usize,
    /// Words are integers rather than f32.
    pub(crate) integer: bool,
    /// In batch row order.
    pub(crate) rows: Vec<OutputRow>,
}

/// One launch of an op with concrete inputs and the outputs it must give.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Why the tolerance is what it is.
    pub(crate) why: &'static str,
    pub(crate) op: Op,
    pub(crate) mode: u32,
    /// Values of the op's other constants.
    pub(crate) constants: Vec<(&'static str, u32)>,
    /// Experts per batch row, as in [`Dispatch::experts`].
    pub(crate) experts: u32,
    pub(crate) params: Vec<u32>,
    pub(crate) items: usize,
    /// Position of the first row.
    pub(crate) position: usize,
    pub(crate) rows: usize,
    /// Initial contents of bindings 2, 3, …
    pub(crate) buffers: Vec<Vec<u8>>,
    pub(crate) outputs: Vec<Output>,
}

/// How one kernel did on one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseReport {
    /// The op.
    pub op: Op,
    /// Name of the case.
    pub case: String,
    /// Largest difference to the oracle.
    pub largest_error: f64,
    /// Largest difference that rounding explains.
    pub tolerance: f64,
    /// Why.
    pub why: &'static str,
    /// Every output was finite and within its tolerance.
    pub passed: bool,
}

/// Runs every op's cases with the kernels of `bundle` and compares them with the oracles.
pub fn check(gpu: &Gpu, bundle: &Bundle) -> Result<Vec<CaseReport>> {
    let mut pipelines = Pipelines::new(gpu, bundle);
    let mut reports = Vec::new();
    for entry in entries() {
        for case in runnable(bundle, (entry.cases)(0..5)) {
            let found = run(gpu, &mut pipelines, &case)?;
            reports.push(report(&case, &found));
        }
    }
    Ok(reports)
}

/// The cases that the bundle's kernels can be built for: one without an `override` that a case needs is
/// refused by the models that need it, and is none the worse for the rest.
fn runnable(bundle: &Bundle, mut cases: Vec<Case>) -> Vec<Case> {
    cases.retain(|case| {
        let experts = (case.experts > 0).then_some((EXPERTS, case.experts));
        let constants: Vec<_> = case.constants.iter().copied().chain(experts).collect();
        bundle.missing(case.op, &constants).is_none()
    });
    cases
}

/// Runs every op's cases row by row and in batches of two, three, five and eight; names the cases whose
/// bits depend on the batch.
pub fn batch_dependent(gpu: &Gpu, bundle: &Bundle) -> Result<Vec<String>> {
    let mut pipelines = Pipelines::new(gpu, bundle);
    let mut found = Vec::new();
    for entry in entries() {
        let mut alone = Vec::new();
        for row in 0..8 {
            let cases = runnable(bundle, (entry.cases)(row..row + 1));
            let bits: Result<Vec<_>> =
                cases.iter().map(|case| run(gpu, &mut pipelines, case)).collect();
            alone.push(bits?);
        }
        for batch in [2, 3, 5, 8] {
            for (i, case) in runnable(bundle, (entry.cases)(0..batch)).iter().enumerate() {
                let together = run(gpu, &mut pipelines, case)?;
                let same = |row: &usize| {
                    let mut pairs = together.iter().zip(&alone[*row][i]);
                    pairs.all(|(batch, single)| batch[*row] == single[0])
                };
                if !(0..batch).all(|row| same(&row)) {
                    found.push(format!("{} {} in a batch of {batch}", entry.name, case.name));
                }
            }
        }
    }
    Ok(found)
}

/// Words of every output and row of a case.
fn run(gpu: &Gpu, pipelines: &mut Pipelines<'_>, case: &Case) -> Result<Vec<Vec<Vec<u32>>>> {
    let step = [case.position as u32, case.rows as u32];
    let mut buffers = vec![(Buf::Slot(1), gpu.upload("step", &[bytemuck::cast_slice(&step)])?)];
    for (slot, bytes) in (2..).zip(&case.buffers) {
        buffers.push((Buf::Slot(slot), gpu.upload(&case.name, &[bytes])?));
    }
    let buffers = buffers.into_iter().collect();
    let dispatch = Dispatch {
        label: case.name.clone(),
        op: case.op,
        mode: case.mode,
        constants: case.constants.clone(),
        experts: case.experts,
        bindings: (1..=case.buffers.len() + 1).map(Buf::Slot).collect(),
        params: case.params.clone(),
        items: case.items as u32,
        reach: Reach::All,
    };
    let resolved = Resolved::new(gpu, pipelines, &buffers, &[dispatch])?;
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        resolved.record(&mut pass, 0..1, (case.position, case.rows));
    }
    gpu.queue.submit([encoder.finish()]);
    let mut outputs = Vec::with_capacity(case.outputs.len());
    for output in &case.outputs {
        let buffer = &buffers[&Buf::Slot(output.binding)];
        let bytes = gpu.download(buffer, buffer.size())?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let row = |row: &OutputRow| words[row.at..row.at + row.expected.len()].to_vec();
        outputs.push(output.rows.iter().map(row).collect());
    }
    Ok(outputs)
}

fn report(case: &Case, found: &[Vec<Vec<u32>>]) -> CaseReport {
    let (mut largest_error, mut tolerance, mut passed) = (0.0f64, 0.0f64, true);
    for (output, found) in case.outputs.iter().zip(found) {
        for (row, words) in output.rows.iter().zip(found) {
            tolerance = tolerance.max(row.tolerance);
            for (&word, &expected) in words.iter().zip(&row.expected) {
                let value =
                    if output.integer { f64::from(word) } else { f64::from(f32::from_bits(word)) };
                let error = (value - expected).abs();
                // A NaN compares false, so it fails here.
                passed &= error <= row.tolerance;
                largest_error =
                    largest_error.max(if error.is_nan() { f64::INFINITY } else { error });
            }
        }
    }
    let (op, why) = (case.op, case.why);
    CaseReport { op, case: case.name.clone(), largest_error, tolerance, why, passed }
}

/// Output rows of equal width that lie one after the other from the start of the buffer.
fn dense_rows(rows: &Range<usize>, expected: impl Fn(usize) -> (Vec<f64>, f64)) -> Vec<OutputRow> {
    let mut at = 0;
    rows.clone()
        .map(|row| {
            let (expected, tolerance) = expected(row);
            let output = OutputRow { at, tolerance, expected };
            at += output.expected.len();
            output
        })
        .collect()
}
