//! The budget: from GPU memory and a KV layout to blocks.

use crate::errors::Raise;
use kvkeep::budget::{self, Attention, Budget, GpuMemory, KvDtype, Memory, PerRank, Value};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList};

/// What one token costs on one GPU.
///
/// Args:
///     layers: attention layers of the whole model.
///     dtype: "fp8" (= "fp8_e4m3"), "fp8_e5m2", "bfloat16", "float16" or "int8".
///     kv_heads, head_size: of grouped (GQA, MHA, MQA) attention; heads of the whole model.
///     latent_size, rope_size: of latent attention (MLA), instead.
///     block_size: tokens per block.
///     tensor_parallel_size: GPUs that share each layer.
///     pipeline_parallel_size: stages that split the layers.
///
/// Raises:
///     LayoutError: no such dtype, or sizes that do not go together; the message lists all.
///     ValueError: neither or both kinds of attention.
#[pyclass(frozen, eq, hash, module = "kvkeep")]
#[derive(Hash, PartialEq)]
pub(crate) struct KvLayout(pub(crate) budget::KvLayout);

#[pymethods]
impl KvLayout {
    #[new]
    #[pyo3(signature = (
        *, layers, dtype, kv_heads=None, head_size=None, latent_size=None, rope_size=None,
        block_size=budget::DEFAULT_BLOCK_SIZE, tensor_parallel_size=1, pipeline_parallel_size=1,
    ))]
    #[pyo3(text_signature = "(*, layers, dtype, kv_heads=None, head_size=None, \
                             latent_size=None, rope_size=None, block_size=16, \
                             tensor_parallel_size=1, pipeline_parallel_size=1)")]
    fn new(
        layers: u32,
        dtype: &str,
        kv_heads: Option<u32>,
        head_size: Option<u32>,
        latent_size: Option<u32>,
        rope_size: Option<u32>,
        block_size: u32,
        tensor_parallel_size: u32,
        pipeline_parallel_size: u32,
    ) -> PyResult<Self> {
        let attention = match (kv_heads, head_size, latent_size, rope_size) {
            (Some(kv_heads), Some(head_size), None, None) => {
                Attention::Grouped { kv_heads, head_size }
            }
            (None, None, Some(latent_size), Some(rope_size)) => {
                Attention::Latent { latent_size, rope_size }
            }
            _ => {
                let message = "pass kv_heads and head_size, or latent_size and rope_size";
                return Err(PyValueError::new_err(message));
            }
        };
        let dtype: KvDtype = dtype.parse().map_err(budget::ParseKvDtypeError::raise)?;
        budget::KvLayout::builder(layers, attention, dtype)
            .block_size(block_size)
            .tensor_parallel_size(tensor_parallel_size)
            .pipeline_parallel_size(pipeline_parallel_size)
            .build()
            .map(KvLayout)
            .map_err(budget::LayoutError::raise)
    }

    /// Tokens per block.
    #[getter]
    fn block_size(&self) -> u32 {
        self.0.block_size()
    }

    /// GPUs of one replica.
    #[getter]
    fn num_ranks(&self) -> u32 {
        self.0.num_ranks()
    }

    /// KV heads that each GPU keeps; 1 for latent attention.
    #[getter]
    fn kv_heads_per_gpu(&self) -> u32 {
        self.0.kv_heads_per_gpu()
    }

    /// Bytes that one token takes on each GPU of a pipeline stage; None if there is no such
    /// stage.
    #[pyo3(signature = (stage=0))]
    fn bytes_per_token_per_gpu(&self, stage: u32) -> Option<u64> {
        self.0.bytes_per_token_per_gpu(stage)
    }

    /// Bytes that one block takes on each GPU of a pipeline stage; None if there is no such
    /// stage.
    #[pyo3(signature = (stage=0))]
    fn bytes_per_block_per_gpu(&self, stage: u32) -> Option<u64> {
        self.0.bytes_per_block_per_gpu(stage)
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// Bytes: the same on each GPU, or a list with one number each.
enum Bytes {
    Same(u64),
    Each(Vec<u64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Bytes {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyInt>() {
            return object.extract().map(Bytes::Same);
        }
        object.extract().map(Bytes::Each)
    }
}

impl From<Bytes> for PerRank<u64> {
    fn from(bytes: Bytes) -> Self {
        match bytes {
            Bytes::Same(bytes) => PerRank::Same(bytes),
            Bytes::Each(bytes) => PerRank::Each(bytes),
        }
    }
}

/// How many blocks fit, and why.
///
/// All memory is bytes per GPU: one number for all, or a list with one for each rank.
///
/// Args:
///     layout: what a block takes.
///     kv_cache_memory_bytes: memory set aside for the KV cache; or
///     gpu_memory: all memory of the GPU, of which the engine takes
///     gpu_memory_utilization (above 0, at most 1), for
///     weights, activations (their peak), other_reserved, and the KV cache.
///     gpu_memory_free: what is free before the engine starts; all if not given.
///     max_model_len: longest request, in tokens; says how many of them fit at once.
///
/// Returns:
///     A dict, as `kvkeep plan --format json` prints it, without the model.
///
/// Raises:
///     PlanError: the memory contradicts itself, or does not do.
///     ValueError: neither or both of kv_cache_memory_bytes and gpu_memory.
#[pyfunction]
#[pyo3(signature = (
    layout, *, kv_cache_memory_bytes=None, gpu_memory=None, gpu_memory_free=None,
    gpu_memory_utilization=0.9, weights=None, activations=None, other_reserved=None,
    max_model_len=None,
))]
fn plan<'py>(
    py: Python<'py>,
    layout: &KvLayout,
    kv_cache_memory_bytes: Option<Bytes>,
    gpu_memory: Option<Bytes>,
    gpu_memory_free: Option<Bytes>,
    gpu_memory_utilization: f64,
    weights: Option<Bytes>,
    activations: Option<Bytes>,
    other_reserved: Option<Bytes>,
    max_model_len: Option<u64>,
) -> PyResult<Bound<'py, PyDict>> {
    let or_none = |bytes: Option<Bytes>| bytes.map_or(PerRank::Same(0), PerRank::from);
    let memory = match (kv_cache_memory_bytes, gpu_memory) {
        (Some(bytes), None) => Memory::KvBytes(bytes.into()),
        (None, Some(total)) => Memory::Gpu(GpuMemory {
            free_bytes: gpu_memory_free.map(PerRank::from),
            weights_bytes: or_none(weights),
            activation_bytes: or_none(activations),
            other_reserved_bytes: or_none(other_reserved),
            ..GpuMemory::new(total.into(), gpu_memory_utilization)
        }),
        _ => {
            let message = "pass kv_cache_memory_bytes, or gpu_memory with weights";
            return Err(PyValueError::new_err(message));
        }
    };
    let budget = budget::plan(&layout.0, &memory, max_model_len).map_err(Raise::raise)?;
    as_dict(py, &layout.0, &budget)
}

