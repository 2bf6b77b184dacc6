"""Puts the package on the path; without torch or kvkeep the tests say so and are skipped."""

import importlib.util
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
missing = [m for m in ("torch", "kvkeep", "numpy") if importlib.util.find_spec(m) is None]
if missing:
    print(f"gpu_engine's tests are skipped: no {', '.join(missing)}", file=sys.stderr)
    collect_ignore_glob = ["test_*.py"]
else:
    import torch

    if not torch.cuda.is_available():
        # The kernels run on CPUs too, in Triton's interpreter; it has to be asked for first.
        os.environ.setdefault("TRITON_INTERPRET", "1")
