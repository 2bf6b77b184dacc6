"""The life of sequences, one call each."""

import pickle

import kvkeep
import numpy as np
import pytest
from kvkeep import BlockManager, Identity


def compute(kv: BlockManager, prompt: list[int], identity: Identity | None = None) -> int:
    """Admits a prompt and computes it in one step."""
    hit = kv.admit(prompt, identity)
    rest = len(prompt) - hit.tokens_cached
    kv.reserve(hit.seq, rest)
    kv.commit(hit.seq, rest)
    return hit.seq


def test_a_second_prompt_hits_what_the_first_left() -> None:
    kv = BlockManager(64)
    prompt = list(range(40))
    first = kv.admit(prompt)
    assert (first.tokens_cached, first.miss) == (0, "never_seen")
    step = kv.reserve(first.seq, 40)
    assert (step.first_token, step.first_new_block, step.num_blocks) == (0, 0, 3)
    assert step.copy is None
    assert kv.commit(first.seq, 40).blocks_published == 2
    table = kv.block_table(first.seq)
    assert table.dtype == np.int32
    assert table.shape == (3,)
    kv.free(first.seq)
    assert kv.usage() == {"free": 62, "cached": 2, "in_use": 0, "sequences": 0}
    second = kv.admit(prompt)
    assert (second.tokens_cached, second.miss) == (32, "below_block_granularity")
    assert kv.block_table(second.seq).tolist() == table[:2].tolist()
    assert kv.stats()["hit_rate"] == 32 / 80
    assert kv.stats()["miss_reasons"]["never_seen"] == 1
    assert kv.stats()["missed_tokens"]["below_block_granularity"] == 8
    kv.validate()


@pytest.mark.parametrize("policy", kvkeep.POLICIES)
def test_every_policy_evicts_when_the_pool_is_full(policy: str) -> None:
    kv = BlockManager(8, block_size=4, policy=policy)
    assert kv.policy == policy
    for n in range(20):
        kv.free(compute(kv, [1000 * n + i for i in range(17)]))
        kv.validate()
    stats = kv.stats()
    assert stats["published_blocks"] == 80
    assert stats["evicted_blocks"] >= 72
    assert stats["overruled_victims"] == 0


def test_out_of_blocks_says_how_many_and_changes_nothing() -> None:
    kv = BlockManager(4)
    first = compute(kv, list(range(40)))
    second = kv.admit(list(range(100, 140))).seq
    with pytest.raises(kvkeep.OutOfBlocksError, match="preempt a sequence") as caught:
        kv.reserve(second, 40)
    assert (caught.value.needed, caught.value.available) == (3, 1)
    assert kv.block_table(second).size == 0
    kv.preempt(first)
    assert kv.reserve(second, 40).num_blocks == 3
    assert kv.stats()["preemptions"] == 1


def test_errors_mirror_the_library_with_their_figures() -> None:
    kv = BlockManager(4, max_sequences=2)
    with pytest.raises(kvkeep.EmptyPromptError):
        kv.admit([])
    with pytest.raises(kvkeep.TooLongError) as too_long:
        kv.admit(range(65))
    assert (too_long.value.tokens, too_long.value.max) == (65, 64)
    with pytest.raises(kvkeep.MediaBeyondPromptError) as media:
        kv.admit([1, 2], Identity(media=[("picture", 1, 3)]))
    assert (media.value.end, media.value.prompt_tokens) == (3, 2)
    seq = kv.admit([1, 2, 3]).seq
    kv.admit([4])
    with pytest.raises(kvkeep.TooManySequencesError) as many:
        kv.admit([5])
    assert many.value.max == 2
    with pytest.raises(kvkeep.NoStepError) as no_step:
        kv.commit(seq, 1)
    assert no_step.value.seq == seq
    with pytest.raises(kvkeep.UnknownTokensError) as unknown:
        kv.reserve(seq, 4)
    assert (unknown.value.needed, unknown.value.known) == (4, 3)
    with pytest.raises(kvkeep.ZeroTokensError):
        kv.reserve(seq, 0)
    kv.reserve(seq, 2)
    with pytest.raises(kvkeep.StepOpenError):
        kv.reserve(seq, 1)
    with pytest.raises(kvkeep.CommitTooLongError) as long:
        kv.commit(seq, 3)
    assert (long.value.asked, long.value.reserved) == (3, 2)
    kv.commit(seq, 2)
    with pytest.raises(kvkeep.StartedError):
        kv.withdraw(seq)
    with pytest.raises(kvkeep.NotDuplicateError) as duplicate:
        kv.adopt(seq, 0)
    assert duplicate.value.position == 0
    with pytest.raises(kvkeep.EmptyRangeError) as empty:
        kv.retain(seq, start=3, end=3, priority=50)
    assert (empty.value.start, empty.value.end) == (3, 3)
    with pytest.raises(kvkeep.PriorityTooHighError) as high:
        kv.retain(seq, priority=101)
    assert high.value.priority == 101
    for _ in range(64):
        kv.retain(seq, priority=50)
    with pytest.raises(kvkeep.TooManyHintsError) as hints:
        kv.retain(seq, priority=50)
    assert hints.value.max == 64
    kv.advance_time(5)
    with pytest.raises(kvkeep.TimeWentBackError) as time:
        kv.advance_time(4)
    assert (time.value.passed_ms, time.value.now_ms) == (4, 5)
    kv.free(seq)
    with pytest.raises(kvkeep.UnknownSequenceError) as gone:
        kv.free(seq)
    assert gone.value.seq == seq
    kv.validate()


