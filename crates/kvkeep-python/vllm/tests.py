"""Runs vLLM's own tests, unmodified, against vLLM and against kvkeep, and compares.

    tests.py FOLDER [--version 0.32.0] [--level 0] [--level 1] [--level 2] [--only NAME]

FOLDER is what setup.sh made. Level 0 is vLLM as it is. Writes a row of
results/tests-VERSION.json beside this file as soon as it is known (every test that did not
pass, the counts, and which build of kvkeep ran), leaves out rows that this build already
has, and prints a table. Ends with 1 if a test that passes at level 0 does not at another.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = [
    "tests/v1/core/test_prefix_caching.py",
    "tests/v1/core/prefix_cache",
    "tests/v1/core/test_kv_cache_utils.py",
    "tests/v1/core/test_single_type_kv_cache_manager.py",
    "tests/v1/core/test_scheduler.py",
    "tests/v1/core/test_async_scheduler.py",
    "tests/distributed/test_kv_cache_events.py",
    "tests/distributed/test_events.py",
    "tests/v1/simple_kv_offload/test_kv_events.py",
    "tests/v1/simple_kv_offload/test_scheduler.py",
    "tests/v1/core/test_deferred_block_free.py",
    "tests/v1/core/test_kv_cache_metrics.py",
    "tests/v1/core/test_prefix_replay.py",
    "tests/v1/core/test_swa_inflight_window_free.py",
    "tests/v1/core/test_mamba_align_chunk_split.py",
    "tests/v1/core/test_kv_cache_planning.py",
    "tests/v1/core/test_kv_cache_config_builder.py",
    "tests/v1/core/test_contiguous_kv_packing.py",
    "tests/v1/core/test_worker_slot_overflow.py",
    "tests/v1/core/test_priority_preemption_bug.py",
    "tests/v1/streaming_input/test_scheduler_streaming.py",
    "tests/v1/kv_connector/unit",
]
# Not test_priority_scheduler_random.py: 12 times 20,000 steps, over a quarter of an hour a level.
# Of the connectors' tests, those with a scheduler, and that need nothing installed. The
# transfers themselves are no concern of a block manager.
CONNECTORS = [
    "test_cache_pollution_prevention.py", "test_decode_bench_connector.py",
    "test_error_propagation.py", "test_hisparse_connector.py",
    "test_invalid_blocks_correctness.py", "test_kv_connector_lifecycle.py",
    "test_kv_load_failure_recovery.py", "test_mooncake_store_scheduler.py",
    "test_multi_connector.py",
    "test_remote_decode_lifecycle.py", "test_remote_prefill_lifecycle.py",
    "test_scheduler_kv_connector_override.py", "offloading_connector/test_events.py",
    "offloading_connector/test_scheduler.py",
]


def environment(folder: Path, version: str, level: int) -> dict[str, str]:
    """Variables under which a process runs this version with this level of kvkeep."""
    source = folder / f"vllm-{version}"
    paths = [HERE]
    if version == "0.32.0":
        # The wheel is installed; of the sources only the tests may be seen.
        tests = folder / f"tests-{version}"
        tests.mkdir(exist_ok=True)
        if not (tests / "tests").exists():
            (tests / "tests").symlink_to(source / "tests")
        paths.append(tests)
    else:
        paths += [source, folder / f"shim-{version}"]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "KVKEEP_VLLM": str(level),
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_TARGET_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }


def build(folder: Path) -> str:
    """Names the installed kvkeep by the content of its files, as pip recorded them."""
    record = next(folder.glob("venv/lib/python*/site-packages/kvkeep-*.dist-info/RECORD"))
    files = [line for line in record.read_text().splitlines()
             if line.startswith("kvkeep/") and "sha256=" in line]
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()[:12]


def run(folder: Path, version: str, level: int, file: str) -> dict[str, str]:
    """Outcome of each test of a file."""
    tests = folder / (f"tests-{version}" if version == "0.32.0" else f"vllm-{version}")
    if not (tests / file).exists():
        return {}
    files = [file]
    if file.endswith("kv_connector/unit"):
        files = [f"{file}/{name}" for name in CONNECTORS if (tests / file / name).exists()]
    report = folder / f"report-{os.getpid()}.xml"
    report.unlink(missing_ok=True)
    command = [folder / "venv/bin/python", "-m", "pytest", *files, "-q"]
    command += ["-p", "under_test", "-p", "no:cacheprovider", f"--junitxml={report}"]
    done = subprocess.run(
        command, cwd=tests, env=environment(folder, version, level), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if not report.exists():
        print(done.stdout[-3000:], file=sys.stderr)
        return {f"{file}::(did not run)": "error"}
    outcomes, texts = {}, []
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        name = f"{case.get('classname')}::{case.get('name')}"
        outcomes[name] = min(kinds, default="passed")
        if kinds & {"failure", "error"}:
            text = "".join(child.text or "" for child in case)
            texts.append(f"=== {name}\n{text[-4000:]}\n")
    report.unlink()
    (folder / "failures").mkdir(exist_ok=True)
    log = folder / "failures" / f"{version}-{level}-{Path(file).stem}.txt"
    log.write_text("".join(texts))
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", action="append", choices=["0.32.0", "0.33.0"])
    parser.add_argument("--level", action="append", type=int, choices=[0, 1, 2])
    parser.add_argument("--only", help="files whose path contains this")
    options = parser.parse_args()
    folder, worse = options.folder.resolve(), 0
    installed = build(folder)
    for version in options.version or ["0.32.0", "0.33.0"]:
        saved = HERE / "results" / f"tests-{version}.json"
        for level in options.level or [0, 1, 2]:
            ran = installed if level else "none"
            for file in FILES:
                if options.only and options.only not in file:
                    continue
                if read(saved).get(file, {}).get(str(level), {}).get("build") == ran:
                    continue
                outcomes = run(folder, version, level, file)
                if not outcomes:
                    continue
                counts = {kind: list(outcomes.values()).count(kind) for kind in
                          ("passed", "failure", "error", "skipped")}
                others = {name: kind for name, kind in sorted(outcomes.items())
                          if kind in ("failure", "error")}
                # Read again: other levels may be running beside this one.
                results = read(saved)
                row = counts | {"build": ran, "not_passed": others}
                results.setdefault(file, {})[str(level)] = row
                saved.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(version, level, file, counts, flush=True)
        worse += table(version, read(saved), installed)
    return int(worse > 0)


def read(saved: Path) -> dict:
    return json.loads(saved.read_text()) if saved.exists() else {}


def table(version: str, results: dict, installed: str) -> int:
    """Prints passed / not passed by level; returns how many kvkeep makes fail."""
    print(f"\n| vLLM {version}: passed / failed | stock | level 1 | level 2 |\n|---|---|---|---|")
    worse = []
    for file in [file for file in FILES if file in results]:
        row = []
        for level in ("0", "1", "2"):
            found = results[file].get(level)
            bad = found and found["failure"] + found["error"]
            other = found and found.get("build") not in (installed, "none")
            row.append(f"{found['passed']} / {bad}{'*' if other else ''}" if found else "-")
            if found and level != "0":
                stock = results[file].get("0", {}).get("not_passed", {})
                worse += [(level, name) for name in found["not_passed"] if name not in stock]
        print(f"| {file.removeprefix('tests/')} | {' | '.join(row)} |")
    print(f"\nbuild {installed}; * another build")
    for level, name in worse:
        print(f"fails at level {level} only: {name}")
    return len(worse)


if __name__ == "__main__":
    sys.exit(main())
