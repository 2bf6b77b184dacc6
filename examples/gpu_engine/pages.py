"""The KV memory of one rank: fp8 pages where kvkeep's `PageLayout` puts them, scales beside.

A page is contiguous: (layers, 2, block_size, heads, head_dim) bytes, 1 MiB for Qwen3-32B over
two ranks. Each token and head has a float32 scale for its K and one for its V.
"""

import kvkeep
import torch

from .config import BLOCK_SIZE, Config
from .weights import FP8


class Pages:
    def __init__(self, cfg: Config, device: str) -> None:
        self.heads, self.head_dim = cfg.rank_kv_heads, cfg.head_dim
        layout = kvkeep.PageLayout(cfg.kv_layout(), cfg.num_blocks, order="block_major")
        self.bytes_per_block = layout.bytes_per_block
        self.part_offsets = [
            (int(layout.offsets([0], i, "key")[0]), int(layout.offsets([0], i, "value")[0]))
            for i in range(cfg.layers)
        ]
        self.data = torch.empty(layout.total_bytes, dtype=torch.uint8, device=device).view(FP8)
        self.scales = torch.empty(
            cfg.num_blocks, cfg.layers, 2, BLOCK_SIZE, self.heads, device=device
        )

    def as_bytes(self) -> torch.Tensor:
        return self.data.view(torch.uint8).view(-1, self.bytes_per_block)

    def part(self, layer: int, which: int) -> torch.Tensor:
        """K (0) or V (1) of a layer: a view of all pages, (num_blocks, block_size, heads, dim)."""
        stride = (self.bytes_per_block, self.heads * self.head_dim, self.head_dim, 1)
        shape = (self.scales.shape[0], BLOCK_SIZE, self.heads, self.head_dim)
        return self.data.as_strided(shape, stride, self.part_offsets[layer][which])

    def copy(self, sources: torch.Tensor, destinations: torch.Tensor) -> None:
        """The copies of a step; all sources are read before anything is written."""
        pages = self.as_bytes()
        pages[destinations] = pages[sources]
        self.scales[destinations] = self.scales[sources]

    def poison(self, blocks: torch.Tensor) -> None:
        """NaN into pages (0x7F in e4m3) and scales: whoever reads them shows it."""
        self.as_bytes()[blocks] = 0x7F
        self.scales[blocks] = float("nan")