def test_a_handle_of_a_sequence_that_ended_is_nobody_elses() -> None:
    kv = BlockManager(4)
    old = kv.admit([1]).seq
    kv.free(old)
    new = kv.admit([1]).seq
    assert new != old
    for call in (kv.block_table, kv.tokens_known, kv.tokens_computed, kv.duplicates, kv.fork):
        with pytest.raises(kvkeep.UnknownSequenceError):
            call(old)
    assert kv.tokens_known(new) == 1


def test_exceptions_survive_pickling() -> None:
    kv = BlockManager(1)
    seq = kv.admit(list(range(16))).seq
    with pytest.raises(kvkeep.KvkeepError) as caught:
        kv.append(seq, 1)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, kvkeep.TooLongError)
    assert (str(copy), copy.tokens, copy.max) == (str(caught.value), 17, 16)


def test_settings_are_checked_together() -> None:
    with pytest.raises(kvkeep.ConfigError, match="num_blocks is 0.*block_size is 0"):
        BlockManager(0, block_size=0)
    with pytest.raises(kvkeep.UnknownPolicyError, match="no eviction policy is called `lur`"):
        BlockManager(4, policy="lur")
    with pytest.raises(ValueError, match="no hasher is called"):
        BlockManager(4, hasher="md5")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="xxh3 has no seed"):
        BlockManager(4, hash_seed="0")
    with pytest.raises(OverflowError):
        BlockManager(-1)


def test_identities_keep_sequences_apart() -> None:
    kv = BlockManager(64)
    prompt = list(range(40))
    tenant = Identity(salt="tenant-7")
    compute(kv, prompt, tenant)
    assert kv.longest_prefix(prompt, tenant) == 32
    assert kv.longest_prefix(prompt) == 0
    assert kv.admit(prompt, Identity(salt="tenant-8")).miss == "different_extra_keys"
    same = [
        Identity(adapter=("sql", "/v3"), media=[("a", 2, 4), ("b", 4, 5)], custom=[("k", b"v")]),
        Identity(custom=[("k", b"v")], media=[("b", 4, 5), ("a", 2, 4)], adapter=("sql", "/v3")),
    ]
    assert same[0] == same[1]
    assert same[0] != Identity()
    assert "tenant-7" not in repr(tenant)
    with pytest.raises(kvkeep.IdentityError, match="at most 1024"):
        Identity(salt="x" * 1025)
    with pytest.raises(kvkeep.IdentityError, match="overlaps"):
        Identity(media=[("a", 0, 4), ("b", 3, 5)])


