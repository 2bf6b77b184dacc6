"""The tiles of both attention kernels.

The rows of a tile are (token, head of the group) pairs of one sequence that share a KV head, so
that a key is read once for all of them.
"""

import triton
import triton.language as tl


@triton.jit
def tile_rows(q, positions, first, count, head, KV: tl.constexpr, GROUP: tl.constexpr,
              DIM: tl.constexpr, ROWS: tl.constexpr):
    """Of each row: its index in q and in the result, whether it has a token, its query and the
    position of its token. A row without a token sees the first key, so that nothing divides by
    zero."""
    rows = tl.arange(0, ROWS)
    d = tl.arange(0, DIM)
    token = rows // GROUP
    live = token < count
    row = ((first + token) * KV + head).to(tl.int64) * GROUP + rows % GROUP
    queries = tl.load(q + row[:, None] * DIM + d[None, :], mask=live[:, None], other=0.0)
    position = tl.load(positions + first + token, mask=live, other=0)
    return row, live, queries, position
