//! Random bytes with the distribution of weights.

use half::bf16;

/// Normal deviates that bf16 weights are drawn from.
const TABLE: usize = 1 << 16;

/// What a tensor holds.
#[derive(Debug, Clone)]
pub(crate) enum Fill {
    /// bf16 of this mean and standard deviation.
    Normal(f32, f32),
    /// Packed codes, every one equally likely.
    Bits,
    /// Every id once.
    Permutation,
    /// These numbers.
    Numbers(Vec<i64>),
}

/// Draws the contents of tensors.
pub(super) struct Source {
    rng: fastrand::Rng,
    deviates: Vec<f32>,
}

impl Source {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        // Box and Muller, two deviates at a time.
        let deviates = (0..TABLE / 2).flat_map(|_| {
            let (u, v) = (1.0 - rng.f64(), rng.f64());
            let (radius, angle) = ((-2.0 * libm::log(u)).sqrt(), std::f64::consts::TAU * v);
            [(radius * libm::cos(angle)) as f32, (radius * libm::sin(angle)) as f32]
        });
        let deviates = deviates.collect();
        Source { rng, deviates }
    }

    /// Gives `length` bytes of `fill` to `sink`, in pieces.
    pub(super) fn fill<E>(
        &mut self,
        fill: &Fill,
        length: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        const PIECE: u64 = 1 << 20;
        match fill {
            Fill::Normal(mean, deviation) => {
                let scaled = |z: &f32| bf16::from_f32(mean + deviation * z).to_le_bytes();
                let table: Vec<[u8; 2]> = self.deviates.iter().map(scaled).collect();
                self.pieces(length, PIECE, sink, |rng, piece| {
                    for values in piece.chunks_mut(8) {
                        let indices = rng.u64(..).to_le_bytes();
                        for (value, index) in values.chunks_mut(2).zip(indices.chunks(2)) {
                            let at = usize::from(u16::from_le_bytes([index[0], index[1]]));
                            value.copy_from_slice(&table[at][..value.len()]);
                        }
                    }
                })
            }
            Fill::Bits => self.pieces(length, PIECE, sink, |rng, piece| rng.fill(piece)),
            Fill::Permutation => {
                let mut ids: Vec<i64> = (0..(length / 8) as i64).collect();
                self.rng.shuffle(&mut ids);
                sink(&ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>())
            }
            Fill::Numbers(numbers) => {
                sink(&numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>())
            }
        }
    }

    fn pieces<E>(
        &mut self,
        length: u64,
        piece: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
        draw: impl Fn(&mut fastrand::Rng, &mut [u8]),
    ) -> Result<(), E> {
        let mut buffer = vec![0u8; piece.min(length) as usize];
        let mut left = length;
        while left > 0 {
            let now = left.min(piece) as usize;
            draw(&mut self.rng, &mut buffer[..now]);
            sink(&buffer[..now])?;
            left -= now as u64;
        }
        Ok(())
    }
}
