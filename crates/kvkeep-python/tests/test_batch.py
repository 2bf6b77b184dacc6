"""Calls for a whole batch do what the single calls do, or nothing."""

from typing import Any

import kvkeep
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kvkeep import BlockManager


def running(kv: BlockManager, prompts: list[list[int]]) -> list[int]:
    """Admits prompts and opens their first steps."""
    seqs = []
    for prompt in prompts:
        hit = kv.admit(prompt)
        kv.reserve(hit.seq, len(prompt) - hit.tokens_cached)
        seqs.append(hit.seq)
    return seqs


def state(kv: BlockManager, seqs: list[int]) -> list[Any]:
    tables = [kv.block_table(seq).tolist() for seq in seqs]
    tokens = [(kv.tokens_known(seq), kv.tokens_computed(seq)) for seq in seqs]
    return [tables, tokens, kv.usage(), kv.stats()]


def test_a_decoding_batch() -> None:
    kv = BlockManager(64, block_size=4)
    seqs = np.array(running(kv, [[1, 2, 3], [4, 5, 6, 7, 8]]), dtype=np.uint64)
    tables = np.full((2, 8), -1, dtype=np.int32)
    assert kv.block_tables(seqs, tables).tolist() == [1, 2]
    advanced = kv.advance(seqs, append=[10, 11], commit=[3, 5], reserve=1, block_tables=tables)
    assert (advanced.granted, advanced.refused) == (2, None)
    assert advanced.first_tokens.tolist() == [3, 5]
    assert advanced.first_tokens.dtype == np.int64
    assert advanced.num_blocks.tolist() == advanced.first_new_blocks.tolist() == [1, 2]
    assert advanced.num_blocks.dtype == np.int32
    assert advanced.copies.shape == (0, 3)
    assert advanced.copies.dtype == np.int32
    assert (advanced.blocks_published, advanced.blocks_duplicate) == (1, 0)
    advanced = kv.advance(seqs, append=[12, 13], commit=1, reserve=1, block_tables=tables)
    assert advanced.first_new_blocks.tolist() == [1, 2]
    assert advanced.num_blocks.tolist() == [2, 2]
    for row, seq in zip(tables, seqs, strict=True):
        table = kv.block_table(int(seq)).tolist()
        assert row.tolist() == table + [-1] * (8 - len(table))
    assert repr(advanced) == "Advanced(granted=2, blocks_published=1, blocks_duplicate=0)"
    kv.validate()


def test_copies_of_forks_are_reported_and_written_into_the_tables() -> None:
    kv = BlockManager(64, block_size=4)
    (seq,) = running(kv, [[1, 2, 3, 4, 5]])
    kv.commit(seq, 5)
    seqs = [seq, kv.fork(seq)]
    tables = np.zeros((2, 4), dtype=np.int32)
    kv.block_tables(seqs, tables)
    shared = int(tables[0, 1])
    advanced = kv.advance(seqs, append=[6, 7], reserve=1, block_tables=tables)
    assert advanced.copies[:, [0, 2]].tolist() == [[shared, 1], [shared, 1]]
    assert advanced.copies[:, 1].tolist() == tables[:, 1].tolist()
    for row, one in zip(tables, seqs, strict=True):
        assert row[:2].tolist() == kv.block_table(one).tolist()


def test_drafts_of_several_sequences() -> None:
    kv = BlockManager(64, block_size=4)
    seqs = running(kv, [[1, 2, 3], [4, 5, 6]])
    kv.advance(seqs, append=[7, 8], commit=3, reserve=1, lookahead=[4, 2])
    assert [kv.block_table(seq).size for seq in seqs] == [2, 2]
    # Two drafts and a sampled token for one, a sampled token alone for the other.
    kv.advance(seqs, append=[1, 2, 3, 9], append_counts=[3, 1], commit=[3, 1], reserve=1)
    assert [kv.tokens_computed(seq) for seq in seqs] == [6, 4]
    assert [kv.tokens_known(seq) for seq in seqs] == [7, 5]


