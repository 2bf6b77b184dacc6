"""One manager, many threads: every call is atomic."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import kvkeep
import numpy as np
from kvkeep import BlockManager


class Tokens:
    """An array whose conversion lets other threads run in the middle of a call."""

    def __init__(self, tokens: "list[int]") -> None:
        self.tokens = tokens

    def __array__(self, dtype: object = None, copy: object = None) -> "np.ndarray":
        threading.Event().wait(0.0001)
        return np.array(self.tokens, dtype=np.uint32)


def test_threads_share_a_manager() -> None:
    kv = BlockManager(400)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(thread: int) -> int:
        cached = 0
        for n in range(60):
            prompt = list(range(64)) + [1000 + thread, n]
            hit = kv.admit(Tokens(prompt) if n % 2 else prompt)  # type: ignore[arg-type]
            cached += hit.tokens_cached
            kv.reserve(hit.seq, len(prompt) - hit.tokens_cached)
            kv.commit(hit.seq, len(prompt) - hit.tokens_cached)
            seqs = np.array([hit.seq], dtype=np.uint64)
            kv.advance(seqs, append=[7], reserve=1)
            kv.advance(seqs, commit=1)
            kv.free(hit.seq)
        return cached

    try:
        with ThreadPoolExecutor(8) as pool:
            cached = sum(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)
    stats = kv.stats()
    assert stats["requests"] == 480
    assert stats["cached_tokens"] == cached
    assert kv.usage()["sequences"] == 0
    kv.validate()


def test_a_manager_that_is_called_while_its_arguments_are_read() -> None:
    """Reading arguments may run Python code that calls the manager again."""
    kv = BlockManager(16)

    class Nested:
        def __array__(self, dtype: object = None, copy: object = None) -> "np.ndarray":
            kv.admit([1, 2, 3])
            return np.array([4, 5], dtype=np.uint32)

    kv.admit(Nested())  # type: ignore[arg-type]
    assert kv.usage()["sequences"] == 2


def test_a_sequence_freed_by_another_thread_is_an_error_here() -> None:
    kv = BlockManager(16)
    seq = kv.admit([1, 2, 3]).seq
    thread = threading.Thread(target=kv.free, args=(seq,))
    thread.start()
    thread.join()
    try:
        kv.append(seq, 1)
    except kvkeep.UnknownSequenceError as error:
        assert error.seq == seq
    else:
        raise AssertionError("a freed sequence was appended to")
