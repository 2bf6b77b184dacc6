"""Block hashes, bit-identical to vLLM's, computed in Rust.

`sha256` and `sha256_cbor` are kvkeep's; a hash function of another name, and hashes that
look ahead (speculative decoding in 0.33), stay vLLM's.
"""

from collections.abc import Callable
from typing import Any

import vllm.v1.core.kv_cache_utils as utils
from vllm.utils.hashing import sha256, sha256_cbor

from kvkeep._kvkeep import RequestHasher

_FORMS = {sha256: "sha256", sha256_cbor: "sha256_cbor"}
_otherwise = utils.get_request_block_hasher


def get_request_block_hasher(
    hash_block_size: int,
    caching_hash_fn: Callable[[Any], bytes],
    *lookahead: int,
    **more: int,
) -> Callable[[Any], Any]:
    """What vLLM calls for the hashes of a request's blocks that have become full."""
    otherwise = _otherwise(hash_block_size, caching_hash_fn, *lookahead, **more)
    form = _FORMS.get(caching_hash_fn)
    if form is None or any(lookahead) or any(more.values()):
        return otherwise
    return RequestHasher(hash_block_size, form, utils, otherwise).new_hashes
