"""The environment variables of the plugin."""

import os

LEVEL = "KVKEEP_VLLM"
POLICY = "KVKEEP_VLLM_POLICY"

_LEVELS = {"": 0, "0": 0, "1": 1, "2": 2, "auto": 2}


def level() -> int:
    """How much of kvkeep is wanted: 0 nothing, 1 the block pool, 2 the manager too.

    Raises:
        ValueError: the variable has another value.
    """
    value = os.environ.get(LEVEL, "").strip().lower()
    if value not in _LEVELS:
        raise ValueError(f"{LEVEL} is {value!r}; set it to auto, 2, 1 or 0")
    return _LEVELS[value]


def policy() -> str:
    """The name of the eviction policy.

    Raises:
        ValueError: kvkeep has no such policy; the message lists them.
    """
    from kvkeep._kvkeep import PoolCore

    name = os.environ.get(POLICY, "").strip() or "lru"
    PoolCore(1, 16, name)
    return name
