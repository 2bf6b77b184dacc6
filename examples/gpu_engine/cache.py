"""The engine's side of kvkeep: block tables of the batch, steps, and the time they take.

Every page address that a kernel sees comes from the int32 array `tables`, which the manager
fills: row i is the block table of sequence i of the current batch.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import kvkeep
import numpy as np
import torch

from .config import BLOCK_SIZE, Config

T = TypeVar("T")


class Cache:
    def __init__(self, cfg: Config, device: str) -> None:
        self.kv = kvkeep.BlockManager(cfg.num_blocks, block_size=BLOCK_SIZE)
        shape = (cfg.max_seqs, cfg.max_blocks_per_seq)
        self._host = torch.zeros(shape, dtype=torch.int32, pin_memory=device != "cpu")
        self.device_tables = torch.zeros(shape, dtype=torch.int32, device=device)
        self.tables = self._host.numpy()
        self._rows: list[int] = []
        self.seconds = 0.0  # spent in the manager

    def _timed(self, call: Callable[[], T]) -> T:
        start = time.perf_counter()
        try:
            return call()
        finally:
            self.seconds += time.perf_counter() - start

    def admit(self, tokens: list[int], salt: str | None, again: bool) -> kvkeep.Admission:
        identity = kvkeep.Identity(salt=salt)
        prompt = np.array(tokens, dtype=np.uint32)
        admit = self.kv.readmit if again else self.kv.admit
        return self._timed(lambda: admit(prompt, identity))

    def open(
        self, seqs: list[int], counts: list[int], make_room: Callable[[int], bool]
    ) -> list[tuple[int, int]]:
        """Opens a step for each sequence. Where memory is short, `make_room(granted)` preempts one
        that has no step yet and says whether it was the last of `seqs`, which is then dropped.

        Returns the page copies, (source, destination), to make before the forward pass.
        """
        if seqs != self._rows:
            self._timed(lambda: self.kv.block_tables(self._array(seqs), self.tables))
        copies: list[tuple[int, int]] = []
        done = 0
        while done < len(seqs):
            step = self._timed(
                lambda: self.kv.advance(
                    self._array(seqs[done:]), reserve=np.array(counts[done:]),
                    block_tables=self.tables[done:],
                )
            )
            copies += [(int(c[0]), int(c[1])) for c in step.copies]
            done += step.granted
            if step.refused is not None and make_room(done):
                seqs.pop()
                counts.pop()
        self._rows = list(seqs)
        return copies

    def send(self) -> torch.Tensor:
        n = len(self._rows)
        self.device_tables[:n].copy_(self._host[:n], non_blocking=True)
        return self.device_tables

    def close(self, seqs: list[int], counts: list[int], sampled: list[int | None]) -> None:
        """Commits what the forward pass has written and appends what was sampled."""
        tokens = np.array([t for t in sampled if t is not None], dtype=np.uint32)
        each = np.array([t is not None for t in sampled], dtype=np.int64)
        self._timed(
            lambda: self.kv.advance(
                self._array(seqs), append=tokens, append_counts=each, commit=np.array(counts)
            )
        )

    def free(self, seq: int, preempted: bool = False) -> None:
        self._timed(lambda: (self.kv.preempt if preempted else self.kv.free)(seq))

    def free_blocks(self) -> list[int]:
        """Blocks without content: nobody may read them."""
        states = ((b, self.kv.block_state(b)) for b in range(self.kv.num_blocks))
        return [b for b, state in states if state is None or state[0] == "free"]

    @staticmethod
    def _array(seqs: list[int]) -> np.ndarray:
        return np.array(seqs, dtype=np.uint64)
