"""Attention of long chunks: pages are gathered into contiguous float16 keys and values first.

Tensor cores take float16 straight from shared memory, and the copy engine fills that from
contiguous rows. A chunk of thousands of tokens reads each key hundreds of times, so one pass
that resolves block tables and scales is cheap, where doing both for every tile is not: on an
H100 this is 2.6 times as fast as attention straight from the pages.
"""

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .batch import KEYS_ALIGNED
from .pages import Pages
from .tiles import tile_rows

COLS = KEYS_ALIGNED


@triton.jit
def _gather(pages, scales, tables, key_starts, seen, keys, values, k_offset, v_offset,
            scale_offset, block_stride, scale_block_stride, table_stride, total, softmax_scale,
            KV: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr, ALIGNED: tl.constexpr):
    """One page of one sequence; the rows behind its last token, up to ALIGNED, become zero."""
    seq = tl.program_id(0)
    first = tl.program_id(1) * PAGE
    tokens = tl.load(seen + seq)
    if first >= tl.cdiv(tokens, ALIGNED) * ALIGNED:
        return
    rows = tl.arange(0, PAGE * KV)  # (slot, head)
    d = tl.arange(0, DIM)
    live = first + rows // KV < tokens
    block = tl.load(tables + seq.to(tl.int64) * table_stride + first // PAGE,
                    mask=first < tokens, other=0).to(tl.int64)
    at = block * block_stride + rows[:, None] * DIM + d[None, :]
    scale_at = scales + block * scale_block_stride + scale_offset + rows
    k = tl.load(pages + k_offset + at, mask=live[:, None], other=0.0).to(tl.float32)
    v = tl.load(pages + v_offset + at, mask=live[:, None], other=0.0).to(tl.float32)
    k *= (tl.load(scale_at, mask=live, other=0.0) * softmax_scale)[:, None]
    v *= tl.load(scale_at + PAGE * KV, mask=live, other=0.0)[:, None]
    row = (rows % KV).to(tl.int64) * total + tl.load(key_starts + seq) + first + rows // KV
    to = row[:, None] * DIM + d[None, :]
    tl.store(keys + to, k.to(tl.float16))
    tl.store(values + to, v.to(tl.float16))


@triton.jit
def _take(at, queries, keys, values, best, mass, acc, col, position, MASKED: tl.constexpr):
    """Takes the keys from row `at` on into the running softmax."""
    s = tl.dot(queries, keys.load([at, 0]).T)
    if MASKED:
        s = tl.where(col[None, :] <= position[:, None], s, -1e30)
    now = tl.maximum(best, tl.max(s, 1))
    p = tl.exp2(s - now[:, None])
    shrink = tl.exp2(best - now)
    acc = tl.dot(p.to(tl.float16), values.load([at, 0]), acc * shrink[:, None])
    return now, mass * shrink + tl.sum(p, 1), acc


@triton.jit
def _attend(q, keys, values, out, positions, tile_seq, tile_first, tile_count, key_starts, total,
            KV: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr,
            COLS: tl.constexpr):
    # The last tiles of a sequence see the most keys, so they go first.
    tile = tl.num_programs(0) - 1 - tl.program_id(0)
    head = tl.program_id(1)
    count = tl.load(tile_count + tile)
    if count == 0:
        return
    first = tl.load(tile_first + tile)
    at = head * total + tl.load(key_starts + tl.load(tile_seq + tile))
    d = tl.arange(0, DIM)
    row, live, queries, position = tile_rows(q, positions, first, count, head, KV, GROUP, DIM, ROWS)
    low = tl.load(positions + first) + 1
    high = low + count - 1

    best = tl.full([ROWS], -1e30, tl.float32)
    mass = tl.zeros([ROWS], tl.float32)
    acc = tl.zeros([ROWS, DIM], tl.float32)
    col = tl.arange(0, COLS)
    # Up to `clear` every row of the tile sees every key: no masks there.
    clear = low // COLS * COLS
    for start in range(0, clear, COLS):
        best, mass, acc = _take(
            at + start, queries, keys, values, best, mass, acc, col, position, False)
    for start in range(clear, high, COLS):
        best, mass, acc = _take(
            at + start, queries, keys, values, best, mass, acc, start + col, position, True)
    y = (acc / mass[:, None]).to(tl.float16)
    tl.store(out + row[:, None] * DIM + d[None, :], y, mask=live[:, None])


def attend_gathered(q, layer, pages: Pages, batch):
    """Attention of q, float16 (tokens, heads, dim), over the pages; the same shape and type."""
    _, q_heads, dim = q.shape
    heads, group = pages.heads, q_heads // pages.heads
    total = batch.keys
    if batch.gathered is None:
        keys = torch.empty(heads * total, dim, dtype=torch.float16, device=q.device)
        both = keys, torch.empty_like(keys)
        batch.gathered = *both, *(TensorDescriptor.from_tensor(x, [COLS, dim]) for x in both)
    keys, values, keys_in_tiles, values_in_tiles = batch.gathered
    k_offset, v_offset = pages.part_offsets[layer]
    page = pages.scales.shape[3]
    _gather[(batch.seqs, batch.longest // page)](
        pages.data, pages.scales, batch.tables, batch.key_starts, batch.seen, keys, values,
        k_offset, v_offset, layer * pages.scales.stride(1), pages.bytes_per_block,
        pages.scales.stride(0), batch.tables.stride(0), total, dim**-0.5 * 1.4426950408889634,
        KV=heads, DIM=dim, PAGE=page, ALIGNED=KEYS_ALIGNED, num_warps=4,
    )
    out = torch.empty_like(q)
    _attend[(batch.tiles, heads)](
        q, keys_in_tiles, values_in_tiles, out, batch.positions, batch.tile_seq,
        batch.tile_first, batch.tile_count, batch.key_starts, total,
        KV=heads, GROUP=group, DIM=dim, ROWS=batch.tile_tokens * group, COLS=COLS,
        num_warps=8, num_stages=3,
    )
    return out
