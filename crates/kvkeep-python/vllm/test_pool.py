"""Level 1 with KV events: the policy still learns which block follows which.

Run by prove.sh, inside vLLM.
"""

import random
from types import SimpleNamespace

import pytest

from kvkeep.vllm import settings
from kvkeep.vllm.pool import BlockPool

SIZE = 16


def replay(events: bool) -> list[list[int]]:
    """Ids of the blocks that each of many requests gets."""
    rng, pool, held, got = random.Random(3), BlockPool(60, True, SIZE, events), [], []
    for number in range(500):
        if held and (pool.get_num_free_blocks() < 8 or rng.random() < 0.3):
            pool.free_blocks(reversed(held.pop(rng.randrange(len(held)))))
            continue
        prompt, depth = rng.randrange(12), rng.randrange(1, 8)
        request = SimpleNamespace(
            request_id=str(number), block_hashes=[bytes([prompt, at]) * 16 for at in range(depth)],
            all_token_ids=[0] * depth * SIZE, lora_request=None, cache_salt=None, mm_features=[],
            prompt_embeds=None, session_id=None,
        )
        table = []
        for block_hash in request.block_hashes:
            found = pool.get_cached_block(block_hash, [0])
            if found is None:
                break
            table += found
        hit = len(table)
        pool.touch(table)
        table += pool.get_new_blocks(depth - hit)
        pool.cache_full_blocks(request, table, hit, depth, SIZE, 0)
        got.append([block.block_id for block in table])
        held.append(table)
    assert bool(pool.take_events()) == events
    return got


@pytest.mark.parametrize("policy", ["lru", "lru-2", "slru", "flop-aware", "gdsf", "hyperbolic"])
def test_events_change_no_eviction(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.POLICY, policy)
    assert replay(events=True) == replay(events=False)
