#!/usr/bin/env python3
"""kvkeep's LRU replay beside libCacheSim's, on the blocks of the Mooncake conversation trace.

    pip install libcachesim==0.3.5
    python crates/bench-peers/beside_libcachesim.py TRACE > result.json

libCacheSim gets the same block accesses, flat: it knows no prefixes, so a block may be a hit
although an earlier block of its prompt is gone. It reads them from a binary file by its own
`process_trace`, which is its fastest way from Python; kvkeep hashes each prompt, looks it up,
evicts and publishes through the block manager. Both in turns, one thread, wall time; reading
and parsing the JSON is left out on both sides, opening the binary file as well.
"""

import csv
import json
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import libcachesim

SIZES = [1_000, 3_000, 10_000, 30_000, 100_000]
ROUNDS = 7
ROOT = Path(__file__).resolve().parents[2]


def flatten(trace: Path, to: Path) -> int:
    """Writes oracleGeneral records (u32 second, u64 id, u32 size, i64 next access)."""
    record = struct.Struct("<IQIq")
    accesses = 0
    with trace.open() as lines, to.open("wb") as out:
        for line in lines:
            request = json.loads(line)
            for block in request["hash_ids"]:
                out.write(record.pack(request["timestamp"] // 1000, block, 1, -1))
                accesses += 1
    return accesses


def theirs(flat: Path, blocks: int) -> tuple[float, float]:
    reader = libcachesim.TraceReader(str(flat), libcachesim.TraceType.ORACLE_GENERAL_TRACE)
    cache = libcachesim.LRU(blocks)
    start = time.perf_counter()
    miss_ratio, _ = cache.process_trace(reader)
    return 1 - miss_ratio, time.perf_counter() - start


def ours(program: Path, trace: Path) -> dict[int, tuple[float, float]]:
    output = subprocess.run(
        [program, trace, *map(str, SIZES)], check=True, capture_output=True, text=True
    ).stdout
    rows = [row for row in csv.DictReader(output.splitlines()) if row["source"] == "replay"]
    return {int(row["blocks"]): (float(row["hit_rate"]), float(row["seconds"])) for row in rows}


def main() -> None:
    trace = Path(sys.argv[1])
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "-p", "kvkeep-sim", "--example", "replay"],
        cwd=ROOT, check=True,
    )
    program = ROOT / "target/release/examples/replay"
    samples = {blocks: {"kvkeep": [], "libcachesim": []} for blocks in SIZES}
    with tempfile.TemporaryDirectory() as folder:
        flat = Path(folder) / "flat.oracleGeneral"
        accesses = flatten(trace, flat)
        for _ in range(ROUNDS):
            for blocks, sample in ours(program, trace).items():
                samples[blocks]["kvkeep"].append(sample)
                samples[blocks]["libcachesim"].append(theirs(flat, blocks))
    rows = []
    for blocks, sides in samples.items():
        row = {"blocks": blocks, "accesses": accesses}
        for side, measured in sides.items():
            row[f"{side}_hit_rate"] = measured[0][0]
            row[f"{side}_accesses_per_second"] = accesses / statistics.median(t for _, t in measured)
        pairs = zip(sides["libcachesim"], sides["kvkeep"])
        row["median_ratio"] = statistics.median(other / own for (_, other), (_, own) in pairs)
        rows.append(row)
    json.dump(
        {
            "command": "python crates/bench-peers/beside_libcachesim.py TRACE",
            "libcachesim": libcachesim.__version__,
            "python": platform.python_version(),
            "rounds": ROUNDS,
            "rows": rows,
        },
        sys.stdout, indent=1,
    )


if __name__ == "__main__":
    main()