def test_memory_that_runs_out_stops_the_batch() -> None:
    kv = BlockManager(4, block_size=4)
    seqs = running(kv, [[n] * 4 for n in range(4)])
    tables = np.full((4, 4), -1, dtype=np.int32)
    kv.block_tables(seqs, tables)
    advanced = kv.advance(seqs, append=[5] * 4, commit=4, reserve=1, block_tables=tables)
    assert advanced.granted == 0
    assert isinstance(advanced.refused, kvkeep.OutOfBlocksError)
    assert (advanced.refused.needed, advanced.refused.available) == (1, 0)
    assert advanced.num_blocks.size == 0
    assert [kv.tokens_computed(seq) for seq in seqs] == [4] * 4
    kv.preempt(seqs.pop())
    advanced = kv.advance(seqs, reserve=1, block_tables=tables)
    assert advanced.granted == 1
    assert tables[0, :2].tolist() == kv.block_table(seqs[0]).tolist()
    assert tables[1, 1] == -1
    kv.validate()


@pytest.mark.parametrize(
    ("arguments", "error", "index"),
    [
        ({"commit": 4, "reserve": 1}, kvkeep.CommitTooLongError, 0),
        ({"commit": [3, 2]}, kvkeep.CommitTooLongError, 1),
        ({"reserve": 1}, kvkeep.StepOpenError, 0),
        ({"commit": [3, 1], "reserve": 1}, kvkeep.UnknownTokensError, 0),
        ({"commit": [3, 1], "lookahead": [0, 1]}, kvkeep.ZeroTokensError, 1),
        ({"append": [1] * 1025, "append_counts": [1, 1024]}, kvkeep.TooLongError, 1),
    ],
)
def test_what_is_wrong_with_one_changes_none(
    arguments: dict[str, Any], error: type[kvkeep.KvkeepError], index: int
) -> None:
    kv = BlockManager(64)
    seqs = running(kv, [[1, 2, 3], [4]])
    before = state(kv, seqs)
    with pytest.raises(error, match=f"sequence {index} of the batch: ") as caught:
        kv.advance(seqs, **arguments)
    assert caught.value.index == index
    assert state(kv, seqs) == before
    kv.validate()


def test_a_sequence_may_be_in_a_batch_once() -> None:
    kv = BlockManager(64)
    seqs = running(kv, [[1], [2]])
    with pytest.raises(kvkeep.TwiceInBatchError) as twice:
        kv.advance([*seqs, seqs[0]], append=[3, 4, 5])
    assert (twice.value.index, twice.value.seq) == (2, seqs[0])
    kv.free(seqs[0])
    with pytest.raises(kvkeep.UnknownSequenceError) as gone:
        kv.advance(seqs[::-1], append=[3, 4])
    assert (gone.value.index, gone.value.seq) == (1, seqs[0])
    assert kv.tokens_known(seqs[1]) == 1
    # The marks of a failed check are gone.
    assert kv.advance(seqs[1:], append=[3]).granted == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"append": [1]}, "append has 1 tokens where the counts add up to 2"),
        ({"append": [1, 2, 3]}, "append has 3 tokens where the counts add up to 2"),
        ({"append": [1, 2, 3], "append_counts": [2, 2]}, "where the counts add up to 4"),
        ({"append_counts": [0, 1]}, "append has 0 tokens where the counts add up to 1"),
        ({"append_counts": [1]}, "append_counts has 1 items for a batch of 2"),
        ({"commit": [1]}, "commit has 1 items for a batch of 2"),
        ({"reserve": np.zeros(3, dtype=np.int32)}, "reserve has 3 items for a batch of 2"),
        ({"lookahead": []}, "lookahead has 0 items for a batch of 2"),
        ({"commit": [-1, 0]}, "item 0 is -1"),
        ({"block_tables": np.zeros((1, 9), dtype=np.int32)}, "1 rows for a batch of 2"),
        (
            {"commit": [3, 1], "block_tables": np.zeros((2, 0), dtype=np.int32)},
            "0 columns; sequence 0 of the batch needs 1",
        ),
        (
            {
                "commit": [3, 1],
                "append": [1] * 18,
                "append_counts": [1, 17],
                "reserve": [1, 17],
                "block_tables": np.zeros((2, 1), dtype=np.int32),
            },
            "1 columns; sequence 1 of the batch needs 2",
        ),
    ],
)
def test_shapes_that_do_not_agree(arguments: dict[str, Any], message: str) -> None:
    kv = BlockManager(64)
    seqs = running(kv, [[1, 2, 3], [4]])
    before = state(kv, seqs)
    with pytest.raises(ValueError, match=message):
        kv.advance(seqs, **arguments)
    assert state(kv, seqs) == before


