"""The operations of `ops_torch` on a GPU: Triton kernels around torch's scaled fp8 matmul."""

import torch
import triton
import triton.language as tl

from .paged_triton import attend_pages
from .pages import Pages
from .prefill_triton import attend_gathered
from .skinny_triton import is_skinny, skinny_linear
from .weights import FP8, Linear


@triton.jit
def _add_rms_quant(residual, delta, weight, out, scales, eps, width,
                   ADD: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    ok = at < width
    x = tl.load(residual + row * width + at, mask=ok, other=0.0)
    if ADD:
        d = tl.load(delta + row * width + at, mask=ok, other=0.0)
        x = (x.to(tl.float32) + d.to(tl.float32)).to(tl.bfloat16)
        tl.store(residual + row * width + at, x, mask=ok)
    y = x.to(tl.float32)
    y = y / tl.sqrt(tl.sum(y * y) / width + eps)
    y = y * tl.load(weight + at, mask=ok, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(y)), 1e-12) / 448.0
    y = tl.minimum(tl.maximum(y / scale, -448.0), 448.0)
    tl.store(out + row * width + at, y.to(tl.float8e4nv), mask=ok)
    tl.store(scales + row, scale)


def add_rms_quant(residual, delta, weight, eps):
    rows, width = residual.shape
    out = torch.empty(rows, width, dtype=FP8, device=residual.device)
    scales = torch.empty(rows, 1, device=residual.device)
    _add_rms_quant[(rows,)](
        residual, residual if delta is None else delta, weight, out, scales, eps, width,
        ADD=delta is not None, BLOCK=triton.next_power_of_2(width), num_warps=8,
    )
    return out, scales


