//! Where weights come from: a seed, or the safetensors files of a model's folder.

use crate::{Error, random};
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;
use std::path::Path;

/// A source of tensors by name; names are those of Hugging Face's Qwen3.
pub enum Weights {
    /// Made up, each tensor from the seed and its name.
    Random(u64),
    /// From files.
    Files(HashMap<String, Tensor>),
}

impl Weights {
    /// Reads all `*.safetensors` files of a folder.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Tensor`] if a file is malformed.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let file = |path: &Path| {
            let path = path.to_owned();
            |error| Error::File { path, error }
        };
        let mut tensors = HashMap::new();
        for entry in std::fs::read_dir(folder).map_err(file(folder))? {
            let path = entry.map_err(file(folder))?.path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                let bytes = std::fs::read(&path).map_err(file(&path))?;
                tensors.extend(candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?);
            }
        }
        Ok(Self::Files(tensors))
    }

    /// The tensor of a name, as f32.
    ///
    /// # Errors
    /// [`Error::Weight`] if it is not there or has another shape.
    pub fn get(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        let tensor = match self {
            Self::Random(seed) => made_up(*seed, name, shape)?,
            // Each is wanted once; what is converted need not be kept twice.
            Self::Files(tensors) => match tensors.remove(name) {
                Some(tensor) if tensor.dims() == shape => tensor.to_dtype(DType::F32)?,
                found => {
                    return Err(Error::Weight {
                        name: name.to_owned(),
                        expected: shape.to_vec(),
                        found: found.map(|tensor| tensor.dims().to_vec()),
                    });
                }
            },
        };
        Ok(tensor)
    }

    /// The elements of such a tensor, row by row.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_vec(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        Ok(self.get(name, shape)?.flatten_all()?.to_vec1()?)
    }
}

/// Uniform numbers that keep the size of what goes through a matrix, and norms around 1.
fn made_up(seed: u64, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
    let seed = name.bytes().fold(seed, |seed, byte| random::word(seed, byte.into()));
    let (centre, width) = match shape {
        [_] => (1.0, 0.25),
        [.., inputs] if !name.contains("embed") => (0.0, (3.0 / *inputs as f32).sqrt()),
        _ => (0.0, 3_f32.sqrt()),
    };
    let count = shape.iter().product::<usize>() as u64;
    let number = |n| centre + width * (2.0 * random::unit(seed, n) - 1.0);
    let numbers: Vec<f32> = (0..count).map(number).collect();
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}
