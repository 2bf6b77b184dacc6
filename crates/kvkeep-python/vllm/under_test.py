"""pytest plugin: vLLM's tests run against kvkeep.

The entry point replaces names where the engine looks them up. Tests import the classes from
the modules that define them, so here they are replaced there as well, before a test module
is imported. KVKEEP_VLLM says the level, as in an engine.

After each test the suite's conftest frees GPUs and forgets compiled code, which takes a
second and does nothing here, so it is not done.
"""

import pytest
import torch._dynamo
import vllm.v1.core.block_pool
import vllm.v1.core.kv_cache_coordinator
import vllm.v1.core.kv_cache_manager
import vllm.v1.core.kv_cache_utils
import vllm.v1.core.sched.scheduler  # noqa: F401

from kvkeep.vllm import plugin, settings


def pytest_configure(config: object) -> None:
    level = settings.level()
    if level == 0:
        return
    plugin.install(level)
    from kvkeep.vllm import hashing, manager, pool

    vllm.v1.core.block_pool.BlockPool = pool.BlockPool
    vllm.v1.core.kv_cache_utils.get_request_block_hasher = hashing.get_request_block_hasher
    if level >= 2:
        vllm.v1.core.kv_cache_manager.KVCacheManager = manager.KVCacheManager


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    torch._dynamo.reset = lambda: None
    for item in items:
        item.add_marker(pytest.mark.skip_global_cleanup)


def pytest_report_header(config: object) -> str:
    return f"vLLM {vllm.__version__}, kvkeep level {settings.level()}"
