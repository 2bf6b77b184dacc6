//! What one token costs on one GPU.
//!
//! A [`KvLayout`] can only be made by its builder, which checks every field and every
//! combination; so all the sizes below are exact, cannot overflow and are never zero.

use super::dtype::KvDtype;
use std::fmt;

/// Tokens per block unless the builder is told otherwise, as in vLLM on CUDA.
pub const DEFAULT_BLOCK_SIZE: u32 = 16;

/// Most GPUs of one replica. A budget has an entry for each, so their number is bounded.
pub const MAX_RANKS: u32 = 1 << 16;

/// What a layer keeps of each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attention {
    /// Multi-head, grouped-query or multi-query attention: a K and a V vector of
    /// `head_size` elements for each of `kv_heads` heads. Tensor parallelism shards the
    /// heads.
    Grouped {
        /// KV heads of the whole model (not of one GPU).
        kv_heads: u32,
        /// Elements of one K or V vector.
        head_size: u32,
    },
    /// Multi-head latent attention (MLA): one vector of `latent_size + rope_size` elements
    /// that serves all heads as K and V. There are no heads to shard, so every
    /// tensor-parallel rank keeps a copy.
    Latent {
        /// Elements of the compressed K and V (`kv_lora_rank`).
        latent_size: u32,
        /// Elements of the decoupled positional key (`qk_rope_head_dim`).
        rope_size: u32,
    },
}

/// The KV cache of a model on a group of GPUs: what a token and a block cost on each.
///
/// A *rank* is a GPU; rank `r` belongs to pipeline stage `r / tensor_parallel_size`.
///
/// * **Tensor parallelism** shards the KV heads over the ranks of a stage. With more ranks
///   than heads each head is kept by `tensor_parallel_size / kv_heads` ranks. Latent
///   attention is replicated on all of them.
/// * **Pipeline stages** split the layers. When the layers do not divide, the remainder goes
///   one layer each to the stages before the last, counted from the back: 7 layers in 4
///   stages are 2, 2, 2, 1. This is the rule of vLLM (the last stage already has the final
///   norm and the output head).
///
/// ```
/// use kvkeep::budget::{Attention, KvDtype, KvLayout};
///
/// let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
/// let layout = KvLayout::builder(64, attention, KvDtype::Fp8E4m3)
///     .tensor_parallel_size(2)
///     .build()?;
/// assert_eq!(layout.kv_heads_per_gpu(), 4);
/// assert_eq!(layout.bytes_per_token_per_gpu(0), Some(64 << 10)); // 64 KiB
/// assert_eq!(layout.bytes_per_block_per_gpu(0), Some(1 << 20)); // 1 MiB
/// assert_eq!(layout.bytes_per_block_per_gpu(1), None); // there is only stage 0
/// # Ok::<(), kvkeep::budget::LayoutError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KvLayout {
    layers: u32,
    attention: Attention,
    dtype: KvDtype,
    block_size: u32,
    tensor_parallel_size: u32,
    pipeline_parallel_size: u32,
}

impl KvLayout {
    /// Starts a layout of one GPU with [`DEFAULT_BLOCK_SIZE`]: `layers` attention layers of
    /// the whole model, what each keeps, and the element type.
    pub const fn builder(layers: u32, attention: Attention, dtype: KvDtype) -> KvLayoutBuilder {
        KvLayoutBuilder(Self {
            layers,
            attention,
            dtype,
            block_size: DEFAULT_BLOCK_SIZE,
            tensor_parallel_size: 1,
            pipeline_parallel_size: 1,
        })
    }

    /// Attention layers of the whole model.
    #[must_use]
    pub const fn layers(&self) -> u32 {
        self.layers
    }

    /// What each layer keeps of a token.
    #[must_use]
    pub const fn attention(&self) -> Attention {
        self.attention
    }

    /// Element type.
    #[must_use]
    pub const fn dtype(&self) -> KvDtype {
        self.dtype
    }

