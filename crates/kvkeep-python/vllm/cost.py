"""CPU time of vLLM's KV cache manager: stock, kvkeep's level 1 and level 2.

    cost.py [--trace FILE] [--rounds 5] [--save NAME]

One process, one thread, thread CPU time; the three run one after the other in each round,
in changing order, over the same tokens. Each call is what vLLM's scheduler makes: hash a
request, look it up, allocate its prompt in chunks, then append and allocate token by token
for all running requests, and free. Times are of whole loops over the running requests, so
the loop itself is counted on all sides. With KV events on, where level 2 stands aside, they
are taken after the prompts and after each token. Run in the environment of `tests.py` (see there).
"""

import argparse
import gc
import json
import os
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from time import thread_time_ns as now

os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

import torch
import vllm
import vllm.v1.core.kv_cache_coordinator as coordinator
import vllm.v1.core.kv_cache_utils as utils
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.block_pool import BlockPool as StockPool
from vllm.v1.core.kv_cache_manager import KVCacheManager as StockManager
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.request import Request

import work
from kvkeep.vllm.hashing import get_request_block_hasher
from kvkeep.vllm.manager import KVCacheManager
from kvkeep.vllm.pool import BlockPool

BLOCK = 16
CHUNK_TOKENS = 8192
LEVELS = {
    "stock": (StockPool, StockManager, utils.get_request_block_hasher),
    "level 1": (BlockPool, StockManager, get_request_block_hasher),
    "level 2": (BlockPool, KVCacheManager, get_request_block_hasher),
}


def manager(level: str, blocks: int, max_model_len: int, events: bool) -> tuple[StockManager, object]:
    """A manager and the hasher that goes with it."""
    pool, make, hasher = LEVELS[level]
    spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
    config = KVCacheConfig(
        num_blocks=blocks, kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
    )
    coordinator.BlockPool = pool
    made = make(
        config, max_model_len=max_model_len, scheduler_block_size=BLOCK, hash_block_size=BLOCK,
        enable_caching=True, log_stats=True, enable_kv_cache_events=events,
    )
    coordinator.BlockPool = StockPool
    return made, hasher(BLOCK, sha256)


class Clock:
    """Adds up time by phase."""

    def __init__(self) -> None:
        self.ns: dict[str, int] = defaultdict(int)
        self.calls: dict[str, int] = defaultdict(int)
        self.start = 0

    def lap(self, phase: str, calls: int) -> None:
        self.ns[phase] += now() - self.start
        self.calls[phase] += calls
        self.start = now()


def replay(level: str, blocks: int, events: bool, rounds) -> dict:
    """Runs a workload; returns ns and calls by phase, and what was found cached."""
    kv, hasher = manager(level, blocks, 1 << 20, events)
    params = SamplingParams(max_tokens=1 << 16)
    params.update_from_generation_config({}, eos_token_id=150_001)
    clock, cached, tokens, taken = Clock(), [], 0, 0
    for turns in rounds:
        requests = []
        tokens += sum(len(turn.prompt) for turn in turns)
        gc.collect()
        gc.disable()
        for turn in turns:
            # Without a hasher first: making a request is not the manager's work. Hashing
            # follows at once, as in vLLM, where it is the end of making one.
            request = Request(
                request_id=turn.name, prompt_token_ids=turn.prompt, sampling_params=params,
                pooling_params=None,
            )
            request._block_hasher = hasher
            clock.start = now()
            request.update_block_hashes()
            clock.lap("hash", len(request.block_hashes))
            requests.append(request)
        clock.start = now()
        running = []
        for request in requests:
            hit, hit_tokens, _ = kv.get_computed_blocks(request)
            clock.lap("look up", 1)
            done = hit_tokens
            cached.append(hit_tokens)
            while done < request.num_tokens:
                chunk = min(CHUNK_TOKENS, request.num_tokens - done)
                if done == hit_tokens:
                    new = kv.allocate_slots(
                        request, chunk, num_new_computed_tokens=hit_tokens,
                        new_computed_blocks=hit, num_lookahead_tokens=0,
                        num_external_computed_tokens=0, delay_cache_blocks=False,
                        num_encoder_tokens=0, full_sequence_must_fit=True, reserved_blocks=0,
                        has_scheduled_reqs=bool(running),
                    )
                else:
                    new = kv.allocate_slots(request, chunk, num_lookahead_tokens=0)
                if new is None:
                    break
                done += chunk
                request.num_computed_tokens = done
            if done < request.num_tokens:
                kv.free(request)
                clock.lap("prefill", 1)
                continue
            kv.record_prefix_cache_stats(request, hit_tokens)
            kv.get_blocks(request.request_id).get_block_ids()
            clock.lap("prefill", 1)
            running.append(request)
        if events:
            clock.start = now()
            taken += len(kv.take_events())
            clock.lap("take events", 1)
        outputs = {turn.name: turn.output for turn in turns}
        step = 0
        while running:
            finished = [r for r in running if len(outputs[r.request_id]) <= step]
            running = [r for r in running if len(outputs[r.request_id]) > step]
            clock.start = now()
            for request in finished:
                kv.free(request)
            if finished:
                clock.lap("free", len(finished))
            pairs = [(request, outputs[request.request_id][step]) for request in running]
            clock.start = now()
            for request, token in pairs:
                request.append_output_token_ids(token)
            clock.lap("append", len(pairs))
            refused = []
            for request in running:
                new = kv.allocate_slots(request, 1, num_lookahead_tokens=0)
                if new is None:
                    refused.append(request)
                    continue
                new.get_block_ids(allow_none=True)
                request.num_computed_tokens += 1
            clock.lap("decode", len(running))
            if events:
                taken += len(kv.take_events())
                clock.lap("take events", 1)
            for request in refused:
                kv.free(request)
                running.remove(request)
            step += 1
        gc.enable()
    return {"ns": dict(clock.ns), "calls": dict(clock.calls), "cached": cached, "tokens": tokens,
            "events": taken}


