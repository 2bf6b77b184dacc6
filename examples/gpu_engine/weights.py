"""Random fp8 weights of one rank, with one scale per output channel.

A weight of seed, layer and name is the same however many ranks there are: the whole matrix is
drawn and a rank keeps its slice.
"""

from dataclasses import dataclass

import torch

from .config import Config

FP8 = torch.float8_e4m3fn
# Standard normals times this: six sigmas stay below e4m3's largest number, 448.
SPREAD = 64.0


@dataclass(frozen=True)
class Linear:
    weight: torch.Tensor  # fp8, (out, in)
    scale: torch.Tensor  # float32, (1, out)


@dataclass(frozen=True)
class Layer:
    qkv: Linear
    out: Linear
    gate_up: Linear
    down: Linear
    norm_in: torch.Tensor
    norm_post: torch.Tensor
    norm_q: torch.Tensor
    norm_k: torch.Tensor


@dataclass(frozen=True)
class Weights:
    embedding: torch.Tensor
    layers: list[Layer]
    norm: torch.Tensor
    head: Linear


def make_weights(cfg: Config, rank: int, device: str, seed: int = 0) -> Weights:
    generator = torch.Generator(device=device)
    count = 0

    def draw(rows: int, cols: int) -> torch.Tensor:
        nonlocal count
        count += 1
        generator.manual_seed(seed * 1_000_003 + count)
        return torch.randn(rows, cols, generator=generator, device=device)

    def rows(parts: list[int], cols: int) -> Linear:
        """Column parallel: the rank's share of the output channels of each part."""
        kept = []
        for part in parts:
            share = part // cfg.ranks
            whole = draw(part, cols)
            kept.append((whole[rank * share : (rank + 1) * share] * SPREAD).to(FP8))
        weight = torch.cat([k.view(torch.uint8) for k in kept]).view(FP8)
        return linear(weight, cols)

    def columns(out: int, cols: int) -> Linear:
        """Row parallel: the rank's share of the input channels."""
        share = cols // cfg.ranks
        whole = draw(out, cols)[:, rank * share : (rank + 1) * share]
        return linear((whole * SPREAD).to(FP8).contiguous(), cols)

    def linear(weight: torch.Tensor, fan_in: int) -> Linear:
        scale = 1.0 / (SPREAD * fan_in**0.5)
        return Linear(weight, torch.full((1, weight.shape[0]), scale, device=device))

    def norm(width: int, mean: float = 1.0) -> torch.Tensor:
        nonlocal count
        count += 1
        generator.manual_seed(seed * 1_000_003 + count)
        weight = mean + 0.1 * torch.randn(width, generator=generator, device=device)
        return weight.to(torch.bfloat16)

    q, kv = cfg.q_heads * cfg.head_dim, cfg.kv_heads * cfg.head_dim
    layers = [
        Layer(
            qkv=rows([q, kv, kv], cfg.hidden),
            out=columns(cfg.hidden, q),
            gate_up=rows([cfg.intermediate, cfg.intermediate], cfg.hidden),
            down=columns(cfg.hidden, cfg.intermediate),
            norm_in=norm(cfg.hidden),
            norm_post=norm(cfg.hidden),
            # Sharp attention, so that one wrong page shows in the logits.
            norm_q=norm(cfg.head_dim, 3.0),
            norm_k=norm(cfg.head_dim),
        )
        for _ in range(cfg.layers)
    ]
    embedding = draw(cfg.vocab, cfg.hidden).to(torch.bfloat16)
    return Weights(embedding, layers, norm(cfg.hidden), rows([cfg.vocab], cfg.hidden))
