"""Shapes of the model and of the pools; nothing here touches a device."""

from dataclasses import dataclass

import kvkeep

BLOCK_SIZE = 16


@dataclass(frozen=True)
class Config:
    layers: int
    hidden: int
    q_heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    ranks: int
    num_blocks: int
    max_seqs: int
    max_model_len: int
    rope_theta: float = 1e6
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("q_heads", "kv_heads", "intermediate", "vocab"):
            if getattr(self, name) % self.ranks:
                raise ValueError(f"{name} is not a multiple of {self.ranks} ranks")

    @property
    def rank_q_heads(self) -> int:
        return self.q_heads // self.ranks

    @property
    def rank_kv_heads(self) -> int:
        return self.kv_heads // self.ranks

    @property
    def group(self) -> int:
        """Query heads per KV head."""
        return self.q_heads // self.kv_heads

    @property
    def max_blocks_per_seq(self) -> int:
        return -(-self.max_model_len // BLOCK_SIZE)

    def kv_layout(self) -> kvkeep.KvLayout:
        return kvkeep.KvLayout(
            layers=self.layers,
            kv_heads=self.kv_heads,
            head_size=self.head_dim,
            dtype="fp8",
            block_size=BLOCK_SIZE,
            tensor_parallel_size=self.ranks,
        )


def qwen3_32b(layers: int = 64) -> Config:
    """Qwen3-32B over two ranks, with the deployment's 12.58 GiB of KV memory on each."""
    return Config(
        layers=layers, hidden=5120, q_heads=64, kv_heads=8, head_dim=128, intermediate=25600,
        vocab=151936, ranks=2, num_blocks=12_881, max_seqs=32, max_model_len=131_072,
    )


def tiny(num_blocks: int = 64, ranks: int = 2) -> Config:
    return Config(
        layers=3, hidden=64, q_heads=8, kv_heads=2, head_dim=16, intermediate=96,
        vocab=128, ranks=ranks, num_blocks=num_blocks, max_seqs=4, max_model_len=512,
    )
