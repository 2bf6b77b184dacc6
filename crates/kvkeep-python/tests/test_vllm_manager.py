"""The hot calls of level 2, without vLLM: what they pass on, refuse and leave as it is."""

from types import SimpleNamespace
from typing import Any

import pytest

from kvkeep._kvkeep import ManagerCore, PoolBlock, PoolCore

BLOCK = 4


class Stand:
    """A manager's calls over tables that can be looked at."""

    def __init__(self, num_blocks: int = 10, **options: Any) -> None:
        self.pool = PoolCore(num_blocks, BLOCK, "lru")
        self.tables: dict[str, list[PoolBlock]] = {}
        self.counts: dict[str, int] = {}
        self.passed_on: list[tuple[Any, ...]] = []
        self.empty = SimpleNamespace(blocks=([],))
        given: dict[str, Any] = {
            "pool": self.pool, "block_size": BLOCK, "max_model_len": 1000, "watermark_blocks": 0,
            "dropped_blocks": 0, "reprefillable_tokens": 0, "caching": True,
            "waiting": ("waiting",), "req_to_blocks": self.tables,
            "num_cached_block": self.counts, "empty": self.empty,
            "kv_cache_blocks": lambda blocks: SimpleNamespace(blocks=blocks),
            "otherwise": self.otherwise,
        }
        self.calls = ManagerCore(**given | options)

    def otherwise(self, *args: Any, **named: Any) -> str:
        self.passed_on.append((args, named))
        return "vLLM's own"


def request(name: str, tokens: int) -> SimpleNamespace:
    return SimpleNamespace(
        request_id=name, _all_token_ids=list(range(tokens)), num_computed_tokens=0,
        block_hashes=[bytes([at]) * 32 for at in range(tokens // BLOCK)], status="waiting",
        skip_reading_prefix_cache=False,
    )


def ids(blocks: Any) -> list[int]:
    return PoolCore.block_ids(blocks.blocks[0])


def test_a_request_takes_shares_and_gives_back() -> None:
    stand = Stand()
    first = request("first", 10)
    assert stand.calls.get_computed_blocks(first) == (stand.empty, 0, 0)
    assert ids(stand.calls.allocate_slots(first, 10)) == [1, 2, 3]
    assert stand.counts == {"first": 2}
    second = request("second", 9)
    hit, tokens, _ = stand.calls.get_computed_blocks(second)
    assert (ids(hit), tokens) == ([1, 2], 8)
    assert ids(stand.calls.allocate_slots(second, 1, 8, hit)) == [4]
    assert [block.ref_cnt for block in stand.tables["second"]] == [2, 2, 1]
    # The last token is always computed.
    assert stand.calls.get_computed_blocks(request("third", 8))[1] == 4
    # A step whose last block has room takes nothing.
    second.num_computed_tokens = 9
    assert stand.calls.allocate_slots(second, 1) is stand.empty
    for each in (first, second):
        stand.calls.free(each)
    assert (stand.tables, stand.counts, stand.pool.num_free()) == ({}, {}, 9)
    stand.pool.validate()


def test_without_room_nothing_changes() -> None:
    stand = Stand(4)
    assert stand.calls.allocate_slots(request("large", 13), 13) is None
    assert stand.calls.allocate_slots(request("whole", 13), 4, full_sequence_must_fit=True) is None
    assert stand.calls.allocate_slots(request("other", 8), 8, reserved_blocks=2) is None
    assert (stand.tables, stand.counts, stand.pool.num_free()) == ({}, {}, 3)


def test_tokens_beyond_the_longest_length_get_no_slots() -> None:
    stand = Stand(max_model_len=8)
    assert ids(stand.calls.allocate_slots(request("long", 13), 13)) == [1, 2]
    assert [block.block_hash_num_tokens for block in stand.tables["long"]] == [4, 8]
    # As vLLM counts them.
    assert stand.counts == {"long": 3}
    stand.calls.free(request("long", 13))
    stand.pool.validate()


def test_the_watermark_is_for_those_who_wait_while_others_run() -> None:
    stand = Stand(4, watermark_blocks=2)
    waiting, running = request("waiting", 8), request("running", 8)
    running.status = "running"
    assert stand.calls.allocate_slots(waiting, 8) is None
    assert stand.calls.allocate_slots(running, 8) is not None
    stand.calls.free(running)
    assert stand.calls.allocate_slots(waiting, 8, has_scheduled_reqs=False) is not None


@pytest.mark.parametrize(
    "named",
    [
        {"num_external_computed_tokens": 4},
        {"delay_cache_blocks": True},
        {"delay_cache_blocks": 1},
        {"something_new": 1},
        {"skip_zeroing_group_ids": (), "something_new": 1},
    ],
)
def test_what_is_not_for_kvkeep_is_passed_on(named: dict[str, Any]) -> None:
    stand = Stand()
    asked = request("asked", 8)
    assert stand.calls.allocate_slots(asked, 8, **named) == "vLLM's own"
    [(args, passed)] = stand.passed_on
    assert args == (asked, 8)
    assert named.items() <= passed.items()
    assert (stand.tables, stand.pool.num_free()) == ({}, 9)


@pytest.mark.parametrize("named", [{"delay_cache_blocks": None}, {"skip_zeroing_group_ids": ()}])
def test_what_changes_nothing_is_not_passed_on(named: dict[str, Any]) -> None:
    stand = Stand()
    assert ids(stand.calls.allocate_slots(request("asked", 8), 8, **named)) == [1, 2]
    assert stand.passed_on == []


def test_a_running_request_has_no_new_hit() -> None:
    stand = Stand()
    first, second = request("first", 9), request("second", 9)
    stand.calls.allocate_slots(first, 9)
    hit, tokens, _ = stand.calls.get_computed_blocks(second)
    with pytest.raises(AssertionError, match="a running request has a new hit"):
        stand.calls.allocate_slots(first, 1, tokens, hit)
    stand.counts.clear()
    with pytest.raises(AssertionError, match="a request with blocks adopts a hit"):
        stand.calls.allocate_slots(first, 1, tokens, hit)


def test_free_is_all_or_nothing() -> None:
    stand = Stand()
    asked = request("asked", 8)
    stand.calls.allocate_slots(asked, 8)
    [foreign] = PoolCore(4, BLOCK, "lru").get_new_blocks(1)
    stand.tables["asked"].append(foreign)
    with pytest.raises(TypeError, match="not a block of this pool"):
        stand.calls.free(asked)
    assert PoolCore.block_ids(stand.tables["asked"]) == [1, 2, 1]
    assert (stand.counts, stand.pool.num_free()) == ({"asked": 2}, 7)
    stand.tables["asked"].pop()
    stand.calls.free(asked)
    assert stand.pool.num_free() == 9
    # Whoever is not there is no error: vLLM frees what never ran, too.
    stand.calls.free(asked)
