"""The engine at toy size on the CPU: hits, evictions, preemption, poison, chunks, ranks."""

import random

import pytest
import torch

from gpu_engine.config import tiny
from gpu_engine.engine import Engine, Request
from gpu_engine.ranks import Ranks


def make(num_blocks=64, max_chunk=64, sizes=True):
    buckets = {} if sizes else {"decode_sizes": (), "prefill_sizes": ()}
    engine = Engine(tiny(num_blocks), Ranks(2), "cpu", max_chunk=max_chunk, **buckets)
    engine.keep_logits = True
    engine.poison = True
    free = torch.arange(num_blocks)
    for pages in engine.model.pages:
        pages.poison(free)
    return engine


def prompt(n, seed=0):
    rng = random.Random(seed)
    return [rng.randrange(128) for _ in range(n)]


def serve(engine, tokens, new=4, salt=None):
    request = engine.submit(Request(tokens, new, salt))
    engine.run()
    engine.cache.kv.validate()
    assert not request.logits.isnan().any()
    return request


def test_hit_equals_cold_bit_for_bit_with_the_same_chunks():
    tokens = prompt(100)
    hit = make(max_chunk=96)
    serve(hit, tokens[:96] + prompt(3, 1))
    again = serve(hit, tokens)
    assert again.tokens_cached == 96
    cold = serve(make(max_chunk=96), tokens)
    assert cold.tokens_cached == 0
    assert torch.equal(again.logits, cold.logits)
    assert again.output == cold.output


def test_hit_is_close_to_cold_with_other_chunks():
    tokens = prompt(100)
    cold = serve(make(max_chunk=100), tokens).logits
    engine = make(max_chunk=100)
    serve(engine, tokens[:57])
    hit = serve(engine, tokens)
    assert hit.tokens_cached == 48
    assert (hit.logits - cold).norm() / cold.norm() < 0.05


def test_random_work_on_a_small_pool_is_what_an_engine_alone_gives():
    rng = random.Random(7)
    engine = make(num_blocks=10, max_chunk=48)
    shared = prompt(40, 5)
    requests = []
    for i in range(10):
        tokens = shared[: rng.randrange(8, 41)] + prompt(rng.randrange(1, 60), 10 + i)
        requests.append(engine.submit(Request(tokens, rng.randrange(1, 24))))
        for _ in range(rng.randrange(3)):
            if engine.waiting or engine.running:
                engine.step()
                engine.cache.kv.validate()
    aborted = requests[5] if requests[5] in engine.waiting or requests[5] in engine.running else None
    if aborted:
        engine.abort(aborted)
    engine.run()
    engine.cache.kv.validate()
    assert engine.preemptions > 0
    assert engine.cache.kv.stats()["evicted_blocks"] > 0
    assert sum(r.tokens_cached for r in requests) > 0
    for request in requests:
        if request is aborted:
            continue
        alone = serve(make(), request.prompt, 1)
        assert len(request.output) == request.max_new
        error = (request.logits - alone.logits).norm() / alone.logits.norm()
        assert error < 0.1


def test_admission_counts_what_the_admitted_have_still_to_compute():
    """Three prompts of 5 blocks and a pool of 12: two run, the third waits and is not preempted."""
    engine = make(num_blocks=12, max_chunk=16)
    requests = [engine.submit(Request(prompt(75, i), 2)) for i in range(3)]
    engine.step()
    assert engine.running == requests[:2]
    engine.run()
    assert engine.preemptions == 0


def test_requests_that_cannot_run_are_refused():
    engine = make(num_blocks=4)
    for tokens, new in ((prompt(60), 5), ([], 1), (prompt(5), 0), (prompt(600), 1)):
        with pytest.raises(ValueError):
            engine.submit(Request(tokens, new))
    serve(engine, prompt(60), new=4)


def test_padding_changes_nothing():
    tokens = prompt(75)
    assert torch.equal(serve(make(), tokens).logits, serve(make(sizes=False), tokens).logits)


def test_other_salt_does_not_hit():
    engine = make()
    serve(engine, prompt(64))
    assert serve(engine, prompt(64), salt="b").tokens_cached == 0
    assert serve(engine, prompt(64), salt="b").tokens_cached == 48


def test_poison_shows_where_a_page_is_read_that_must_not_be():
    """The proof needs a detector that works: a poisoned page in use turns up in the logits."""
    engine = make()
    serve(engine, prompt(64))
    for pages in engine.model.pages:
        pages.poison(torch.arange(64))
    request = engine.submit(Request(prompt(64) + [1], 1))
    engine.run()
    assert request.logits.isnan().any()


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_page_holds_what_the_layout_says(ranks):
    cfg = tiny(8, ranks)
    engine = Engine(cfg, Ranks(ranks), "cpu")
    pages = engine.model.pages[0]
    assert pages.as_bytes().shape == (8, 3 * 2 * 16 * (2 // ranks) * 16)
    assert len(engine.model.pages) == ranks
