"""What vLLM calls at start: decides how much of kvkeep goes in, and puts it there.

vLLM loads the entry points of `vllm.general_plugins` in every process before it makes a
scheduler, and looks its classes up by module name when it does. So a replacement is one
assignment to a module's attribute, and what is not replaced is vLLM's own.
"""

import importlib
import logging
import re

from kvkeep.vllm import settings

VERSIONS = ((0, 32), (0, 33))
"""Versions of vLLM (major and minor) whose surface this was written and tested for."""

logger = logging.getLogger("vllm.kvkeep")


def register() -> None:
    """Entry point. Called in each process, maybe more than once."""
    try:
        level = settings.level()
        if level == 0:
            return
        settings.policy()
    except ValueError as error:
        logger.warning("kvkeep: off. vLLM stays as it is: %s.", error)
        return
    import vllm

    if not knows(vllm.__version__):
        known = ", ".join(f"{major}.{minor}" for major, minor in VERSIONS)
        logger.warning(
            "kvkeep: off. This is vLLM %s and kvkeep knows %s; vLLM stays as it is.",
            vllm.__version__,
            known,
        )
        return
    try:
        install(level)
    except Exception:
        # Whatever it is, vLLM can do without kvkeep.
        logger.exception("kvkeep: off. It could not be installed, and vLLM stays as it is.")


def knows(version: str) -> bool:
    """Whether this is a release of a version in VERSIONS. What was built before a release
    (0.33.0rc1, 0.33.1.dev5+g1234) may be anything on the way to it."""
    found = re.match(r"(\d+)\.(\d+)\.\d+(?:\.?post\d+)?(?:\+.*)?$", version)
    return found is not None and tuple(map(int, found.groups())) in VERSIONS


def install(level: int) -> None:
    """Puts the replacements of `level` in: all of them or, on an error, none."""
    from kvkeep.vllm.hashing import get_request_block_hasher
    from kvkeep.vllm.pool import BlockPool

    replacements = [
        ("vllm.v1.core.kv_cache_coordinator", "BlockPool", BlockPool),
        ("vllm.v1.engine.core", "get_request_block_hasher", get_request_block_hasher),
    ]
    if level >= 2:
        from kvkeep.vllm.manager import KVCacheManager

        replacements.append(("vllm.v1.core.sched.scheduler", "KVCacheManager", KVCacheManager))
    modules = [importlib.import_module(module) for module, _, _ in replacements]
    for module, (_, name, _) in zip(modules, replacements, strict=True):
        getattr(module, name)
    for module, (_, name, replacement) in zip(modules, replacements, strict=True):
        setattr(module, name, replacement)
