"""Level 1: vLLM's block pool, with kvkeep's behind it.

A subclass: what is hot is kvkeep's, and what is not (events of partial blocks, moves,
watchers, ...) is vLLM's own code over views of kvkeep's state. So every call of either
version is there, and does what it does in vLLM.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import vllm.v1.core.block_pool as stock

from kvkeep._kvkeep import PoolBlock, PoolCore
from kvkeep.vllm import settings

logger = logging.getLogger("vllm.kvkeep")


class BlockPool(stock.BlockPool):
    """vLLM's `BlockPool`: the same constructor, calls, order of blocks and events."""

    def __init__(
        self, num_gpu_blocks: int, enable_caching: bool, hash_block_size: int, *args: Any, **kwargs: Any
    ) -> None:
        assert isinstance(num_gpu_blocks, int) and num_gpu_blocks > 0
        # vLLM makes one block here instead of all of them; the rest of its state is small.
        super().__init__(1, enable_caching, hash_block_size, *args, **kwargs)
        policy = settings.policy()
        core = PoolCore(num_gpu_blocks, hash_block_size, policy)
        core.set_owner(self)
        self._core = core
        # What vLLM's code is caching now: a chain of blocks and their tokens. LRU needs no chains.
        self._chain: tuple[Sequence[Any], int] | None = None
        self._wants_chains = policy != "lru"
        self.num_gpu_blocks = num_gpu_blocks
        self.blocks = core.blocks()
        self.null_block = self.blocks[0]
        self.free_block_queue = FreeQueue(core)
        self.cached_block_hash_to_block = HashIndex(core)
        self.cached_block_hashes_by_block = FurtherHashes(core)
        # Straight to kvkeep, without a frame of Python in between, where nobody watches.
        self.get_cached_block = core.get_cached_block
        self.get_num_free_blocks = core.num_free
        if self.metrics_collector is None:
            self.touch = core.touch
        self.free_blocks = core.free_blocks
        # Said here, since vLLM loads plugins before it sets up its log.
        logger.info("kvkeep: block pool of %d blocks, eviction policy %s.", num_gpu_blocks, policy)

    def get_new_blocks(self, num_blocks: int) -> list[PoolBlock]:
        if num_blocks > self._core.num_free():
            raise ValueError(f"Cannot get {num_blocks} free blocks from the pool")
        if self.metrics_collector is None and not self.enable_kv_cache_events:
            blocks = self._core.get_new_blocks(num_blocks)
        else:
            blocks, lost = self._core.get_new_blocks_and_lost(num_blocks)
            if lost:
                self._emit_block_removed_events(lost)
            if self.metrics_collector is not None:
                for block in blocks:
                    if self.enable_caching:
                        self.metrics_collector.on_block_evicted(block)
                    self.metrics_collector.on_block_allocated(block)
        if self._reuse_watchers:
            self._notify_reuse(blocks)
        return blocks

    def cache_full_blocks(
        self,
        request: Any,
        blocks: list[PoolBlock],
        num_cached_blocks: int,
        num_full_blocks: int,
        block_size: int,
        kv_cache_group_id: int,
        block_mask: list[bool] | None = None,
    ) -> None:
        if num_cached_blocks >= num_full_blocks:
            return
        if self.enable_kv_cache_events or not isinstance(blocks[-1], PoolBlock):
            self._chain = (blocks, block_size) if self._wants_chains else None
            try:
                super().cache_full_blocks(
                    request,
                    blocks,
                    num_cached_blocks,
                    num_full_blocks,
                    block_size,
                    kv_cache_group_id,
                    block_mask,
                )
            finally:
                self._chain = None
            return
        hashes = request.block_hashes
        if block_size != self.hash_block_size:
            hashes = stock.resolve_block_hashes(hashes, self.hash_block_size, block_size)
        self._core.cache_full_blocks(
            blocks,
            hashes,
            num_cached_blocks,
            num_full_blocks,
            block_size,
            kv_cache_group_id,
            block_mask,
        )

    def touch(self, blocks: Sequence[PoolBlock]) -> None:
        self._core.touch(blocks)
        for block in blocks:
            if not block.is_null:
                self.metrics_collector.on_block_accessed(block)

    def _insert_block_hash(
        self, block_hash_with_group_id: bytes, block: PoolBlock, num_tokens: int | None
    ) -> None:
        if not isinstance(block, PoolBlock):
            # Made by hand; it stands for the block of the pool that has its id.
            block.set_block_hash(block_hash_with_group_id, num_tokens=num_tokens)
            block = self.blocks[block.block_id]
        place = None
        if self._chain is not None and num_tokens:
            blocks, block_size = self._chain
            depth = num_tokens // block_size - 1
            place = (blocks[depth - 1] if depth else None, depth)
        self._core.insert_key(block_hash_with_group_id, block, num_tokens, place)

    def _remove_cached_block_hashes(self, block: PoolBlock) -> list[bytes]:
        return self._core.remove_keys(block)

    def reset_prefix_cache(self) -> bool:
        index, further = self.cached_block_hash_to_block, self.cached_block_hashes_by_block
        # vLLM makes a new index, and asks every block to forget its hash, which is kvkeep's
        # work; it needs the blocks only for watchers.
        if not self._reuse_watchers:
            self.blocks = []
        try:
            done = super().reset_prefix_cache()
        finally:
            self.blocks = self._core.blocks()
            self.cached_block_hash_to_block = index
            self.cached_block_hashes_by_block = further
        if done:
            self._core.reset()
        return done


