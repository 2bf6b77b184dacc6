"""Runs a script in the environment of a version of vLLM: with_vllm.py FOLDER VERSION SCRIPT ..."""

import os
import sys
from pathlib import Path

from tests import environment

folder, version, *command = sys.argv[1:]
python = Path(folder).resolve() / "venv/bin/python"
os.execve(python, [python, *command], environment(Path(folder).resolve(), version, 0))
