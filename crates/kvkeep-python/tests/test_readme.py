"""The programs of the README run as they are printed."""

import json
import re
from pathlib import Path

import numpy as np

README = Path(__file__).parent.parent / "README.md"


def programs() -> "list[str]":
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_programs_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    ids = list(range(20))
    line = {"timestamp": 0, "input_length": 512 * len(ids), "output_length": 1, "hash_ids": ids}
    trace.write_text(f"{json.dumps(line)}\n" * 2)
    forwards: list[int] = []

    def forward(tables: "np.ndarray", left: "np.ndarray") -> "np.ndarray":
        assert tables.dtype == np.int32
        forwards.append(int(left.sum()))
        return np.full(len(left), len(forwards), dtype=np.uint32)

    names: dict[str, object] = {"forward": forward, "prompts": [list(range(100)), list(range(50, 90))], "trace": trace}
    found = programs()
    assert len(found) >= 3
    for program in found:
        exec(program, names)
    assert forwards[:2] == [140, 2]
