"""Level 2: the hot calls of vLLM's KV cache manager.

A subclass of vLLM's own, over the pool of level 1. For a model with one full-attention group
it does `get_computed_blocks`, `allocate_slots`, `cache_blocks` and `free` in one call each,
on the very tables that vLLM's code keeps, so that all its other calls go on as they are. For
any other model it is vLLM's manager over that pool.
"""

import logging
from typing import Any

import vllm.v1.core.kv_cache_manager as stock
from vllm.v1.core.kv_cache_coordinator import UnitaryKVCacheCoordinator
from vllm.v1.core.single_type_kv_cache_manager import FullAttentionManager
from vllm.v1.request import RequestStatus

from kvkeep._kvkeep import ManagerCore, PoolCore
from kvkeep.vllm.pool import BlockPool

logger = logging.getLogger("vllm.kvkeep")


class KVCacheBlocks(stock.KVCacheBlocks):
    """vLLM's answer, which turns into ids in one call."""

    def get_block_ids(
        self, allow_none: bool = False, *, group_ids: Any = None
    ) -> tuple[list[int], ...] | None:
        if group_ids is not None:
            return super().get_block_ids(allow_none, group_ids=group_ids)
        if allow_none and not any(self.blocks):
            return None
        return tuple(map(PoolCore.block_ids, self.blocks))


class NoBlocks(KVCacheBlocks):
    """The answer without blocks, to each step that needs none: most of them."""

    def get_block_ids(
        self, allow_none: bool = False, *, group_ids: Any = None
    ) -> tuple[list[int], ...] | None:
        return None if allow_none else tuple(
            [] for _ in (self.blocks if group_ids is None else group_ids)
        )


class KVCacheManager(stock.KVCacheManager):
    """vLLM's `KVCacheManager`: the same constructor, calls and answers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.empty_kv_cache_blocks = NoBlocks(self.empty_kv_cache_blocks.blocks)
        try:
            why = self._why_not()
            if why is None:
                self._take_over()
        except Exception:
            logger.exception("kvkeep: level 1 (block pool); level 2 could not be set up.")
            return
        if why is not None:
            logger.info("kvkeep: level 1 (block pool); not level 2, since %s.", why)

    def _take_over(self) -> None:
        """Puts kvkeep's calls before vLLM's. Nothing is assigned before all is made."""
        group = self.coordinator.single_type_managers[0]
        core = ManagerCore(
            pool=self.block_pool._core,
            block_size=group.block_size,
            max_model_len=self.max_model_len,
            watermark_blocks=self.watermark_blocks,
            dropped_blocks=int(group.use_eagle),
            reprefillable_tokens=self.coordinator.num_reprefillable_tokens,
            caching=self.enable_caching,
            waiting=(RequestStatus.WAITING, RequestStatus.PREEMPTED),
            req_to_blocks=group.req_to_blocks,
            num_cached_block=group.num_cached_block,
            empty=self.empty_kv_cache_blocks,
            kv_cache_blocks=KVCacheBlocks,
            otherwise=super().allocate_slots,
        )
        self.get_computed_blocks = core.get_computed_blocks
        self.allocate_slots = core.allocate_slots
        self.cache_blocks = core.cache_blocks
        self.free = core.free
        logger.info("kvkeep: level 2 (manager), %d blocks of %d tokens.",
                    self.block_pool.num_gpu_blocks, group.block_size)

    def _why_not(self) -> str | None:
        """Why this is no case for level 2, or None."""
        if type(self.block_pool) is not BlockPool:
            return "the block pool is not kvkeep's"
        if not self.enable_caching:
            return "caching is off"
        if type(self.coordinator) is not UnitaryKVCacheCoordinator:
            return "the model has several cache groups"
        group = self.coordinator.single_type_managers[0]
        if type(group) is not FullAttentionManager:
            return f"its cache group is no full attention ({type(group).__name__})"
        if not getattr(group.kv_cache_spec, "prefix_cacheable", True):
            return "its cache group takes no part in prefix caching"
        if self.enable_kv_cache_events:
            return "KV events are on"
        if self.metrics_collector is not None:
            return "the residency of blocks is sampled"
        if group.records_new_block_ids:
            return "new blocks are zeroed"
        if self.retained_hit_group_ids or getattr(
            self.block_pool, "num_hash_lookahead_tokens", 0
        ):
            return "hits are cut by rules that it does not know"
        return None

    def create_kv_cache_blocks(self, blocks: Any) -> stock.KVCacheBlocks:
        return KVCacheBlocks(blocks) if any(blocks) else self.empty_kv_cache_blocks