    /// Tokens per block.
    #[must_use]
    pub const fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Ranks that share each layer.
    #[must_use]
    pub const fn tensor_parallel_size(&self) -> u32 {
        self.tensor_parallel_size
    }

    /// Stages that split the layers.
    #[must_use]
    pub const fn pipeline_parallel_size(&self) -> u32 {
        self.pipeline_parallel_size
    }

    /// GPUs of one replica: tensor-parallel ranks times pipeline stages.
    #[must_use]
    pub const fn num_ranks(&self) -> u32 {
        // The builder has checked that this product fits.
        self.tensor_parallel_size * self.pipeline_parallel_size
    }

    /// Layers of pipeline stage `stage`; `None` when there is no such stage.
    ///
    /// ```
    /// use kvkeep::budget::{Attention, KvDtype, KvLayout};
    ///
    /// let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
    /// let layout = KvLayout::builder(62, attention, KvDtype::Bf16)
    ///     .pipeline_parallel_size(4)
    ///     .build()?;
    /// let layers: Vec<_> = (0..4).filter_map(|stage| layout.stage_layers(stage)).collect();
    /// assert_eq!(layers, [15, 16, 16, 15]);
    /// # Ok::<(), kvkeep::budget::LayoutError>(())
    /// ```
    #[must_use]
    pub const fn stage_layers(&self, stage: u32) -> Option<u32> {
        let stages = self.pipeline_parallel_size;
        if stage >= stages {
            return None;
        }
        let remainder = self.layers % stages;
        // Counted from the back, the last stage is 1; stages 2 ..= remainder + 1 get one more.
        let from_back = stages - stage;
        let extra = (from_back >= 2 && from_back - 1 <= remainder) as u32;
        Some(self.layers / stages + extra)
    }

    /// KV heads that each GPU keeps; 1 for latent attention, whose one vector serves all.
    #[must_use]
    pub const fn kv_heads_per_gpu(&self) -> u32 {
        match self.attention {
            Attention::Latent { .. } => 1,
            Attention::Grouped { kv_heads, .. } => {
                if self.tensor_parallel_size >= kv_heads {
                    1
                } else {
                    kv_heads / self.tensor_parallel_size
                }
            }
        }
    }

    /// Ranks of one stage that hold the same KV. 1 means that nothing is kept twice.
    #[must_use]
    pub const fn replication(&self) -> u32 {
        match self.attention {
            Attention::Latent { .. } => self.tensor_parallel_size,
            Attention::Grouped { kv_heads, .. } => {
                if self.tensor_parallel_size > kv_heads {
                    self.tensor_parallel_size / kv_heads
                } else {
                    1
                }
            }
        }
    }

    /// Vectors that one GPU keeps per token and layer: K and V of each of its heads, or the
    /// one latent vector.
    #[must_use]
    pub const fn vectors_per_token_per_layer(&self) -> u64 {
        match self.attention {
            Attention::Grouped { .. } => 2 * self.kv_heads_per_gpu() as u64,
            Attention::Latent { .. } => 1,
        }
    }

    /// Elements of one such vector.
    #[must_use]
    pub const fn vector_size(&self) -> u64 {
        match self.attention {
            Attention::Grouped { head_size, .. } => head_size as u64,
            Attention::Latent { latent_size, rope_size } => latent_size as u64 + rope_size as u64,
        }
    }

    /// Bytes of one vector, without its scale.
    #[must_use]
    pub const fn bytes_per_vector(&self) -> u64 {
        self.vector_size() * self.dtype.element_bytes() as u64
    }

    /// Bytes that one token takes in one layer on one GPU, scales included.
    #[must_use]
    pub const fn bytes_per_token_per_layer(&self) -> u64 {
        self.vectors_per_token_per_layer()
            * (self.bytes_per_vector() + self.dtype.scale_bytes_per_vector() as u64)
    }

