"""The programs of the README run as they are printed."""

import re
from pathlib import Path

import numpy as np

README = Path(__file__).parent.parent / "README.md"


def programs() -> "list[str]":
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_programs_run() -> None:
    forwards: list[int] = []

    def forward(tables: "np.ndarray", left: "np.ndarray") -> "np.ndarray":
        assert tables.dtype == np.int32
        forwards.append(int(left.sum()))
        return np.full(len(left), len(forwards), dtype=np.uint32)

    names = {"forward": forward, "prompts": [list(range(100)), list(range(50, 90))]}
    found = programs()
    assert len(found) >= 3
    for program in found:
        exec(program, names)
    assert forwards[:2] == [140, 2]
