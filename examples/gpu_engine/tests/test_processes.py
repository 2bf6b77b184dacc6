"""Two processes with a rank each give what two ranks in one process give."""

import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gpu_engine.config import tiny
from gpu_engine.engine import Engine, Request
from gpu_engine.ranks import ProcessRanks, Ranks


def answers(ranks):
    engine = Engine(tiny(), ranks, "cpu", max_chunk=48)
    engine.keep_logits = True
    first = engine.submit(Request([i % 100 for i in range(70)], 5))
    engine.run()
    second = engine.submit(Request(first.tokens + [3, 4], 5))
    engine.run()
    assert second.tokens_cached == 64
    return [(r.output, r.logits) for r in (first, second)]


def worker(rank, port, expected):
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    for (output, logits), (tokens, exact) in zip(answers(ProcessRanks()), expected):
        assert output == tokens
        assert torch.equal(logits, exact)
    dist.destroy_process_group()


def test_two_processes_are_two_ranks():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, (port, answers(Ranks(2))), nprocs=2)
