"""What `kvkeep.vllm` is made of, without vLLM: hashes and the pool."""

import hashlib
import pickle
import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from kvkeep._kvkeep import PoolBlock, PoolCore, RequestHasher

NONE_HASH = bytes.fromhex("066b1e8987e027138e98701c46128929378935f9b6cd1549105ae6b4f0d71198")


def sha256(value: Any) -> bytes:
    """vLLM's default block hash."""
    return hashlib.sha256(pickle.dumps(value, protocol=5)).digest()


def request(tokens: list[int], **more: Any) -> SimpleNamespace:
    attributes: dict[str, Any] = {
        "block_hashes": [],
        "_all_token_ids": tokens,
        "prompt_embeds": None,
        "mm_features": [],
        "lora_request": None,
        "cache_salt": None,
    }
    return SimpleNamespace(**(attributes | more))


def refuse(_: Any) -> list[bytes]:
    return [b"vLLM's own"]


def hasher(form: str = "sha256", block_size: int = 16) -> Callable[[Any], Sequence[bytes]]:
    return RequestHasher(block_size, form, SimpleNamespace(NONE_HASH=NONE_HASH), refuse).new_hashes


@pytest.mark.parametrize("block_size", [1, 2, 3, 4, 16, 64, 65])
def test_hashes_are_those_of_pickle_and_hashlib(block_size: int) -> None:
    rng = random.Random(block_size)
    widths = [1 << 8, 1 << 16, 1 << 31, 1 << 32]
    tokens = [rng.randrange(rng.choice(widths)) for _ in range(block_size * 5 + (block_size > 1))]
    asked, parent, expected = request(tokens), NONE_HASH, []
    for start in range(0, block_size * 5, block_size):
        parent = sha256((parent, tuple(tokens[start : start + block_size]), None))
        expected.append(parent)
    assert list(hasher("sha256", block_size)(asked)) == expected
    # The last two, after the others.
    asked.block_hashes = expected[:3]
    assert list(hasher("sha256", block_size)(asked)) == expected[3:]
    asked.block_hashes = expected
    assert list(hasher("sha256", block_size)(asked)) == []


def test_salt_and_adapter() -> None:
    tokens = list(range(32))
    lora = SimpleNamespace(lora_name="sql", lora_path="/adapters/sql")
    asked = request(tokens, cache_salt="tenant", lora_request=lora)
    key = ("lora", lora.lora_name, lora.lora_path)
    first = sha256((NONE_HASH, tuple(tokens[:16]), (key, ("cache_salt", asked.cache_salt))))
    second = sha256((first, tuple(tokens[16:]), (key,)))
    assert list(hasher()(asked)) == [first, second]


@pytest.mark.parametrize(
    "odd",
    [
        {"mm_features": ["image"]},
        {"prompt_embeds": "tensor"},
        {"lora_request": SimpleNamespace(lora_name="same", lora_path="same")},
        {"cache_salt": 7},
        {"_all_token_ids": [-1] * 16},
        # Read while the first block is hashed.
        {"_all_token_ids": [*range(31), 1 << 32]},
    ],
)
def test_what_is_not_for_kvkeep_goes_to_vllm(odd: dict[str, Any]) -> None:
    assert hasher()(request(list(range(16)), **odd)) == [b"vLLM's own"]


def test_cbor_golden_vector() -> None:
    none = bytes.fromhex("9bd96a485ad84efdafb72ee48a1d7a69bcead0f8f0433173941b276b9581eef0")
    cbor = RequestHasher(16, "sha256_cbor", SimpleNamespace(NONE_HASH=none), refuse).new_hashes
    [first] = cbor(request(list(range(16))))
    assert first.hex() == "dc918a88b139e5afe60b88eda27508d4aee16c10fdc354791efea06206ac0749"


def key(number: int) -> bytes:
    return bytes([number]) * 32 + bytes(4)


def test_the_pool_hands_out_in_order() -> None:
    pool = PoolCore(6, 16, "lru")
    one, two, three = pool.get_new_blocks(3)
    assert [block.block_id for block in (one, two, three)] == [1, 2, 3]
    pool.cache_full_blocks([one, two], [key(1)[:32], key(2)[:32]], 0, 2, 16, 0)
    assert (two.block_hash, two.block_hash_num_tokens) == (key(2), 32)
    pool.free_blocks(reversed([one, two, three]))
    # The blank one first, then those never used, then the cached ones, tail first.
    assert pool.block_ids(pool.queue_after()) == [3, 4, 5, 2, 1]
    assert pool.get_cached_block(key(1)[:32], [0]) == [one]
    assert pool.get_cached_block(key(1)[:32], [0, 1]) is None
    pool.touch([one])
    assert (one.ref_cnt, pool.num_free()) == (1, 4)
    _, lost = pool.get_new_blocks_and_lost(4)
    assert lost == [key(2)]
    pool.validate()