def empty_loop(calls: int) -> float:
    """ns of one turn of the loop around a decode step without the manager."""
    requests = [type("R", (), {"num_computed_tokens": 0})() for _ in range(64)]
    start = now()
    for _ in range(calls // 64):
        for request in requests:
            request.num_computed_tokens += 1
    return (now() - start) / calls


def compare(name: str, blocks: int, rounds: int, make, events: bool = False) -> dict:
    order = [level for level in LEVELS if not (events and level == "level 2")]
    samples: dict[str, list[dict]] = {level: [] for level in order}
    for number in range(rounds):
        first = number % len(order)
        for level in order[first:] + order[:first]:
            samples[level].append(replay(level, blocks, events, make()))
            print(f"{name}: round {number + 1}, {level}", file=sys.stderr)
    first = samples["stock"][0]
    for level, runs in samples.items():
        for run in runs:
            if (run["cached"], run["events"]) != (first["cached"], first["events"]):
                sys.exit(f"{name}: {level} finds other prefixes, or has other events, than stock")
    requests = len(first["cached"])
    report = {
        "blocks": blocks, "requests": requests, "prompt_tokens": first["tokens"],
        "cached_tokens": sum(first["cached"]), "calls": first["calls"], "ns_per_call": {},
        "us_per_request": {}, "events": first["events"],
    }
    for level, runs in samples.items():
        report["ns_per_call"][level] = {
            phase: [round(run["ns"][phase] / run["calls"][phase], 1) for run in runs]
            for phase in first["calls"]
        }
        report["us_per_request"][level] = [
            round(sum(run["ns"].values()) / requests / 1000, 2) for run in runs
        ]
    show(name, report)
    return report


def show(name: str, report: dict) -> None:
    middle = statistics.median
    others = [level for level in report["us_per_request"] if level != "stock"]
    heads = ["stock", *others, *(f"stock / {level}" for level in others)]
    print(f"\n| {name}, median ns per call | {' | '.join(heads)} |")
    print("|---" * (len(heads) + 1) + "|")
    rows = {f"{phase}": {level: phases[phase] for level, phases in report["ns_per_call"].items()}
            for phase in report["calls"]}
    rows["all, us per request"] = report["us_per_request"]
    for phase, by_level in rows.items():
        values = [middle(samples) for samples in by_level.values()]
        # Ratios round by round: the machine's speed changes between rounds.
        ratios = [middle(s / x for s, x in zip(by_level["stock"], by_level[level]))
                  for level in others]
        print(f"| {phase} | {' | '.join(f'{value:,.0f}' for value in values)} | "
              f"{' | '.join(f'{ratio:.1f}x' for ratio in ratios)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", type=Path, help="a Mooncake conversation trace")
    parser.add_argument("--requests", type=int, default=1000, help="of the trace")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="unknown", help="goes into the results")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    utils.init_none_hash(sha256)
    report = {"vllm": vllm.__version__, "device": options.device,
              "clock": "thread CPU time", "ns_of_an_empty_decode_loop": empty_loop(640_000)}
    works = {"chat": lambda: work.chat(64, 10, 200, 300)}
    if options.trace:
        works["conversation"] = lambda: work.conversations(options.trace, options.requests, 32)
    for name, make in works.items():
        report[name] = compare(name, 100_000, options.rounds, make)
    for name, make in works.items():
        name += ", events on"
        report[name] = compare(name, 100_000, options.rounds, make, events=True)
    if options.save:
        options.save.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
