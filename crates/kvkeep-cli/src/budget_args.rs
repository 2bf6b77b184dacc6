//! The flags that lead to a budget, shared by the subcommands that need one.
//!
//! Every flag is optional here, so that a profile can fill in what the command line leaves
//! out. Defaults and checks come in [`BudgetArgs::plan`].

use crate::bytes::{parse_bytes, parse_tokens};
use crate::error::Error;
use crate::plan::{ModelSpec, resolve_model};
use kvkeep::budget::{
    Budget, DEFAULT_BLOCK_SIZE, GpuMemory, KvDtype, KvLayout, Memory, PerRank, plan,
};

/// vLLM's default.
const DEFAULT_GPU_MEMORY_UTILIZATION: f64 = 0.9;

/// From a model and GPU memory to a budget.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Model and parallelism (spelled as in vLLM)")]
pub(crate) struct BudgetArgs {
    /// Preset (qwen3-32b), model id (Qwen/Qwen3-32B-AWQ), or a Hugging Face config.json
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// GPUs that share each layer [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) tensor_parallel_size: Option<u32>,

    /// Stages that split the layers [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) pipeline_parallel_size: Option<u32>,

    /// Model dtype, what an `auto` KV cache uses [default: the model's own]
    #[arg(long, value_name = "DTYPE")]
    pub(crate) dtype: Option<String>,

    /// auto, fp8 (= fp8_e4m3), fp8_e5m2, bfloat16, float16 or int8 [default: auto]
    #[arg(long, value_name = "DTYPE")]
    pub(crate) kv_cache_dtype: Option<String>,

    /// Tokens per block [default: 16]
    #[arg(long, value_name = "TOKENS")]
    pub(crate) block_size: Option<u32>,

    /// Longest request, prompt and output: 40960, 32k (= 32,000) or 32K (= 32,768)
    #[arg(long, value_name = "TOKENS", value_parser = parse_tokens)]
    pub(crate) max_model_len: Option<u64>,

    /// KV cache memory per GPU, e.g. 12.58GiB; a comma list for uneven GPUs
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        value_parser = parse_bytes,
        conflicts_with_all = ["gpu_memory", "gpu_memory_free", "weights", "activations", "other_reserved"],
        help_heading = MEMORY_HEADING,
    )]
    pub(crate) kv_cache_memory_bytes: Vec<u64>,

    /// Memory per GPU, e.g. 24GiB
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = parse_bytes,
          help_heading = MEMORY_HEADING)]
    pub(crate) gpu_memory: Vec<u64>,

    /// Memory per GPU that is free before the engine starts [default: all of it]
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = parse_bytes,
          requires = "gpu_memory", help_heading = MEMORY_HEADING)]
    pub(crate) gpu_memory_free: Vec<u64>,

    /// Part of the GPU that the engine may use [default: 0.9]
    #[arg(long, value_name = "FRACTION", help_heading = MEMORY_HEADING)]
    pub(crate) gpu_memory_utilization: Option<f64>,

    /// Model weights per GPU
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = parse_bytes,
          requires = "gpu_memory", help_heading = MEMORY_HEADING)]
    pub(crate) weights: Vec<u64>,

    /// Peak of the activations per GPU [default: 0]
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = parse_bytes,
          requires = "gpu_memory", help_heading = MEMORY_HEADING)]
    pub(crate) activations: Vec<u64>,

    /// CUDA context, CUDA graphs, NCCL buffers, ... per GPU [default: 0]
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = parse_bytes,
          requires = "gpu_memory", help_heading = MEMORY_HEADING)]
    pub(crate) other_reserved: Vec<u64>,
}

const MEMORY_HEADING: &str = "Memory (one value for all GPUs, or one per GPU)";

/// A budget and what it was made from.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) budget: Budget,
    pub(crate) layout: KvLayout,
    pub(crate) model: ModelSpec,
    /// What the reader has to know about the figures.
    pub(crate) warnings: Vec<String>,
}

impl BudgetArgs {
    /// Whether any flag but `--block-size` is given, which a pool has without a budget too.
    pub(crate) fn is_given(&self) -> bool {
        Self { block_size: None, ..self.clone() } != Self::default()
    }

