//! Matrix products whose rows do not depend on the batch.
//!
//! A matrix library picks its kernel by shape: candle's (the `gemm` crate) has one for a
//! single row, another for small results, others above, and they add in different orders.
//! So the same token would have other last bits in a batch of 1 than in one of 512, and a
//! prefix hit, which computes fewer tokens, other logits than a cold run.
//!
//! Here every product has the same shape: [`TILE_ROWS`] rows, the last tile filled up with
//! zeros. `a_row_does_not_depend_on_its_batch` checks that a row's result then depends on
//! nothing but the row, and that without tiles it would.

use crate::Error;
use candle_core::{Device, Tensor};
use rayon::prelude::*;

/// Rows of every product. Fewer waste less on a decode step, more are faster in a prompt.
pub(crate) const TILE_ROWS: usize = 16;

/// A matrix of weights.
pub(crate) struct Linear {
    /// `[inputs, outputs]`, a view of the `[outputs, inputs]` that checkpoints have.
    weight: Tensor,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// From `[outputs, inputs]`, in f32.
    ///
    /// # Errors
    /// [`Error::Tensor`] if it is no matrix.
    pub(crate) fn new(weight: &Tensor) -> Result<Self, Error> {
        let (outputs, inputs) = weight.dims2()?;
        Ok(Linear { weight: weight.t()?, inputs, outputs })
    }

    /// Each row of `rows`, times the matrix.
    ///
    /// # Errors
    /// [`Error::Tensor`] if `rows` is not a number of rows of the matrix's inputs.
    pub(crate) fn forward(&self, rows: &[f32]) -> Result<Vec<f32>, Error> {
        let mut product = vec![0.0; rows.len() / self.inputs * self.outputs];
        rows.par_chunks(TILE_ROWS * self.inputs)
            .zip(product.par_chunks_mut(TILE_ROWS * self.outputs))
            .try_for_each(|(rows, product)| self.tile(rows, product))?;
        Ok(product)
    }

    fn tile(&self, rows: &[f32], product: &mut [f32]) -> Result<(), Error> {
        let mut tile = rows.to_vec();
        tile.resize(TILE_ROWS * self.inputs, 0.0);
        let tile = Tensor::from_vec(tile, (TILE_ROWS, self.inputs), &Device::Cpu)?;
        let result = tile.matmul(&self.weight)?.flatten_all()?.to_vec1()?;
        product.copy_from_slice(&result[..product.len()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;
    use proptest::prelude::*;

    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        (0..count as u64).map(|n| random::unit(seed, n) - 0.5).collect()
    }

    fn matrix(outputs: usize, inputs: usize) -> Tensor {
        let weight = numbers(1, outputs * inputs);
        Tensor::from_vec(weight, (outputs, inputs), &Device::Cpu).unwrap()
    }

    #[test]
    fn worked_by_hand() {
        let weight = Tensor::new(&[[1_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        let product = Linear::new(&weight).unwrap().forward(&[1.0, 10.0, 2.0, 0.0]).unwrap();
        assert_eq!(product, [21.0, 43.0, 65.0, 2.0, 6.0, 10.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_row_does_not_depend_on_its_batch(
            (outputs, inputs) in (1..300_usize, 1..1200_usize),
            rows in 1..70_usize,
            seed: u64,
        ) {
            let linear = Linear::new(&matrix(outputs, inputs)).unwrap();
            let batch = numbers(seed, rows * inputs);
            let together = linear.forward(&batch).unwrap();
            for (row, expected) in batch.chunks(inputs).zip(together.chunks(outputs)) {
                prop_assert_eq!(&linear.forward(row).unwrap(), expected);
            }
        }
    }

    /// What the tiles are for. Were this to fail on some machine, they would only cost time
    /// there.
    #[test]
    fn without_tiles_it_does_depend() {
        let (outputs, inputs) = (256, 768);
        let weight = matrix(outputs, inputs).t().unwrap();
        let batch = Tensor::from_vec(numbers(7, 64 * inputs), (64, inputs), &Device::Cpu).unwrap();
        let together = batch.matmul(&weight).unwrap().to_vec2::<f32>().unwrap();
        let differ = (0..64).any(|row| {
            let alone = batch.narrow(0, row, 1).unwrap().matmul(&weight).unwrap();
            alone.to_vec2::<f32>().unwrap()[0] != together[row]
        });
        assert!(differ, "a batch of 1 has the bits of a batch of 64 on this machine");
    }
}
