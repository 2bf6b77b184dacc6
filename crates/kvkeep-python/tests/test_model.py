"""A manager against a naive model: a dict from prefixes to nothing, without a bound."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import kvkeep
from kvkeep import BlockManager, Identity

BLOCK_SIZE = 3
TOKENS = st.lists(st.integers(0, 1), min_size=1, max_size=10)
IDENTITIES = [Identity(), Identity(salt="a"), Identity(adapter=("a", ""))]


class Sequence:
    def __init__(self, identity: int, tokens: list[int], computed: int) -> None:
        self.identity, self.tokens, self.computed = identity, tokens, computed


class Model(RuleBasedStateMachine):
    """A pool that never fills up, so that what was computed stays."""

    sequences: Bundle[tuple[int, Sequence]] = Bundle("sequences")

    def __init__(self) -> None:
        super().__init__()
        self.kv = BlockManager(4096, block_size=BLOCK_SIZE)
        self.known: set[tuple[int, tuple[int, ...]]] = set()
        self.running: dict[int, Sequence] = {}

    def cached(self, identity: int, prompt: list[int]) -> int:
        tokens = 0
        while tokens + BLOCK_SIZE < len(prompt):
            if (identity, tuple(prompt[: tokens + BLOCK_SIZE])) not in self.known:
                break
            tokens += BLOCK_SIZE
        return tokens

    @rule(target=sequences, prompt=TOKENS, identity=st.sampled_from(range(len(IDENTITIES))))
    def admit(self, prompt: list[int], identity: int) -> tuple[int, Sequence]:
        expected = self.cached(identity, prompt)
        assert self.kv.longest_prefix(prompt, IDENTITIES[identity]) == expected
        hit = self.kv.admit(prompt, IDENTITIES[identity])
        assert hit.tokens_cached == expected
        self.running[hit.seq] = Sequence(identity, prompt, expected)
        return hit.seq, self.running[hit.seq]

    @rule(one=sequences, tokens=TOKENS)
    def extend(self, one: tuple[int, Sequence], tokens: list[int]) -> None:
        seq, model = one
        self.kv.extend(seq, tokens)
        model.tokens = model.tokens + tokens

    @rule(one=sequences, count=st.integers(1, 12))
    def step(self, one: tuple[int, Sequence], count: int) -> None:
        seq, model = one
        count = min(count, len(model.tokens) - model.computed)
        if count == 0:
            return
        assert self.kv.reserve(seq, count).first_token == model.computed
        self.kv.commit(seq, count)
        model.computed += count
        for end in range(BLOCK_SIZE, model.computed + 1, BLOCK_SIZE):
            self.known.add((model.identity, tuple(model.tokens[:end])))

    @rule(target=sequences, one=sequences)
    def fork(self, one: tuple[int, Sequence]) -> tuple[int, Sequence]:
        seq, model = one
        fork = self.kv.fork(seq)
        self.running[fork] = Sequence(model.identity, model.tokens, model.computed)
        return fork, self.running[fork]

    @rule(one=consumes(sequences))
    def free(self, one: tuple[int, Sequence]) -> None:
        self.kv.free(one[0])
        del self.running[one[0]]

    @rule()
    def invalidate(self) -> None:
        # What runs on is of the old epoch: the model lets it end.
        if not self.running:
            self.kv.invalidate_all()
            self.known.clear()

    @invariant()
    def tables_and_counts_agree(self) -> None:
        for seq, model in self.running.items():
            assert self.kv.tokens_known(seq) == len(model.tokens)
            assert self.kv.tokens_computed(seq) == model.computed
            assert self.kv.block_table(seq).size == -(-model.computed // BLOCK_SIZE)
        assert self.kv.usage()["sequences"] == len(self.running)
        self.kv.validate()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
