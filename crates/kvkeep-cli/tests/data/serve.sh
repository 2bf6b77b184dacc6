#!/bin/sh
# Started by hand.
export HF_HOME=$HOME/models
exec vllm serve Qwen/Qwen3-32B-AWQ \
    --tensor-parallel-size=2 \
    --kv-cache-dtype fp8 \
    --kv-cache-memory-bytes 13507672145 \
    --tool-call-parser qwen3 \
    --port "${PORT:-8000}" > vllm.log 2>&1
