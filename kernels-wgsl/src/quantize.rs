//! Round-to-nearest int4 quantisation in the compressed-tensors layout.
//!
//! Symmetric codes q in -8..=7, one bf16 scale for every 32 weights of a row, scale = absmax / 7.5
//! (compressed-tensors `pack_quantized`). Attention, MLP, experts and the per-layer-embedding projections are
//! quantised; embeddings, the per-layer table, routers, norms and layer scalars stay as they are.

use crate::error::{Error, Result};
use crate::load::{Checkpoint, Matrix};
use half::bf16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use serde::Serialize;
use std::collections::BTreeMap;

const GROUP: usize = 32;

/// How far one quantised tensor is from its original.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorError {
    /// Tensor name without its checkpoint prefix.
    pub tensor: String,
    /// Number of weights.
    pub weights: usize,
    /// Root of the mean squared difference.
    pub rms_error: f64,
    /// `rms_error` divided by the root mean square of the original.
    pub relative_error: f64,
    /// Largest single difference.
    pub max_error: f64,
}

/// A quantised checkpoint.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// Files by name, as [`Checkpoint::from_files`] takes them.
    pub files: BTreeMap<String, Vec<u8>>,
    /// One line per quantised tensor, in name order.
    pub report: Vec<TensorError>,
}

struct Packed {
    codes: Vec<u8>,
    scales: Vec<u8>,
    error: TensorError,
}

fn pack(name: &str, weights: &[f32]) -> Packed {
    let mut codes = Vec::with_capacity(weights.len() / 2);
    let mut scales = Vec::with_capacity(weights.len() / GROUP * 2);
    let (mut squared, mut original, mut max_error) = (0.0f64, 0.0f64, 0.0f64);
    for group in weights.chunks_exact(GROUP) {
        let absmax = group.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        let scale = bf16::from_f32(absmax / 7.5);
        scales.extend(scale.to_le_bytes());
        let scale = scale.to_f32();
        let mut quantise = |w: f32| {
            let code =
                if scale > 0.0 { (w / scale).round_ties_even().clamp(-8.0, 7.0) } else { 0.0 };
            let difference = f64::from(w) - f64::from(code * scale);
            squared += difference * difference;
            original += f64::from(w) * f64::from(w);
            max_error = max_error.max(difference.abs());
            (code as i32 + 8) as u8
        };
        for pair in group.chunks_exact(2) {
            let low = quantise(pair[0]);
            codes.push(low | (quantise(pair[1]) << 4));
        }
    }
    let count = weights.len().max(1) as f64;
    let error = TensorError {
        tensor: name.to_string(),
        weights: weights.len(),
        rms_error: (squared / count).sqrt(),
        relative_error: if original > 0.0 { (squared / original).sqrt() } else { 0.0 },
        max_error,
    };
    Packed { codes, scales, error }
}

/// Quantises every linear layer of `checkpoint` but the output head.
///
/// Errors where the checkpoint is quantised already.
pub fn int4_g32(checkpoint: &Checkpoint) -> Result<Quantized> {
    if checkpoint.config().int4 {
        return Err(Error::Unsupported {
            what: "quantising a quantised checkpoint".into(),
            hint: "start from the bf16 weights".into(),
        });
    }
    let config = checkpoint.config();
    let mut linear: Vec<String> = (0..config.layers.len())
        .flat_map(|i| checkpoint.layer_matrices(i))
        .map(|(name, ..)| name)
        // A token's experts follow from small differences between the router's scores.
        .filter(|name| !name.ends_with("router.proj"))
        .collect();
    for i in 0..config.layers.len() {
        for expert in 0..config.moe.map_or(0, |moe| moe.experts) {
            let name = |part| format!("layers.{i}.experts.{expert}.{part}");
            linear.extend(["gate_proj", "up_proj", "down_proj"].map(name));
        }
    }
    if config.ple_width > 0 {
        linear.push("per_layer_model_projection".into());
    }
    linear.sort();
    let mut stored: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut report = Vec::with_capacity(linear.len());
    for (name, tensor) in checkpoint.tensors() {
        let module = name.strip_suffix(".weight").unwrap_or(name);
        if linear.binary_search_by(|l| l.as_str().cmp(module)).is_err() {
            let entry = (tensor.dtype, tensor.shape.clone(), tensor.data().to_vec());
            stored.insert(format!("model.{name}"), entry);
            continue;
        }
        let [rows, cols] = tensor.shape[..] else { return Err(tensor.error("is not a matrix")) };
        let packed = pack(name, &tensor.to_f32()?);
        let key = |part: &str| format!("model.{module}.{part}");
        stored.insert(key("weight_packed"), (Dtype::I32, vec![rows, cols / 8], packed.codes));
        stored.insert(key("weight_scale"), (Dtype::BF16, vec![rows, cols / GROUP], packed.scales));
        let shape = [rows as i64, cols as i64].iter().flat_map(|n| n.to_le_bytes()).collect();
        stored.insert(key("weight_shape"), (Dtype::I64, vec![2], shape));
        report.push(packed.error);
    }
    let mut files = BTreeMap::from([
        ("config.json".to_string(), quantised_config(checkpoint)?),
        ("model.safetensors".to_string(), write_safetensors(&stored)?),
    ]);
    for name in
        ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"]
    {
        if let Some(bytes) = checkpoint.file(name) {
            files.insert(name.to_string(), bytes.to_vec());
        }
    }
    Ok(Quantized { files, report })
}

