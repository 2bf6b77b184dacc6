"""What a call from Python costs, in ns of thread CPU time.

Run it with the package installed from a release build: ``python benches/boundary.py``.
Figures are medians of 15 rounds; the Rust figures to compare with are those of
``cargo bench`` and of the README of the library.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import kvkeep
import numpy as np

ROUNDS = 15
BLOCK_SIZE = 16


def measure(work: Callable[[], int]) -> float:
    """Median ns per unit; ``work`` returns how many units it did."""
    samples = []
    for _ in range(ROUNDS):
        start = time.thread_time_ns()
        units = work()
        samples.append((time.thread_time_ns() - start) / units)
    return statistics.median(samples)


def decode(batch: int, *, tables: bool) -> float:
    """One engine step of a batch: append, commit, reserve, and the new table entries."""
    kv = kvkeep.BlockManager(40_000)
    prompts = np.arange(batch * 512, dtype=np.uint32).reshape(batch, 512)
    seqs = np.array([kv.admit(prompt).seq for prompt in prompts], dtype=np.uint64)
    out = np.zeros((batch, 2_048), dtype=np.int32) if tables else None
    kv.advance(seqs, reserve=512, block_tables=out)
    tokens = np.zeros(batch, dtype=np.uint32)
    kv.advance(seqs, append=tokens, commit=512, reserve=1, block_tables=out)
    steps = 512

    def work() -> int:
        for n in range(steps):
            tokens[:] = n
            kv.advance(seqs, append=tokens, commit=1, reserve=1, block_tables=out)
        return steps

    return measure(work)


def decode_by_single_calls() -> float:
    """The same step for one sequence, as three calls."""
    kv = kvkeep.BlockManager(40_000)
    seq = kv.admit(range(512)).seq
    kv.reserve(seq, 512)
    kv.commit(seq, 512)
    steps = 4_096

    def work() -> int:
        for n in range(steps):
            kv.append(seq, n)
            kv.reserve(seq, 1)
            kv.commit(seq, 1)
        return steps

    return measure(work)


def admit(tokens: int, form: Callable[[np.ndarray], object]) -> float:
    """Admits and frees a cached prompt."""
    kv = kvkeep.BlockManager(100_000)
    array = np.arange(tokens, dtype=np.uint32)
    seq = kv.admit(array).seq
    kv.reserve(seq, tokens)
    kv.commit(seq, tokens)
    kv.free(seq)
    prompt = form(array)
    calls = 200

    def work() -> int:
        for _ in range(calls):
            kv.free(kv.admit(prompt).seq)  # type: ignore[arg-type]
        return calls

    return measure(work)


def tables(batch: int, blocks: int) -> float:
    """Writes the whole block tables of a batch."""
    kv = kvkeep.BlockManager(batch * blocks)
    size = blocks * BLOCK_SIZE
    seqs = np.zeros(batch, dtype=np.uint64)
    for n in range(batch):
        seqs[n] = kv.admit(np.arange(n * size, (n + 1) * size, dtype=np.uint32)).seq
    kv.advance(seqs, reserve=size)
    out = np.zeros((batch, blocks), dtype=np.int32)
    calls = 200

    def work() -> int:
        for _ in range(calls):
            kv.block_tables(seqs, out)
        return calls

    return measure(work)


def empty_call() -> float:
    kv = kvkeep.BlockManager(16)
    calls = 100_000

    def work() -> int:
        for _ in range(calls):
            kv.invalidate_all()
        return calls

    return measure(work)


def main() -> None:
    rows: list[tuple[str, float, str]] = [
        ("a call that does next to nothing", empty_call(), ""),
        ("append, reserve, commit: three calls", decode_by_single_calls(), ""),
    ]
    for batch in (1, 8, 64, 256):
        ns = decode(batch, tables=True)
        rows.append((f"advance, batch {batch}, with tables", ns, f"{ns / batch:.0f} a sequence"))
    for batch in (1, 256):
        ns = decode(batch, tables=False)
        rows.append((f"advance, batch {batch}", ns, f"{ns / batch:.0f} a sequence"))
    for size in (2_048, 32_768):
        for name, form in (("uint32 array", np.copy), ("list", np.ndarray.tolist)):
            ns = admit(size, form)
            blocks = size // BLOCK_SIZE
            rows.append((f"admit + free, {size} tokens, {name}", ns, f"{ns / blocks:.1f} a block"))
    ns = tables(256, 128)
    rows.append(("block_tables, 256 x 128 blocks", ns, f"{ns / 256 / 128:.2f} an entry"))
    for what, ns, each in rows:
        sys.stdout.write(f"{what:<42}{ns:>12,.0f} ns  {each}\n")


if __name__ == "__main__":
    main()
