//! Writes the steps of a plan into its derivation, with the numbers filled in.
//!
//! All steps are those of one GPU, the one that bounds the blocks.

use super::derivation::{Derivation, Grouped, Value};
use super::layout::{Attention, KvLayout};
use super::memory::Memory;
use super::plan::{RankBudget, at, requested_bytes};

/// From the layout to the bytes of a block.
pub(super) fn block(derivation: &mut Derivation, layout: &KvLayout, limiting: &RankBudget) {
    let (dtype, ranks) = (layout.dtype(), layout.tensor_parallel_size());
    let heads = layout.kv_heads_per_gpu();
    if layout.pipeline_parallel_size() > 1 {
        derivation.push(
            "layers per GPU",
            format!(
                "{} layers over {} stages, stage {}",
                layout.layers(),
                layout.pipeline_parallel_size(),
                limiting.pipeline_stage
            ),
            Value::Layers(limiting.layers.into()),
        );
    }
    let element = format!("{} B ({dtype})", dtype.element_bytes());
    let scale = match dtype.scale_bytes_per_vector() {
        0 => None,
        bytes => Some(format!("{bytes} B scale")),
    };
    let formula = match layout.attention() {
        Attention::Grouped { kv_heads, head_size } => {
            if ranks > 1 {
                let how = match layout.replication() {
                    1 => format!("{kv_heads} KV heads / {ranks} GPUs"),
                    copies => format!("{kv_heads} KV heads, {copies} GPUs keep each"),
                };
                derivation.push("KV heads per GPU", how, Value::Heads(heads.into()));
            }
            let vector = match scale {
                None => format!("{head_size} x {element}"),
                Some(scale) => format!("({head_size} x {element} + {scale})"),
            };
            format!("2 (K, V) x {} layers x {heads} KV heads x {vector}", limiting.layers)
        }
        Attention::Latent { latent_size, rope_size } => {
            let vector = match scale {
                None => format!("({latent_size} + {rope_size}) x {element}"),
                Some(scale) => format!("(({latent_size} + {rope_size}) x {element} + {scale})"),
            };
            let copies = if ranks > 1 { ", the same on every GPU" } else { "" };
            format!("{} layers x {vector}{copies}", limiting.layers)
        }
    };
    let bytes_per_token = u64::from(limiting.layers) * layout.bytes_per_token_per_layer();
    derivation.push("bytes per token per GPU", formula, Value::Bytes(bytes_per_token));
    derivation.push(
        "bytes per block per GPU",
        format!("{} tokens x {} B", layout.block_size(), Grouped(bytes_per_token)),
        Value::Bytes(limiting.bytes_per_block),
    );
}

/// From the GPU's memory to that of the KV cache.
pub(super) fn memory(derivation: &mut Derivation, memory: &Memory, limiting: &RankBudget) {
    let kv = Value::Bytes(limiting.kv_bytes);
    match memory {
        Memory::KvBytes(_) => {
            derivation.push("KV cache memory per GPU", "given".to_owned(), kv);
        }
        Memory::Gpu(gpu) => {
            let requested = requested_bytes(gpu, limiting.rank);
            derivation.push(
                "memory for the engine",
                format!(
                    "ceil({} B x {})",
                    Grouped(at(&gpu.total_bytes, limiting.rank)),
                    gpu.gpu_memory_utilization
                ),
                Value::Bytes(requested),
            );
            for (name, values) in [
                ("less weights", &gpu.weights_bytes),
                ("less activations", &gpu.activation_bytes),
                ("less other reserved", &gpu.other_reserved_bytes),
            ] {
                let bytes = at(values, limiting.rank);
                derivation.push(name, "given".to_owned(), Value::Bytes(bytes));
            }
            derivation.push("KV cache memory per GPU", "what is left".to_owned(), kv);
        }
    }
}

/// From the memory of the KV cache to blocks and tokens.
pub(super) fn pool(
    derivation: &mut Derivation,
    layout: &KvLayout,
    limiting: &RankBudget,
    num_tokens: u64,
    even: bool,
) {
    let bound = match even {
        true => String::new(),
        false => format!(", GPU {} bounds", limiting.rank),
    };
    derivation.push(
        "blocks",
        format!(
            "floor({} B / {} B){bound}",
            Grouped(limiting.kv_bytes),
            Grouped(limiting.bytes_per_block)
        ),
        Value::Blocks(limiting.num_blocks_alone),
    );
    derivation.push(
        "tokens",
        format!("{} blocks x {} tokens", Grouped(limiting.num_blocks_alone), layout.block_size()),
        Value::Tokens(num_tokens),
    );
}
