"""A vLLM that kvkeep does not know stays as it is: is that so inside vLLM?

    refusal.py FOLDER

FOLDER is what setup.sh made. Runs vLLM's own loading of plugins, with kvkeep asked for, once
as the 0.33.0 that is there and once as the same sources under the name 0.34.0. Ends with 1
unless the first has kvkeep's classes, and the second vLLM's own and the line that says so.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from overlay import overlay
from tests import environment

LOAD = """
import importlib, json
from vllm.plugins import load_general_plugins
load_general_plugins()
names = [("vllm.v1.core.kv_cache_coordinator", "BlockPool"),
         ("vllm.v1.engine.core", "get_request_block_hasher"),
         ("vllm.v1.core.sched.scheduler", "KVCacheManager")]
print("OWNERS", json.dumps([getattr(importlib.import_module(module), name).__module__
                            for module, name in names]))
"""
VERSION_FILE = "__version__ = '0.34.0'\n__version_tuple__ = (0, 34, 0)\n"
REFUSED = "kvkeep: off. This is vLLM 0.34.0 and kvkeep knows 0.32, 0.33; vLLM stays as it is."


def owners(folder: Path, source: Path) -> tuple[list[str], list[str]]:
    """Where the three classes come from after the plugins are loaded, and kvkeep's lines."""
    env = environment(folder, "0.33.0", 2)
    env["PYTHONPATH"] = env["PYTHONPATH"].replace(str(folder / "vllm-0.33.0"), str(source))
    done = subprocess.run([folder / "venv/bin/python", "-c", LOAD], env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = done.stdout.splitlines()
    found = [line for line in lines if line.startswith("OWNERS ")]
    if not found:
        sys.exit(done.stdout[-4000:])
    said = [line[line.index("kvkeep:"):] for line in lines if "kvkeep:" in line]
    return json.loads(found[0].removeprefix("OWNERS ")), said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    known = folder / "vllm-0.33.0"
    unknown = overlay(known, folder / "renamed-0.34.0", {"_version.py": VERSION_FILE})
    taken, _ = owners(folder, known)
    kept, said = owners(folder, unknown)
    print("0.33.0:", taken)
    print("0.34.0:", kept, said)
    right = all(owner.startswith("kvkeep.") for owner in taken)
    right &= all(owner.startswith("vllm.") for owner in kept) and said == [REFUSED]
    print("as it should be" if right else "WRONG")
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