@triton.jit
def _swiglu_quant(gate_up, out, scales, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    ok = at < width
    gate = tl.load(gate_up + row * 2 * width + at, mask=ok, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + at, mask=ok, other=0.0).to(tl.float32)
    y = gate / (1.0 + tl.exp(-gate)) * up
    scale = tl.maximum(tl.max(tl.abs(y)), 1e-12) / 448.0
    y = tl.minimum(tl.maximum(y / scale, -448.0), 448.0)
    tl.store(out + row * width + at, y.to(tl.float8e4nv), mask=ok)
    tl.store(scales + row, scale)


def swiglu_quant(gate_up):
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(rows, width, dtype=FP8, device=gate_up.device)
    scales = torch.empty(rows, 1, device=gate_up.device)
    _swiglu_quant[(rows,)](
        gate_up, out, scales, width, BLOCK=triton.next_power_of_2(width), num_warps=16
    )
    return out, scales


@triton.jit
def _quant(x, slots, out, scales, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    # Nothing was computed for padding.
    ok = (at < WIDTH) & (tl.load(slots + row) >= 0)
    y = tl.load(x + row * WIDTH + at, mask=ok, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(y)), 1e-12) / 448.0
    y = tl.minimum(tl.maximum(y / scale, -448.0), 448.0)
    tl.store(out + row * WIDTH + at, y.to(tl.float8e4nv), mask=at < WIDTH)
    tl.store(scales + row, scale)


def attention_quant(q, layer, pages: Pages, batch):
    y = attention(q, layer, pages, batch)
    rows, width = y.shape[0], y.shape[1] * y.shape[2]
    out = torch.empty(rows, width, dtype=FP8, device=y.device)
    scales = torch.empty(rows, 1, device=y.device)
    _quant[(rows,)](
        y, batch.slots, out, scales, WIDTH=width, BLOCK=triton.next_power_of_2(width), num_warps=8
    )
    return out, scales


def attention(q, layer, pages: Pages, batch):
    return (attend_gathered if batch.gather else attend_pages)(q, layer, pages, batch)


def linear(x, scale, w: Linear):
    if is_skinny(x, w):
        return skinny_linear(x, scale, w)
    return torch._scaled_mm(
        x, w.weight.T, scale_a=scale, scale_b=w.scale, out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )


@triton.jit
def _rotated(x, norm, cos, sin, eps, HEADS: tl.constexpr, DIM: tl.constexpr):
    """RMS norm over each head and rotation of its halves; `x` points at (HEADS, DIM)."""
    half: tl.constexpr = DIM // 2
    at = tl.arange(0, HEADS)[:, None] * DIM + tl.arange(0, half)[None, :]
    d = tl.arange(0, half)
    a = tl.load(x + at).to(tl.float32)
    b = tl.load(x + at + half).to(tl.float32)
    mean = (tl.sum(a * a, 1) + tl.sum(b * b, 1)) / DIM
    inv = (1.0 / tl.sqrt(mean + eps))[:, None]
    a = a * inv * tl.load(norm + d).to(tl.float32)[None, :]
    b = b * inv * tl.load(norm + half + d).to(tl.float32)[None, :]
    c, s = tl.load(cos + d)[None, :], tl.load(sin + d)[None, :]
    return a * c - b * s, b * c + a * s


@triton.jit
def _store_quantized(a, b, page, scale_at, HEADS: tl.constexpr, DIM: tl.constexpr):
    half: tl.constexpr = DIM // 2
    heads = tl.arange(0, HEADS)
    amax = tl.maximum(tl.max(tl.abs(a), 1), tl.max(tl.abs(b), 1))
    scale = tl.maximum(amax, 1e-12) / 448.0
    a = tl.minimum(tl.maximum(a / scale[:, None], -448.0), 448.0)
    b = tl.minimum(tl.maximum(b / scale[:, None], -448.0), 448.0)
    at = heads[:, None] * DIM + tl.arange(0, half)[None, :]
    tl.store(page + at, a.to(tl.float8e4nv))
    tl.store(page + at + half, b.to(tl.float8e4nv))
    tl.store(scale_at + heads, scale)


@triton.jit
def _rope_store(qkv, q_out, pages, scales, positions, slots, norm_q, norm_k, cos, sin, eps,
                k_offset, v_offset, scale_offset, block_stride, scale_block_stride,
                PAGE: tl.constexpr, Q: tl.constexpr, KV: tl.constexpr, DIM: tl.constexpr):
    half: tl.constexpr = DIM // 2
    row = tl.program_id(0).to(tl.int64)
    position = tl.load(positions + row)
    cos += position * half
    sin += position * half
    x = qkv + row * (Q + 2 * KV) * DIM
    if tl.program_id(1) == 0:
        a, b = _rotated(x, norm_q, cos, sin, eps, Q, DIM)
        at = tl.arange(0, Q)[:, None] * DIM + tl.arange(0, half)[None, :]
        out = q_out + row * Q * DIM
        tl.store(out + at, a.to(tl.float16))
        tl.store(out + at + half, b.to(tl.float16))
    else:
        slot = tl.load(slots + row)
        if slot >= 0:
            block = (slot // PAGE).to(tl.int64)
            page = pages + block * block_stride + (slot % PAGE) * KV * DIM
            scale_at = scales + block * scale_block_stride + scale_offset + (slot % PAGE) * KV
            a, b = _rotated(x + Q * DIM, norm_k, cos, sin, eps, KV, DIM)
            _store_quantized(a, b, page + k_offset, scale_at, KV, DIM)
            v = x + (Q + KV) * DIM
            at = tl.arange(0, KV)[:, None] * DIM + tl.arange(0, half)[None, :]
            a = tl.load(v + at).to(tl.float32)
            b = tl.load(v + at + half).to(tl.float32)
            _store_quantized(a, b, page + v_offset, scale_at + PAGE * KV, KV, DIM)


def rope_store(qkv, layer, pages: Pages, batch, norm_q, norm_k, cos, sin, eps, q_heads):
    rows, dim = qkv.shape[0], pages.head_dim
    q = torch.empty(rows, q_heads, dim, dtype=torch.float16, device=qkv.device)
    k_offset, v_offset = pages.part_offsets[layer]
    _rope_store[(rows, 2)](
        qkv, q, pages.data, pages.scales, batch.positions, batch.slots, norm_q, norm_k, cos, sin,
        eps, k_offset, v_offset, layer * pages.scales.stride(1), pages.bytes_per_block,
        pages.scales.stride(0), PAGE=pages.scales.shape[3], Q=q_heads, KV=pages.heads, DIM=dim,
    )
    return q