    /// Bytes that one token takes on each GPU of pipeline stage `stage`; `None` when there
    /// is no such stage.
    #[must_use]
    pub fn bytes_per_token_per_gpu(&self, stage: u32) -> Option<u64> {
        Some(u64::from(self.stage_layers(stage)?) * self.bytes_per_token_per_layer())
    }

    /// Bytes that one block takes on each GPU of pipeline stage `stage`; `None` when there
    /// is no such stage.
    #[must_use]
    pub fn bytes_per_block_per_gpu(&self, stage: u32) -> Option<u64> {
        Some(self.bytes_per_token_per_gpu(stage)? * u64::from(self.block_size))
    }

    /// Every reason why this is not a layout.
    fn problems(&self) -> Vec<LayoutProblem> {
        let mut problems = Vec::new();
        let (first, second) = match self.attention {
            Attention::Grouped { kv_heads, head_size } => {
                (("kv_heads", kv_heads), ("head_size", head_size))
            }
            // An MLA variant without a positional key is thinkable; an empty latent is not.
            Attention::Latent { latent_size, .. } => {
                (("latent_size", latent_size), ("latent_size", latent_size))
            }
        };
        let mut fields = vec![
            ("layers", self.layers),
            first,
            second,
            ("block_size", self.block_size),
            ("tensor_parallel_size", self.tensor_parallel_size),
            ("pipeline_parallel_size", self.pipeline_parallel_size),
        ];
        fields.dedup();
        for (field, value) in fields {
            if value == 0 {
                problems.push(LayoutProblem::Zero { field });
            }
        }
        if !problems.is_empty() {
            return problems;
        }
        let (ranks, stages) = (self.tensor_parallel_size, self.pipeline_parallel_size);
        if let Attention::Grouped { kv_heads, .. } = self.attention
            && kv_heads % ranks != 0
            && ranks % kv_heads != 0
        {
            problems.push(LayoutProblem::HeadsDoNotDivide { kv_heads, ranks });
        }
        if stages > self.layers {
            problems.push(LayoutProblem::MoreStagesThanLayers { stages, layers: self.layers });
        }
        let num_ranks = u64::from(ranks) * u64::from(stages);
        if num_ranks > u64::from(MAX_RANKS) {
            problems.push(LayoutProblem::TooManyRanks { num_ranks });
        }
        if self.largest_block_bytes().is_none() {
            problems.push(LayoutProblem::TooLarge);
        }
        problems
    }

    /// Bytes of a block that holds all layers; `None` when they do not fit a `u64`.
    fn largest_block_bytes(&self) -> Option<u64> {
        let vector_bytes = self.bytes_per_vector() + u64::from(self.dtype.scale_bytes_per_vector());
        self.vectors_per_token_per_layer()
            .checked_mul(vector_bytes)?
            .checked_mul(u64::from(self.layers))?
            .checked_mul(u64::from(self.block_size))
    }
}

/// Builds a [`KvLayout`]; see [`KvLayout::builder`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct KvLayoutBuilder(KvLayout);

impl KvLayoutBuilder {
    /// Tokens per block, at least 1; [`DEFAULT_BLOCK_SIZE`] if not called.
    pub const fn block_size(mut self, tokens: u32) -> Self {
        self.0.block_size = tokens;
        self
    }

    /// Ranks that share each layer, at least 1; 1 if not called.
    pub const fn tensor_parallel_size(mut self, ranks: u32) -> Self {
        self.0.tensor_parallel_size = ranks;
        self
    }

    /// Stages that split the layers, at least 1; 1 if not called.
    pub const fn pipeline_parallel_size(mut self, stages: u32) -> Self {
        self.0.pipeline_parallel_size = stages;
        self
    }

