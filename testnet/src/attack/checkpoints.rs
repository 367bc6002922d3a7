//! Edits of nano's checkpoint.

use anyhow::{Context, ensure};
use assay_kernels::embedded_files;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::Value;
use std::collections::BTreeMap;

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";

/// One tensor out of its file.
#[derive(Debug, Clone)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// A checkpoint in memory: its configuration, its tensors and its other files.
pub struct Edited {
    /// The configuration.
    pub config: Value,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    others: BTreeMap<String, Vec<u8>>,
}

impl Edited {
    /// Nano as it is.
    ///
    /// # Errors
    ///
    /// Never with the embedded files.
    pub fn nano() -> anyhow::Result<Self> {
        let files =
            embedded_files().into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
        Self::read(files.collect())
    }

    /// A checkpoint of these files.
    ///
    /// # Errors
    ///
    /// When the configuration or the weights are missing or cannot be read.
    pub fn read(mut files: BTreeMap<String, Vec<u8>>) -> anyhow::Result<Self> {
        let config = files.remove(CONFIG).context("no config.json")?;
        let weights = files.remove(WEIGHTS).context("no model.safetensors")?;
        let held = SafeTensors::deserialize(&weights)?;
        let tensor = |(name, view): (String, TensorView<'_>)| {
            let (dtype, shape) = (view.dtype(), view.shape().to_vec());
            (name, Tensor { dtype, shape, data: view.data().to_vec() })
        };
        let tensors = held.tensors().into_iter().map(tensor).collect();
        Ok(Self { config: serde_json::from_slice(&config)?, tensors, others: files })
    }

    /// Adds a file.
    pub fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.others.insert(name.to_owned(), bytes);
    }

    /// Puts the tensors of a safetensors file in the place of those of the same names.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or has a tensor that is not here in that shape.
    pub fn lay_over(&mut self, weights: &[u8]) -> anyhow::Result<()> {
        for (name, view) in SafeTensors::deserialize(weights)?.tensors() {
            let tensor =
                self.tensors.get_mut(&name).with_context(|| format!("no tensor {name}"))?;
            ensure!(
                (tensor.dtype, tensor.shape.as_slice()) == (view.dtype(), view.shape()),
                "{name} is {:?} {:?}",
                view.dtype(),
                view.shape()
            );
            tensor.data = view.data().to_vec();
        }
        Ok(())
    }

    /// The files of the checkpoint.
    ///
    /// # Errors
    ///
    /// When a tensor's bytes do not fit its shape.
    pub fn files(self) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let views = self.tensors.iter().map(|(name, tensor)| -> anyhow::Result<_> {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data)?;
            Ok((name, view))
        });
        let views = views.collect::<anyhow::Result<Vec<_>>>()?;
        let mut files = self.others;
        files.insert(WEIGHTS.to_owned(), serialize(views, None)?);
        files.insert(CONFIG.to_owned(), serde_json::to_vec(&self.config)?);
        Ok(files)
    }

    /// Leaves a layer out, as the fastest recipes of the centralised event did: its tensors, its
    /// columns of the per-layer embeddings, its place in the configuration.
    ///
    /// # Errors
    ///
    /// When the configuration or a tensor is not nano's.
    pub fn drop_layer(&mut self, dropped: usize) -> anyhow::Result<()> {
        let types = self.config["layer_types"].as_array_mut().context("layer_types")?;
        types.remove(dropped);
        let layers = types.len();
        self.config["num_hidden_layers"] = layers.into();
        let shared = self.config["num_kv_shared_layers"].as_u64().context("shared layers")?;
        self.config["num_kv_shared_layers"] = (shared - 1).into();
        let renumber = |layer: usize| if layer > dropped { layer - 1 } else { layer };
        if let Some(special) = self.config["per_layer_config"].as_object_mut() {
            let old = std::mem::take(special);
            for (layer, value) in old {
                special.insert(renumber(layer.parse()?).to_string(), value);
            }
        }
        let width = self.config["hidden_size_per_layer_input"].as_u64().context("width")?;
        let width = usize::try_from(width)?;
        let old = std::mem::take(&mut self.tensors);
        for (name, mut tensor) in old {
            match name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
                Some((number, rest)) => {
                    let number: usize = number.parse()?;
                    if number != dropped {
                        self.tensors
                            .insert(format!("model.layers.{}.{rest}", renumber(number)), tensor);
                    }
                }
                None => {
                    match name.as_str() {
                        "model.embed_tokens_per_layer.weight" => {
                            tensor.cut(1, dropped * width, width)
                        }
                        "model.per_layer_model_projection.weight" => {
                            tensor.cut(0, dropped * width, width)
                        }
                        _ => {}
                    }
                    self.tensors.insert(name, tensor);
                }
            }
        }
        Ok(())
    }
}

impl Tensor {
    /// Removes `count` entries from `at` on along dimension `dim` of a bf16 matrix.
    fn cut(&mut self, dim: usize, at: usize, count: usize) {
        let row_bytes = 2 * self.shape[1];
        let kept = |bytes: &[u8], unit: usize| {
            let mut kept = bytes[..at * unit].to_vec();
            kept.extend_from_slice(&bytes[(at + count) * unit..]);
            kept
        };
        self.data = match dim {
            0 => kept(&self.data, row_bytes),
            _ => self.data.chunks(row_bytes).flat_map(|row| kept(row, 2)).collect(),
        };
        self.shape[dim] -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_kernels::Checkpoint;

    #[test]
    fn an_unedited_checkpoint_stays_itself() {
        let files = Edited::nano().unwrap().files().unwrap();
        let (ours, original) =
            (Checkpoint::from_files(files).unwrap(), Checkpoint::embedded().unwrap());
        assert_eq!(
            serde_json::to_value(ours.config()).unwrap(),
            serde_json::to_value(original.config()).unwrap()
        );
    }

    #[test]
    fn only_tensors_that_are_there_are_laid_over() {
        let norm = "model.norm.weight";
        let put = |name: &str, width: usize| {
            let data = vec![0_u8; 2 * width];
            let view = TensorView::new(Dtype::BF16, vec![width], &data).unwrap();
            let weights = serialize([(name, view)], None).unwrap();
            let mut edited = Edited::nano().unwrap();
            edited.lay_over(&weights).map(|()| edited.tensors[norm].data.clone())
        };
        assert_eq!(put(norm, 256).unwrap(), vec![0; 512]);
        assert!(put(norm, 128).unwrap_err().to_string().contains("[128]"));
        assert!(put("no.such", 256).unwrap_err().to_string().contains("no.such"));
    }

    #[test]
    fn a_layer_can_be_left_out() {
        let mut edited = Edited::nano().unwrap();
        edited.drop_layer(4).unwrap();
        let checkpoint = Checkpoint::from_files(edited.files().unwrap()).unwrap();
        assert_eq!(checkpoint.config().layers.len(), 7);
    }
}
