"""kvkeep inside vLLM: a plugin that vLLM loads by itself.

Install kvkeep beside vLLM and set one environment variable:

``KVKEEP_VLLM``
    ``auto`` or ``2``: the whole hot path of the KV cache manager where the model allows it
    (one full-attention group), else the block pool. ``1``: the block pool alone. ``0`` or
    unset: nothing, vLLM stays as it is.
``KVKEEP_VLLM_POLICY``
    Name of an eviction policy, ``lru`` by default, which evicts in vLLM's own order.

Hits, block ids, events and hashes are those of vLLM. A log line says what is on and why.
"""

from kvkeep.vllm.plugin import register

__all__ = ["register"]