fn as_dict<'py>(
    py: Python<'py>,
    layout: &budget::KvLayout,
    budget: &Budget,
) -> PyResult<Bound<'py, PyDict>> {
    let ranks = PyList::empty(py);
    for rank in &budget.ranks {
        let dict = PyDict::new(py);
        for (name, value) in [
            ("rank", u64::from(rank.rank)),
            ("pipeline_stage", rank.pipeline_stage.into()),
            ("layers", rank.layers.into()),
            ("kv_bytes", rank.kv_bytes),
            ("bytes_per_block", rank.bytes_per_block),
            ("num_blocks_alone", rank.num_blocks_alone),
            ("remainder_bytes", rank.remainder_bytes),
            ("uneven_bytes", rank.uneven_bytes),
        ] {
            dict.set_item(name, value)?;
        }
        ranks.append(dict)?;
    }
    let derivation = PyList::empty(py);
    for line in budget.derivation.lines() {
        let dict = PyDict::new(py);
        dict.set_item("name", line.name)?;
        dict.set_item("formula", &line.formula)?;
        match line.value {
            Value::Requests(number) => dict.set_item("value", number)?,
            Value::Bytes(number)
            | Value::Layers(number)
            | Value::Heads(number)
            | Value::Blocks(number)
            | Value::Tokens(number) => dict.set_item("value", number)?,
            _ => dict.set_item("value", py.None())?,
        }
        dict.set_item("unit", line.value.unit())?;
        derivation.append(dict)?;
    }
    let dict = PyDict::new(py);
    dict.set_item("kv_cache_dtype", layout.dtype().to_string())?;
    dict.set_item("block_size", budget.block_size)?;
    dict.set_item("tensor_parallel_size", layout.tensor_parallel_size())?;
    dict.set_item("pipeline_parallel_size", layout.pipeline_parallel_size())?;
    dict.set_item("num_blocks", budget.num_blocks)?;
    dict.set_item("num_tokens", budget.num_tokens)?;
    dict.set_item("bytes_per_block_per_gpu", budget.bytes_per_block_per_gpu)?;
    dict.set_item("max_concurrency", budget.max_concurrency)?;
    dict.set_item("longest_model_len", budget.longest_model_len)?;
    dict.set_item("stranded_bytes", u64::try_from(budget.stranded_bytes()).unwrap_or(u64::MAX))?;
    dict.set_item("ranks", ranks)?;
    dict.set_item("derivation", derivation)?;
    Ok(dict)
}

/// Adds this file's names.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<KvLayout>()?;
    module.add_function(wrap_pyfunction!(plan, module)?)
}
