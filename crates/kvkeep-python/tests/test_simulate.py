"""Simulations are those of the command line, as plain data."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kvkeep
import pytest
from kvkeep import KvLayout, simulate, sweep

# Blocks of 512 tokens; the third request repeats the first one's prefix.
TRACE = """\
{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]}
{"timestamp": 10, "input_length": 600, "output_length": 5, "hash_ids": [4, 5]}
{"timestamp": 20, "input_length": 1200, "output_length": 5, "hash_ids": [1, 2, 6]}
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_text(TRACE)
    return path


def test_a_simulation_by_hand(trace: Path) -> None:
    report = simulate(trace, blocks=8, block_size=512)
    assert report["trace"] == str(trace)
    assert (report["requests"], report["rejected"]) == (3, 0)
    assert (report["prompt_tokens"], report["cached_tokens"]) == (2900, 1024)
    assert report["hit_rate"] == 1024 / 2900
    assert report["miss_reasons"]["never_seen"] == 2
    assert sum(report["miss_reasons"].values()) == 3
    assert sum(report["missed_tokens"].values()) == 2900 - 1024
    assert (report["seed"], report["bytes_per_gpu"]) == (None, None)
    # The first leaves two full blocks; the second takes the free one and one of these.
    small = simulate(trace, blocks=3, block_size=512, requests=2)
    assert (small["requests"], small["evicted_blocks"]) == (2, 1)


def test_the_default_pool_and_workload_are_the_command_lines() -> None:
    report = simulate(requests=200, policy="lru-2", outputs=True)
    assert (report["blocks"], report["block_size"], report["gpus"]) == (12_881, 16, 2)
    assert (report["trace"], report["seed"], report["policy"]) == (None, 0, "lru-2")
    assert report["decoded_tokens"] > 0
    other = simulate(requests=200, seed=1)
    assert other["prompt_tokens"] != report["prompt_tokens"]


