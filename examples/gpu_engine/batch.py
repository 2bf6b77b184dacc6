"""What one forward pass reads: tokens, where they stand, where their KV goes.

Filled on the host in one int32 buffer and sent to the device in one copy, so that a captured
graph finds every batch of its size at the same addresses. Rows beyond the batch have slot -1.
"""

import numpy as np
import torch

from .config import BLOCK_SIZE, Config

# Sequences begin at multiples of this many rows in gathered keys.
KEYS_ALIGNED = 128


class Batch:
    def __init__(
        self, cfg: Config, tokens: int, decode: bool, device: str, gather: bool = False
    ) -> None:
        # A decode batch has one token per sequence, so one per tile of the attention kernel.
        self.decode = decode
        # Whether attention gathers keys first; shapes then depend on more than `tokens`.
        self.gather = gather
        self.tile_tokens = 1 if decode else 16
        self.size = tokens
        self.seqs = min(tokens, cfg.max_seqs)
        self.tiles = tokens if decode else -(-tokens // 16) + self.seqs
        sizes = [tokens] * 3 + [self.seqs] * 3 + [self.tiles] * 3
        pin = device != "cpu"
        self._host = torch.zeros(sum(sizes), dtype=torch.int32, device="cpu", pin_memory=pin)
        self._device = torch.zeros(sum(sizes), dtype=torch.int32, device=device)
        ends = np.cumsum(sizes)[:-1]
        self.host = np.split(self._host.numpy(), ends)
        views = torch.split(self._device, sizes)
        (self.tokens, self.positions, self.slots, self.last, self.seen, self.key_starts,
         self.tile_seq, self.tile_first, self.tile_count) = views
        self.keys = self.longest = 0  # rows of gathered keys, and of the longest sequence's
        self.gathered = None  # room for them, which all layers and ranks of a step use in turn
        self.tables: torch.Tensor  # int32, (max_seqs, max_blocks_per_seq); set by `fill`

    def fill(self, tables: np.ndarray, device_tables: torch.Tensor, work) -> None:
        """`work`: for each row of `tables` the position of its first new token and the tokens."""
        (tokens, positions, slots, last, seen, key_starts, tile_seq, tile_first,
         tile_count) = self.host
        positions[:] = 0
        tokens[:] = 0
        slots[:] = -1
        last[:] = 0
        seen[:] = 0
        self.gathered = None
        tile_count[:] = 0
        row = tile = 0
        for seq, (start, new) in enumerate(work):
            end = row + len(new)
            tokens[row:end] = new
            at = np.arange(start, start + len(new), dtype=np.int32)
            positions[row:end] = at
            slots[row:end] = tables[seq, at // BLOCK_SIZE] * BLOCK_SIZE + at % BLOCK_SIZE
            last[seq] = end - 1
            firsts = np.arange(row, end, self.tile_tokens)
            tiles = slice(tile, tile + len(firsts))
            tile_seq[tiles] = seq
            tile_first[tiles] = firsts
            tile_count[tiles] = np.minimum(end - firsts, self.tile_tokens)
            row, tile = end, tile + len(firsts)
            seen[seq] = start + len(new)
        if self.gather:
            rows = -(-seen // KEYS_ALIGNED) * KEYS_ALIGNED
            key_starts[:] = np.cumsum(rows) - rows
            self.keys, self.longest = int(rows.sum()), int(rows.max())
        self._device.copy_(self._host, non_blocking=True)
        self.tables = device_tables

    def spans(self) -> list[tuple[int, int, int]]:
        """(sequence, first row, rows) of each tile, on the host."""
        seq, first, count = self.host[-3:]
        return [(int(s), int(f), int(c)) for s, f, c in zip(seq, first, count) if c]
