//! Tensors that are not quantised, as a safetensors file holds them.

use crate::load::{Block, Dtype, Tensor};
use half::bf16;
use std::io::{self, Write};

/// Values that are converted at once.
const CHUNK_VALUES: usize = 1 << 20;

/// How a tensor gets into the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Byte for byte.
    Same,
    /// A block type's values as bf16, which is finer than the blocks are.
    Bf16,
    /// f32, less the 1 that a reader adds.
    LessOne,
}

/// A tensor that is not quantised.
#[derive(Debug)]
pub(super) struct Copied {
    /// Name without prefix.
    pub(super) name: String,
    /// Type in the result.
    pub(super) dtype: &'static str,
    /// Size in the result.
    pub(super) bytes: usize,
    form: Form,
}

impl Copied {
    /// How `tensor` is copied; norms without the 1 where `less_one`.
    pub(super) fn of(name: &str, tensor: &Tensor, less_one: bool) -> Self {
        let values: usize = tensor.shape.iter().product();
        let (form, dtype, bytes) = match tensor.dtype {
            _ if less_one && name.ends_with("norm.weight") => (Form::LessOne, "F32", 4 * values),
            Dtype::BF16 | Dtype::Block(Block::F32 | Block::F16) => {
                (Form::Same, tensor.dtype.name(), tensor.data().len())
            }
            _ => (Form::Bf16, "BF16", 2 * values),
        };
        Copied { name: name.into(), dtype, bytes, form }
    }

    /// Whether a value has four bytes.
    pub(super) fn is_wide(&self) -> bool {
        self.dtype == "F32"
    }

    /// Writes the values of `tensor`.
    pub(super) fn write(&self, tensor: &Tensor, out: &mut dyn Write) -> io::Result<()> {
        if self.form == Form::Same {
            return out.write_all(tensor.data());
        }
        let (rows, columns) = match tensor.shape[..] {
            [rows, ref rest @ ..] => (rows, rest.iter().product::<usize>()),
            [] => (1, 1),
        };
        // A vector is one row to the reader of rows, but a value each here.
        let each = (CHUNK_VALUES / columns.max(1)).max(1);
        let mut values = Vec::new();
        for start in (0..rows).step_by(each) {
            values.clear();
            (start..(start + each).min(rows)).for_each(|row| tensor.decode_row(row, &mut values));
            let bytes: Vec<u8> = match self.form {
                Form::LessOne => values.iter().flat_map(|v| (v - 1.0).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
            };
            out.write_all(&bytes)?;
        }
        Ok(())
    }
}
