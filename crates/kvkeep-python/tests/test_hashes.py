"""Block hashes: those of vLLM, those of the manager."""

import threading
import time
import kvkeep
import numpy as np
import pytest
from kvkeep import BlockManager, Identity, block_hashes
from kvkeep._types import Hasher

TOKENS = list(range(40))
# Computed with vLLM's sha256_cbor and its default seed.
VLLM_FIRST = "dc918a88b139e5afe60b88eda27508d4aee16c10fdc354791efea06206ac0749"
# Computed with the reference implementation of xxHash.
XXH3_FIRST = "ada127a89b67fb741189508e9a80796e"


def test_golden_vectors() -> None:
    hashes = block_hashes(TOKENS, hasher="sha256_cbor")
    assert [len(one) for one in hashes] == [32, 32]
    assert hashes[0].hex() == VLLM_FIRST
    assert block_hashes(TOKENS)[0].hex() == XXH3_FIRST


def test_a_seed_and_an_identity_change_every_hash() -> None:
    plain = block_hashes(TOKENS, hasher="sha256_cbor")
    seeded = block_hashes(TOKENS, hasher="sha256_cbor", hash_seed="0")
    salted = block_hashes(TOKENS, hasher="sha256_cbor", identity=Identity(salt="s"))
    assert len({*plain, *seeded, *salted}) == 6


@pytest.mark.parametrize("hasher", kvkeep.HASHERS)
@pytest.mark.parametrize("block_size", [1, 16, 20])
def test_a_manager_gives_the_same_names(hasher: Hasher, block_size: int) -> None:
    kv = BlockManager(64, block_size=block_size, hasher=hasher)
    identity = Identity(salt="tenant", media=[("picture", 3, 30)])
    seq = kv.admit(TOKENS, identity).seq
    kv.reserve(seq, 40)
    kv.commit(seq, 40)
    names = [kv.block_hash(int(block)) for block in kv.block_table(seq)]
    hashes = block_hashes(TOKENS, block_size, hasher=hasher, identity=identity)
    assert [name for name in names if name is not None] == hashes
    assert len(hashes) == 40 // block_size


def test_nonsense() -> None:
    assert block_hashes([]) == []
    assert block_hashes(TOKENS[:15]) == []
    with pytest.raises(ValueError, match="block_size is 0"):
        block_hashes(TOKENS, 0)
    with pytest.raises(ValueError, match="no hasher"):
        block_hashes(TOKENS, hasher="sha1")  # type: ignore[arg-type]


def test_long_inputs_leave_the_interpreter_to_others() -> None:
    """Another thread goes on while 4 M tokens are hashed; with the GIL held it would not."""
    tokens = np.arange(4_000_000, dtype=np.uint32)
    done = threading.Event()
    results: list[int] = []

    def work() -> None:
        results.append(len(block_hashes(tokens, hasher="sha256_cbor")))
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    ticks = 0
    while not done.is_set():
        time.sleep(0.001)
        ticks += 1
    thread.join()
    assert results == [250_000]
    assert ticks > 20
