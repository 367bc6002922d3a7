//! How tensors are stored in files: plain numbers, or blocks of quantised ones (specification §8.1).

use serde::Serialize;

/// Storage type of a tensor in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Dtype {
    BF16,
    I64,
    I32,
    U32,
    /// f32, f16 and the block types of GGUF.
    Block(Block),
    /// A safetensors type that no weight has.
    Other(&'static str),
}

/// A storage type that the block kernels decode; the values are those of `FORMAT` in the shaders.
///
/// Sizes are per block of a row: `Q4K` stores 256 weights in 144 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) enum Block {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 4,
    Q5_1 = 5,
    Q8_0 = 6,
    Q4K = 7,
    Q5K = 8,
    Q6K = 9,
    Iq4Nl = 10,
}

impl Block {
    /// Weights and bytes of one block.
    pub(crate) fn layout(self) -> (usize, usize) {
        match self {
            Block::F32 => (1, 4),
            Block::F16 => (1, 2),
            Block::Q4_0 | Block::Iq4Nl => (32, 18),
            Block::Q4_1 => (32, 20),
            Block::Q5_0 => (32, 22),
            Block::Q5_1 => (32, 24),
            Block::Q8_0 => (32, 34),
            Block::Q4K => (256, 144),
            Block::Q5K => (256, 176),
            Block::Q6K => (256, 210),
        }
    }

    /// Bytes of a row of `cols` weights, or `None` where `cols` is no whole number of blocks.
    pub(crate) fn row_bytes(self, cols: usize) -> Option<usize> {
        let (weights, bytes) = self.layout();
        if cols.is_multiple_of(weights) { (cols / weights).checked_mul(bytes) } else { None }
    }

    /// Where in a block its f16 scale and minimum are, in bytes.
    pub(crate) fn halves(self) -> &'static [usize] {
        match self {
            Block::F32 => &[],
            Block::F16 | Block::Q4_0 | Block::Q5_0 | Block::Q8_0 | Block::Iq4Nl => &[0],
            Block::Q4_1 | Block::Q5_1 | Block::Q4K | Block::Q5K => &[0, 2],
            Block::Q6K => &[208],
        }
    }

    /// The name people use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Block::F32 => "F32",
            Block::F16 => "F16",
            Block::Q4_0 => "Q4_0",
            Block::Q4_1 => "Q4_1",
            Block::Q5_0 => "Q5_0",
            Block::Q5_1 => "Q5_1",
            Block::Q8_0 => "Q8_0",
            Block::Q4K => "Q4_K",
            Block::Q5K => "Q5_K",
            Block::Q6K => "Q6_K",
            Block::Iq4Nl => "IQ4_NL",
        }
    }
}

impl Dtype {
    /// The name people use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Dtype::BF16 => "BF16",
            Dtype::I64 => "I64",
            Dtype::I32 => "I32",
            Dtype::U32 => "U32",
            Dtype::Block(block) => block.name(),
            Dtype::Other(name) => name,
        }
    }

    /// Whether weights may have it.
    pub(crate) fn is_weight(self) -> bool {
        matches!(self, Dtype::BF16 | Dtype::Block(_))
    }
}

impl From<safetensors::Dtype> for Dtype {
    fn from(dtype: safetensors::Dtype) -> Self {
        use safetensors::Dtype as S;
        match dtype {
            S::BF16 => Dtype::BF16,
            S::F16 => Dtype::Block(Block::F16),
            S::F32 => Dtype::Block(Block::F32),
            S::I64 => Dtype::I64,
            S::I32 => Dtype::I32,
            S::U32 => Dtype::U32,
            S::BOOL => Dtype::Other("BOOL"),
            S::U8 => Dtype::Other("U8"),
            S::I8 => Dtype::Other("I8"),
            S::I16 => Dtype::Other("I16"),
            S::U16 => Dtype::Other("U16"),
            S::U64 => Dtype::Other("U64"),
            S::F64 => Dtype::Other("F64"),
            S::F8_E4M3 => Dtype::Other("F8_E4M3"),
            S::F8_E5M2 => Dtype::Other("F8_E5M2"),
            _ => Dtype::Other("another type"),
        }
    }
}