fn write_safetensors(stored: &BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>) -> Result<Vec<u8>> {
    let corrupt = |e: safetensors::SafeTensorError| Error::Corrupt {
        file: "model.safetensors".into(),
        message: e.to_string(),
    };
    let mut views = Vec::with_capacity(stored.len());
    for (name, (dtype, shape, data)) in stored {
        views.push((name, TensorView::new(*dtype, shape.clone(), data).map_err(corrupt)?));
    }
    serialize(views, None).map_err(corrupt)
}

/// The original configuration with a `quantization_config` as compressed-tensors writes it.
fn quantised_config(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let corrupt = |message: String| Error::Corrupt { file: "config.json".into(), message };
    let original = checkpoint.file("config.json").unwrap_or_default();
    let mut value: serde_json::Value =
        serde_json::from_slice(original).map_err(|e| corrupt(e.to_string()))?;
    let top = value.as_object_mut().ok_or_else(|| corrupt("is not an object".into()))?;
    let quantisation = serde_json::json!({
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": { "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 4, "type": "int", "symmetric": true,
                "strategy": "group", "group_size": GROUP,
            },
        } },
        "ignore": ["lm_head"],
    });
    top.insert("quantization_config".into(), quantisation);
    serde_json::to_vec_pretty(&value).map_err(|e| corrupt(e.to_string()))
}

/// The values a quantised matrix stands for, row by row, as f32: what the kernels multiply with.
pub(crate) fn dequantise(matrix: &Matrix<'_>) -> Vec<f32> {
    match matrix {
        Matrix::Bf16 { data, .. } => {
            data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        Matrix::Int4 { codes, scales, .. } => {
            let scale = |i: usize| bf16::from_le_bytes([scales[2 * i], scales[2 * i + 1]]).to_f32();
            let nibbles = codes.iter().flat_map(|b| [b & 15, b >> 4]);
            nibbles
                .enumerate()
                .map(|(i, code)| (f32::from(code) - 8.0) * scale(i / GROUP))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_comes_back_within_half_a_step() {
        let weights: Vec<f32> = (0..64).map(|i| (i as f32 - 31.5) * 0.01).collect();
        let packed = pack("w", &weights);
        let matrix =
            Matrix::Int4 { rows: 2, codes: &packed.codes, scales: packed.scales.as_slice().into() };
        for (group, (back, original)) in
            dequantise(&matrix).chunks(32).zip(weights.chunks(32)).enumerate()
        {
            let absmax = original.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            for (b, o) in back.iter().zip(original) {
                // Codes reach 7 on the positive side, so the largest weight is off by up to half a step, plus
                // the scale's own bf16 rounding.
                assert!((b - o).abs() <= absmax / 7.5 * 0.55, "group {group}: {b} for {o}");
            }
        }
    }

    #[test]
    fn zeros_stay_zero() {
        let packed = pack("w", &[0.0; 32]);
        assert_eq!(packed.codes, vec![0x88; 16]);
        assert_eq!(packed.scales, vec![0, 0]);
    }
}
