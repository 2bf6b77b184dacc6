"""Runs batches: from captured CUDA graphs where a size is common, directly where it is not.

A forward pass is about 1,400 launches, more than the host can issue in the time that a small
batch needs. So decode batches and short chunks are padded to one of a few sizes and replayed.
Longer chunks keep the GPU busy while the host launches, and need no padding; so do shorter ones
with much context, which gain more from gathered keys than from a graph.
"""

import torch

from .batch import Batch
from .cache import Cache
from .model import Model

DECODE_SIZES = (1, 2, 4, 8, 16, 32)
PREFILL_SIZES = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
# Chunks of more tokens, with more pairs of a new and an earlier token, are not replayed: on an
# H100 gathered keys win there.
LONG_CHUNK, LONG_WORK = 256, 1 << 22


class Runner:
    def __init__(
        self, model: Model, cache: Cache,
        decode_sizes: tuple[int, ...] = DECODE_SIZES,
        prefill_sizes: tuple[int, ...] = PREFILL_SIZES,
    ) -> None:
        self.model, self.cache, self.cfg = model, cache, model.cfg
        self._batches: dict[tuple[bool, int], Batch] = {}
        self._graphs: dict[tuple[bool, int], tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
        self._sizes = {True: decode_sizes, False: prefill_sizes}
        pool = None
        # The largest first, so that the smaller ones fit into its memory.
        for decode, sizes in self._sizes.items():
            for size in sorted(sizes, reverse=True):
                batch = Batch(self.cfg, size, decode, model.device)
                batch.fill(cache.tables, cache.device_tables, [])
                self._batches[decode, size] = batch
                if model.device == "cpu":
                    continue
                model.forward(batch)
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=pool):
                    logits = model.forward(batch)
                pool = graph.pool()
                self._graphs[decode, size] = graph, logits

    def run(self, work: list[tuple[int, list[int]]]) -> torch.Tensor:
        """`work`: position of the first new token and the new tokens of each sequence, in the
        order of the block tables. Returns logits, float32, (sequences, vocab)."""
        count = sum(len(new) for _, new in work)
        decode = count == len(work)
        size = next((s for s in self._sizes[decode] if s >= count), None)
        if not decode and count > LONG_CHUNK:
            if max(start * len(new) for start, new in work) > LONG_WORK:
                size = None
        tables = self.cache.send()
        batch = (
            Batch(self.cfg, count, decode, self.model.device, gather=not decode)
            if size is None
            else self._batches[decode, size]
        )
        batch.fill(self.cache.tables, tables, work)
        if (decode, size) in self._graphs:
            graph, logits = self._graphs[decode, size]
            graph.replay()
        else:
            logits = self.model.forward(batch)
        return logits[: len(work)]
