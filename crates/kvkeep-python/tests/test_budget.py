"""Plans and pages."""

import kvkeep
import numpy as np
import pytest
from kvkeep import KvLayout, PageLayout, plan
from kvkeep._types import PageOrder, PagePart

KV_BYTES = 13_507_672_145  # 12.58 GiB


def qwen3(**more: int) -> KvLayout:
    return KvLayout(layers=64, kv_heads=8, head_size=128, dtype="fp8", **more)


def test_the_plan_of_two_gpus() -> None:
    layout = qwen3(tensor_parallel_size=2)
    assert layout.bytes_per_token_per_gpu() == 64 << 10
    assert layout.bytes_per_block_per_gpu() == 1 << 20
    assert layout.bytes_per_block_per_gpu(1) is None
    assert (layout.num_ranks, layout.kv_heads_per_gpu, layout.block_size) == (2, 4, 16)
    budget = plan(layout, kv_cache_memory_bytes=KV_BYTES, max_model_len=32_768)
    assert (budget["num_blocks"], budget["num_tokens"]) == (12_881, 206_096)
    assert budget["max_concurrency"] == 12_881 / 2_048
    assert [rank["num_blocks_alone"] for rank in budget["ranks"]] == [12_881, 12_881]
    line = next(line for line in budget["derivation"] if line["name"] == "blocks")
    assert line["formula"] == "floor(13,507,672,145 B / 1,048,576 B)"
    assert (line["value"], line["unit"]) == (12_881, "blocks")


def test_memory_of_the_gpu_less_everything_else() -> None:
    gib = 1 << 30
    budget = plan(
        qwen3(tensor_parallel_size=2),
        gpu_memory=[24 * gib, 20 * gib],
        gpu_memory_utilization=0.9,
        weights=9 * gib,
        activations=1 * gib,
        max_model_len=32_768,
    )
    assert budget["num_blocks"] == 8_192
    assert budget["ranks"][0]["uneven_bytes"] == 3_686 << 20


def test_latent_attention_keeps_one_vector() -> None:
    layout = KvLayout(layers=61, latent_size=512, rope_size=64, dtype="bf16")
    assert layout.bytes_per_token_per_gpu() == 61 * 576 * 2
    assert layout == KvLayout(layers=61, latent_size=512, rope_size=64, dtype="bfloat16")
    assert len({layout, qwen3(), qwen3()}) == 2


def test_what_does_not_fit() -> None:
    with pytest.raises(kvkeep.PlanError, match="max_model_len"):
        plan(qwen3(), kv_cache_memory_bytes=1 << 30, max_model_len=1 << 20)
    with pytest.raises(kvkeep.PlanError):
        plan(qwen3(), kv_cache_memory_bytes=[1 << 30, 1 << 30])
    with pytest.raises(kvkeep.LayoutError, match="tensor_parallel_size"):
        qwen3(tensor_parallel_size=3)
    with pytest.raises(kvkeep.LayoutError, match="unknown KV cache dtype"):
        KvLayout(layers=1, kv_heads=1, head_size=1, dtype="float32")
    with pytest.raises(ValueError, match="pass kv_heads and head_size, or"):
        KvLayout(layers=1, kv_heads=1, dtype="fp8")
    with pytest.raises(ValueError, match="pass kv_cache_memory_bytes, or"):
        plan(qwen3())
    with pytest.raises(OverflowError):
        plan(qwen3(), kv_cache_memory_bytes=1 << 64)


SHAPES: dict[PageOrder, tuple[str, ...]] = {
    "part_first": ("layer", "part", "block"),
    "block_first": ("layer", "block", "part"),
    "block_first_heads_outer": ("layer", "block", "part"),
    "block_major": ("block", "layer", "part"),
}
PARTS: tuple[PagePart, PagePart] = ("key", "value")


@pytest.mark.parametrize("order", SHAPES)
def test_offsets_are_those_of_an_array_in_that_order(order: PageOrder) -> None:
    layout = KvLayout(layers=3, kv_heads=2, head_size=8, dtype="bf16", block_size=4)
    pages = PageLayout(layout, 5, order=order)
    assert pages.bytes_per_part == 4 * 2 * 8 * 2
    assert pages.bytes_per_block == 3 * 2 * pages.bytes_per_part
    assert pages.bytes_per_layer * 3 == pages.total_bytes == 5 * pages.bytes_per_block
    sizes = {"layer": 3, "part": 2, "block": 5}
    numbers = np.arange(30).reshape([sizes[name] for name in SHAPES[order]])
    axes = [SHAPES[order].index(name) for name in ("block", "layer", "part")]
    numbers = numbers.transpose(axes)
    blocks = np.array([4, 0, 2], dtype=np.int32)
    for layer in range(3):
        for at, part in enumerate(PARTS):
            offsets = pages.offsets(blocks, layer, part)
            assert offsets.dtype == np.uint64
            assert (offsets == numbers[blocks, layer, at] * pages.bytes_per_part).all()
    memory = np.random.default_rng(0).integers(0, 256, pages.total_bytes, dtype=np.uint8)
    for read, write, size in pages.copy_runs([1, 2], [3, 0]):
        memory[write : write + size] = memory[read : read + size]
    for source, destination in ((1, 3), (2, 0)):
        for layer in range(3):
            for part in PARTS:
                start, end = pages.offsets([source, destination], layer, part)
                length = np.uint64(pages.bytes_per_part)
                assert (memory[start : start + length] == memory[end : end + length]).all()


def test_pages_that_do_not_exist() -> None:
    pages = PageLayout(qwen3(), 5)
    assert pages.offsets([], 0, "key").shape == (0,)
    assert pages.copy_runs([], []).shape == (0, 3)
    with pytest.raises(kvkeep.PageError, match="block 5 is out of bounds"):
        pages.offsets([4, 5], 0, "key")
    with pytest.raises(kvkeep.PageError, match="layer 64 is out of bounds"):
        pages.offsets([4], 64, "key")
    with pytest.raises(kvkeep.PageError, match="no latent part"):
        pages.offsets([4], 0, "latent")
    with pytest.raises(ValueError, match="no part is called"):
        pages.offsets([4], 0, "keys")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="item 0 is -1"):
        pages.offsets([-1], 0, "key")
    with pytest.raises(ValueError, match="1 sources but 2 destinations"):
        pages.copy_runs([1], [2, 3])
    with pytest.raises(kvkeep.PageError):
        PageLayout(qwen3(), 5, stage=1)
    with pytest.raises(ValueError, match="no page order is called"):
        PageLayout(qwen3(), 5, order="columns")  # type: ignore[arg-type]