def test_forks_share_until_one_writes() -> None:
    kv = BlockManager(64)
    seq = compute(kv, list(range(20)))
    fork = kv.fork(seq)
    source = int(kv.block_table(seq)[1])
    kv.append(fork, 7)
    copy = kv.reserve(fork, 1).copy
    assert copy is not None
    assert (copy.source, copy.tokens) == (source, 4)
    assert copy.destination == kv.block_table(fork)[1] != source
    kv.revert(fork)
    assert kv.block_table(fork).tolist() == kv.block_table(seq).tolist()
    assert kv.block_state(source) == ("in_use", 2)
    assert kv.block_state(64) is None
    kv.validate()


def test_duplicates_can_be_adopted() -> None:
    kv = BlockManager(64)
    prompt = list(range(33))
    seqs = [kv.admit(prompt).seq for _ in range(2)]
    assert kv.admit(prompt).miss == "not_committed"
    for seq in seqs:
        kv.reserve(seq, 33)
    first, second = (kv.commit(seq, 33) for seq in seqs)
    assert (first.blocks_published, second.blocks_duplicate) == (2, 2)
    published = kv.block_table(seqs[0]).tolist()[:2]
    assert kv.duplicates(seqs[1]) == [(0, published[0]), (1, published[1])]
    assert [kv.adopt(seqs[1], position) for position in (1, 0)] == published[::-1]
    assert kv.duplicates(seqs[1]) == []
    kv.validate()


def test_hints_order_victims() -> None:
    kv = BlockManager(4)
    kept = compute(kv, list(range(17)))
    kv.retain(kept, priority=90)
    kv.free(kept)
    dropped = compute(kv, list(range(100, 117)))
    kv.retain(dropped, not_reused=True)
    kv.free(dropped)
    compute(kv, list(range(200, 248)))
    assert kv.longest_prefix(list(range(17))) == 16
    assert kv.longest_prefix(list(range(100, 117))) == 0
    with pytest.raises(ValueError, match="pass priority"):
        kv.retain(kv.admit([1]).seq)


def test_an_epoch_ends_all_hits() -> None:
    kv = BlockManager(64)
    prompt = list(range(33))
    kv.free(compute(kv, prompt))
    assert kv.epoch == 0
    assert kv.invalidate_all() == kv.epoch == 1
    assert kv.longest_prefix(prompt) == 0
    assert kv.stats()["invalidated_blocks"] == 2
    kv.validate()


def test_a_preempted_sequence_counts_apart_and_a_withdrawn_one_not_at_all() -> None:
    kv = BlockManager(64)
    prompt = list(range(33))
    kv.preempt(compute(kv, prompt))
    assert kv.readmit([*prompt, 1]).tokens_cached == 32
    kv.withdraw(kv.admit(prompt).seq)
    stats = kv.stats()
    assert (stats["requests"], stats["readmitted_requests"]) == (1, 1)
    assert stats["recomputed_tokens"] == 2


def test_lookahead_goes_back() -> None:
    kv = BlockManager(64, block_size=2)
    seq = compute(kv, [1, 2, 3])
    kv.append(seq, 4)
    assert kv.reserve(seq, 1, lookahead=5).num_blocks == 5
    kv.extend(seq, [5, 6])
    kv.commit(seq, 2)
    assert kv.block_table(seq).size == 3
    assert (kv.tokens_computed(seq), kv.tokens_known(seq)) == (5, 6)


def test_what_is_printed() -> None:
    kv = BlockManager(64, policy="lru-2")
    hit = kv.admit([1, 2, 3])
    assert repr(hit) == (
        f"Admission(seq={hit.seq}, tokens_cached=0, miss='below_block_granularity', "
        "tokens_partial=0)"
    )
    step = kv.reserve(hit.seq, 3)
    assert repr(step) == "Step(first_token=0, first_new_block=0, num_blocks=1, copy=None)"
    assert repr(kv.commit(hit.seq, 3)) == "Commit(blocks_published=0, blocks_duplicate=0)"
    assert repr(kv).startswith("<BlockManager of 64 blocks of 16 tokens, lru-2, xxh3: 63 free")
    assert (kv.num_blocks, kv.block_size, kv.num_tokens) == (64, 16, 1024)


def test_work_can_be_described() -> None:
    kv = BlockManager(64, policy="workload-aware")
    seq = kv.admit([1]).seq
    kv.describe(seq, 3, turn=2)
    with pytest.raises(OverflowError):
        kv.describe(seq, 1 << 16)