def test_the_pool_says_what_is_wrong() -> None:
    pool, other = PoolCore(3, 16, "lru"), PoolCore(3, 16, "lru")
    with pytest.raises(ValueError, match="need 3 blocks but only 2"):
        pool.get_new_blocks(3)
    with pytest.raises(TypeError, match="not a block of this pool"):
        pool.touch(other.get_new_blocks(1))
    [block] = pool.get_new_blocks(1)
    pool.free_blocks([block])
    with pytest.raises(ValueError, match="nobody holds it"):
        pool.free_blocks([block])
    with pytest.raises(ValueError, match="no eviction policy is called"):
        PoolCore(3, 16, "lur")
    pool.validate()


def test_the_count_of_free_blocks_goes_on_from_what_is_written() -> None:
    pool = PoolCore(6, 16, "lru")
    held = pool.get_new_blocks(2)
    pool.set_num_free(0)
    assert pool.num_free() == 0
    pool.free_blocks(held)
    assert pool.num_free() == 2
    pool.set_num_free(5)
    assert pool.num_free() == 5
    assert len(pool.get_new_blocks(5)) == 5
    assert pool.num_free() == 0


def prefix(pool: PoolCore, hashes: list[bytes]) -> list[PoolBlock]:
    """The blocks of the first hashes, up to the first that is not there."""
    found: list[PoolBlock] = []
    for block_hash in hashes:
        block = pool.get_cached_block(block_hash, [0])
        if block is None:
            break
        found += block
    return found


def test_random_calls_under_every_policy() -> None:
    for policy in ("lru", "lfu", "s3-fifo", "adaptive"):
        rng, pool = random.Random(5), PoolCore(40, 16, policy)
        held: list[list[PoolBlock]] = []
        for _ in range(600):
            if held and (pool.num_free() < 5 or rng.random() < 0.4):
                pool.free_blocks(reversed(held.pop(rng.randrange(len(held)))))
                continue
            start = rng.randrange(8)
            hashes = [bytes([start, at]) for at in range(5)]
            hit = prefix(pool, hashes)
            pool.touch(hit)
            if pool.num_free() < 5 - len(hit):
                pool.free_blocks(reversed(hit))
                continue
            table = hit + pool.get_new_blocks(5 - len(hit))
            pool.cache_full_blocks(table, hashes, len(hit), 5, 16, 0)
            held.append(table)
            pool.validate()


@pytest.mark.parametrize("policy", ["lru-2", "lfu", "slru", "flop-aware", "gdsf", "hyperbolic"])
def test_a_chain_told_key_by_key_is_the_chain_told_as_a_list(policy: str) -> None:
    rng, size = random.Random(7), 16
    listed, keyed = PoolCore(60, size, policy), PoolCore(60, size, policy)
    held: list[tuple[list[PoolBlock], list[PoolBlock]]] = []
    evicted = 0
    for _ in range(400):
        if held and (listed.num_free() < 8 or rng.random() < 0.3):
            for pool, table in zip((listed, keyed), held.pop(rng.randrange(len(held)))):
                pool.free_blocks(reversed(table))
            continue
        prompt, depth = rng.randrange(12), rng.randrange(1, 8)
        hashes = [bytes([prompt, at]) for at in range(depth)]
        tables = []
        for pool in (listed, keyed):
            hit = prefix(pool, hashes)
            pool.touch(hit)
            new, lost = pool.get_new_blocks_and_lost(depth - len(hit))
            evicted += len(lost)
            tables.append((hit, hit + new))
        [(hit, one), (_, other)] = tables
        assert listed.block_ids(one) == keyed.block_ids(other)
        listed.cache_full_blocks(one, hashes, len(hit), depth, size, 0)
        for at in range(len(hit), depth):
            chain = (other[at - 1] if at else None, at)
            keyed.insert_key(hashes[at] + bytes(4), other[at], (at + 1) * size, chain)
        held.append((one, other))
    assert evicted > 100
    keyed.validate()