    /// The budget alone; warnings go to stderr.
    pub(crate) fn budget(&self) -> Result<Budget, Error> {
        let plan = self.plan()?;
        for warning in &plan.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(plan.budget)
    }

    /// Whether any memory is given, without which there is no budget.
    pub(crate) fn has_memory(&self) -> bool {
        !self.kv_cache_memory_bytes.is_empty() || !self.gpu_memory.is_empty()
    }

    /// The model and what a block takes, which need no memory.
    pub(crate) fn layout(&self) -> Result<(ModelSpec, KvLayout), Error> {
        let name = self.model.as_deref().ok_or_else(|| {
            Error::Input(
                "no model; budget flags need --model: a preset, a model id or a config.json"
                    .to_owned(),
            )
        })?;
        let model = resolve_model(name)?;
        let layout = KvLayout::builder(model.layers, model.attention, self.kv_dtype(&model)?)
            .block_size(self.block_size.unwrap_or(DEFAULT_BLOCK_SIZE))
            .tensor_parallel_size(self.tensor_parallel_size.unwrap_or(1))
            .pipeline_parallel_size(self.pipeline_parallel_size.unwrap_or(1))
            .build()?;
        Ok((model, layout))
    }

    /// Fills in the defaults and computes the budget.
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let (model, layout) = self.layout()?;
        let mut warnings = model.warnings.clone();
        let memory = self.memory(&mut warnings)?;
        let budget = plan(&layout, &memory, self.max_model_len)?;
        Ok(Plan { budget, layout, model, warnings })
    }

    fn kv_dtype(&self, model: &ModelSpec) -> Result<KvDtype, Error> {
        let parse = |flag, name: &str| {
            name.parse::<KvDtype>().map_err(|error| Error::Input(format!("{flag}: {error}")))
        };
        match (self.kv_cache_dtype.as_deref(), self.dtype.as_deref()) {
            (Some("auto") | None, Some("auto") | None) => model.dtype.ok_or_else(|| {
                Error::Input(format!(
                    "{} does not say its dtype; pass --kv-cache-dtype",
                    model.name
                ))
            }),
            (Some("auto") | None, Some(dtype)) => parse("--dtype", dtype),
            (Some(dtype), _) => parse("--kv-cache-dtype", dtype),
        }
    }

    fn memory(&self, warnings: &mut Vec<String>) -> Result<Memory, Error> {
        if let Some(bytes) = per_rank(&self.kv_cache_memory_bytes) {
            if self.gpu_memory_utilization.is_some() {
                warnings.push(
                    "--kv-cache-memory-bytes is given, so --gpu-memory-utilization has no effect \
                     (as in vLLM)"
                        .to_owned(),
                );
            }
            return Ok(Memory::KvBytes(bytes));
        }
        let total_bytes = per_rank(&self.gpu_memory).ok_or_else(|| {
            Error::Input(
                "no memory; pass --kv-cache-memory-bytes, or --gpu-memory with --weights"
                    .to_owned(),
            )
        })?;
        let weights_bytes = per_rank(&self.weights).ok_or_else(|| {
            Error::Input(
                "--gpu-memory needs --weights, the bytes of model weights on each GPU".to_owned(),
            )
        })?;
        if self.activations.is_empty() && self.other_reserved.is_empty() {
            warnings.push(
                "neither --activations nor --other-reserved is given: the plan is an upper bound"
                    .to_owned(),
            );
        }
        Ok(Memory::Gpu(GpuMemory {
            total_bytes,
            free_bytes: per_rank(&self.gpu_memory_free),
            gpu_memory_utilization: self
                .gpu_memory_utilization
                .unwrap_or(DEFAULT_GPU_MEMORY_UTILIZATION),
            weights_bytes,
            activation_bytes: per_rank(&self.activations).unwrap_or(PerRank::Same(0)),
            other_reserved_bytes: per_rank(&self.other_reserved).unwrap_or(PerRank::Same(0)),
        }))
    }
}

/// One value stands for all ranks, none for "not given".
fn per_rank(values: &[u64]) -> Option<PerRank<u64>> {
    match values {
        [] => None,
        [value] => Some(PerRank::Same(*value)),
        _ => Some(PerRank::Each(values.to_vec())),
    }
}