    /// Checks the layout.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] with everything that is wrong, not just the first thing.
    ///
    /// ```
    /// use kvkeep::budget::{Attention, KvDtype, KvLayout, LayoutProblem};
    ///
    /// let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
    /// let error = KvLayout::builder(2, attention, KvDtype::Bf16)
    ///     .tensor_parallel_size(3)
    ///     .pipeline_parallel_size(4)
    ///     .build()
    ///     .unwrap_err();
    /// assert_eq!(error.problems(), [
    ///     LayoutProblem::HeadsDoNotDivide { kv_heads: 8, ranks: 3 },
    ///     LayoutProblem::MoreStagesThanLayers { stages: 4, layers: 2 },
    /// ]);
    /// ```
    pub fn build(self) -> Result<KvLayout, LayoutError> {
        let problems = self.0.problems();
        if problems.is_empty() { Ok(self.0) } else { Err(LayoutError { problems }) }
    }
}

/// One reason why a [`KvLayout`] cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutProblem {
    /// A field that must be at least 1 is 0.
    Zero {
        /// Name of the field.
        field: &'static str,
    },
    /// Neither can the heads be sharded over the ranks nor replicated over them.
    HeadsDoNotDivide {
        /// KV heads of the model.
        kv_heads: u32,
        /// Tensor-parallel ranks.
        ranks: u32,
    },
    /// Some stage would have no layer.
    MoreStagesThanLayers {
        /// Pipeline stages.
        stages: u32,
        /// Layers of the model.
        layers: u32,
    },
    /// Tensor-parallel ranks times pipeline stages exceed [`MAX_RANKS`].
    TooManyRanks {
        /// GPUs asked for.
        num_ranks: u64,
    },
    /// A block exceeds what the arithmetic can hold.
    TooLarge,
}

impl fmt::Display for LayoutProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { field } => write!(f, "{field} is 0; it must be at least 1"),
            Self::HeadsDoNotDivide { kv_heads, ranks } => write!(
                f,
                "{kv_heads} KV heads cannot be split evenly over {ranks} tensor-parallel ranks; \
                 use a tensor_parallel_size that divides {kv_heads} or is a multiple of it"
            ),
            Self::MoreStagesThanLayers { stages, layers } => write!(
                f,
                "{stages} pipeline stages for {layers} layers leave a stage without a layer; \
                 lower pipeline_parallel_size to at most {layers}"
            ),
            Self::TooManyRanks { num_ranks } => write!(
                f,
                "{num_ranks} GPUs are more than {MAX_RANKS}; lower tensor_parallel_size or \
                 pipeline_parallel_size"
            ),
            Self::TooLarge => f.write_str("a block would exceed 2^64 bytes; check the sizes"),
        }
    }
}

/// Everything that is wrong with a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutError {
    problems: Vec<LayoutProblem>,
}

impl LayoutError {
    /// The problems; never empty.
    #[must_use]
    pub fn problems(&self) -> &[LayoutProblem] {
        &self.problems
    }
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid KV layout: ")?;
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for LayoutError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QWEN3_32B: Attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
    const DEEPSEEK_V3: Attention = Attention::Latent { latent_size: 512, rope_size: 64 };

    fn layout(layers: u32, attention: Attention, dtype: KvDtype, tp: u32, pp: u32) -> KvLayout {
        KvLayout::builder(layers, attention, dtype)
            .tensor_parallel_size(tp)
            .pipeline_parallel_size(pp)
            .build()
            .expect("valid layout")
    }

    #[test]
    fn bytes_per_token_worked_by_hand() {
        // 2 * 64 layers * 4 heads * 128 * 1 byte
        let fp8 = layout(64, QWEN3_32B, KvDtype::Fp8E4m3, 2, 1);
        assert_eq!(fp8.bytes_per_token_per_gpu(0), Some(65_536));
        // ... * 2 bytes
        let bf16 = layout(64, QWEN3_32B, KvDtype::Bf16, 2, 1);
        assert_eq!(bf16.bytes_per_token_per_gpu(0), Some(131_072));
        // 2 * 64 * 4 * (128 + 4 bytes of scale)
        let int8 = layout(64, QWEN3_32B, KvDtype::Int8, 2, 1);
        assert_eq!(int8.bytes_per_token_per_gpu(0), Some(67_584));
        // 61 layers * (512 + 64) * 2 bytes, on every rank
        let mla = layout(61, DEEPSEEK_V3, KvDtype::Bf16, 8, 1);
        assert_eq!(mla.bytes_per_token_per_gpu(0), Some(70_272));
        assert_eq!(mla.replication(), 8);
        // 61 * (576 + 4)
        let mla = layout(61, DEEPSEEK_V3, KvDtype::Int8, 8, 1);
        assert_eq!(mla.bytes_per_token_per_gpu(0), Some(35_380));
    }

