//! Edits of nano's checkpoint.

use anyhow::{Context, bail, ensure};
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

impl Edited {
    /// Turns the hidden state round: what was its first number is its last. Every matrix that reads or
    /// writes it is turned with it, so that the checkpoint says what it said, out of other numbers.
    ///
    /// # Errors
    ///
    /// When a tensor is not nano's.
    pub fn turn_hidden(&mut self) -> anyhow::Result<()> {
        const READERS: [&str; 7] = [
            "embed_tokens.weight",
            "q_proj.weight",
            "k_proj.weight",
            "v_proj.weight",
            "gate_proj.weight",
            "up_proj.weight",
            "per_layer_input_gate.weight",
        ];
        const WRITERS: [&str; 3] =
            ["o_proj.weight", "down_proj.weight", "per_layer_projection.weight"];
        let hidden = self.config["hidden_size"].as_u64().context("hidden_size")?;
        let hidden = usize::try_from(hidden)?;
        for (name, tensor) in &mut self.tensors {
            let is = |end: &&str| name.ends_with(&format!(".{end}"));
            let reads = READERS.iter().any(is) || name == "model.per_layer_model_projection.weight";
            let norm = name == "model.norm.weight"
                || name.ends_with("layernorm.weight")
                || name.ends_with("post_per_layer_input_norm.weight");
            if reads {
                ensure!(tensor.shape.get(1) == Some(&hidden), "{name} is {:?}", tensor.shape);
                tensor.data =
                    tensor.data.chunks(2 * hidden).flat_map(|row| turned(row, 2)).collect();
            } else if WRITERS.iter().any(is) {
                let [rows, columns] = tensor.shape[..] else { bail!("{name} is no matrix") };
                ensure!(rows == hidden, "{name} is {:?}", tensor.shape);
                tensor.data = turned(&tensor.data, 2 * columns);
            } else if norm {
                ensure!(tensor.shape == [hidden], "{name} is {:?}", tensor.shape);
                tensor.data = turned(&tensor.data, 2);
            }
        }
        Ok(())
    }

    /// Puts layers in front of a drafter's own that add nothing to its hidden state: it drafts what it
    /// drafted, and reads more for it.
    ///
    /// # Errors
    ///
    /// When the configuration or a tensor is not that of nano's drafter.
    pub fn prepend_idle_layers(&mut self, count: usize) -> anyhow::Result<()> {
        let text = self.config["text_config"].as_object_mut().context("text_config")?;
        let types = text.get_mut("layer_types").and_then(Value::as_array_mut);
        let types = types.context("layer_types")?;
        types.splice(0..0, std::iter::repeat_n(Value::from("sliding_attention"), count));
        let layers = types.len();
        for name in ["num_hidden_layers", "num_kv_shared_layers"] {
            text.insert(name.to_owned(), layers.into());
        }
        for (name, tensor) in std::mem::take(&mut self.tensors) {
            let placed = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
            let Some((layer, part)) = placed else {
                self.tensors.insert(name, tensor);
                continue;
            };
            let layer: usize = layer.parse()?;
            for idle in (0..count).filter(|_| layer == 0) {
                let mut tensor = tensor.clone();
                match part {
                    "self_attn.o_proj.weight" | "mlp.down_proj.weight" => tensor.data.fill(0),
                    // One, as bf16 spells it.
                    "layer_scalar" => tensor.data = vec![0x80, 0x3f],
                    _ => {}
                }
                self.tensors.insert(format!("model.layers.{idle}.{part}"), tensor);
            }
            self.tensors.insert(format!("model.layers.{}.{part}", layer + count), tensor);
        }
        Ok(())
    }
}

/// Units of so many bytes in the opposite order.
fn turned(bytes: &[u8], unit: usize) -> Vec<u8> {
    bytes.chunks(unit).rev().flatten().copied().collect()
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
    use assay_kernels::{AdapterRequest, Bundle, Checkpoint, Drafter, Engine, EngineOptions, Gpu};

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
    fn measured_a_turned_checkpoint_emits_what_it_emitted() {
        let gpu = Gpu::open(&AdapterRequest::default()).unwrap();
        let emitted = |files: &BTreeMap<String, Vec<u8>>| {
            let checkpoint = Checkpoint::from_files(files.clone()).unwrap();
            let options = EngineOptions::new(40, 32);
            let mut engine = Engine::new(&gpu, &checkpoint, &Bundle::builtin(), &options).unwrap();
            engine.prefill(&[2, 1500, 1000, 700, 1200]).unwrap();
            engine.decode_greedy(16, false).unwrap().tokens
        };
        let turned = |files: BTreeMap<String, Vec<u8>>| {
            let mut edited = Edited::read(files).unwrap();
            edited.turn_hidden().unwrap();
            edited.files().unwrap()
        };
        let nano = Edited::nano().unwrap().files().unwrap();
        let once = turned(nano.clone());
        assert!(once[WEIGHTS] != nano[WEIGHTS]);
        assert_eq!(emitted(&once), emitted(&nano));
        assert!(turned(once)[WEIGHTS] == nano[WEIGHTS], "turned twice it is itself");
    }

    #[test]
    fn idle_layers_are_counted_where_the_drafter_says_how_many_it_has() {
        let files = assay_kernels::embedded_drafter_files();
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
        let mut drafter = Edited::read(files.collect()).unwrap();
        drafter.prepend_idle_layers(8).unwrap();
        let drafter = Drafter::from_files(drafter.files().unwrap()).unwrap();
        assert_eq!(drafter.config().text.layers.len(), 12);
    }

    #[test]
    fn a_layer_can_be_left_out() {
        let mut edited = Edited::nano().unwrap();
        edited.drop_layer(4).unwrap();
        let checkpoint = Checkpoint::from_files(edited.files().unwrap()).unwrap();
        assert_eq!(checkpoint.config().layers.len(), 7);
    }
}
