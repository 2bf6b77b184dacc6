"""Attention straight from fp8 pages: decoding and short chunks.

The keys of a tile are split over programs where the tiles alone do not fill the GPU; a second
kernel joins the splits.
"""

import torch
import triton
import triton.language as tl

from .pages import Pages
from .tiles import tile_rows

# About two programs for each of an H100's 132 multiprocessors.
PROGRAMS = 264
MAX_SPLITS = 64


@triton.jit
def _keys(start, high, queries, position, table, pages, scales, head, k_offset, v_offset,
          scale_offset, block_stride, scale_block_stride, softmax_scale, best, total, acc,
          KV: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr, COLS: tl.constexpr,
          MASKED: tl.constexpr):
    """Takes COLS keys into the running softmax."""
    d = tl.arange(0, DIM)
    col = start + tl.arange(0, COLS)
    slot = col % PAGE
    if MASKED:
        ok = col < high
        block = tl.load(table + col // PAGE, mask=ok, other=0).to(tl.int64)
    else:
        block = tl.load(table + col // PAGE).to(tl.int64)
    at = block * block_stride + (slot * KV + head) * DIM
    scale_at = scales + block * scale_block_stride + scale_offset + slot * KV + head
    keys = pages + k_offset + at[None, :] + d[:, None]
    values = pages + v_offset + at[:, None] + d[None, :]
    if MASKED:
        k = tl.load(keys, mask=ok[None, :], other=0.0)
        k_scale = tl.load(scale_at, mask=ok, other=0.0)
        v = tl.load(values, mask=ok[:, None], other=0.0)
        v_scale = tl.load(scale_at + PAGE * KV, mask=ok, other=0.0)
    else:
        k = tl.load(keys)
        k_scale = tl.load(scale_at)
        v = tl.load(values)
        v_scale = tl.load(scale_at + PAGE * KV)
    s = tl.dot(queries, k.to(tl.float16)) * (k_scale * softmax_scale)[None, :]
    if MASKED:
        s = tl.where(ok[None, :] & (col[None, :] <= position[:, None]), s, -1e30)
    now = tl.maximum(best, tl.max(s, 1))
    p = tl.exp2(s - now[:, None])
    if MASKED:
        # A row that has seen no key yet has now = -1e30, where exp2 would give 1.
        p = tl.where(s > -1e30, p, 0.0)
    shrink = tl.exp2(best - now)
    total = total * shrink + tl.sum(p, 1)
    p = (p * v_scale[None, :]).to(tl.float16)
    acc = acc * shrink[:, None] + tl.dot(p, v.to(tl.float16))
    return now, total, acc


@triton.jit
def _attend(q, pages, scales, tables, positions, tile_seq, tile_first, tile_count, out, part,
            stats, k_offset, v_offset, scale_offset, block_stride, scale_block_stride,
            table_stride, softmax_scale,
            KV: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr,
            ROWS: tl.constexpr, COLS: tl.constexpr, SPLITS: tl.constexpr):
    tile = tl.program_id(0)
    head = tl.program_id(1)
    split = tl.program_id(2)
    count = tl.load(tile_count + tile)
    if count == 0:
        return
    first = tl.load(tile_first + tile)
    table = tables + tl.load(tile_seq + tile).to(tl.int64) * table_stride
    d = tl.arange(0, DIM)
    row, live, queries, position = tile_rows(q, positions, first, count, head, KV, GROUP, DIM, ROWS)
    seen = tl.load(positions + first + count - 1) + 1
    share = tl.cdiv(tl.cdiv(seen, SPLITS), COLS) * COLS
    low = split * share
    high = tl.minimum(low + share, seen)

    best = tl.full([ROWS], -1e30, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    acc = tl.zeros([ROWS, DIM], tl.float32)
    # Up to `clear` every row of the tile sees every key: no masks there.
    clear = tl.minimum(high, tl.load(positions + first) + 1)
    clear = low + tl.maximum(clear - low, 0) // COLS * COLS
    for start in range(low, clear, COLS):
        best, total, acc = _keys(
            start, high, queries, position, table, pages, scales, head, k_offset, v_offset,
            scale_offset, block_stride, scale_block_stride, softmax_scale, best, total, acc,
            KV, DIM, PAGE, COLS, False)
    for start in range(clear, high, COLS):
        best, total, acc = _keys(
            start, high, queries, position, table, pages, scales, head, k_offset, v_offset,
            scale_offset, block_stride, scale_block_stride, softmax_scale, best, total, acc,
            KV, DIM, PAGE, COLS, True)
    if SPLITS == 1:
        y = (acc / total[:, None]).to(tl.float16)
        tl.store(out + row[:, None] * DIM + d[None, :], y, mask=live[:, None])
    else:
        at = row * SPLITS + split
        tl.store(part + at[:, None] * DIM + d[None, :], acc, mask=live[:, None])
        tl.store(stats + at * 2, best, mask=live)
        tl.store(stats + at * 2 + 1, total, mask=live)


@triton.jit
def _join(part, stats, slots, out, HEADS: tl.constexpr, DIM: tl.constexpr, SPLITS: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    if tl.load(slots + token) < 0:  # padding: nothing was computed
        return
    row = token * HEADS + tl.program_id(1)
    split = row * SPLITS + tl.arange(0, SPLITS)
    d = tl.arange(0, DIM)
    best = tl.load(stats + split * 2)
    weight = tl.exp2(best - tl.max(best, 0))
    total = tl.sum(weight * tl.load(stats + split * 2 + 1), 0)
    acc = tl.load(part + split[:, None] * DIM + d[None, :])
    y = tl.sum(acc * weight[:, None], 0) / total
    tl.store(out + row * DIM + d, y.to(tl.float16))


def splits_for(tiles: int, heads: int) -> int:
    wanted = max(1, min(MAX_SPLITS, PROGRAMS // (tiles * heads)))
    return 1 << (wanted.bit_length() - 1)


def attend_pages(q, layer, pages: Pages, batch):
    """Attention of q, float16 (tokens, heads, dim), over the pages; the same shape and type."""
    tokens, q_heads, dim = q.shape
    heads, group = pages.heads, q_heads // pages.heads
    splits = splits_for(-(-batch.size // batch.tile_tokens), heads)
    out = torch.empty_like(q)
    part, stats = out, out
    if splits > 1:
        part = torch.empty(tokens, q_heads, splits, dim, device=q.device)
        stats = torch.empty(tokens, q_heads, splits, 2, device=q.device)
    k_offset, v_offset = pages.part_offsets[layer]
    rows = max(16, batch.tile_tokens * group)
    # What was fastest on an H100: many rows leave few registers for keys.
    cols, stages = (32, 2) if rows >= 128 else (64, 3)
    _attend[(batch.tiles, heads, splits)](
        q, pages.data, pages.scales, batch.tables, batch.positions, batch.tile_seq,
        batch.tile_first, batch.tile_count, out, part, stats, k_offset, v_offset,
        layer * pages.scales.stride(1), pages.bytes_per_block, pages.scales.stride(0),
        batch.tables.stride(0), dim**-0.5 * 1.4426950408889634,
        KV=heads, GROUP=group, DIM=dim, PAGE=pages.scales.shape[3],
        ROWS=rows, COLS=cols, SPLITS=splits, num_warps=4, num_stages=stages,
    )
    if splits > 1:
        _join[(tokens, q_heads)](
            part, stats, batch.slots, out, HEADS=q_heads, DIM=dim, SPLITS=splits, num_warps=4
        )
    return out