    #[test]
    fn more_ranks_than_heads_replicate() {
        let layout = layout(64, QWEN3_32B, KvDtype::Fp8E4m3, 16, 1);
        assert_eq!(layout.kv_heads_per_gpu(), 1);
        assert_eq!(layout.replication(), 2);
        assert_eq!(layout.bytes_per_token_per_gpu(0), Some(2 * 64 * 128));
    }

    #[test]
    fn remainder_layers_go_before_the_last_stage() {
        let split = |layers, stages| {
            let layout = layout(layers, QWEN3_32B, KvDtype::Bf16, 1, stages);
            (0..stages).map(|stage| layout.stage_layers(stage).expect("stage")).collect::<Vec<_>>()
        };
        assert_eq!(split(3, 2), [2, 1]);
        assert_eq!(split(4, 3), [1, 2, 1]);
        assert_eq!(split(5, 3), [2, 2, 1]);
        assert_eq!(split(7, 4), [2, 2, 2, 1]);
        assert_eq!(split(61, 8), [7, 7, 8, 8, 8, 8, 8, 7]);
        assert_eq!(split(64, 1), [64]);
    }

    #[test]
    fn every_problem_is_listed() {
        let error =
            KvLayout::builder(0, Attention::Grouped { kv_heads: 0, head_size: 0 }, KvDtype::Bf16)
                .block_size(0)
                .tensor_parallel_size(0)
                .pipeline_parallel_size(0)
                .build()
                .expect_err("all zero");
        assert_eq!(error.problems().len(), 6);
        assert!(error.to_string().contains("head_size is 0"), "{error}");
    }

    #[test]
    fn absurd_sizes_are_refused() {
        let attention = Attention::Grouped { kv_heads: u32::MAX, head_size: u32::MAX };
        let error = KvLayout::builder(u32::MAX, attention, KvDtype::Bf16).build();
        assert_eq!(error.expect_err("huge").problems(), [LayoutProblem::TooLarge]);
        let error = KvLayout::builder(u32::MAX, DEEPSEEK_V3, KvDtype::Bf16)
            .tensor_parallel_size(1 << 16)
            .pipeline_parallel_size(1 << 16)
            .build();
        assert_eq!(
            error.expect_err("ranks").problems(),
            [LayoutProblem::TooManyRanks { num_ranks: 1 << 32 }]
        );
    }

    proptest! {
        #[test]
        fn stages_split_all_layers_and_shards_hold_all_heads(
            layers in 1u32..200,
            heads in 1u32..64,
            tp in 1u32..64,
            pp in 1u32..64,
        ) {
            let attention = Attention::Grouped { kv_heads: heads, head_size: 64 };
            let built = KvLayout::builder(layers, attention, KvDtype::Bf16)
                .tensor_parallel_size(tp)
                .pipeline_parallel_size(pp)
                .build();
            let valid = (heads % tp == 0 || tp % heads == 0) && pp <= layers;
            prop_assert_eq!(built.is_ok(), valid);
            if let Ok(layout) = built {
                let split: Vec<u32> = (0..pp).filter_map(|stage| layout.stage_layers(stage)).collect();
                prop_assert_eq!(split.len() as u32, pp);
                prop_assert_eq!(split.iter().sum::<u32>(), layers);
                prop_assert!(split.iter().max().expect("stage") - split.iter().min().expect("stage") <= 1);
                prop_assert_eq!(layout.kv_heads_per_gpu() * tp, heads * layout.replication());
            }
        }
    }
}