# What follows are views of the pool's state under the names that vLLM gives its own. vLLM's
# cold paths, its connectors and its tests read them; nothing here holds anything.


class FreeQueue:
    """The queue of blocks that nobody holds, as vLLM's `FreeKVCacheBlockQueue`."""

    def __init__(self, core: PoolCore) -> None:
        self._core = core

    @property
    def num_free_blocks(self) -> int:
        return self._core.num_free()

    @num_free_blocks.setter
    def num_free_blocks(self, number: int) -> None:
        self._core.set_num_free(number)

    def append_n(self, blocks: Iterable[PoolBlock]) -> None:
        for block in blocks:
            self._core.enqueue(block)

    def append(self, block: PoolBlock) -> None:
        self._core.enqueue(block)

    def remove(self, block: PoolBlock) -> None:
        self._core.dequeue(block)

    def popleft(self) -> PoolBlock:
        first = self._core.queue_after(None, 1)
        if not first:
            raise ValueError("No free blocks available")
        self._core.dequeue(first[0])
        return first[0]

    def get_all_free_blocks(self) -> list[PoolBlock]:
        return self._core.queue_after()

    def iter_blocks_after(self, cursor: PoolBlock | None) -> Iterator[PoolBlock]:
        while following := self._core.queue_after(cursor, 64):
            yield from following
            cursor = following[-1]

    @property
    def fake_free_list_head(self) -> "QueueEnds":
        return QueueEnds(self.get_all_free_blocks())

    @property
    def fake_free_list_tail(self) -> "QueueEnds":
        return QueueEnds(self.get_all_free_blocks())


class QueueEnds:
    """Both ends of the queue: what stands behind the one and before the other."""

    _empty: "QueueEnds"

    def __new__(cls, blocks: list[PoolBlock]) -> "QueueEnds":
        ends = super().__new__(cls) if blocks else cls._empty
        ends.next_free_block = blocks[0] if blocks else ends
        ends.prev_free_block = blocks[-1] if blocks else ends
        return ends


QueueEnds._empty = object.__new__(QueueEnds)


class HashIndex(MutableMapping[bytes, Any]):
    """Which blocks have a hash, as vLLM's `BlockHashToBlockMap`, and as the dict in it: a
    hash leads to its block, or to a dict of its blocks by id where it has had several."""

    def __init__(self, core: PoolCore) -> None:
        self._core = core

    @property
    def _cache(self) -> "HashIndex":
        return self

    def get_one_block(self, key: bytes) -> PoolBlock | None:
        return self._core.find(key)

    def contain(self, key: bytes, block_id: int) -> bool:
        return self._core.has_key(key, block_id)

    def insert(self, key: bytes, block: PoolBlock) -> None:
        self._core.insert_key(key, block)

    def pop(self, key: bytes, block_id: int | None = None) -> Any:
        blocks = self._core.find_all(key)
        if block_id is not None:
            blocks = [block for block in blocks if block.block_id == block_id]
        for block in blocks:
            self._core.remove_keys(block)
        return blocks[0] if blocks else None

    def __getitem__(self, key: bytes) -> Any:
        blocks = self._core.find_all(key)
        if not blocks:
            raise KeyError(key)
        if self._core.was_shared(key):
            return {block.block_id: block for block in blocks}
        return blocks[0]

    def __setitem__(self, key: bytes, found: Any) -> None:
        for block in [found] if isinstance(found, PoolBlock) else found.values():
            self._core.insert_key(key, block)

    def __delitem__(self, key: bytes) -> None:
        self.pop(key)

    def __copy__(self) -> dict[bytes, Any]:
        return dict(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._core.keys())

    def __len__(self) -> int:
        return len(self._core.keys())


class FurtherHashes(Mapping[int, set[bytes]]):
    """The hashes of blocks after their first, as the dict that vLLM has."""

    def __init__(self, core: PoolCore) -> None:
        self._core = core

    def __getitem__(self, block_id: int) -> set[bytes]:
        keys = set(self._core.further_keys(block_id))
        if not keys:
            raise KeyError(block_id)
        return keys

    def __len__(self) -> int:
        return len(self._core.with_further_keys())

    def __iter__(self) -> Iterator[int]:
        return iter(self._core.with_further_keys())

    def clear(self) -> None:
        """Called by vLLM's reset, whose work on hashes kvkeep does."""
