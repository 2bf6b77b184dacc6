"""Configurations of the models that vLLM's tests name, into the local hub cache.

The tests read `config.json` only, never weights. What is here has the right architecture and
plain sizes. HF_HOME says where.
"""

import json
import os
from pathlib import Path

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 4096,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 32064,
}
OPT = {
    "architectures": ["OPTForCausalLM"],
    "model_type": "opt",
    "ffn_dim": 3072,
    "hidden_size": 768,
    "max_position_embeddings": 2048,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "vocab_size": 50272,
    "word_embed_proj_dim": 768,
}
VISION = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
MODELS = {
    "facebook/opt-125m": OPT,
    "facebook/opt-350m": OPT,
    "Qwen/Qwen1.5-7B": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **TEXT,
        "max_position_embeddings": 32768,
    },
    "Qwen/Qwen3-0.6B": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "head_dim": 16,
        **TEXT,
        "max_position_embeddings": 40960,
    },
    "Qwen/Qwen3-Next-80B-A3B-Instruct": {
        "architectures": ["Qwen3NextForCausalLM"],
        "model_type": "qwen3_next",
        "head_dim": 16,
        **TEXT,
        "max_position_embeddings": 262144,
    },
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "vision_config": {"model_type": "qwen2_5_vl", "depth": 2, "hidden_size": 64},
        **TEXT,
    },
    "llava-hf/llava-1.5-7b-hf": {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": 32000,
        "image_seq_length": 576,
        "text_config": {"model_type": "llama", **TEXT},
        "vision_config": {
            "model_type": "clip_vision_model",
            "image_size": 336,
            "patch_size": 14,
            "num_hidden_layers": 2,
            **VISION,
        },
    },
}
# How images become patches: the files beside `config.json`, by model.
PROCESSING = {
    "llava-hf/llava-1.5-7b-hf": {
        "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "LlavaProcessor",
            "crop_size": {"height": 336, "width": 336},
            "size": {"shortest_edge": 336},
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
        "processor_config.json": {
            "processor_class": "LlavaProcessor",
            "image_token": "<image>",
            "patch_size": 14,
            "num_additional_image_tokens": 1,
            "vision_feature_select_strategy": "default",
        },
    },
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
            "size": {"shortest_edge": 3136, "longest_edge": 12845056},
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    },
}
COMMIT = "0" * 40

# For tests that make requests with structured output: they load a tokenizer and never read
# what it says.
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [
        {"id": 32000, "content": "<image>", "special": True, "single_word": False,
         "lstrip": False, "rstrip": False, "normalized": False},
    ],
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {
        "type": "WordLevel",
        "vocab": {"<unk>": 0, "</s>": 2, "<image>": 32000},
        "unk_token": "<unk>",
    },
}
TOKENIZER_CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}


def main() -> None:
    hub = Path(os.environ["HF_HOME"]) / "hub"
    for name, config in MODELS.items():
        folder = hub / f"models--{name.replace('/', '--')}"
        snapshot = folder / "snapshots" / COMMIT
        snapshot.mkdir(parents=True, exist_ok=True)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(COMMIT)
        files = {
            # With a type, or vLLM looks for it in weights on the network, and waits.
            "config.json": {"dtype": "float16", **config},
            "tokenizer.json": TOKENIZER,
            "tokenizer_config.json": TOKENIZER_CONFIG,
            **PROCESSING.get(name, {}),
        }
        for file, content in files.items():
            (snapshot / file).write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
