"""The engine's operations in plain torch: for CPUs, and what the kernels are tested against."""

import torch

from .config import BLOCK_SIZE
from .pages import Pages
from .weights import FP8, Linear

FP8_MAX = 448.0


def quantize(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """fp8 with one scale per row (last axis)."""
    x = x.float()
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / FP8_MAX
    return (x / scale).clamp(-FP8_MAX, FP8_MAX).to(FP8), scale


def rms(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight.float()


def add_rms_quant(residual, delta, weight, eps):
    """Adds `delta` to `residual` in place, where there is one; returns the normed sum in fp8."""
    if delta is not None:
        residual.add_(delta)
    return quantize(rms(residual, weight, eps))


def swiglu_quant(gate_up):
    gate, up = gate_up.float().chunk(2, -1)
    return quantize(torch.nn.functional.silu(gate) * up)


def linear(x, scale, w: Linear):
    return ((x.float() @ w.weight.float().T) * scale * w.scale).to(torch.bfloat16)


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def rope_store(qkv, layer, pages: Pages, batch, norm_q, norm_k, cos, sin, eps, q_heads):
    """Norm and rotation of Q and K; K and V go to their slots, Q is returned in float16."""
    dim, heads = pages.head_dim, pages.heads
    q, k, v = qkv.view(qkv.shape[0], -1, dim).split([q_heads, heads, heads], 1)
    cos, sin = cos[batch.positions, None], sin[batch.positions, None]
    q = rope(rms(q, norm_q, eps), cos, sin).half()
    k = rope(rms(k, norm_k, eps), cos, sin)
    live = batch.slots >= 0
    block, offset = batch.slots[live] // BLOCK_SIZE, batch.slots[live] % BLOCK_SIZE
    for which, x in enumerate((k, v)):
        x, scale = quantize(x[live])
        pages.part(layer, which).view(torch.uint8)[block, offset] = x.view(torch.uint8)
        pages.scales[block, layer, which, offset] = scale[..., 0]
    return q


def gather(pages: Pages, layer: int, blocks: torch.Tensor, tokens: int):
    """K and V of the first `tokens` tokens of a block table, float32, (tokens, heads, dim)."""
    out = []
    for which in (0, 1):
        x = pages.part(layer, which).view(torch.uint8)[blocks].view(FP8).float()
        x = x * pages.scales[blocks, layer, which][..., None]
        out.append(x.flatten(0, 1)[:tokens])
    return out


def attention(q, layer, pages: Pages, batch):
    """Causal attention of each query over its sequence's pages; zeros in padding. Float16,
    (tokens, heads, dim), as `q`."""
    q_heads, dim = q.shape[1:]
    out = torch.zeros_like(q)
    for seq, first, count in batch.spans():
        rows = slice(first, first + count)
        seen = int(batch.positions[first + count - 1]) + 1
        blocks = batch.tables[seq, : -(-seen // BLOCK_SIZE)].long()
        k, v = (x.repeat_interleave(q_heads // pages.heads, 1)
                for x in gather(pages, layer, blocks, seen))
        s = torch.einsum("qhd,khd->hqk", q[rows].float(), k) * dim**-0.5
        hidden = torch.arange(seen) > batch.positions[rows, None]
        p = s.masked_fill(hidden, float("-inf")).softmax(-1)
        out[rows] = torch.einsum("hqk,khd->qhd", p, v).half()
    return out


def attention_quant(q, layer, pages: Pages, batch):
    """The same as fp8 rows, (tokens, heads * dim)."""
    return quantize(attention(q, layer, pages, batch).flatten(1))