def test_a_sweep_by_hand(trace: Path) -> None:
    report = sweep(trace, policies=["lru", "sieve"], sizes=[4, "100%", "8"], threads=1)
    assert (report["rule"], report["block_size"], report["requests"]) == ("engine", 512, 3)
    rows: list[dict[str, Any]] = report["rows"]
    names = [row["policy"] for row in rows]
    assert names == ["lru"] * 3 + ["sieve"] * 3 + ["opt"] * 3 + ["infinite"]
    assert {frozenset(row) for row in rows} == {
        frozenset({"policy", "blocks", "gib", "hit_rate", "hit_tokens", "rejected", "evicted"})
    }
    # The working set are the full blocks 1, 2 and 4.
    assert [row["blocks"] for row in rows[:3]] == [3, 4, 8]
    assert rows[-1]["hit_tokens"] == 1024
    assert {row["share"] for row in report["needed"]} == {0.9, 0.95, 0.99}
    assert len(report["verdicts"]) == 3
    assert report["deployment_blocks"] == 402
    layout = KvLayout(layers=1, kv_heads=1, head_size=128, dtype="bf16")
    own = sweep(trace, sizes=[8], rule="blocks", layout=layout, deployment_blocks=8)
    assert own["bytes_per_block"] == 512 * 2 * 128 * 2
    assert own["deployment_blocks"] == 8
    assert own["rows"][0]["hit_blocks"] == 2
    assert own["memory"] == "1 layers, bfloat16, 1 GPU"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"policy": "lur"}, kvkeep.UnknownPolicyError, "no eviction policy is called `lur`"),
        ({"blocks": 0}, kvkeep.ConfigError, "num_blocks is 0"),
        ({"block_size": 0}, kvkeep.LayoutError, "block_size is 0"),
        ({"block_size": 1 << 20}, kvkeep.PlanError, "not one block|less than|block"),
        ({"trace": "no/such/file"}, kvkeep.TraceError, "no/such/file: cannot be opened"),
        ({"trace_format": "csv"}, ValueError, "there are mooncake"),
        ({"trace_block_size": 0}, ValueError, "zero"),
        ({"requests": -1}, OverflowError, "negative"),
    ],
)
def test_what_cannot_be_simulated(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        simulate(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"policies": ["lur"]}, kvkeep.UnknownPolicyError, 'no policy is called "lur"'),
        ({"sizes": ["12 apples"]}, ValueError, "sizes: 12 apples: expected blocks"),
        ({"sizes": [0]}, ValueError, "sizes: 0: "),
        ({"sizes": ["1B"]}, ValueError, "sizes: 1B: that is less than one block"),
        ({"rule": "tokens"}, ValueError, "there are engine and blocks"),
        ({"trace": ["a", "b"]}, kvkeep.TraceError, "a: cannot be opened"),
        ({"threads": 0}, ValueError, "zero"),
    ],
)
def test_what_cannot_be_swept(
    trace: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sweep(**{"trace": trace, **arguments})


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(TRACE + '{"timestamp": 30, "input_length": "x"}\n')
    for run in (simulate, sweep):
        with pytest.raises(kvkeep.TraceError, match=r"broken\.jsonl:4: input_length") as caught:
            run(path)
        assert caught.value.line == 4


LONG: dict[str, Callable[[Path], object]] = {
    "simulate": lambda trace: simulate(requests=50_000_000),
    # Reading takes a second, the curves and replays minutes.
    "sweep": lambda trace: sweep(
        policies=list(kvkeep.POLICIES), sizes=list(range(300, 60_000, 20)), threads=2
    ),
    # One replay of minutes: it has to stop within.
    "one long replay": lambda trace: sweep(trace, policies=["adaptive"], sizes=[30_000], threads=1),
}


@pytest.mark.parametrize("work", LONG)
def test_ctrl_c_stops(tmp_path: Path, work: str) -> None:
    # Prompts of a single block, 200,000 of them again and again.
    trace = tmp_path / "long.jsonl"
    if work == "one long replay":
        line = '{{"timestamp": {0}, "input_length": 513, "output_length": 1, "hash_ids": [{1}, {2}]}}\n'
        blocks = ((n, n * 7919 % 200_000, 200_000 + n) for n in range(1_000_000))
        trace.write_text("".join(line.format(*block) for block in blocks))
    # What runs in the background starts with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(4.0 if work == "one long replay" else 2.0, press).start()
    with pytest.raises(KeyboardInterrupt):
        LONG[work](trace)
    assert time.monotonic() - pressed[0] < 1.0


CHAT = '{"messages": [{"role": "user", "content": "to be or not to be"}]}\n'

TOKENIZER = {
    "version": "1.0",
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {
        "type": "WordLevel",
        "unk_token": "?",
        "vocab": {word: at for at, word in enumerate(["?", "to", "be", "or", "not"])},
    },
}


def test_chats_are_tokenized(tmp_path: Path) -> None:
    trace, tokenizer = tmp_path / "chat.jsonl", tmp_path / "tokenizer.json"
    trace.write_text(CHAT * 2)
    tokenizer.write_text(json.dumps(TOKENIZER))
    with pytest.raises(kvkeep.TraceError, match="need a tokenizer; name a tokenizer.json"):
        simulate(trace)
    report = simulate(trace, blocks=100, block_size=1, trace_block_size=1, tokenizer=tokenizer)
    assert report["requests"] == 2
    assert report["cached_tokens"] == report["prompt_tokens"] / 2 - 1
    swept = sweep(trace, sizes=[100], trace_block_size=1, tokenizer=str(tokenizer))
    assert swept["rows"][0]["hit_tokens"] == report["cached_tokens"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 2}, "users: not for mooncake traces; leave it out"),
        ({"trace_seed": 2}, "trace seed: not for mooncake traces"),
        ({"tokenizer": "t.json"}, "tokenizer: not for mooncake traces"),
        ({"trace_format": "bailian", "trace_block_size": 2}, "trace block size: not for bailian"),
    ],
)
def test_errors_about_traces_know_no_command_line(
    trace: Path, arguments: dict[str, Any], message: str
) -> None:
    for run in (simulate, sweep):
        with pytest.raises(kvkeep.TraceError, match=message) as caught:
            run(trace, **arguments)
        assert "--" not in str(caught.value)


def test_an_unknown_format_is_no_matter_of_flags(tmp_path: Path) -> None:
    path = tmp_path / "unknown.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(kvkeep.TraceError, match="name the trace format") as caught:
        simulate(path)
    assert "--" not in str(caught.value)


def test_names_and_numbers_are_those_of_the_command_line(trace: Path) -> None:
    """Where the environment names a kvkeep command."""
    command = os.environ.get("KVKEEP_COMMAND")
    if command is None:
        print("skipped: KVKEEP_COMMAND does not name the command line", file=sys.stderr)
        return

    def of_command(*arguments: str) -> Any:
        done = subprocess.run([command, *arguments, "--format", "json"], capture_output=True, check=True)
        return json.loads(done.stdout)

    timings = {"replay_seconds", "requests_per_second", "wall_seconds"}

    def untimed(report: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in report.items() if name not in timings}

    ours = simulate(trace, blocks=4, block_size=512)
    theirs = of_command("simulate", str(trace), "--blocks", "4", "--block-size", "512")
    assert list(ours) == list(theirs)
    assert untimed(ours) == untimed(theirs)
    sizes = ["4", "8"]
    assert sweep(trace, sizes=sizes) == of_command("sweep", str(trace), "--sizes", ",".join(sizes))
    layout = KvLayout(
        layers=64, kv_heads=8, head_size=128, dtype="fp8", tensor_parallel_size=2
    )
    budget = kvkeep.plan(layout, kv_cache_memory_bytes=13_507_672_145, max_model_len=32_768)
    flags = "--tensor-parallel-size 2 --kv-cache-dtype fp8 --max-model-len 32768"
    theirs = of_command(
        "plan", "--model", "qwen3-32b", "--kv-cache-memory-bytes", "12.58GiB", *flags.split()
    )
    del theirs["model"], theirs["warnings"]
    assert budget == theirs