@pytest.mark.parametrize(
    "tables",
    [
        np.zeros((2, 9), dtype=np.int64),
        np.zeros((2, 9), dtype=np.uint32),
        np.zeros(18, dtype=np.int32),
        [[0] * 9] * 2,
    ],
)
def test_tables_are_int32_with_two_dimensions(tables: Any) -> None:
    kv = BlockManager(64)
    seqs = running(kv, [[1], [2]])
    with pytest.raises(TypeError):
        kv.block_tables(seqs, tables)
    with pytest.raises(TypeError):
        kv.advance(seqs, block_tables=tables)


def test_tables_that_cannot_be_written() -> None:
    kv = BlockManager(64)
    seqs = running(kv, [[1], [2]])
    frozen = np.zeros((2, 9), dtype=np.int32)
    frozen.flags.writeable = False
    with pytest.raises((TypeError, ValueError)):
        kv.block_tables(seqs, frozen)
    with pytest.raises(ValueError, match="1 rows"):
        kv.block_tables(seqs, np.zeros((1, 9), dtype=np.int32))
    with pytest.raises(ValueError, match="0 columns"):
        kv.block_tables(seqs, np.zeros((2, 0), dtype=np.int32))


def test_rows_of_a_larger_table() -> None:
    kv = BlockManager(64, block_size=2)
    seqs = running(kv, [[1, 2, 3], [4]])
    whole = np.full((10, 10), -1, dtype=np.int32)
    assert kv.block_tables(seqs, whole[3:6]).tolist() == [2, 1]
    assert whole[3, :2].tolist() == kv.block_table(seqs[0]).tolist()
    assert whole[4, :1].tolist() == kv.block_table(seqs[1]).tolist()
    assert (whole != -1).sum() == 3
    for view in (whole[::2], whole[:, :5], whole.T, whole[::-1]):
        with pytest.raises(ValueError, match="must be C-contiguous"):
            kv.block_tables(seqs, view)
        with pytest.raises(ValueError, match="must be C-contiguous"):
            kv.advance(seqs, block_tables=view)
    assert (whole != -1).sum() == 3


def test_an_empty_batch() -> None:
    kv = BlockManager(64)
    assert kv.advance([]).granted == 0
    assert kv.advance([], append=[], commit=[], block_tables=np.zeros((0, 0), np.int32)).granted == 0
    assert kv.block_tables([], np.zeros((0, 0), dtype=np.int32)).size == 0


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_batch_does_what_single_calls_do(data: st.DataObject) -> None:
    pools = [BlockManager(24, block_size=4) for _ in range(2)]
    prompts = data.draw(
        st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), min_size=1, max_size=4)
    )
    batched, single = (running(kv, prompts) for kv in pools)
    assert batched == single
    width = 24
    tables = np.full((len(prompts), width), -1, dtype=np.int32)
    pools[0].block_tables(batched, tables)
    left = [len(prompt) - pools[0].tokens_computed(seq) for prompt, seq in zip(prompts, batched, strict=True)]
    for _ in range(data.draw(st.integers(1, 6))):
        counts = [data.draw(st.integers(1, 3)) for _ in prompts]
        lookahead = [data.draw(st.integers(0, 5)) for _ in prompts]
        tokens = [[data.draw(st.integers(0, 1)) for _ in range(count)] for count in counts]
        commit, reserve = left, counts
        flat = [token for one in tokens for token in one]
        advanced = pools[0].advance(
            batched,
            append=flat,
            append_counts=counts,
            commit=commit,
            reserve=reserve,
            lookahead=lookahead,
            block_tables=tables,
        )
        kv = pools[1]
        for n, seq in enumerate(single):
            kv.extend(seq, tokens[n])
            kv.commit(seq, commit[n])
        granted = 0
        for n, seq in enumerate(single):
            try:
                step = kv.reserve(seq, reserve[n], lookahead[n])
            except kvkeep.OutOfBlocksError as error:
                assert str(advanced.refused) == str(error)
                break
            assert advanced.first_tokens[n] == step.first_token
            assert advanced.num_blocks[n] == step.num_blocks
            assert tables[n, : step.num_blocks].tolist() == kv.block_table(seq).tolist()
            granted += 1
        assert advanced.granted == granted
        assert state(pools[0], batched) == state(pools[1], single)
        pools[0].validate()
        left = counts
        if granted < len(prompts):
            break
