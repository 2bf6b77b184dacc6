"""Types that annotations name: choices by name, and plain data."""

from typing import Literal, TypeAlias, TypedDict

MissReason: TypeAlias = Literal[
    "last_token",
    "collision",
    "not_committed",
    "evicted",
    "different_extra_keys",
    "below_block_granularity",
    "never_seen",
]
Hasher: TypeAlias = Literal["xxh3", "sha256_cbor"]
PagePart: TypeAlias = Literal["key", "value", "latent"]
PageOrder: TypeAlias = Literal[
    "part_first", "block_first", "block_first_heads_outer", "block_major"
]


class Usage(TypedDict):
    """Where the blocks are; ``free + cached + in_use`` is the size of the pool."""

    free: int
    cached: int
    in_use: int
    sequences: int


class Stats(TypedDict):
    """Counters since the manager was made; see ``BlockManager.stats``."""

    requests: int
    prompt_tokens: int
    cached_tokens: int
    preemptions: int
    readmitted_requests: int
    readmitted_tokens: int
    readmitted_cached_tokens: int
    recomputed_tokens: int
    committed_tokens: int
    reverted_steps: int
    published_blocks: int
    evicted_blocks: int
    invalidated_blocks: int
    duplicate_blocks: int
    collisions: int
    refused_retentions: int
    overruled_victims: int
    resident_block_ms: int
    hit_rate: float
    miss_reasons: dict[str, int]
    missed_tokens: dict[str, int]


class Rank(TypedDict):
    """One GPU's part of a plan."""

    rank: int
    pipeline_stage: int
    layers: int
    kv_bytes: int
    bytes_per_block: int
    num_blocks_alone: int
    remainder_bytes: int
    uneven_bytes: int


class Line(TypedDict):
    """A step of the derivation of a plan."""

    name: str
    formula: str
    value: float
    unit: str


class Plan(TypedDict):
    """What ``plan`` returns; the names are those of ``kvkeep plan --format json``."""

    kv_cache_dtype: str
    block_size: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    num_blocks: int
    num_tokens: int
    bytes_per_block_per_gpu: int
    max_concurrency: float | None
    longest_model_len: int
    stranded_bytes: int
    ranks: list[Rank]
    derivation: list[Line]
