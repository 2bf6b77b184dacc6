"""Makes qwen3/: a tiny Qwen3 with random weights, as Hugging Face's transformers save it,
and the logits that transformers compute for a prompt.

    pip install torch transformers
    python make_qwen3.py

Made with torch 2.13.0 and transformers 5.19.0.
"""

import json
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

folder = Path(__file__).parent / "qwen3"
torch.manual_seed(1)
config = Qwen3Config(
    num_hidden_layers=2,
    hidden_size=16,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,  # not hidden_size / num_attention_heads
    intermediate_size=24,
    vocab_size=24,
    rope_theta=1000.0,
    rms_norm_eps=1e-5,
    tie_word_embeddings=False,
    eos_token_id=3,
    torch_dtype="float32",
)
model = Qwen3ForCausalLM(config).eval()
with torch.no_grad():
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.uniform_(0.5, 1.5)
        else:
            weight.normal_(0, weight.shape[-1] ** -0.5)
    prompt = [5, 1, 17, 9, 9, 23, 0, 12, 4, 8, 20, 2, 11, 6]
    logits = model(torch.tensor([prompt])).logits[0]
model.save_pretrained(folder)
(folder / "generation_config.json").unlink(missing_ok=True)
expected = {"prompt": prompt, "logits": logits.double().tolist()}
(folder / "expected.json").write_text(json.dumps(expected) + "\n")
